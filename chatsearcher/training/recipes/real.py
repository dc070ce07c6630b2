"""nano-real: nano's two stages on real pictures with people's words, from scratch.

The world's tower and tokenizer know neither photographs nor English; both are made anew. About 25
minutes in all on two CPU cores. The pictures: ``chatsearcher.data.real``.
"""

from __future__ import annotations

from dataclasses import replace

from chatsearcher.data import real
from chatsearcher.data.records import ContrastiveConfig, DataConfig
from chatsearcher.training.build import ModelSettings
from chatsearcher.training.recipes.types import Stage1Recipe, Stage2Recipe, TowerRecipe
from chatsearcher.training.settings import LogSettings, OptimiserSettings
from chatsearcher.training.tokenizer import TokenizerSettings
from chatsearcher.training.tower import TowerSettings

# Emoji of a family differ by skin, hair or gender, and their names say so: they are contrasted.
TOWER = TowerRecipe(
    run="runs/nano-real/tower",
    tower=TowerSettings(context=96, pool="latents", embedding_dim=256),
    tokenizer=TokenizerSettings(
        vocab_size=4000,
        sources={
            "openstax": real.openstax(count=12_000),
            "openmoji": real.openmoji(count=4_000),
            "edits": real.openmoji("modifications", 2_000),
            "talk": real.openstax("shard-dialogues", 1_000),
        },
    ),
    optimiser=OptimiserSettings(
        steps=360, learning_rate=1e-3, warmup=40, betas=(0.9, 0.98), weight_decay=0.2
    ),
    log=LogSettings(every=20, save_every=200, evaluate_every=200),
    data=ContrastiveConfig(
        kind="shards",
        batch=128,
        max_tokens=96,
        sources={"openstax": real.openstax(), "openmoji": real.openmoji()},
        alike={"openstax": "dup_group"},
        crop=0.6,
        workers=1,
        prefetch=8,
    ),
)

STAGE1 = Stage1Recipe(
    run="runs/nano-real/stage1",
    tower_recipe="nano-real-tower",
    model=ModelSettings(
        tower="runs/nano-real/tower/model",
        tokenizer="runs/nano-real/tower/tokenizer",
        retrieval_weight=4.0,
    ),
    optimiser=OptimiserSettings(
        steps=400, learning_rate=1e-3, warmup=40, betas=(0.9, 0.98), weight_decay=0.1
    ),
    log=LogSettings(every=20, save_every=200, evaluate_every=200),
    data=DataConfig(
        sources={
            "openstax": real.openstax(count=24),
            "openmoji": real.openmoji(count=24),
        },
        length=512,
        workers=1,
        prefetch=8,
    ),
)

STAGE2 = Stage2Recipe(
    run="runs/nano-real/stage2",
    start=STAGE1.run,
    optimiser=replace(STAGE1.optimiser, steps=300, learning_rate=5e-4),
    log=STAGE1.log,
    data=DataConfig(
        sources={
            "openstax": real.openstax("shard-dialogues", 16),
            "openmoji": real.openmoji("shard-dialogues", 16),
            "edits": real.openmoji("modifications", 16),
        },
        length=512,
        workers=1,
        prefetch=8,
    ),
)
