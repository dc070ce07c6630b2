"""The terminal: lines in, text out, and no line that ends the program but `quit`."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImages

from chatsearcher.conversation import Conversation
from chatsearcher.conversation.script import Action
from chatsearcher.terminal import Terminal, half_blocks, one_path, parse_line
from chatsearcher.transcript import write_page
from tests.fixtures.colours import ColourAssistant, NearestIndex, TalkativeAssistant, palette


def converse(lines: list[object], **options) -> tuple[str, Conversation]:
    """What a terminal prints for these lines; an exception in the list is raised while reading."""
    gallery = palette()
    conversation = Conversation(
        ColourAssistant(), gallery, NearestIndex(gallery.vectors), k=3, threshold=-0.3
    )
    waiting = iter(lines)

    def read(prompt: str) -> str:
        line = next(waiting, EOFError())
        if isinstance(line, BaseException):
            raise line
        assert isinstance(line, str)
        return line

    out = io.StringIO()
    terminal = Terminal(conversation, out, read, **options)
    assert terminal.run() == 0
    return out.getvalue(), conversation


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("pick 2", Action("pick", 2)),
        ("Pick two.", Action("pick", 2)),
        ("/pick #3", Action("pick", 3)),
        ("2", Action("pick", 2)),
        ("#2", Action("pick", 2)),
        ("more", Action("more")),
        ("MORE!", Action("more")),
        ("none of these", Action("none")),
        ("None of them.", Action("none")),
        ("undo", Action("undo")),
        ("more cats, please", Action("say", "more cats, please")),
        ("the second one, but at night", Action("say", "the second one, but at night")),
        ("none of these is red", Action("say", "none of these is red")),
        ("two", Action("say", "two")),
    ],
)
def test_commands_and_words_are_told_apart(line, action):
    assert parse_line(line, can_pick=True) == action


def test_a_number_is_words_where_nothing_can_be_picked():
    assert parse_line("2", can_pick=False) == Action("say", "2")


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("a.png", "a.png"),
        ("my picture.png", "my picture.png"),
        ('"my picture.png"', "my picture.png"),
        (r"my\ picture.png", "my picture.png"),
        ("bob's.png", "bob's.png"),
    ],
)
def test_paths_as_people_type_them(typed, path):
    assert one_path(typed, "attach") == path


def test_a_whole_conversation():
    out, conversation = converse(
        ["something red", "pick 2", "what colour is it?", "darker", "none of these", "undo", "quit"]
    )
    assert re.search(r"1 +0\.000 +a red square", out)
    assert re.search(r"2 +-0\.247 +red-192", out)
    assert "Picked 2: red-192" in out
    assert out.count("It is red.") == 1, "streamed words are not printed twice"
    assert re.search(r"Taken back\. You had said: darker\n +1 .*\n +2 .*\n +3 .*\n\n", out)
    assert out.endswith("Goodbye.\n")
    assert len(conversation.rounds) == 3


def test_a_loaded_conversation_says_where_it_stands(tmp_path: Path):
    _, conversation = converse(["red", "pick 2", f"save {tmp_path / 'talk.jsonl'}"])
    loaded = Conversation.load(
        tmp_path / "talk.jsonl", ColourAssistant(), conversation.gallery, conversation.index
    )
    out = io.StringIO()
    lines = iter(["quit"])
    Terminal(loaded, out, lambda prompt: next(lines)).run()
    assert "You had said: red" in out.getvalue()
    assert "You picked 2." in out.getvalue()


def test_bad_lines_get_a_helpful_line_and_the_conversation_goes_on():
    out, conversation = converse(
        [
            "pick 1",
            "undo",
            "pick",
            "attach",
            "attach nowhere.png",
            "save",
            "save x.html",
            "/frobnicate",
            "",
            "red",
            "pick 9",
            "pick something",
        ]
    )
    for text in (
        "! no pictures are on offer; say what you look for first",
        "! there is nothing to undo",
        "! pick which one? Write `pick 2`",
        "! attach what? Write `attach PATH`",
        "! no such picture: nowhere.png",
        "! save what?",
        "! no page can be written here; save to a .jsonl file",
        "! unknown command '/frobnicate'; `help` lists them",
        "! there is no candidate 9: 1 to 3 are shown",
        "! pick which one? Write `pick 2`; got 'something'",
    ):
        assert text in out
    assert len(conversation.rounds) == 1


@pytest.mark.parametrize("end", [EOFError(), KeyboardInterrupt()])
def test_ctrl_d_and_ctrl_c_leave_politely(end):
    out, _ = converse(["red", end])
    assert out.endswith("\nGoodbye.\n")


def test_ctrl_c_while_answering_stops_the_answer_only():
    class Slow(ColourAssistant):
        def reply(self, dialogue, on_text=None):
            if "slowly" in dialogue.turns[-1].text:
                raise KeyboardInterrupt
            return super().reply(dialogue, on_text)

    gallery = palette()
    conversation = Conversation(Slow(), gallery, NearestIndex(gallery.vectors), k=3)
    lines = iter(["slowly", "red", "quit"])
    out = io.StringIO()
    assert Terminal(conversation, out, lambda prompt: next(lines)).run() == 0
    assert "Stopped." in out.getvalue()
    assert [one.user.text for one in conversation.rounds] == ["red"]


def test_nothing_fits_and_more(tmp_path: Path):
    out, _ = converse(["red and blue", "more"])
    assert "Nothing in the gallery fits that." in out
    assert "`more` shows the nearest pictures all the same." in out
    assert out.index("`more` shows") < out.index("  1 ")


def test_streamed_words_and_the_rest_are_printed_once():
    gallery = palette()
    conversation = Conversation(
        TalkativeAssistant(), gallery, NearestIndex(gallery.vectors), k=2, threshold=-0.3
    )
    out = io.StringIO()
    terminal = Terminal(conversation, out)
    terminal.handle("red and blue")
    assert out.getvalue().startswith("Let me see. Nothing in the gallery fits that.\n`more`")
    terminal.handle("green")
    out.truncate(0)
    out.seek(0)
    terminal.handle("pick 2")
    assert out.getvalue() == "Picked 2: green-192\nIt is green.\n"


def test_attach_save_and_export(tmp_path: Path):
    mine = tmp_path / "my own.png"
    PILImages.new("RGB", (6, 4), (0, 0, 255)).save(mine)
    out, conversation = converse(
        [
            f"attach {mine}",
            "darker",
            f"save {tmp_path / 'talk.jsonl'}",
            f"save {tmp_path / 'talk.html'}",
        ],
        export=write_page,
    )
    assert f"{mine} (6 × 4) goes with your next message." in out
    assert conversation.rounds[0].user.images[0].path == str(mine)
    assert (tmp_path / "talk.jsonl").exists()
    assert (tmp_path / "talk.html").read_text().startswith("<!doctype html>")


def test_half_blocks_show_two_pixels_each():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0, 0], pixels[1, 0] = (1, 2, 3), (4, 5, 6)
    lines = half_blocks(PILImages.fromarray(pixels), side=4)
    assert len(lines) == 2
    assert lines[0].startswith("\x1b[38;2;1;2;3m\x1b[48;2;4;5;6m▀")
    assert lines[0].count("▀") == 4
    assert all(line.endswith("\x1b[0m") for line in lines)


def test_pictures_are_drawn_side_by_side_with_their_numbers(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    out, _ = converse(["red"], pictures=True)
    drawn = [line for line in out.splitlines() if "▀" in line]
    assert len(drawn) == 8
    assert all(line.count("▀") == 48 for line in drawn)
    assert re.search(r"\n +1 +2 +3\n", out)


def test_no_escape_sequences_where_the_output_is_no_terminal():
    out, _ = converse(["red", "pick 1", "what colour is it?"])
    assert "\x1b" not in out
