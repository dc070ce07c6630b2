"""Full-size recipes beside the paper's own: LoRA on one card, LLaVA-665k, today's parts.

What is the paper's is taken from ``vicuna``; every other figure here is ours, and none has been
trained: docs/full-size.md says what is proved without the weights.
"""

from __future__ import annotations

from dataclasses import replace

from chatsearcher.data.records import SourceConfig
from chatsearcher.training.build import (
    AdapterSettings,
    LanguageModelSettings,
    ModelSettings,
    QFormerSettings,
)
from chatsearcher.training.recipes import vicuna
from chatsearcher.training.recipes.types import Stage1Recipe, Stage2Recipe
from chatsearcher.training.settings import EngineSettings, OptimiserSettings

# vicuna-7b-lora: one card of 24 GB. The paper's 256 + 64 items a step come in 32 pieces, and its
# schedule is cut to a tenth, which one card can reach; adapters want a higher rate (ours: tenfold).
_ONE_CARD = EngineSettings(zero=2, precision="bf16", activation_checkpointing=True)

LORA_STAGE1 = replace(
    vicuna.STAGE1,
    run="runs/vicuna-7b-lora/stage1",
    engine=_ONE_CARD,
    optimiser=replace(
        vicuna.STAGE1.optimiser, steps=20_000, warmup=600, learning_rate=2e-4, accumulation=32
    ),
    model=replace(vicuna.STAGE1.model, lora=AdapterSettings(rank=16, alpha=32, dropout=0.05)),
    data=replace(
        vicuna.STAGE1.data,
        sources={
            "cc3m": replace(vicuna.STAGE1.data.sources["cc3m"], count=8),
            "mmc4": replace(vicuna.STAGE1.data.sources["mmc4"], count=2),
        },
        length=1024,
    ),
)
LORA_STAGE2 = replace(
    vicuna.STAGE2,
    run="runs/vicuna-7b-lora/stage2",
    start=LORA_STAGE1.run,
    engine=_ONE_CARD,
    optimiser=replace(vicuna.STAGE2.optimiser, learning_rate=2e-5, accumulation=16),
    data=replace(vicuna.STAGE2.data, batch=4, length=1024),  # 16 x 4: the paper's 64
)

# vicuna-7b-llava665k: section 5.4, "further fine-tuned"; the paper prints no setting of it. Batch,
# rate, warm-up and the one epoch over 665,298 conversations are LLaVA-1.5's published ones; loss,
# queue and optimiser stay those of stage 2.
LLAVA665K = replace(
    vicuna.STAGE2,
    run="runs/vicuna-7b-llava665k/stage2",
    start=vicuna.STAGE2.run,
    optimiser=replace(
        vicuna.STAGE2.optimiser, steps=5_197, learning_rate=2e-5, warmup=156, weight_decay=0.0
    ),
    data=replace(
        vicuna.STAGE2.data,
        sources={"llava": SourceConfig("shard-conversations", 1, path="data/llava-665k")},
        batch=128,
    ),
)

# qwen3-4b-siglip2: nothing of the paper's but the method. No BLIP-2 Q-former reads SigLIP2's
# features, so it is new, and sees patches from every one of its layers.
QWEN_STAGE1 = Stage1Recipe(
    run="runs/qwen3-4b-siglip2/stage1",
    engine=vicuna.STAGE1.engine,
    log=vicuna.STAGE1.log,
    validation=0,
    optimiser=OptimiserSettings(steps=100_000, learning_rate=5e-5, warmup=3_000, betas=(0.9, 0.98)),
    model=ModelSettings(
        tower="ViT-SO400M-16-SigLIP2-256/webli",
        tower_layer=-2,
        llm=LanguageModelSettings(pretrained="Qwen/Qwen3-4B"),
        qformer=QFormerSettings(
            hidden_size=768,
            layers=6,
            heads=12,
            intermediate_size=3072,
            cross_attention_every=1,
        ),
        query_tokens=64,
        embedding_dim=1024,
        queue_size=4096,
        momentum=0.0,
    ),
    data=replace(vicuna.STAGE1.data, image_size=256),
)
QWEN_STAGE2 = Stage2Recipe(
    run="runs/qwen3-4b-siglip2/stage2",
    start=QWEN_STAGE1.run,
    engine=vicuna.STAGE2.engine,
    log=vicuna.STAGE2.log,
    validation=0,
    optimiser=OptimiserSettings(steps=10_000, learning_rate=1e-5, warmup=300, betas=(0.9, 0.98)),
    data=replace(vicuna.STAGE2.data, image_size=256),
)
