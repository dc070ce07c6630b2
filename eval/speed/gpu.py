"""The whole table of GPU figures in one command of at most eight minutes on one large NVIDIA card.

    python eval/speed/gpu.py [--json OUT]          # Vicuna-7B + ViT-L/14 + Q-former, random weights
    python eval/speed/gpu.py --size tiny --device cpu    # the same code in seconds
    python eval/speed/gpu.py --predict 790 4300 150      # the predictions alone: an H200

It needs neither DeepSpeed nor a network, nor open_clip (then a tower of the same shape, written
here, takes its place; the output says so). A step is the model's own stage 1 step in plain torch:
packed rows of four pairs and a document each, unified loss, queue, clipping, and an optimiser for
one card: AdamW with float32 masters (16 bytes a weight) where that fits, else AdamW whose states
are bfloat16 too (8 bytes), else LoRA. Each version comes with what was predicted before it ran:
memory by ``chatsearcher plan``'s count, time by a simple model (``Bench._time``). Utilisation is
model FLOPs (nothing computed twice counts) over the card's own matrix peak, measured first.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from chatsearcher.device import pick_device
from chatsearcher.model import ChatSearcherConfig, ChatSearcherModel
from chatsearcher.model import tower as tower_module
from chatsearcher.model.configuration import VIT_L_14
from chatsearcher.training.efficiency import compile_layers, enable_checkpointing
from chatsearcher.training.masters import MasterAdamW
from chatsearcher.training.measure import copy_bandwidth, matrix_peak, seconds
from chatsearcher.training.planning.activations import Kept, kept
from chatsearcher.training.planning.flops import step_flops
from chatsearcher.training.planning.memory import Workload, need
from chatsearcher.training.planning.shapes import KNOWN_LANGUAGE_MODELS, Counts, count
from chatsearcher.training.settings import EngineSettings
from chatsearcher.training.stand_in import StandInTower
from chatsearcher.training.synthetic import stage1_batch
from chatsearcher.training.tower_speed import tower_rates

TOKENS = 32_768
"""Positions of a step, where they fit."""


@dataclass(frozen=True)
class Version:
    """One way to compute the step; ``kept_layers`` are not computed again in the backward pass."""

    name: str
    attention: str = "sdpa"
    word_loss: Literal["plain", "chunked"] = "plain"
    compiled: bool = False
    kept_layers: float = 0.0


PLAIN = Version("as plain as can be")
PIECES = Version("+ words in pieces", word_loss="chunked")
FLASH = Version("+ flash kernel over packed rows", "varlen", "chunked")
COMPILED = Version("+ layers compiled", "varlen", "chunked", True)
HALF = Version("+ half of the layers kept", "varlen", "chunked", True, 0.5)
KEPT = Version("+ all layers kept", "varlen", "chunked", True, 1.0)

# In the order in which they are tried: what comes first survives a lack of time.
LADDER = (
    *(("long", version) for version in (PLAIN, PIECES, FLASH, COMPILED)),
    *(("short", version) for version in (FLASH, COMPILED)),
    *(("long", version) for version in (HALF, KEPT)),
    ("short", KEPT),
)


def configuration(size: str) -> ChatSearcherConfig:
    """Vicuna-7B, ViT-L/14 at 224 px and BLIP-2's Q-former; or a miniature of it."""
    from transformers import AutoConfig, LlamaConfig

    if size == "tiny":
        llm: Any = LlamaConfig(
            vocab_size=503,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            tie_word_embeddings=False,
        )
        tower = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
        qformer = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        more: dict[str, Any] = {
            "tower_config": {"embed_dim": 32, "vision_cfg": tower},
            "image_size": 32,
        }
        more |= {"qformer_config": {**qformer, "intermediate_size": 96}, "num_query_tokens": 4}
        more |= {"embedding_dim": 32, "queue_size": 64}
    else:
        values = dict(KNOWN_LANGUAGE_MODELS["lmsys/vicuna-7b-v1.5"])
        llm = AutoConfig.for_model(values.pop("model_type"), **values)
        llm.vocab_size += 3
        more = {"tower_config": VIT_L_14, "qformer_config": {"cross_attention_frequency": 2}}
    words = llm.vocab_size
    return ChatSearcherConfig(
        llm_config=llm,
        momentum=0.0,
        image_start_token_id=words - 3,
        image_end_token_id=words - 2,
        image_token_id=words - 1,
        **more,
    )


class Bench:
    """A model of the given size on a device, its optimiser, and what the machine can do."""

    def __init__(
        self, size: str, device: torch.device, deadline: float, card: list[float] | None
    ) -> None:
        self.device, self.deadline, self.tiny = device, deadline, size == "tiny"
        self.config = configuration(size)
        self.counts: Counts = count(self.config)
        self.only_predict = card is not None
        if card is not None:
            tflops, gb_per_second, gigabytes = card
            self.peak, self.bandwidth = 1e12 * tflops, 1e9 * gb_per_second
            self.capacity = int(1e9 * gigabytes)
        else:
            self.peak = matrix_peak(device, 256 if self.tiny else 8192)
            self.bandwidth = copy_bandwidth(device, 1 << (20 if self.tiny else 30))
            self.capacity = _capacity(device)
        self.optimiser_name, self.state_bytes = self._choose()
        print(f"optimiser: {self.optimiser_name}", flush=True)
        self.model: Any = None if self.only_predict else self._new_model()
        self.optimiser: Any = None

    def _choose(self) -> tuple[str, int]:
        """The optimiser that fits with room for 8,192 positions; Adam's bytes a weight."""
        room = self.capacity - 8192 * (10**6 if not self.tiny else 1)
        weights = 2 * self.counts.total + 2 * self.counts.trained
        if weights + 12 * self.counts.trained <= room:
            return "AdamW with float32 masters and states, 16 bytes a weight", 12
        if weights + 4 * self.counts.trained <= room:
            return "AdamW with bfloat16 weights and states, 8 bytes a weight (no masters)", 4
        return "LoRA of rank 16: full fine-tuning does not fit", 0

    def _new_model(self) -> ChatSearcherModel:
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        try:
            with self.device:
                model = ChatSearcherModel(self.config)
        finally:
            torch.set_default_dtype(torch.float32)
        if not self.state_bytes:
            model.add_lora(rank=16)
        whole: Any = model
        return whole.to(self.device).train()

    def step(self, batch: Any) -> Tensor:
        """Forward, backward, clipping, optimiser: what the loop does, without a log."""
        if self.optimiser is None:
            trained = [w for w in self.model.parameters() if w.requires_grad]
            if self.state_bytes == 12:
                self.optimiser = MasterAdamW(trained, 1e-6)
            else:
                self.optimiser = torch.optim.AdamW(trained, 1e-6, weight_decay=0.0, fused=True)
        loss: Tensor = self.model(batch).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        if self.state_bytes != 12:
            self.optimiser.zero_grad()
        return loss.detach()

    def prepare(self, version: Version) -> None:
        """Make the model compute the step this way."""
        self.model.config.attention = version.attention
        self.model.config.word_loss = version.word_loss
        llm: Any = self.model.llm
        layers = getattr(llm, llm.base_model_prefix).layers
        enable_checkpointing(self.model)
        for number, layer in enumerate(layers):
            before = int(number * version.kept_layers)
            layer.gradient_checkpointing = int((number + 1) * version.kept_layers) == before
            layer._compiled_call_impl = None
        if version.compiled:
            torch._dynamo.reset()
            compile_layers(llm)

    def plan(self, version: Version, rows: int, length: int) -> tuple[int, float, Any, Any]:
        """Predicted memory and time of a step, its arithmetic, and its batch."""
        batch, pairs = stage1_batch(self.config, rows, length)
        words = int((batch.labels[:, 1:] >= 0).sum())
        load = Workload(rows, length, len(batch.image_ids))
        held = kept(
            self.config,
            rows,
            length,
            load.images,
            patches=self.counts.patches,
            channels=self.counts.channels,
            dtype=torch.bfloat16,
            autocast=False,
            attention=version.attention,
            adapter_rank=0 if self.state_bytes else 16,
        )
        flops = step_flops(
            self.config, load, pairs=pairs, words=words, adapters=not self.state_bytes
        )
        return (
            self._memory(version, load, held),
            self._time(version, load, held, flops),
            flops,
            batch,
        )

    def _memory(self, version: Version, load: Workload, held: Kept) -> int:
        engine = EngineSettings(
            precision="bf16", activation_checkpointing=True, word_loss=version.word_loss
        )
        layers = self.config.llm_config.num_hidden_layers
        memory = need(self.config, self.counts, held, load, engine, deepspeed=False, reserve=False)
        trained = self.counts.trained if self.state_bytes else int(0.022 * self.counts.total)
        states = replace(
            memory, optimiser=self.state_bytes * trained if self.state_bytes else 4 * trained
        )
        if not self.state_bytes:
            states = replace(states, gradients=2 * trained)
        whole = int(version.kept_layers * layers) * (held.layer - held.layer_input)
        return states.peak + max(0, whole)

    def _time(self, version: Version, load: Workload, held: Kept, flops: Any) -> float:
        """What a step should take: products at 85 % of the peak; everything else moves bytes.

        Layers that are checkpointed run forward twice. Attention by a flash kernel runs at 40 % of
        the peak over the pairs that see each other; with a mask, at 20 % over all pairs. Of what a
        layer keeps, each byte is moved four times (forward and backward, written and read), half
        as often when compiled. The optimiser moves 30 bytes a weight.
        """
        again = 1 + (1 - version.kept_layers) / 3
        products = (flops.layers * again + flops.head + flops.connector + flops.tower) / 0.85
        attention = flops.attention * again / 0.40
        if version.attention == "sdpa":
            text = self.config.llm_config.get_text_config()
            every = load.rows * load.length**2
            attention = 12.0 * text.num_hidden_layers * text.hidden_size * every * again / 0.20
        moved = held.layer * self.config.llm_config.num_hidden_layers * 4 * again
        moved *= 0.5 if version.compiled else 1.0
        moved += 30 * self.counts.trained
        return (products + attention) / self.peak + moved / self.bandwidth

    def run(self, version: Version, length: int) -> dict[str, Any]:
        """Measure one version at one length, at the largest number of rows that should fit."""
        rows = max(1, (256 if self.tiny else TOKENS) // length)
        while True:
            memory, predicted, flops, batch = self.plan(version, rows, length)
            if memory <= 0.94 * self.capacity or rows == 1:
                break
            rows //= 2
        row: dict[str, Any] = {"version": version.name, "length": length, "rows": rows}
        row |= {"predicted_gb": memory / 1e9, "predicted_seconds": predicted}
        row["images"] = len(batch.image_ids)
        if self.only_predict:
            mfu = flops.total / predicted / self.peak
            return {**row, "note": "–", "predicted_utilisation": mfu}
        if time.monotonic() > self.deadline:
            return {**row, "note": "not run: the time was up"}
        self.prepare(version)
        batch = batch.to(self.device, torch.bfloat16)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            self.step(batch)  # compiles, and makes the optimiser's states
            taken = seconds(lambda: self.step(batch), self.device, times=2)
        except torch.OutOfMemoryError:
            self.model.zero_grad(set_to_none=True)
            gc.collect()
            return {**row, "note": "out of memory: predicted too little"}
        if self.device.type == "cuda":
            row["measured_gb"] = torch.cuda.max_memory_allocated() / 1e9
        tokens = rows * length
        return {
            **row,
            "measured_seconds": taken,
            "tokens_per_second": tokens / taken,
            "tflop": flops.total / 1e12,
            "utilisation": flops.total / taken / self.peak,
        }


def _capacity(device: torch.device) -> int:
    if device.type != "cuda":
        return 8 * 10**9
    return int(torch.cuda.get_device_properties(device).total_memory)


def show(figures: dict[str, Any]) -> None:
    """The table, last of all that is printed."""
    for key in ("device", "torch", "engine", "tower", "optimiser"):
        print(f"{key}: {figures[key]}")
    print(f"matrix_peak_tflops: {figures['matrix_peak_tflops']:.3g}")
    print(
        "\n| length x rows | version | s predicted | s measured | GB predicted | GB measured "
        "| tokens/s | utilisation |\n|---|---|---|---|---|---|---|---|"
    )
    for row in figures["steps"]:
        cells = [f"{row['length']} x {row['rows']}", row["version"]]
        cells.append(f"{row['predicted_seconds']:.3g}")
        cells.append(f"{row['measured_seconds']:.3g}" if "measured_seconds" in row else row["note"])
        cells.append(f"{row['predicted_gb']:.3g}")
        cells.append(f"{row['measured_gb']:.3g}" if "measured_gb" in row else "–")
        foretold = row.get("predicted_utilisation")
        share = row.get("utilisation", foretold)
        tokens = row["length"] * row["rows"] / row.get("measured_seconds", row["predicted_seconds"])
        known = share is not None
        cells.append(f"{tokens:,.0f}" if known else "–")
        cells.append(f"{share:.1%}" + (" (foretold)" if foretold else "") if known else "–")
        print("| " + " | ".join(cells) + " |")
    print("\n| tower, from | images/s |\n|---|---|")
    for row in figures["images"]:
        print(f"| {row['from']} | {row['images_per_second']:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=("7b", "tiny"), default="7b")
    parser.add_argument("--lengths", type=int, nargs=2, help="2048 and 512 by default")
    parser.add_argument("--minutes", type=float, default=7.0, help="begin nothing new after these")
    parser.add_argument("--compile", action="store_true", help="compile at size tiny too")
    parser.add_argument(
        "--predict",
        type=float,
        nargs=3,
        metavar=("TFLOPS", "GB/S", "GB"),
        help="only foretell the table, for a card of such matrix peak, bandwidth and memory",
    )
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    if arguments.size == "7b" and not torch.cuda.is_available() and not arguments.predict:
        sys.exit(
            "error: no CUDA GPU here (torch sees none), and 7 billion weights are for one. Run it "
            "on a machine with a card of 24 GB or more; --size tiny --device cpu proves the code, "
            "--predict foretells the table."
        )
    device = pick_device(arguments.device)
    stand_in = importlib.util.find_spec("open_clip") is None
    if stand_in:
        tower_module.build_visual = StandInTower  # type: ignore[assignment]
    bench = Bench(arguments.size, device, deadline, arguments.predict)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "torch": torch.__version__,
        "engine": "plain torch; DeepSpeed is "
        + ("not installed" if importlib.util.find_spec("deepspeed") is None else "not used"),
        "tower": "a stand-in of the same shape: open_clip is not installed"
        if stand_in
        else "open_clip",
        "optimiser": bench.optimiser_name,
        "matrix_peak_tflops": bench.peak / 1e12,
        "bandwidth_gb_per_second": bench.bandwidth / 1e9,
        "images": [],
        "steps": [],
    }
    if not arguments.predict:
        with tempfile.TemporaryDirectory() as folder:
            figures["images"] = tower_rates(bench.model, device, Path(folder), small=bench.tiny)
    long, short = arguments.lengths or ((128, 64) if bench.tiny else (2048, 512))
    for place, version in LADDER:
        if bench.tiny and version.compiled and not arguments.compile:
            continue
        figures["steps"].append(bench.run(version, short if place == "short" else long))
        print(json.dumps(figures["steps"][-1]), flush=True)
    figures["steps"].sort(key=lambda row: -row["length"])
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
