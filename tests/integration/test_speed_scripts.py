"""The scripts that measure memory and GPUs run where there is neither GPU, nor open_clip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from chatsearcher.model.configuration import VIT_L_14
from chatsearcher.model.tower import build_visual
from chatsearcher.training.stand_in import StandInTower

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = """
import runpy, sys
names = "open_clip deepspeed accelerate peft datasets tyro faiss tensorboard bitsandbytes"
for name in names.split():
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_gpu_table_is_made_without_gpu_network_and_open_clip(tmp_path):
    out = tmp_path / "figures.json"
    words = ["eval/speed/gpu.py", "--size", "tiny", "--device", "cpu", "--json", str(out)]
    done = run("-c", WITHOUT, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert "stand-in" in figures["tower"]
    assert "not installed" in figures["engine"]
    assert {row["length"] for row in figures["steps"]} == {128, 64}
    for row in figures["steps"]:
        assert row["measured_seconds"] > 0
        assert row["predicted_gb"] > 0
        # of a miniature on a busy processor it may be above 1: the peak is measured but once
        done_per_second = row["tflop"] / row["measured_seconds"]
        assert row["utilisation"] == pytest.approx(done_per_second / figures["matrix_peak_tflops"])
    assert [row["from"] for row in figures["images"]] == [
        "prepared tensors",
        "JPEG files, 500 x 375",
    ]
    assert "| length x rows | version |" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_gpu_table_says_what_to_do():
    done = run("eval/speed/gpu.py")
    assert done.returncode != 0
    assert "no CUDA GPU here" in done.stderr
    assert "--size tiny" in done.stderr


def test_the_stand_in_has_the_shapes_and_the_arithmetic_of_the_tower():
    counts = []
    for make in (build_visual, StandInTower):
        with torch.device("meta"), torch.no_grad():
            tower = make(VIT_L_14).requires_grad_(False).eval()
            with FlopCounterMode(display=False) as counted:
                read = tower.forward_intermediates(
                    torch.empty(2, 3, 224, 224), indices=[-1], output_fmt="NCHW"
                )
        shapes = read["image_intermediates"][0].shape, read["image_features"].shape
        weights = sum(p.numel() for p in tower.parameters())
        counts.append((weights, counted.get_total_flops(), shapes))
    assert counts[0] == counts[1]


def test_the_loss_in_pieces_takes_a_fraction_of_the_memory():
    words = ["--tokens", "2048", "--vocabulary", "16384", "--hidden", "64", "--device", "cpu"]
    done = run("eval/speed/cross_entropy.py", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    # memory, not time: exact, and the same on every machine. 1,024 of 2,048 positions at once.
    assert figures["memory_ratio"] < 0.40  # seen: 0.34; 0.044 at 8,192 x 32,000
    assert figures["gradients_apart"] < 1e-5
