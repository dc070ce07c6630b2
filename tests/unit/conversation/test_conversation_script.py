"""A script of actions: what is read, what is refused, what is printed of the answers."""

from __future__ import annotations

import json

import pytest

from chatsearcher.conversation import Conversation
from chatsearcher.conversation.script import Action, answer_record, perform, read_script
from tests.fixtures.colours import ColourAssistant, NearestIndex, palette


@pytest.fixture
def conversation() -> Conversation:
    gallery = palette()
    return Conversation(ColourAssistant(), gallery, NearestIndex(gallery.vectors), k=2)


def test_every_action_is_read_with_its_line_number():
    lines = [
        '{"say": "red", "images": ["a.png"]}',
        "",
        "# a remark",
        '{"images": ["b.png"]}',
        '{"pick": 2}',
        '{"more": true}',
        '{"none": true}',
        '{"undo": true}',
        '{"save": "x.jsonl"}',
    ]
    assert read_script(lines, "s") == [
        (1, Action("say", "red", ("a.png",))),
        (4, Action("say", "", ("b.png",))),
        (5, Action("pick", 2)),
        (6, Action("more")),
        (7, Action("none")),
        (8, Action("undo")),
        (9, Action("save", "x.jsonl")),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2"),
        ("[1]", "got list"),
        ("{}", "empty object"),
        ('{"tell": "red"}', "'tell'"),
        ('{"say": "red", "pick": 2}', "'say', 'pick'"),
        ('{"say": 3}', "'say' takes str, got 3"),
        ('{"pick": "2"}', "'pick' takes int"),
        ('{"pick": true}', "'pick' takes int"),
        ('{"more": false}', "'more' is false"),
        ('{"more": 1}', "'more' takes bool"),
        ('{"say": "red", "images": "a.png"}', "list of paths"),
        ('{"pick": 1, "images": ["a.png"]}', "takes no images"),
    ],
)
def test_a_wrong_line_is_named_and_explained(line, says):
    with pytest.raises(ValueError, match=r"my\.jsonl, line 2: ") as caught:
        read_script(['{"say": "red"}', line], "my.jsonl")
    assert says in str(caught.value)
    assert '{"pick": 2}' in str(caught.value), "the remedy is missing"


def test_records_say_what_kind_of_answer_it_was(conversation):
    conversation.threshold = -0.1
    kinds = []
    for action in (
        Action("say", "red"),
        Action("pick", 2),
        Action("say", "what colour is it?"),
        Action("say", "red and blue"),
        Action("more"),
    ):
        record = answer_record(7, action, perform(conversation, action))
        json.dumps(record, allow_nan=False)
        assert record["line"] == 7
        kinds.append((record["action"], record["answer"], len(record["candidates"])))
    assert kinds == [
        ("say", "pictures", 2),
        ("pick", "done", 0),
        ("say", "words", 0),
        ("say", "nothing", 0),
        ("more", "pictures", 2),
    ]


def test_a_record_has_the_candidates_with_their_scores(conversation):
    action = Action("say", "red")
    record = answer_record(1, action, perform(conversation, action))
    assert record["candidates"] == [
        {"number": 1, "id": "red", "score": 0.0, "caption": "a red square"},
        {"number": 2, "id": "red-192", "score": pytest.approx(-63 / 255, abs=1e-6)},
    ]
    assert record["search_probability"] == 1.0


def test_script_and_moves_agree(conversation, tmp_path):
    gallery = palette()
    by_hand = Conversation(ColourAssistant(), gallery, NearestIndex(gallery.vectors), k=2)
    for action in (
        Action("say", "red"),
        Action("none"),
        Action("more"),
        Action("undo"),
        Action("save", str(tmp_path / "x.jsonl")),
    ):
        perform(conversation, action)
    by_hand.say("red")
    by_hand.none_of_these()
    assert by_hand.state == conversation.state
    loaded = Conversation.load(
        tmp_path / "x.jsonl", ColourAssistant(), gallery, conversation.index, k=2
    )
    assert loaded.rounds == by_hand.rounds
