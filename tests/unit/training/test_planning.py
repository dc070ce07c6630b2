"""A plan's memory and arithmetic beside what allocator and profiler measured."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from chatsearcher.cli import main
from chatsearcher.model import ChatSearcherModel
from chatsearcher.training.efficiency import engine_settings
from chatsearcher.training.measure import peak_memory
from chatsearcher.training.planning.activations import kept
from chatsearcher.training.planning.conversation import conversation_memory
from chatsearcher.training.planning.flops import step_flops
from chatsearcher.training.planning.memory import Workload, need, weight_dtype
from chatsearcher.training.planning.plan import plan
from chatsearcher.training.planning.shapes import count, planned_config
from chatsearcher.training.recipes import STAGE1
from chatsearcher.training.schedule import build_optimiser
from chatsearcher.training.settings import EngineSettings, OptimiserSettings
from tests.fixtures.planned import planned_batch, planned_model
from tests.fixtures.tiny import tiny_config

CPU = torch.device("cpu")
ROWS, LENGTH, PICTURES = 4, 256, 2


def measured_and_planned(engine: EngineSettings, **changes) -> tuple[int, int]:
    """Bytes of a training step in plain torch: everything that stands, and what the step adds."""
    config = planned_model(**changes)
    torch.manual_seed(0)
    dtype = weight_dtype(engine)
    model = ChatSearcherModel(config).to(dtype).train()
    batch = planned_batch(config, ROWS, LENGTH, PICTURES).to("cpu", dtype)
    optimiser = build_optimiser(model, OptimiserSettings())
    autocast = engine.precision == "bf16-autocast"

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    with engine_settings(model, engine, CPU):
        step()
        states = [t for state in optimiser.state.values() for t in state.values()]
        standing = [*model.parameters(), *model.buffers(), *states]
        measured = sum(t.numel() * t.element_size() for t in standing) + peak_memory(step, CPU)
    counts = count(config)
    each = kept(
        config,
        ROWS,
        LENGTH,
        ROWS * PICTURES,
        patches=counts.patches,
        channels=counts.channels,
        dtype=dtype,
        autocast=autocast,
        attention=engine.attention,
    )
    load = Workload(ROWS, LENGTH, ROWS * PICTURES)
    planned = need(config, counts, each, load, engine, deepspeed=False, reserve=False)
    return measured, planned.peak


@pytest.mark.parametrize("precision", ["fp32", "bf16-autocast", "bf16"])
@pytest.mark.parametrize(
    ("attention", "checkpointing", "word_loss", "changes"),
    [
        ("sdpa", False, "plain", {}),
        ("eager", False, "chunked", {"layers": 6, "hidden": 256}),
        ("varlen", True, "chunked", {"vocabulary": 20_000}),
    ],
)
def test_the_plan_is_what_the_allocator_measured(
    precision, attention, checkpointing, word_loss, changes
):
    engine = EngineSettings(
        precision=precision,
        attention=attention,
        activation_checkpointing=checkpointing,
        word_loss=word_loss,
    )
    measured, planned = measured_and_planned(engine, **changes)
    # stated tolerance: 8 %; worst seen: 5.0 % (too much) and 4.3 % (too little)
    assert planned == pytest.approx(measured, rel=0.08)


def test_arithmetic_is_what_the_counter_counted():
    config = planned_model(attention="eager")
    model = ChatSearcherModel(config).train()
    batch = planned_batch(config, ROWS, LENGTH, PICTURES)
    with FlopCounterMode(display=False) as counted:
        model(batch).loss.backward()
    load = Workload(ROWS, LENGTH, ROWS * PICTURES)
    words = int((batch.labels[:, 1:] >= 0).sum()) - ROWS  # one begins the second sample
    # eager attention computes every pair of positions, also those that do not see each other
    flops = step_flops(config, load, pairs=ROWS * LENGTH**2, words=words)
    assert flops.total == pytest.approx(counted.get_total_flops(), rel=0.01)  # seen: 0.3 %


@pytest.mark.parametrize("changes", [{}, {"freeze_tower": False}], ids=["frozen", "trained"])
def test_counts_are_those_of_the_model(changes):
    config = tiny_config(**changes)
    model, counts = ChatSearcherModel(config), count(config)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert counts.trained == trained
    # the moving average of a trained tower is kept in float32 beside it, and is no parameter to us
    averages = sum(p.numel() for n, p in model.named_parameters() if "average" in n)
    assert counts.total == sum(p.numel() for p in model.parameters()) - averages


def test_vicuna_has_the_published_number_of_parameters():
    recipe = STAGE1["vicuna-7b"]
    counts = count(planned_config(recipe.model))
    assert counts.llm == 6_738_415_616 + 2 * 3 * 4096  # and three new rows in either matrix
    assert counts.patches == 256 + recipe.model.tower_class_token


@pytest.mark.parametrize(
    ("name", "stage"),
    [("nano", 2), ("qwen3-4b-siglip2", 1), ("vicuna-7b", 1), ("vicuna-7b-llava665k", 2)],
)
def test_recipes_are_planned_without_a_network_and_fit(name, stage, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = plan(name, 8, 80.0, stage=stage)
    peaks = {c.name: c.memory.peak for c in made.choices}
    assert peaks["ZeRO 1"] >= peaks["ZeRO 2"]
    assert made.own.fits
    assert made.advice.startswith("The recipe fits")


def test_what_does_not_fit_gets_advice_that_does():
    assert "does not fit; --engine.zero 3 does" in plan("vicuna-7b", 8, 34.0).advice
    crowded = plan("vicuna-7b", 8, 80.0, rows=80)
    assert "do not fit" in crowded.advice
    assert "--optimiser.accumulation 3" in crowded.advice
    assert "Nothing fits" in plan("vicuna-7b", 1, 1.0).advice
    assert "LoRA" in plan("vicuna-7b", 1, 1.0).advice


def test_lora_fits_one_card_of_24_gigabytes_and_so_does_a_conversation_in_4_bits():
    made = plan("vicuna-7b-lora", 1, 24.0)
    assert made.own.fits
    assert made.counts.trained < 0.03 * made.counts.total
    in_bits = {bits: conversation_memory(made.config, made.counts, bits) for bits in (16, 8, 4)}
    assert in_bits[4].peak < in_bits[8].peak < in_bits[16].peak
    assert in_bits[4].peak < 24e9
    # half a byte and a scale for each of the 6.48 billion weights of the layers
    assert in_bits[4].layers == pytest.approx(0.5625 * 6.476e9, rel=1e-3)


def test_the_command_prints_a_table_and_json(capsys):
    assert main(["plan", "nano", "--gpus", "2", "--memory", "8", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["own"] == "ZeRO 0"
    assert {c["name"] for c in said["choices"]} >= {"ZeRO 1", "ZeRO 2", "ZeRO 3", "ZeRO 3 + host"}
    assert main(["plan", "nano", "--stage", "2", "--no-checkpointing"]) == 0
    assert "| **peak** |" in capsys.readouterr().out
    assert main(["plan", "vicuna-7b", "--converse", "--memory", "24"]) == 0
    assert "| fits 24 GB | yes | yes | yes |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vicuna-70b"], "did you mean 'vicuna-7b'"),
        (["nano-tower"], "trains a tower by itself; plan counts the two stages: nano,"),
        (["vicuna-7b-llava665k", "--stage", "1"], "unknown stage 1 recipe"),
        (["nano", "--gpus", "0"], "expected at least one, with some memory"),
        (["nano", "--memory", "-1"], "expected at least one, with some memory"),
        (["nano", "--rows", "0"], "expected at least one row"),
        (["nano", "--images", "-1"], "expected at least one row, and no pictures or more"),
        (["nano", "--converse", "--positions", "0"], "a conversation of 0 positions"),
    ],
)
def test_wrong_arguments_are_named_with_what_was_expected(words, said, capsys):
    assert main(["plan", *words]) == 1
    assert said in capsys.readouterr().err
