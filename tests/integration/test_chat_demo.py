"""The demo, held with a system that reads the world exactly: every step of it has an answer."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from chatsearcher.commands import demo
from chatsearcher.conversation.script import read_script
from chatsearcher.demo.gallery import demo_ids, open_demo_gallery
from chatsearcher.retriever import Reply
from chatsearcher.world.pictures import parse
from chatsearcher.world.scene import Edit
from tests.fixtures.oracle import WorldOracle

SIZE = 200


@pytest.fixture(scope="module")
def oracle() -> WorldOracle:
    return WorldOracle(demo_ids(SIZE))


@pytest.fixture(scope="module")
def actions():
    text = resources.files("chatsearcher.demo").joinpath("conversation.jsonl").read_text()
    return read_script(text.splitlines(), "demo")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatsearcher.demo import gallery

    def smaller(folder, retriever, name=None, size=SIZE, progress=None):
        return open_demo_gallery(folder, retriever, name, SIZE, progress)

    monkeypatch.setattr(gallery, "open_demo_gallery", smaller)


def test_the_gallery_is_of_the_test_split_and_always_the_same():
    ids = demo_ids(SIZE)
    assert ids == demo_ids(SIZE)
    assert len(ids) == len(set(ids)) == SIZE
    assert {parse(id)[0].split for id in ids} == {"test"}
    assert len({parse(id)[0] for id in ids}) == SIZE


def test_the_script_has_every_kind_of_round(actions):
    said = [action.value for _, action in actions if action.verb == "say"]
    assert len(said) >= 5
    assert any(action.verb == "pick" for _, action in actions)


@pytest.mark.usefixtures("small")
def test_every_answer_is_right_when_the_world_is_read_exactly(tmp_path, oracle, actions, capsys):
    page = demo.hold(oracle, "oracle", actions, "demo", tmp_path / "demo")
    printed = capsys.readouterr().out
    from chatsearcher.gallery import Gallery

    gallery = Gallery.open(tmp_path / "demo" / "gallery")
    picked = re.findall(r"Picked \d+: (.+)", printed)
    scenes = [next(parse(id)[0] for id in gallery.ids if _matches(id, name)) for name in picked]
    first, night, banana = scenes
    assert night == first.apply(Edit("time", 0, "night"))
    assert f"{night.things[0].pattern.capitalize()}." in printed
    assert banana.find("banana") is not None
    assert banana.find("cat") == night.find("cat")
    assert page.read_text(encoding="utf-8").count('<li class="round"') == 5


@pytest.mark.usefixtures("small")
def test_a_model_that_is_wrong_is_shown_as_it_is(tmp_path, actions, capsys, monkeypatch):
    oracle = WorldOracle(demo_ids(SIZE))
    monkeypatch.setattr(WorldOracle, "no_match_threshold", 0.95)
    monkeypatch.setattr(
        WorldOracle,
        "reply",
        lambda self, dialogue, on_text=None: (
            Reply("Certainly.")
            if "monkey" in dialogue.turns[-1].text
            else Reply("", self.encode_queries([dialogue])[0])
        ),
    )
    answered = [
        action for action in actions if action[1].value != "What pattern does the cat have?"
    ]
    page = demo.hold(oracle, "oracle", answered, "demo", tmp_path / "demo")
    printed = capsys.readouterr().out
    assert "Nothing in the gallery fits that." in printed
    assert "Picked 2: " in printed, "a person looks at what is nearest all the same"
    assert "Certainly." in printed
    assert "! demo, line 8: no pictures are on offer" in printed
    assert "Certainly." in page.read_text(encoding="utf-8")


def _matches(id: str, printed: str) -> bool:
    start, mark, end = printed.partition("…")
    return id == printed if not mark else id.startswith(start) and id.endswith(end)


def test_the_gallery_is_reused_and_made_anew_for_another_model(tmp_path: Path, oracle):
    calls: list[int] = []

    def progress(done: int, total: int) -> None:
        calls.append(done)

    folder = tmp_path / "gallery"
    open_demo_gallery(folder, oracle, "o", SIZE, progress).close()
    made = len(calls)
    assert made > 0
    manifest = json.loads((folder / "manifest.json").read_text())
    open_demo_gallery(folder, oracle, "o", SIZE, progress).close()
    assert len(calls) == made
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    other = WorldOracle(demo_ids(SIZE)[:150] + demo_ids(SIZE)[150:])
    other._columns["one more"] = len(other._columns)
    gallery = open_demo_gallery(folder, other, "o", SIZE, progress)
    assert gallery.fingerprint == other.fingerprint
    assert len(calls) == 2 * made
