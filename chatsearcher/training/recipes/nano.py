"""nano: everything from scratch in the picture world, on two CPU cores."""

from __future__ import annotations

from dataclasses import replace

from chatsearcher.data.records import ContrastiveConfig, DataConfig, SourceConfig
from chatsearcher.training.build import ModelSettings, QFormerSettings
from chatsearcher.training.new_llama import LanguageModelSettings
from chatsearcher.training.recipes.types import (
    ReadingRecipe,
    Stage1Recipe,
    Stage2Recipe,
    TowerRecipe,
    WordsRecipe,
)
from chatsearcher.training.settings import LogSettings, OptimiserSettings

# Groups of look-alikes beside multiple choice: sentences alone teach what is easiest to see and
# little else.
TOWER = TowerRecipe(
    run="runs/nano/tower",
    choices=True,
    optimiser=OptimiserSettings(
        steps=1500, learning_rate=1e-3, warmup=50, betas=(0.9, 0.98), weight_decay=0.05
    ),
    log=LogSettings(every=20, save_every=200, evaluate_every=200),
    data=ContrastiveConfig(batch=128, group=4, workers=1, prefetch=8),
)

LANGUAGE_MODEL = LanguageModelSettings(initialiser="local")
# 36,000 captions of the tower's own words in place of a public model's pre-training.
WORDS = WordsRecipe(
    run="runs/nano/words",
    tower="runs/nano/tower/model",
    tokenizer="runs/nano/tower/tokenizer",
    tower_recipe="nano-tower",
    llm=LANGUAGE_MODEL,
    optimiser=OptimiserSettings(
        steps=1800, learning_rate=1e-3, warmup=30, betas=(0.9, 0.98), weight_decay=0.05
    ),
    log=LogSettings(every=20, save_every=200, evaluate_every=200),
    data=DataConfig(
        sources={"look-alikes": SourceConfig("world-look-alikes", 24)},
        length=64,
        workers=1,
        prefetch=8,
    ),
)

MODEL = ModelSettings(
    tower="runs/nano/tower/model",
    tokenizer="runs/nano/tower/tokenizer",
    llm=replace(LANGUAGE_MODEL, start="runs/nano/words/model"),
    qformer=QFormerSettings(initialiser="width"),
    retrieval_weight=4.0,
    temperature=0.04,  # begun at 14, an earlier one rose to 42 in 3,200 steps
    query_tokens=14,  # a word for each attribute of two things, a setting and a time
    search_lead="Looking for",  # as the world's conversations have it
)
# 96,000 pictures, each in 14 words, in place of a public Q-former's pre-training: of captions
# alone a language model learned to read a kind in two of three cases from as many.
READING = ReadingRecipe(
    run="runs/nano/reading",
    tower_recipe="nano-tower",
    words_recipe="nano-words",
    model=MODEL,
    optimiser=OptimiserSettings(steps=1500, learning_rate=1e-3, warmup=50, betas=(0.9, 0.98)),
    log=LogSettings(every=20, save_every=300, evaluate_every=300),
    data=DataConfig(
        sources={"keywords": SourceConfig("world-keywords", 64)},
        length=320,
        workers=1,
        prefetch=8,
    ),
)

# Words outnumber pictures by far; the weight keeps the retrieval half of equation 1 in the balance.
# Look-alikes make the queue's negatives hard: random pictures are told apart too easily. Small
# batches, for what counts is how often the model is corrected.
STAGE1 = Stage1Recipe(
    run="runs/nano/stage1",
    tower_recipe="nano-tower",
    reading_recipe="nano-reading",
    model=replace(MODEL, start="runs/nano/reading/model"),
    optimiser=OptimiserSettings(
        steps=1200,
        learning_rate=1e-3,
        warmup=50,
        betas=(0.9, 0.98),
        key_rate=0.2,
        qformer_rate=0.1,
    ),
    log=LogSettings(every=20, save_every=200, evaluate_every=200),
    data=DataConfig(
        sources={
            "captions": SourceConfig("world-captions", 10),
            "pairs": SourceConfig("world-pairs", 2),
            "look-alikes": SourceConfig("world-look-alikes", 8),
            "rewordings": SourceConfig("world-rewordings", 16),
            "documents": SourceConfig("world-documents", 2),
        },
        length=320,
        workers=1,
        prefetch=8,
    ),
)

STAGE2 = Stage2Recipe(
    run="runs/nano/stage2",
    start="runs/nano/stage1",
    optimiser=OptimiserSettings(
        steps=3400, learning_rate=1e-3, warmup=100, betas=(0.9, 0.98), qformer_rate=0.1
    ),
    log=LogSettings(every=20, save_every=250, evaluate_every=250),
    data=DataConfig(
        sources={
            "conversations": SourceConfig("world-conversations", 2),
            "searches": SourceConfig("world-searches", 14),
            "requests": SourceConfig("world-requests", 4),
            "questions": SourceConfig("world-questions", 2),
            "descriptions": SourceConfig("world-descriptions", 1),
        },
        length=384,  # short rows are cheaper; one conversation in a thousand is longer
        workers=1,
        prefetch=8,
    ),
)

# The paper's further tuning for visual conversation (section 5.4), in miniature: stage 2 goes on
# with questions about shown pictures alone.
QUESTIONS = replace(
    STAGE2,
    run="runs/nano-questions/stage2",
    start=STAGE2.run,
    optimiser=replace(STAGE2.optimiser, steps=200, learning_rate=3e-4, warmup=20),
    data=replace(STAGE2.data, sources={"questions": SourceConfig("world-questions", 32)}),
)

# For comparisons: at most 15 minutes a run on two cores, with nano's tower, tokenizer and words.
SHORT_STAGE1 = replace(
    STAGE1, run="runs/nano-short/stage1", optimiser=replace(STAGE1.optimiser, steps=400)
)
SHORT_STAGE2 = replace(
    STAGE2,
    run="runs/nano-short/stage2",
    start="runs/nano-short/stage1",
    optimiser=replace(STAGE2.optimiser, steps=400),
)
