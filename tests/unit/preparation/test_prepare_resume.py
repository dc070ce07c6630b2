"""Kill a conversion anywhere, start it again: the bytes are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatsearcher.preparation.convert import Converter, Report, Settings, convert
from chatsearcher.preparation.converters.llava import Llava
from chatsearcher.preparation.converters.mmc4 import Mmc4
from chatsearcher.preparation.converters.pairs import PairShards
from chatsearcher.preparation.converters.visdial import VisDial
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.shard_writer import ShardWriter
from tests.fixtures.published import (
    img2dataset,
    jpeg,
    llava_entry,
    mmc4_document,
    visdial,
    write_json,
    write_lines,
    write_pictures,
)

ROOT = Path(__file__).resolve().parents[3]


class Killed(BaseException):
    """Nothing catches it."""


def make_mmc4(folder: Path) -> Converter:
    documents: list[Any] = [mmc4_document(n) for n in range(9)]
    documents[3] = "{"
    for part, name in ((documents[:5], "a.jsonl.zip"), (documents[5:], "b.jsonl")):
        write_lines(folder / name, part)
    for shard in range(2):
        img2dataset(
            folder / f"{shard:05}.tar",
            [
                (f"{n}{i}", jpeg(8 * n + i), "", f"http://pictures.example/{n}/{i}.jpg?size=large")
                for n in range(4 * shard, 4 * shard + 4)
                for i in (1, 3)
            ],
        )
    return Mmc4(sorted(folder.glob("*.jsonl*")), val_every=3)


def make_pairs(folder: Path) -> Converter:
    for shard in range(3):
        records: list[tuple[str, bytes | None, str, str]] = [
            (f"{n}", jpeg(n) if n != 2 else None, f"{shard} {n}", f"u{shard}{n}") for n in range(4)
        ]
        img2dataset(folder / f"{shard:05}.tar", records)
    cut = (folder / "00001.tar").read_bytes()
    (folder / "00001.tar").write_bytes(cut[: len(cut) * 2 // 3])
    return PairShards("pairs", sorted(folder.glob("*.tar")), val_every=3)


def make_llava(folder: Path) -> Converter:
    entries = [llava_entry(n, f"{n:012d}.jpg" if n % 3 else None) for n in range(11)]
    write_json(folder / "llava_instruct_150k.json", entries)
    write_pictures(folder, [f"{n:012d}.jpg" for n in range(9)])
    return Llava([folder / "llava_instruct_150k.json"], val_every=3)


def make_visdial(folder: Path) -> Converter:
    for split, first in (("train", 0), ("val", 5)):
        write_json(folder / f"visdial_1.0_{split}.json", visdial(range(first, first + 5), split))
    write_pictures(folder, [f"{n:012d}.jpg" for n in range(9)])
    return VisDial(sorted(folder.glob("visdial*")))


MAKERS = [make_mmc4, make_pairs, make_llava, make_visdial]


def run(
    converter: Converter, source: Path, out: Path, progress: Any = None, commit_every: int = 1000
) -> Report:
    settings = Settings(records_per_shard=3, commit_every=commit_every)
    return convert(converter, out, lambda at: Pictures([source], at), settings, progress)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("commit_every", [1, 4, 1000])
def test_stopped_after_any_entry(
    make: Callable[[Path], Converter], commit_every: int, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    converter = make(source)
    whole = run(converter, source, tmp_path / "whole")
    wanted = contents(tmp_path / "whole")
    assert not any(name.endswith(".part") or name.startswith(".") for name in wanted)
    assert len([name for name in wanted if name.endswith(".tar")]) >= 3
    for stop in range(1, whole.manifest["entries"] + 1):
        out = tmp_path / f"{stop}"

        def kill(done: int, stop: int = stop) -> None:
            if done == stop:
                raise Killed

        with pytest.raises(Killed):
            run(converter, source, out, kill, commit_every)
        assert not (out / "manifest.json").exists()
        again = run(converter, source, out, commit_every=commit_every)
        assert again.resumed
        assert contents(out) == wanted


@pytest.mark.parametrize("make", [make_mmc4, make_pairs], ids=lambda make: make.__name__)
def test_stopped_between_any_two_steps_on_the_disk(
    make: Callable[[Path], Converter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after each rename: shards, checkpoints and the manifest appear by those."""
    source = tmp_path / "source"
    source.mkdir()
    converter = make(source)
    run(converter, source, tmp_path / "whole")
    wanted = contents(tmp_path / "whole")
    replace = os.replace
    stop, finished = 0, False
    while not finished:
        stop += 1
        count = 0

        def dying(old: Any, new: Any, stop: int = stop) -> None:
            nonlocal count
            count += 1
            if 2 * count - 1 == stop:
                raise Killed
            replace(old, new)
            if 2 * count == stop:
                raise Killed

        out = tmp_path / f"{stop}"
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying)
            try:
                run(converter, source, out)
                finished = True
            except Killed:
                pass
        run(converter, source, out)
        assert contents(out) == wanted, f"stopped at rename {(stop + 1) // 2}"
    assert stop > 12


def test_killed_for_real_again_and_again(tmp_path: Path) -> None:
    """SIGKILL at moments of no one's choosing, until a run gets through."""
    source = tmp_path / "source"
    entries = [llava_entry(n, f"{n % 40:012d}.jpg" if n % 3 else None) for n in range(6000)]
    write_json(source / "llava_instruct_150k.json", entries)
    write_pictures(source, [f"{n:012d}.jpg" for n in range(40)])

    def command(out: str) -> list[str]:
        words = ["prepare", "llava", "--source", str(source), "--out", str(tmp_path / out)]
        return [sys.executable, "-m", "chatsearcher", *words, "--records-per-shard", "170"]

    subprocess.run(command("whole"), cwd=ROOT, check=True, capture_output=True)
    kills = 0
    while True:
        process = subprocess.Popen(
            command("killed"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        begun = sum(1 for _ in (tmp_path / "killed").glob("*.tar"))
        while process.poll() is None and kills < 3:
            # Killed a moment after it has got further than the run before.
            if sum(1 for _ in (tmp_path / "killed").glob("*.tar")) > begun + 3:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
    assert kills == 3
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_finished_folder_is_left_alone_and_another_set_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    converter = make_llava(source)
    first = run(converter, source, tmp_path / "out")
    before = contents(tmp_path / "out")
    second = run(converter, source, tmp_path / "out")
    assert second.manifest == first.manifest
    assert second.finished_before
    assert not first.finished_before
    assert contents(tmp_path / "out") == before
    other = make_pairs(tmp_path)
    with pytest.raises(ValueError, match="begun with other name and files"):
        run(other, tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="begun with other settings"):
        convert(converter, tmp_path / "out", lambda at: Pictures([source], at))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ValueError, match="holds files that no conversion"):
        run(converter, source, tmp_path / "mine")


def test_checksums_are_those_of_the_files(tmp_path: Path) -> None:
    import hashlib

    source = tmp_path / "source"
    source.mkdir()
    run(make_llava(source), source, tmp_path / "out")
    listed = [json.loads(line) for line in (tmp_path / "out" / "shards.jsonl").open()]
    assert sorted(each["name"] for each in listed) == sorted(
        path.name for path in (tmp_path / "out").glob("*.tar")
    )
    for each in listed:
        data = (tmp_path / "out" / each["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (each["bytes"], each["sha256"])


def test_a_part_file_that_was_changed_is_an_error(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "train", 10)
    writer.write("a", [("txt", b"words")])
    state = writer.checkpoint()
    writer.close()
    part = tmp_path / "train-000000.tar.part"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(ValueError, match="changed since"):
        ShardWriter(tmp_path, "train", 10, state)
    part.unlink()
    with pytest.raises(ValueError, match="is gone"):
        ShardWriter(tmp_path, "train", 10, state)


@pytest.mark.parametrize(
    ("name", "size"), [("train-000000-00000.0.jpg", 0), ("x" * 100, 8**11 - 1)]
)
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    import tarfile

    from chatsearcher.preparation.shard_writer import _header

    info = tarfile.TarInfo(name)
    info.size = size
    assert _header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)
    with pytest.raises(ValueError, match="too long a name or too large"):
        _header(name + "y" * 100, size)
