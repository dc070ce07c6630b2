# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
SHARED ?= ../shared

.DEFAULT_GOAL := help
.PHONY: help demo test lint types train-nano train-real clean

help:  ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv .venv

# Stamps, so that a second call starts at once; a changed pyproject.toml installs again.
.venv/.core: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,train,eval,faiss]'
	@touch $@ .venv/.core

demo: .venv/.core  ## a scripted conversation that finds pictures, and a page of it
	$(BIN)/chatsearcher demo

test: .venv/.dev  ## the test suite
	$(BIN)/python -m pytest

lint: .venv/.dev  ## ruff: style and mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev  ## mypy
	$(BIN)/mypy

# Layers are compiled where a C++ compiler is at hand: about a third less time.
COMPILE := $(if $(shell command -v g++),--engine.compile)

train-nano: .venv/.dev  ## make nano anew: tower, words, reading, two stages, export, calibration
	$(BIN)/python train/tower.py
	$(BIN)/python train/words.py
	$(BIN)/python train/reading.py
	$(BIN)/python train/stage1.py $(COMPILE)
	$(BIN)/python train/stage2.py $(COMPILE)
	$(BIN)/python train/export.py runs/nano/stage2 chatsearcher/checkpoints/nano
	$(BIN)/python eval/calibrate.py chatsearcher/checkpoints/nano

train-real: .venv/.dev  ## the same two stages on real pictures (docs/real.md)
	$(BIN)/python train/tower.py --recipe nano-real-tower
	$(BIN)/python train/stage1.py --recipe nano-real
	$(BIN)/python train/stage2.py --recipe nano-real

clean:  ## remove the environment and the caches
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
