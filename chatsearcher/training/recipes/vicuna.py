"""vicuna-7b: the paper's ChatSearcher, its two tables of settings number for number.

Vicuna-7B v1.5, OpenAI CLIP ViT-L/14 at 224 px, BLIP-2's Q-former with 32 queries, eight GPUs. What
the paper does not print is written as "not printed" beside it.
"""

from __future__ import annotations

from chatsearcher.data.records import DataConfig, SourceConfig
from chatsearcher.training.build import LanguageModelSettings, ModelSettings, QFormerSettings
from chatsearcher.training.recipes.types import Stage1Recipe, Stage2Recipe
from chatsearcher.training.settings import EngineSettings, LogSettings, OptimiserSettings

_ENGINE = EngineSettings(zero=2, precision="bf16", activation_checkpointing=True)  # not printed
_LOG = LogSettings(every=10, save_every=1000, keep=2)

STAGE1 = Stage1Recipe(
    run="runs/vicuna-7b/stage1",
    validation=0,  # the sets have no held-out split
    engine=_ENGINE,
    log=_LOG,
    optimiser=OptimiserSettings(
        steps=200_000,
        learning_rate=2e-5,
        warmup=6_000,
        weight_decay=0.0,
        betas=(0.9, 0.999),  # not printed
        clip=1.0,  # not printed
    ),
    model=ModelSettings(
        tower="ViT-L-14/openai",
        # Not printed; as BLIP-2 fed this Q-former: the last layer but one, class token included.
        tower_layer=-2,
        tower_class_token=True,
        llm=LanguageModelSettings(pretrained="lmsys/vicuna-7b-v1.5"),
        qformer=QFormerSettings(
            pretrained="weights/blip2_pretrained_vitL.pth",
            hidden_size=768,
            layers=12,
            heads=12,
            intermediate_size=3072,
            cross_attention_every=2,
            dropout=0.1,
        ),
        query_tokens=32,
        embedding_dim=768,  # not printed
        queue_size=1000,
        momentum=0.0,
        negatives="queue",
        retrieval_weight=1.0,
        freeze_tower=True,
        freeze_llm=False,
    ),
    data=DataConfig(
        sources={
            "cc3m": SourceConfig("shard-pairs", 256, path="data/cc3m"),
            "mmc4": SourceConfig("shard-documents", 64, path="data/mmc4-core"),
        },
        length=2048,  # not printed
        image_size=224,
        workers=4,
        reader="stream",  # 3.3 and 7.3 million records
    ),
)

STAGE2 = Stage2Recipe(
    run="runs/vicuna-7b/stage2",
    validation=0,
    start="runs/vicuna-7b/stage1",
    engine=_ENGINE,
    log=_LOG,
    optimiser=OptimiserSettings(
        steps=10_000,
        learning_rate=2e-6,
        warmup=300,
        weight_decay=0.0,
        betas=(0.9, 0.999),  # not printed
        clip=1.0,  # not printed
    ),
    data=DataConfig(
        # In proportion to their sizes: 150k, 10k, 10k.
        sources={
            "llava": SourceConfig("shard-conversations", 15, path="data/llava-150k"),
            "instructpix2pix": SourceConfig("shard-conversations", 1, path="data/instructpix2pix"),
            "chatsearch": SourceConfig("shard-conversations", 1, path="data/chatsearch"),
        },
        batch=64,
        length=2048,  # not printed
        image_size=224,
        workers=4,
    ),
)
