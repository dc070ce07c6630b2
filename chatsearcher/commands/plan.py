"""``chatsearcher plan RECIPE --gpus 8 --memory 80``: what fits, before anything is run."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatsearcher.training.planning.conversation import ConversationMemory
    from chatsearcher.training.planning.plan import Plan

HELP = "say which ZeRO stage and micro-batch of a recipe fit into GPUs' memory"


def register(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "plan",
        help=HELP,
        description=HELP + "; computed from configurations, without weights, GPU or network",
    )
    parser.add_argument("recipe", help="vicuna-7b, vicuna-7b-lora, nano, …")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs over all machines (8)")
    parser.add_argument("--memory", type=float, default=80.0, help="GB of each GPU (80)")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="by default 1 if it has one")
    parser.add_argument("--rows", type=int, help="rows of one GPU's micro-batch")
    parser.add_argument("--images", type=int, help="pictures of one GPU's micro-batch")
    parser.add_argument(
        "--checkpointing",
        action=argparse.BooleanOptionalAction,
        help="activation checkpointing on or off, whatever the recipe says",
    )
    parser.add_argument(
        "--attention", choices=("sdpa", "eager", "varlen", "flash_attention_2", "flash_attention_3")
    )
    parser.add_argument("--word-loss", choices=("plain", "chunked"))
    parser.add_argument(
        "--converse",
        action="store_true",
        help="instead, a conversation with the trained model on one GPU in 16, 8 and 4 bits",
    )
    parser.add_argument(
        "--positions", type=int, default=4096, help="with --converse: the longest history (4096)"
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Plan the recipe and print the table."""
    from dataclasses import replace

    from chatsearcher.training.planning.plan import plan
    from chatsearcher.training.recipes import STAGE1, STAGE2, TOWERS

    if arguments.recipe in TOWERS:
        raise ValueError(
            f"{arguments.recipe!r} trains a tower by itself; plan counts the two stages: "
            f"{', '.join(sorted({*STAGE1, *STAGE2}))}"
        )
    stage = arguments.stage or (1 if arguments.recipe in STAGE1 else 2)
    table = STAGE1 if stage == 1 else STAGE2
    engine = table[arguments.recipe].engine
    for setting, value in (
        ("activation_checkpointing", arguments.checkpointing),
        ("attention", arguments.attention),
        ("word_loss", arguments.word_loss),
    ):
        if value is not None:
            engine = replace(engine, **{setting: value})
    made = plan(
        arguments.recipe,
        arguments.gpus,
        arguments.memory,
        stage=stage,
        rows=arguments.rows,
        images=arguments.images,
        changes=engine,
    )
    if arguments.converse:
        return _converse(made, arguments)
    print(json.dumps(made.as_json(), indent=2) if arguments.json else describe(made))
    return 0


def describe(plan: Plan) -> str:
    """The plan as a Markdown table with a sentence before and after."""
    counts, load = plan.counts, plan.workload
    pieces = f", {plan.accumulation} micro-batches a step" if plan.accumulation > 1 else ""
    lines = [
        f"{plan.recipe}, stage {plan.stage}, on {plan.gpus} x {plan.gigabytes:g} GB: "
        f"{counts.trained / 1e9:.3f} billion parameters trained, {counts.frozen / 1e9:.3f} frozen",
        f"One GPU's micro-batch: {load.rows} rows of {load.length:,} tokens, {load.images} "
        f"pictures{pieces}; {plan.flops / 1e12:,.4g} TFLOP",
        "",
        "| GB on one GPU | " + " | ".join(c.name for c in plan.choices) + " |",
        "|---|" + "---|" * len(plan.choices),
    ]
    for kind in (*plan.own.memory.KINDS, "peak"):
        cells = [f"{getattr(c.memory, kind) / 1e9:.2f}" for c in plan.choices]
        name = f"**{kind}**" if kind == "peak" else kind
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    hosts = [f"{c.memory.host / 1e9:.1f}" if c.memory.host else "–" for c in plan.choices]
    fits = ["yes" if c.fits else "no" for c in plan.choices]
    most = [str(c.most_rows) for c in plan.choices]
    lines += [
        "| on the host, each rank | " + " | ".join(hosts) + " |",
        "| fits | " + " | ".join(fits) + " |",
        "| most rows | " + " | ".join(most) + " |",
        "",
        plan.advice,
    ]
    return "\n".join(lines)


def _converse(plan: Plan, arguments: argparse.Namespace) -> int:
    from chatsearcher.training.planning.conversation import WEIGHT_BYTES, conversation_memory

    made: dict[int, ConversationMemory] = {
        bits: conversation_memory(plan.config, plan.counts, bits, arguments.positions)
        for bits in sorted(WEIGHT_BYTES, reverse=True)
    }
    if arguments.json:
        print(json.dumps({bits: memory.as_json() for bits, memory in made.items()}, indent=2))
        return 0
    print(f"{plan.recipe}: a conversation of {arguments.positions:,} positions on one GPU")
    print("\n| GB | " + " | ".join(f"{bits} bits" for bits in made) + " |")
    print("|---|" + "---|" * len(made))
    for kind in ("layers", "rest", "cache", "reading", "reserve", "peak"):
        print(
            f"| {kind} | "
            + " | ".join(f"{getattr(m, kind) / 1e9:.2f}" for m in made.values())
            + " |"
        )
    fits = ["yes" if m.peak <= arguments.memory * 1e9 else "no" for m in made.values()]
    print(f"| fits {arguments.memory:g} GB | " + " | ".join(fits) + " |")
    return 0
