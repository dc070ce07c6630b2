"""The verbs index, search, gallery and list, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from chatsearcher import cli
from chatsearcher.retrievers import RETRIEVERS

RETRIEVERS.register("histogram", "tests.fixtures.histogram:load")
ROOT = Path(__file__).resolve().parents[3]
COLOURS = ("red", "green", "blue", "yellow", "purple")


def run(*words: str | Path) -> int:
    return cli.main([str(word) for word in words])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for colour in COLOURS:
        Image.new("RGB", (30, 20), colour).save(tmp_path / "photos" / f"{colour}.png")
    (tmp_path / "photos" / "red.txt").write_text("a red field")
    return tmp_path / "photos"


@pytest.fixture
def gallery(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run("index", photos, "--out", tmp_path / "g", "--retriever", "histogram:1") == 0
    capsys.readouterr()
    return tmp_path / "g"


def found(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_index_says_what_it_did(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no")
    (photos / "copy.png").write_bytes((photos / "red.png").read_bytes())
    options = ("--out", tmp_path / "g", "--batch-size", "2", "--workers", "2")
    assert run("index", photos, *options, "--retriever", "histogram:1") == 0
    shown = capsys.readouterr()
    assert "5 pictures (5 added, 0 unchanged, 0 removed, 1 byte-identical" in shown.out
    assert "1 could not be read" in shown.out
    assert f"{photos / 'broken.jpg'}: " in shown.out
    assert "7/7" in shown.err
    assert run("index", photos, *options) == 0  # the gallery knows its retriever
    assert "0 added, 5 unchanged" in capsys.readouterr().out


def test_search_by_words_by_picture_and_without_the_excluded(
    gallery: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("search", "something blue", "--gallery", gallery, "-k", 3, "--json") == 0
    answers = found(capsys)
    assert [answer["rank"] for answer in answers] == [1, 2, 3]
    assert answers[0]["id"] == "blue.png"
    assert answers[0]["source"] == str(photos / "blue.png")
    assert answers[0]["score"] > answers[1]["score"]
    run("search", "--image", photos / "green.png", "--gallery", gallery, "-k", 1, "--json")
    assert found(capsys)[0]["id"] == "green.png"
    run("search", "red", "--gallery", gallery, "-k", 9, "--json", "--exclude", "red.png")
    ids = [answer["id"] for answer in found(capsys)]
    assert len(ids) == 4
    assert "red.png" not in ids
    run("search", "red", "--gallery", gallery, "-k", 1)
    line = capsys.readouterr().out
    assert line.split()[0] == "1"
    assert "red.png" in line
    assert "a red field" in line


@pytest.mark.parametrize("name", ["exact", "faiss"])
def test_indexes_keep_up_with_their_gallery(
    name: str, gallery: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "faiss":
        pytest.importorskip("faiss")
    options = ("--gallery", gallery, "-k", 1, "--json", "--index", name)
    assert run("search", "red", *options) == 0
    Image.new("RGB", (30, 20), "red").save(photos / "green.png")
    Image.new("RGB", (30, 20), "green").save(photos / "red.png")
    run("index", photos, "--out", gallery)
    capsys.readouterr()
    assert run("search", "red", *options) == 0
    assert found(capsys)[0]["id"] == "green.png"


def test_remove_info_export_import(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("gallery", "remove", gallery, "red.png", "blue.png") == 0
    assert "2 removed, 3 pictures left" in capsys.readouterr().out
    assert run("gallery", "info", gallery, "--ids") == 0
    assert capsys.readouterr().out.split() == ["green.png", "purple.png", "yellow.png"]
    assert run("gallery", "export", gallery, "--out", tmp_path / "x", "--format", "jsonl") == 0
    assert run("gallery", "import", "--vectors", tmp_path / "x", "--out", tmp_path / "h") == 0
    capsys.readouterr()
    assert run("gallery", "info", tmp_path / "h", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["pictures"], facts["retriever"]) == (3, "histogram:1")
    assert run("search", "yellow", "--gallery", tmp_path / "h", "-k", 1, "--json") == 0
    assert found(capsys)[0]["id"] == "yellow.png"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("search", "red", "--gallery", "G", "--retriever", "histogram:2"), "another model"),
        (("search", "red", "--gallery", "none"), "is not a gallery"),
        (("search", "--gallery", "G"), "nothing to look for"),
        (("search", "red", "--gallery", "G", "-k", "0"), "k = 0"),
        (("search", "red", "--gallery", "G", "--index", "exakt"), "did you mean 'exact'"),
        (("search", "--image", "none.png", "--gallery", "G"), "no such picture"),
        (("search", "red", "--gallery", "G", "--exclude", "pink"), "no picture 'pink'"),
        (("index", "none", "--out", "H", "--retriever", "histogram:1"), "no such folder"),
        (("index", "photos", "--out", "H", "--retriever", "histogramm:1"), "histogram"),
        (("gallery", "remove", "G", "pink"), "no picture 'pink'"),
        (("gallery", "import", "--vectors", "none.npy", "--out", "H"), "--fingerprint"),
    ],
)
def test_errors_are_one_line_with_the_remedy(
    gallery: Path,
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(gallery.parent)
    assert run(*("g" if word == "G" else word for word in words)) == 1
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1 or words[0] == "index"
    assert not (gallery.parent / "H").exists()


def test_traceback_on_demand(gallery: Path) -> None:
    with pytest.raises(ValueError, match="nothing to look for"):
        run("--traceback", "search", "--gallery", gallery)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "indexes") == 0
    assert capsys.readouterr().out == "indexes: exact, faiss, milvus\n"
    assert run("list", "--json") == 0
    assert "clip" in json.loads(capsys.readouterr().out)["retrievers"]


def test_every_verb_has_a_module_that_offers_it(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in cli.VERBS:
        with pytest.raises(SystemExit) as stopped:
            run(verb, "--help")
        assert stopped.value.code == 0
        assert f"chatsearcher {verb}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        run("serach")
    assert stopped.value.code == 2


def test_as_a_module_and_into_a_closed_pipe(gallery: Path) -> None:
    command = f"{sys.executable} -m chatsearcher gallery info {gallery} --ids | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "blue.png\n"
    assert done.stderr == ""
