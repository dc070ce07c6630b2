"""Named recipes: every setting of a training, typed, in Python.

A recipe name stands for one entry in each of the tables it has a training for: ``nano`` is a
stage 1 and a stage 2, ``nano-tower`` a tower, ``nano-words`` a language model's first training,
``nano-reading`` a connector's.
"""

from __future__ import annotations

from chatsearcher.registry import Registry

_NANO = "chatsearcher.training.recipes.nano"
_REAL = "chatsearcher.training.recipes.real"
_PAPER = "chatsearcher.training.recipes.vicuna"
_FULL = "chatsearcher.training.recipes.full_size"

TOWERS = Registry(
    "tower recipe",
    {
        "nano-tower": f"{_NANO}:TOWER",
        "nano-real-tower": f"{_REAL}:TOWER",
    },
)
WORDS = Registry("words recipe", {"nano-words": f"{_NANO}:WORDS"})
READING = Registry("reading recipe", {"nano-reading": f"{_NANO}:READING"})
STAGE1 = Registry(
    "stage 1 recipe",
    {
        "nano": f"{_NANO}:STAGE1",
        "nano-short": f"{_NANO}:SHORT_STAGE1",
        "nano-real": f"{_REAL}:STAGE1",
        "vicuna-7b": f"{_PAPER}:STAGE1",
        "vicuna-7b-lora": f"{_FULL}:LORA_STAGE1",
        "qwen3-4b-siglip2": f"{_FULL}:QWEN_STAGE1",
    },
)
STAGE2 = Registry(
    "stage 2 recipe",
    {
        "nano": f"{_NANO}:STAGE2",
        "nano-short": f"{_NANO}:SHORT_STAGE2",
        "nano-questions": f"{_NANO}:QUESTIONS",
        "nano-real": f"{_REAL}:STAGE2",
        "vicuna-7b": f"{_PAPER}:STAGE2",
        "vicuna-7b-llava665k": f"{_FULL}:LLAVA665K",
        "vicuna-7b-lora": f"{_FULL}:LORA_STAGE2",
        "qwen3-4b-siglip2": f"{_FULL}:QWEN_STAGE2",
    },
)
