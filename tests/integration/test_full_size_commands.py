"""A full-size recipe as commands, on miniature files in the public formats, with DeepSpeed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.fixtures.public_formats import vicuna_like

pytest.importorskip("deepspeed")
pytest.importorskip("peft")
ROOT = Path(__file__).resolve().parents[2]
# The recipe's own engine, precision, adapters and Q-former; small steps over the world's pictures.
SMALL = shlex.split("""
--engine.threads 1 --log.every 1 --log.trackers --optimiser.steps 2 --optimiser.warmup 1
--optimiser.accumulation 2 --optimiser.learning-rate 0.01 --data.image-size 32 --data.workers 0
--data.reader indexed --data.length 512 --model.queue-size 16
--data.sources.cc3m.kind world-pairs --data.sources.cc3m.count 2
--data.sources.mmc4.kind world-documents --data.sources.mmc4.count 1""")


def command(*arguments: str | Path) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**clean, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_vicuna_7b_lora_from_parts_to_an_exported_checkpoint(tmp_path):
    llm, tower, qformer = vicuna_like(tmp_path)
    parts = ["--model.llm.pretrained", llm, "--model.tower", tower]
    parts += ["--model.qformer.pretrained", qformer, "--run", tmp_path / "run"]
    said = command("train/stage1.py", "--recipe", "vicuna-7b-lora", *parts, *SMALL)
    assert "newly initialised: 7 tensors" in said
    assert "left over in the Q-former" in said
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2]
    command("train/export.py", tmp_path / "run", tmp_path / "out", "--shard-size", "100KB")

    from chatsearcher import ChatSearcher

    before = ChatSearcher.from_parts(
        str(llm), str(tower), str(qformer), embedding_dim=768, dtype=torch.bfloat16
    )
    after = ChatSearcher.from_pretrained(tmp_path / "out")
    assert after.model.config.lora is None
    assert (after.model.config.tower_layer, after.model.config.tower_class_token) == (-2, True)
    start, _, end = after.model.config.token_ids()
    old = before.model.get_output_embeddings().weight
    new = after.model.get_output_embeddings().weight
    assert new.dtype == torch.bfloat16
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    changed = (old != new).any(dim=1).nonzero().flatten().tolist()
    assert set(changed) == {start, end}
    layers = [parts.model.llm.model.layers[0].self_attn.q_proj for parts in (before, after)]
    assert not torch.equal(layers[0].weight, layers[1].weight)  # the adapters are folded in
