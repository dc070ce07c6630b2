"""Tower, stage 1 and stage 2 as commands, in miniature; and a kill that leaves no trace."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from chatsearcher.training import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = shlex.split("""
--engine.threads 1 --log.every 1 --log.save-every 2 --log.trackers --validation 1
--data.workers 1 --optimiser.warmup 1 --data.prefetch 2""")
TOWER = shlex.split("""
--tokenizer.vocab-size 320 --tokenizer.sources.pairs.count 4
--tokenizer.sources.documents.count 2 --tokenizer.sources.conversations.count 2
--tower.image-size 32 --tower.embedding-dim 16 --tower.text-layers 1
--tower.text-width 16 --tower.text-heads 2 --data.batch 8
--data.image-size 32 --optimiser.steps 3""")
MODEL = shlex.split("""--model.llm.hidden-size 32 --model.llm.layers 1 --model.llm.heads 2
--model.llm.intermediate-size 48 --model.qformer.hidden-size 16 --model.qformer.layers 1
--model.qformer.heads 2 --model.qformer.intermediate-size 24 --model.query-tokens 2
--model.embedding-dim 12 --model.queue-size 16 --model.momentum 0.5 --data.image-size 32
--data.length 640 --model.llm.start None --model.start None""")


def losses(run: Path) -> dict[int, float]:
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


@contextlib.contextmanager
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With a finished tower."""
    made = tmp_path_factory.mktemp("runs")
    with threads_restored():
        main.tower(["--run", str(made / "tower"), "--recipe", "nano-tower", *TOWER, *SMALL])
    return made


def stage1(folder: Path, run: str, steps: int = 7) -> list[str]:
    parts = ["--model.tower", str(folder / "tower" / "model"), *MODEL]
    parts += ["--model.tokenizer", str(folder / "tower" / "tokenizer"), *SMALL]
    return ["--run", str(folder / run), "--optimiser.steps", str(steps), *parts]


@pytest.fixture(scope="module")
def undisturbed(folder) -> Path:
    """With a finished stage 1 in ``stage1/``."""
    with threads_restored():
        main.stage1(stage1(folder, "stage1"))
    return folder


def environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return {**clean, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_the_tower_is_open_clips(folder):
    name = f"local-dir:{folder / 'tower' / 'model'}"
    model, _ = open_clip.create_model_from_pretrained(name)
    assert model.encode_text(open_clip.get_tokenizer(name)(["a cat"])).shape == (1, 16)
    about = json.loads((folder / "tower" / "recipe.json").read_text())
    assert about["recipe"]["optimiser"]["steps"] == 3
    assert about["versions"]["torch"] == torch.__version__.split("+")[0]


def test_a_run_killed_and_resumed_prints_the_same_losses(undisturbed):
    run = undisturbed / "killed"
    command = [sys.executable, "train/stage1.py", *stage1(undisturbed, "killed")]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not (run / "log.jsonl").is_file() or len(losses_so_far(run)) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with threads_restored():
        main.stage1([*stage1(undisturbed, "killed"), "--resume"])
    assert losses(run) == losses(undisturbed / "stage1")


def losses_so_far(run: Path) -> list[str]:
    return (run / "log.jsonl").read_text(encoding="utf-8").splitlines()


def test_stage_2_goes_on_from_stage_1(undisturbed):
    run = undisturbed / "stage2"
    start = ["--start", str(undisturbed / "stage1"), "--optimiser.steps", "2"]
    with threads_restored():
        main.stage2(["--run", str(run), *start, "--data.image-size", "32", *SMALL])
    assert set(losses(run)) == {1, 2}

    from chatsearcher.model import ChatSearcherModel, ChatSearcherProcessor

    first = ChatSearcherModel.from_pretrained(undisturbed / "stage1" / "model")
    second = ChatSearcherModel.from_pretrained(run / "model")
    assert ChatSearcherProcessor.from_pretrained(run / "model").num_query_tokens == 2
    moved = {
        name
        for (name, before), after in zip(first.named_parameters(), second.parameters(), strict=True)
        if not torch.equal(before, after)
    }
    assert any(name.startswith("llm.") for name in moved)
    assert not any(name.startswith("tower.") for name in moved)


def test_stage_1_goes_on_from_another_run(undisturbed):
    run = undisturbed / "further"
    start = ["--start", str(undisturbed / "stage1"), "--optimiser.learning-rate", "0"]
    with threads_restored():
        main.stage1([*stage1(undisturbed, "further", 1), *start])

    from chatsearcher.model import ChatSearcherModel

    first = ChatSearcherModel.from_pretrained(undisturbed / "stage1" / "model")
    further = ChatSearcherModel.from_pretrained(run / "model")
    for before, after in zip(first.parameters(), further.parameters(), strict=True):
        assert torch.equal(before, after)


FURTHER = {
    "nano-questions": [],
    # Its own settings but for the engine, which here is plain torch, and the pictures.
    "vicuna-7b-llava665k": shlex.split("""--engine.deepspeed off --engine.precision fp32
    --data.sources.llava.kind world-questions --data.sources.llava.path None --data.batch 8"""),
}


def test_stage_1_begins_with_the_words_of_the_tower(folder):
    words = folder / "words"
    sizes = ["--llm.hidden-size", "32", "--llm.layers", "2", "--llm.heads", "2"]
    sizes += ["--llm.intermediate-size", "48"]
    parts = ["--tower", str(folder / "tower" / "model"), "--data.length", "64", *sizes]
    parts += ["--tokenizer", str(folder / "tower" / "tokenizer"), *SMALL]
    with threads_restored():
        main.words(["--run", str(words), "--optimiser.steps", "3", *parts])
        start = ["--model.llm.start", str(words / "model"), "--model.llm.layers", "2"]
        main.stage1([*stage1(folder, "after-words", 1), *start, "--optimiser.learning-rate", "0"])
    taught = load_file(words / "model" / "model.safetensors")
    begun = load_file(folder / "after-words" / "model" / "model.safetensors")
    for name, value in taught.items():
        assert torch.equal(begun[f"llm.{name}"], value), name


def test_stage_1_begins_with_the_parts_of_a_reader(folder):
    run, reader = folder / "after-reading", folder / "reading"
    # words of one token each, as the keywords of pictures have to be
    words = ["--model.tokenizer", str(ROOT / "chatsearcher" / "checkpoints" / "nano")]
    words += ["--model.query-tokens", "14", "--data.length", "640"]
    start = ["--model.start", str(reader / "model"), "--seed", "3"]
    still = ["--optimiser.learning-rate", "0"]
    with threads_restored():
        main.reading([*stage1(folder, reader.name, 3), *words])
        main.stage1([*stage1(folder, run.name, 1), *words, *start, *still])
    assert losses(reader)[3] < losses(reader)[1]
    read = load_file(reader / "model" / "model.safetensors")
    begun = load_file(run / "model" / "model.safetensors")
    for name, value in read.items():
        if name.startswith(("connector.", "llm.")):
            assert torch.equal(begun[name], value), name
    for name in ("query_projection.weight", "key_projection.weight"):
        assert not torch.equal(begun[name], read[name])


def test_a_checkpoint_exports_the_same_model_as_the_finished_run(undisturbed, tmp_path):
    from chatsearcher.training.export import export_run

    run = undisturbed / "stage1"
    export_run(run, tmp_path / "finished", torch.float32)
    export_run(run, tmp_path / "checkpoint", torch.float32, checkpoint=True)
    finished = load_file(tmp_path / "finished" / "model.safetensors")
    checkpoint = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert finished.keys() == checkpoint.keys()
    for name, value in finished.items():
        assert torch.equal(value, checkpoint[name]), name


@pytest.mark.parametrize("recipe", FURTHER)
def test_further_tuning_reads_pictures_and_learns_words_alone(undisturbed, recipe):
    """The paper's section 5.4: questions about shown pictures, answered in words."""
    run = undisturbed / recipe
    words = ["--recipe", recipe, "--run-dir", str(run), "--start", str(undisturbed / "stage1")]
    words += ["--optimiser.steps", "2", "--data.image-size", "32", *FURTHER[recipe]]
    with threads_restored():
        main.stage2([*words, *SMALL, "--validation", "0"])
    rows = [json.loads(line) for line in losses_so_far(run)]
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row["text_loss"] > 0
        assert row.get("image_loss") is None
    assert (run / "model" / "config.json").is_file()


def test_stage_2_without_a_finished_stage_1_says_what_to_do(tmp_path):
    with pytest.raises(SystemExit, match=r"no finished model in .*train stage 1 first"):
        main.stage2(["--run", str(tmp_path / "run"), "--start", str(tmp_path)])


def test_missing_data_are_named_before_weights_are_looked_for(tmp_path):
    words = ["--recipe", "vicuna-7b", "--data.sources.cc3m.path", str(tmp_path)]
    words += ["--data.sources.mmc4.path", str(tmp_path / "none")]
    with pytest.raises(SystemExit, match=r"'mmc4' .*none, which is not there; .*docs/data\.md"):
        main.stage1(words)


def test_a_missing_tower_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(SystemExit, match=r"train/tower\.py --recipe nano-tower"):
        main.stage1(["--run", str(tmp_path / "run"), "--model.tower", str(tmp_path / "none")])


def test_the_deepspeed_launcher_starts_it_and_agrees(undisturbed):
    pytest.importorskip("deepspeed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = str(Path(sys.executable).with_name("deepspeed"))
    command = [launcher, "--num_accelerators", "1", "--master_port", str(port), "train/stage1.py"]
    done = subprocess.run(
        [*command, *stage1(undisturbed, "engine")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    about = json.loads(
        (undisturbed / "engine" / "checkpoints" / "step-00000006" / "about.json").read_text()
    )
    assert about["engine"] is True
    plain, engine = losses(undisturbed / "stage1"), losses(undisturbed / "engine")
    assert engine == pytest.approx(plain, abs=1e-4)  # measured worst: 0
