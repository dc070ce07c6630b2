"""The ChatSearch pipeline from captions to an export, over real HTTP with every kind of failure.

One run is left in peace; another is killed (SIGKILL) again and again. Both must leave the same
bytes, explain every input, and mean what the pictures' truth says.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatsearcher.cli import main
from chatsearcher.dialogue import Dialogue
from chatsearcher.preparation.chatsearch.run import STAGES, Run
from chatsearcher.world.pictures import parse
from chatsearcher.world.reader import read_telling
from chatsearcher.world.writer import reads_as, scene_in

ROOT = Path(__file__).resolve().parents[2]
OPENSTAX = ROOT.parent / "shared" / "data" / "images" / "openstax"
COMMAND = [sys.executable, "-m", "chatsearcher", "prepare", "chatsearch"]
ANSWERS = {"answers.sqlite", "answers.sqlite-wal", "answers.sqlite-shm", "usage.json", "lock"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A rehearsal in a process of its own, with 12 % of all calls going wrong each way."""
    process = subprocess.Popen(
        [*COMMAND, "rehearse", "--port", "0", "--failures", "0.12"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gallery") / "gallery"
    pictures = ["world:test:60:5", "world:train:60:5"]
    assert main(["index", *pictures, "--out", str(out), "--device", "cpu"]) == 0
    return out


def options(run: Path, server: str, gallery: Path) -> list[str]:
    return [
        *("--run", str(run), "--model", server, "--gallery", str(gallery)),
        *("--source", "world:train:44", "--source", "world:val:6", "--source", "world:test:20"),
        *("--captioner", "world", "--similarity", "0.2:1", "--part", "100"),
        *("--timeout", "0.7", "--device", "cpu", "--samples", "2"),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, server: str, gallery: Path) -> Run:
    """The run that is left in peace."""
    path = tmp_path_factory.mktemp("whole") / "run"
    assert main(["prepare", "chatsearch", "all", *options(path, server, gallery)]) == 0
    return Run(path)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ANSWERS
    }


def test_nothing_is_lost_nothing_doubled_every_reject_explained(whole: Run) -> None:
    source = [record["id"] for record in whole.stage("source").records()]
    assert len(source) == len(set(source)) == 70
    for name, before in {
        "text": "source",
        "neighbours": "source",
        "captions": "neighbours",
        "modifications": "captions",
        "rounds": "source",
        "answers": "rounds",
        "split": "compose",
    }.items():
        stage = whole.stage(name)
        asked = [record["id"] for record in whole.stage(before).records()]
        kept = [record["id"] for record in stage.records()]
        rejects = list(stage.rejects())
        assert sorted(kept + [reject["id"] for reject in rejects]) == sorted(asked), name
        assert kept == [id for id in asked if id in set(kept)], name
        assert all(reject["reason"] for reject in rejects)
    written = ("text", "modifications", "rounds")
    left_out = [reject for name in written for reject in whole.stage(name).rejects()]
    assert left_out  # some prompts are refused whatever the seed
    assert all(reject["problems"] for reject in left_out)
    reasons = {reject["reason"] for reject in left_out}
    assert reasons <= {"refusal", "unanswered", "broken JSON", "no JSON", "cut off", "schema"}


def test_killed_again_and_again_the_bytes_are_the_same(
    whole: Run, tmp_path: Path, server: str, gallery: Path
) -> None:
    path = tmp_path / "run"
    command = [*COMMAND, "all", *options(path, server, gallery)]
    run = Run(path)
    for name in ("text", "modifications"):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while not run.stage(name).path.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(["prepare", "chatsearch", "all", *options(path, server, gallery)]) == 0
    assert contents(path) == contents(whole.path)


def test_a_rerun_costs_nothing(whole: Run, server: str, gallery: Path, tmp_path: Path) -> None:
    def calls() -> int:
        with urllib.request.urlopen(server.partition("/v1#")[0] + "/counts") as response:
            count: int = json.load(response)["calls"]
            return count

    before, text = calls(), whole.stage("text")
    kept = contents(text.path)
    command = ["prepare", "chatsearch", "text", *options(whole.path, server, gallery), "--again"]
    assert main(command) == 0
    assert contents(text.path) == kept
    # Answers come from the cache; prompts that never had one are asked again.
    never = [r for r in text.rejects() if r["reason"] == "unanswered"]
    assert calls() - before <= len(never) * 3


def test_no_dialogue_shows_a_source_picture_of_another_split(whole: Run) -> None:
    """Else the test split would take training pictures, and their dialogues with them."""
    split_of = {r["id"]: r["split"].replace("val", "test") for r in whole.stage("source").records()}
    for record in whole.stage("compose").records():
        for picture in (*record["pictures"], record["target"]):
            mine = split_of[record["source"]]
            assert split_of.get(picture["id"], mine) == mine


def test_what_was_made_means_what_the_pictures_show(whole: Run) -> None:
    seen = set()
    for record in whole.records():
        seen.add((record["split"], record["kind"]))
        dialogue = Dialogue.from_messages(record["messages"])
        target = parse(record["target"]["id"])[0]
        request = dialogue.turns[-1].text
        if record["kind"] == "text":
            assert read_telling(dialogue) == target
        elif record["kind"] in ("merged", "reference-image"):
            shown = parse(dialogue.images[-1].id)[0]
            assert reads_as(request, shown, target) or scene_in(request) == target
        else:  # the first picture stands for its caption as well as the gallery can
            shown = scene_in(record["captions"][dialogue.images[-1].id])
            assert reads_as(request, shown, target)
    kinds = ("text", "merged", "reference-image", "two-round", "reference-text")
    assert seen == {(split, kind) for split in ("train", "test") for kind in kinds}


def test_the_export_opens_with_datasets_and_trains_here(
    whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    from datasets import load_dataset

    from chatsearcher.data.records import SourceConfig
    from chatsearcher.data.sources import build

    out = tmp_path / "export"
    export = ["prepare", "chatsearch", "export", "--run", str(whole.path), "--out", str(out)]
    assert main(export) == 0
    first = contents(out)
    assert main(export) == 0
    assert contents(out) == first
    cache = str(tmp_path / "cache")
    wanted = list(whole.records())
    for task in "tim":
        for split in ("train", "test"):
            rows = load_dataset(str(out), task, split=split, cache_dir=cache)
            records = [r for r in wanted if (r["task"], r["split"]) == (task, split)]
            assert rows["id"] == [record["id"] for record in records]
            assert rows["target"] == [record["target"]["id"] for record in records]
    pictures = load_dataset(str(out), "pictures", split="gallery", cache_dir=cache)
    assert pictures[0]["image"].size == (96, 96)
    for task in "tim":
        gallery = {row["id"] for row in pictures if f"test/{task}" in row["galleries"]}
        targets = [r for r in wanted if (r["task"], r["split"]) == (task, "test")]
        assert gallery == {record["target"]["id"] for record in targets}
    # Another export of the same name is not taken for this one.
    small = tmp_path / "again" / "export"
    assert main([*export[:-1], str(small), "--side", "40"]) == 0
    smaller = load_dataset(str(small), "pictures", split="gallery", cache_dir=cache)
    assert (smaller["id"], smaller[0]["image"].size) == (pictures["id"], (40, 40))
    assert "**None yet.**" in (out / "README.md").read_text(encoding="utf-8")
    source = build(SourceConfig("shard-conversations", path=str(out / "training")), 0, 96)
    record = source.item(0)
    assert isinstance(record.content, Dialogue)
    last = record.content.turns[-1]
    assert last.role == "assistant"
    assert record.load(last.images[0].id).size == (96, 96)


def test_pages_and_status(whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    page = (whole.path / "samples.html").read_text(encoding="utf-8")
    assert page.count("<article>") == 6
    assert page.count('src="data:image/jpeg;base64,') >= 8
    assert "http" not in page.replace("http-equiv", "")
    assert main(["prepare", "chatsearch", "status", "--run", str(whole.path), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert list(status) == list(STAGES[:-1])
    other = ["prepare", "chatsearch", "source", "--run", str(whole.path), "--limit", "3"]
    assert main(other) == 1
    assert "made with another limit" in capsys.readouterr().err
    assert main([*other[:-1], "0"]) == 0


def test_real_pictures_with_real_captions(tmp_path: Path, server: str) -> None:
    if not OPENSTAX.is_dir():
        pytest.skip(f"no {OPENSTAX}")
    shard = str(OPENSTAX / "test-0000.tar")
    gallery = tmp_path / "gallery"
    index = ["index", shard, "--out", str(gallery), "--limit", "80", "--device", "cpu"]
    assert main(index) == 0
    run = Run(tmp_path / "run")
    command = [
        *("prepare", "chatsearch", "all", "--run", str(run.path), "--model", server),
        *("--source", shard, "--limit", "40", "--texts", "captions"),
        *("--where", "kind_guess=photo,photo_like,art,micrograph", "--below", "white_frac=0.5"),
        *("--gallery", str(gallery), "--captioner", "gallery", "--similarity", "0:1"),
        *("--timeout", "0.7", "--device", "cpu"),
    ]
    assert main(command) == 0
    records = list(run.records())
    assert len({record["source"] for record in records}) > 25
    assert {record["split"] for record in records} == {"test"}
    assert (run.path / "samples.html").stat().st_size > 50_000
