"""``chatsearcher chat`` over a gallery on disk, as a shell sees it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image as PILImages

from chatsearcher.cli import main
from chatsearcher.dialogue import read_jsonl
from chatsearcher.indexing import build_gallery
from chatsearcher.retrievers import RETRIEVERS
from tests.fixtures.colours import ColourAssistant, ColourRetriever, palette


class Colours(ColourRetriever, ColourAssistant):
    """Both halves of a system in one, as a trained model is."""

    no_match_threshold = -0.3

    def __init__(self) -> None:
        self.retriever = ColourRetriever()


def load(argument: str, device: str | None = None) -> Colours:
    return Colours()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The palette as PNG files, indexed."""
    folder = tmp_path_factory.mktemp("chat")
    (folder / "pictures").mkdir()
    for id in palette().ids:
        palette().thumbnail(id).save(folder / "pictures" / f"{id}.png")
    build_gallery(folder / "pictures", folder / "gallery", ColourRetriever(), name="colours:")
    return folder / "gallery"


@pytest.fixture
def gallery(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery that names a system of this file as its own."""
    monkeypatch.setitem(RETRIEVERS._entries, "colours", f"{__name__}:load")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[load.__module__])
    return built


def script(folder: Path, *actions: dict) -> str:
    path = folder / "script.jsonl"
    path.write_text("".join(json.dumps(action) + "\n" for action in actions))
    return str(path)


def test_a_script_prints_one_json_object_an_answer(gallery: Path, tmp_path: Path, capsys):
    PILImages.new("RGB", (5, 5), (0, 0, 255)).save(tmp_path / "mine.png")
    saved = tmp_path / "talk.jsonl"
    path = script(
        tmp_path,
        {"say": "red"},
        {"pick": 2},
        {"say": "darker"},
        {"say": "what colour is it?"},
        {"say": "the same", "images": [str(tmp_path / "mine.png")]},
        {"none": True},
        {"more": True},
        {"undo": True},
        {"say": "red and blue"},
        {"save": str(saved)},
    )
    assert main(["chat", "--gallery", str(gallery), "--script", path, "--json", "-k", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["line"] for line in lines] == list(range(1, 11))
    assert [line["answer"] for line in lines] == [
        "pictures",
        "done",
        "pictures",
        "words",
        "pictures",
        "pictures",
        "pictures",
        "done",
        "nothing",
        "done",
    ]
    found = [[candidate["id"] for candidate in line["candidates"]] for line in lines]
    assert found[0] == ["red.png", "red-192.png"]
    assert found[2][0] in ("red-64.png", "red-128.png")  # half of 192 lies between the two
    assert found[4][0] == "blue.png"
    assert not set(found[5]) & set(found[4])
    assert [candidate["number"] for candidate in lines[6]["candidates"]] == [3, 4]
    (dialogue,) = read_jsonl(saved)
    assert [image.path for image in dialogue.turns[6].images] == [str(tmp_path / "mine.png")]


def test_a_conversation_is_loaded_and_goes_on(gallery: Path, tmp_path: Path, capsys):
    saved = str(tmp_path / "talk.jsonl")
    first = script(tmp_path, {"say": "red"}, {"none": True}, {"save": saved})
    assert main(["chat", "--gallery", str(gallery), "--script", first, "--json"]) == 0
    shown = {
        candidate["id"]
        for line in capsys.readouterr().out.splitlines()[:1]
        for candidate in json.loads(line)["candidates"]
    }
    assert len(shown) == 5
    second = script(tmp_path, {"say": "red"})
    options = ["--gallery", str(gallery), "--script", second, "--json", "--load", saved]
    assert main(["chat", *options]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert not shown & {candidate["id"] for candidate in json.loads(line)["candidates"]}


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        ([{"say": "red"}, {"pick": 9}], "line 2: there is no candidate 9"),
        ([{"say": "red"}, {"choose": 1}], "line 2: got the keys 'choose'"),
        ([{"say": "x", "images": ["nowhere.png"]}], "line 1: no such picture: nowhere.png"),
        ([{"undo": True}], "line 1: there is nothing to undo"),
    ],
)
def test_an_error_names_the_line(gallery: Path, tmp_path: Path, capsys, actions, says):
    path = script(tmp_path, *actions)
    assert main(["chat", "--gallery", str(gallery), "--script", path, "--json"]) == 1
    error = capsys.readouterr().err
    assert f"{path}, {says}" in error
    assert "Traceback" not in error


def test_standard_input_is_a_script_too(gallery: Path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"say": "green"}\n{"pick": 7}\n'))
    assert main(["chat", "--gallery", str(gallery), "--script", "-", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["candidates"][0]["id"] == "green.png"
    assert "standard input, line 2: there is no candidate 7" in captured.err


def test_a_person_at_the_terminal(gallery: Path, tmp_path: Path, monkeypatch, capsys):
    page = tmp_path / "talk.html"
    typed = f"red\n2\nwhat colour is it?\nsave {page}\n"  # and Ctrl-D
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["chat", "--gallery", str(gallery)]) == 0
    out = capsys.readouterr().out
    assert "21 pictures." in out
    assert "Picked 2: red-192.png" in out
    assert "It is red." in out
    assert page.read_text(encoding="utf-8").count("data:image/jpeg") == 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--json"], "--json needs --script"),
        (["--script", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--retriever", "nonsense"], "unknown retriever 'nonsense'"),
        (["-k", "0"], "k is 0"),
    ],
)
def test_wrong_options_are_explained(gallery: Path, capsys, options, says):
    assert main(["chat", "--gallery", str(gallery), *options]) == 1
    assert says in capsys.readouterr().err


def test_a_gallery_of_another_model_is_refused(gallery: Path, monkeypatch, capsys):
    monkeypatch.setattr(Colours, "fingerprint", "other")
    assert main(["chat", "--gallery", str(gallery)]) == 1
    assert "was built by another model" in capsys.readouterr().err


def test_no_gallery(tmp_path: Path, capsys):
    assert main(["chat", "--gallery", str(tmp_path / "none")]) == 1
    assert "chatsearcher index" in capsys.readouterr().err
