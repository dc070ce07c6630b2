"""The moves of a conversation, over a gallery whose answers can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImages

from chatsearcher.conversation import NOTHING_FITS, NOTHING_LEFT, Conversation
from chatsearcher.dialogue import Dialogue, Image, read_jsonl, write_jsonl
from tests.fixtures.colours import (
    ColourAssistant,
    ColourRetriever,
    NearestIndex,
    TalkativeAssistant,
    palette,
)


def talk(k: int = 3, threshold: float | None = None, plain: bool = False) -> Conversation:
    gallery = palette()
    system = ColourRetriever() if plain else ColourAssistant()
    index = NearestIndex(gallery.vectors)
    return Conversation(system, gallery, index, k=k, threshold=threshold)


def ids(answer) -> list[str]:
    return [candidate.id for candidate in answer.candidates]


def test_a_search_shows_ranked_numbered_candidates():
    answer = talk().say("something red")
    assert ids(answer) == ["red", "red-192", "red-128"]
    assert [candidate.number for candidate in answer.candidates] == [1, 2, 3]
    assert [candidate.score for candidate in answer.candidates] == pytest.approx(
        [0, -63 / 255, -127 / 255]
    )
    assert answer.candidates[0].caption == "a red square"
    assert answer.candidates[1].caption is None


def test_different_picks_lead_to_different_answers():
    found = []
    for number in (1, 3):
        conversation = talk()
        conversation.say("something red")
        conversation.pick(number)
        found.append(ids(conversation.say("the same, but darker")))
    assert found[0][0] == "red-128"
    assert found[1][0] == "red-64"


def test_the_pick_stands_in_the_history_as_the_assistants_answer():
    conversation = talk()
    conversation.say("something red")
    conversation.pick(2)
    turn = conversation.dialogue.turns[1]
    assert turn.role == "assistant"
    assert [image.id for image in turn.images] == ["red-192"]
    assert turn.images[0].pixels is not None
    assert turn.images[0].pixels.getpixel((0, 0)) == (192, 0, 0)


def test_another_pick_of_the_same_round_replaces_the_first():
    conversation = talk()
    conversation.say("something red")
    conversation.pick(2)
    conversation.pick(3)
    assert [image.id for image in conversation.dialogue.images] == ["red-128"]


def test_typing_on_accepts_the_first_candidate():
    accepted, picked = talk(), talk()
    accepted.say("something red")
    picked.say("something red")
    picked.pick(1)
    assert accepted.dialogue == picked.dialogue
    assert accepted.say("darker").candidates == picked.say("darker").candidates


def test_a_question_is_answered_in_words_about_the_pick():
    conversation = talk()
    conversation.say("something blue")
    conversation.pick(1)
    heard: list[str] = []
    answer = conversation.say("what colour is it?", on_text=heard.append)
    assert answer.text == "It is blue." == "".join(heard)
    assert len(heard) > 1
    assert answer.candidates == ()
    with pytest.raises(ValueError, match="say what you look for"):
        conversation.pick(1)
    # The words stay in the history, and the picture is still the last one.
    assert [turn.text for turn in conversation.dialogue.turns][-1] == "It is blue."
    assert ids(conversation.say("darker"))[0] == "blue-128"


def test_the_answer_goes_on_after_the_pick():
    gallery = palette()
    conversation = Conversation(TalkativeAssistant(), gallery, NearestIndex(gallery.vectors), k=5)
    assert conversation.say("something red and yellow").text == "Let me see."
    heard: list[str] = []
    said = []
    numbers = {candidate.id: candidate.number for candidate in conversation.candidates}
    for number in (numbers["yellow"], numbers["red"]):
        answer = conversation.pick(number, heard.append)
        said.append(answer.text)
        turn = conversation.dialogue.turns[-1]
        assert [type(part).__name__ for part in turn.content] == ["Text", "Image", "Text"]
        assert turn.text == f"Let me see. {answer.text}"
    assert heard == said
    assert said == ["It is yellow.", "It is red."]
    conversation.undo()
    assert conversation.dialogue.turns[-1].text == f"Let me see. {said[0]}"
    conversation.none_of_these()
    assert conversation.dialogue.turns[-1].text == "Let me see."


def test_a_file_that_changes_is_another_picture(tmp_path: Path):
    path = tmp_path / "mine.png"
    names = []
    for colour in ((0, 0, 255), (0, 0, 255), (255, 0, 0)):
        PILImages.new("RGB", (4, 4), colour).save(path)
        names.append(talk().attach(str(path)).id)
    assert names[0] == names[1] != names[2]


def test_more_goes_on_and_its_numbers_can_be_picked():
    conversation = talk()
    first = conversation.say("something red")
    second = conversation.more()
    assert [candidate.number for candidate in second.candidates] == [4, 5, 6]
    assert not set(ids(first)) & set(ids(second))
    everything = conversation.index.search(np.asarray([[1, 0, 0]], np.float32), 6, None)[1][0]
    assert ids(first) + ids(second) == [conversation.gallery.ids[row] for row in everything]
    conversation.pick(5)
    assert conversation.dialogue.images[-1].id == second.candidates[1].id


def test_more_ends_when_the_gallery_does():
    conversation = talk(k=15)
    assert len(conversation.say("red").candidates) == 15
    assert len(conversation.more().candidates) == 6
    last = conversation.more()
    assert (last.text, last.candidates) == (NOTHING_LEFT, ())
    assert len(conversation.candidates) == 21


def test_rejected_candidates_stay_out_of_every_later_search():
    conversation = talk()
    shown = set(ids(conversation.say("something red")))
    again = conversation.none_of_these()
    assert not shown & set(ids(again))
    assert [candidate.number for candidate in again.candidates] == [1, 2, 3]
    shown |= set(ids(again))
    assert not shown & set(ids(conversation.none_of_these()))
    assert conversation.state.rejected == shown
    conversation.say("something green")
    assert not shown & set(ids(conversation.say("something red")))
    assert not shown & set(ids(conversation.more()))


def test_none_of_these_drops_a_pick_and_what_more_brought():
    conversation = talk()
    conversation.say("something red")
    conversation.more()
    conversation.pick(5)
    shown = {candidate.id for candidate in conversation.candidates}
    assert len(shown) == 6
    conversation.none_of_these()
    assert conversation.state.rejected == shown
    assert not shown & {image.id for image in conversation.dialogue.images}


def test_the_reference_is_not_its_own_answer():
    conversation = talk()
    conversation.say("something red")
    conversation.pick(1)
    assert "red" not in ids(conversation.say("the same"))


def test_an_attached_picture_is_part_of_the_message(tmp_path: Path):
    path = tmp_path / "mine.png"
    PILImages.new("RGB", (4, 4), (0, 0, 255)).save(path)
    by_move, by_argument = talk(), talk()
    by_move.attach(str(path))
    answer = by_move.say("darker")
    assert ids(answer)[0] == "blue-128"
    assert by_argument.say("darker", images=[str(path)]) == answer
    turn = by_move.dialogue.turns[0]
    assert [type(part).__name__ for part in turn.content] == ["Image", "Text"]
    assert turn.images[0].path == str(path)
    assert by_move.state.attached == ()


def test_a_picture_alone_is_a_message():
    assert ids(talk().say("", images=[PILImages.new("RGB", (4, 4), (0, 255, 0))]))[0] == "green"


def test_a_gallerys_picture_can_be_attached_by_its_id():
    conversation = talk()
    answer = conversation.say("the same", images=[Image("blue-128")])
    assert "blue-128" not in ids(answer)
    assert ids(answer)[0] in ("blue-192", "blue-64")


@pytest.mark.parametrize(
    ("move", "says"),
    [
        (lambda c: c.say("  "), "empty"),
        (lambda c: c.pick(1), "say what you look for"),
        (lambda c: c.more(), "say what you look for"),
        (lambda c: c.none_of_these(), "say what you look for"),
        (lambda c: c.undo(), "nothing to undo"),
        (lambda c: (c.say("red"), c.pick(4)), "no candidate 4: 1 to 3"),
        (lambda c: (c.say("red"), c.pick(0)), "no candidate 0"),
        (lambda c: c.say("red", images=[Image("nowhere")]), "no such picture"),
    ],
)
def test_moves_that_cannot_be_made_say_why_and_change_nothing(move, says):
    conversation = talk()
    before = conversation.state
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        move(conversation)
    if "1 to 3" not in says and "candidate 0" not in says:
        assert conversation.state == before
    else:
        assert len(conversation.candidates) == 3


def test_nothing_fits_is_said_and_more_shows_the_candidates_all_the_same():
    conversation = talk(threshold=-0.1)
    assert conversation.say("something red").fits
    answer = conversation.say("something red and blue")  # (0.5, 0, 0.5): 0.35 from the nearest
    assert not answer.fits
    assert answer.text == NOTHING_FITS
    assert answer.candidates == ()
    with pytest.raises(ValueError, match="none is shown"):
        conversation.pick(1)
    assert conversation.dialogue.turns[-1].text == NOTHING_FITS
    offered = conversation.more()
    assert len(offered.candidates) == 3
    assert offered.candidates[0].number == 1
    conversation.pick(1)
    assert conversation.dialogue.turns[-1].images[0].id == offered.candidates[0].id


def test_a_plain_retriever_answers_every_message_with_pictures():
    conversation = talk(plain=True)
    assert ids(conversation.say("is it red?"))[0] == "red"
    assert ids(conversation.say("darker"))[0] == "red-128"


def test_an_empty_gallery_fits_nothing():
    gallery = type(palette())({})
    conversation = Conversation(
        ColourRetriever(), gallery, NearestIndex(np.zeros((0, 3), np.float32))
    )
    answer = conversation.say("red")
    assert not answer.fits
    assert conversation.more().text == NOTHING_LEFT


MOVES = st.one_of(
    st.sampled_from(["red", "blue", "darker", "what is it?", "yellow green", "white"]).map(
        lambda words: ("say", words)
    ),
    st.integers(1, 4).map(lambda n: ("pick", n)),
    st.sampled_from([("more",), ("none",), ("attach",)]),
)


def make(conversation: Conversation, move: tuple) -> bool:
    """Make the move; False where it cannot be made."""
    before = conversation.state
    try:
        if move[0] == "say":
            conversation.say(move[1])
        elif move[0] == "pick":
            conversation.pick(move[1])
        elif move[0] == "more":
            conversation.more()
        elif move[0] == "none":
            conversation.none_of_these()
        else:
            conversation.attach(PILImages.new("RGB", (2, 2), (255, 255, 0)))
    except ValueError:
        assert conversation.state is before
        return False
    return conversation.state is not before


@settings(max_examples=60, deadline=None)
@given(st.lists(MOVES, max_size=12), st.sampled_from([None, -0.2]))
def test_undo_restores_every_state_in_turn(moves, threshold):
    conversation = talk(threshold=threshold)
    states = [conversation.state]
    dialogues = [conversation.dialogue]
    for move in moves:
        if make(conversation, move):
            states.append(conversation.state)
            dialogues.append(conversation.dialogue)
    while len(states) > 1:
        conversation.undo()
        states.pop()
        dialogues.pop()
        assert conversation.state == states[-1]
        assert conversation.dialogue == dialogues[-1]
    with pytest.raises(ValueError, match="nothing to undo"):
        conversation.undo()


@settings(max_examples=60, deadline=None)
@given(st.lists(MOVES, max_size=12))
def test_no_candidate_is_rejected_repeated_or_part_of_the_history(moves):
    conversation = talk()
    for move in moves:
        make(conversation, move)
        shown = [candidate.id for candidate in conversation.candidates]
        assert len(shown) == len(set(shown))
        assert not set(shown) & conversation.state.rejected
        earlier = {image.id for turn in conversation.dialogue.turns[:-1] for image in turn.images}
        assert not set(shown) & earlier
        scores = [candidate.score for candidate in conversation.candidates]
        assert scores == sorted(scores, reverse=True)
        assert [c.number for c in conversation.candidates] == list(range(1, len(shown) + 1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), MOVES), max_size=14))
def test_conversations_over_one_system_share_no_state(moves):
    gallery, system = palette(), ColourAssistant()
    index = NearestIndex(gallery.vectors)
    together = [Conversation(system, gallery, index, k=3) for _ in range(2)]
    for second, move in moves:
        make(together[second], move)
    for which in (False, True):
        alone = Conversation(ColourAssistant(), palette(), index, k=3)
        for second, move in moves:
            if second == which:
                make(alone, move)
        assert alone.state == together[which].state


# ---------------------------------------------------------------------- files


@settings(max_examples=30, deadline=None)
@given(st.lists(MOVES, max_size=8), st.lists(MOVES, min_size=1, max_size=4))
def test_a_saved_conversation_goes_on_as_if_it_had_never_stopped(tmp_path_factory, before, after):
    folder = tmp_path_factory.mktemp("saved")
    conversation = talk()
    for move in before:
        make(conversation, move)
    if conversation.state.attached:
        conversation.say("with this")
    conversation.save(folder / "talk.jsonl")
    loaded = Conversation.load(
        folder / "talk.jsonl", ColourAssistant(), conversation.gallery, conversation.index, k=3
    )
    assert loaded.rounds == conversation.rounds or any(
        image.path is None for one in conversation.rounds for image in one.user.images
    )
    for move in after:
        assert make(loaded, move) == make(conversation, move)
        assert [one.shown for one in loaded.rounds] == [one.shown for one in conversation.rounds]
        assert loaded.state.rejected == conversation.state.rejected


def test_continuations_are_kept_in_files(tmp_path: Path):
    gallery = palette()
    index = NearestIndex(gallery.vectors)
    conversation = Conversation(TalkativeAssistant(), gallery, index)
    conversation.say("red")
    conversation.pick(2)
    conversation.save(tmp_path / "t.jsonl")
    loaded = Conversation.load(tmp_path / "t.jsonl", TalkativeAssistant(), gallery, index)
    assert loaded.rounds == conversation.rounds
    assert loaded.dialogue == conversation.dialogue


def test_the_file_is_in_the_dialogue_format(tmp_path: Path):
    conversation = talk()
    conversation.say("something red")
    conversation.none_of_these()
    conversation.pick(2)
    conversation.say("what colour is it?")
    conversation.save(tmp_path / "talk.jsonl")
    (dialogue,) = read_jsonl(tmp_path / "talk.jsonl")
    assert [turn.role for turn in dialogue.turns] == ["user", "assistant"] * 2
    assert dialogue.turns[1].images[0].id == conversation.rounds[0].shown[1].id
    assert dialogue.turns[1].images[0].path == f"{dialogue.turns[1].images[0].id}.png"
    record = json.loads((tmp_path / "talk.jsonl").read_text())
    assert record["rounds"][0]["rejected"] == ["red", "red-192", "red-128"]
    assert not list(tmp_path.glob("*.part"))


def test_any_dialogue_file_can_be_gone_on_with(tmp_path: Path):
    dialogue = Dialogue().user("something red").assistant(Image("red-192"))
    write_jsonl(tmp_path / "d.jsonl", [dialogue])
    gallery = palette()
    conversation = Conversation.load(
        tmp_path / "d.jsonl", ColourAssistant(), gallery, NearestIndex(gallery.vectors)
    )
    assert ids(conversation.say("darker"))[0] in ("red-64", "red-128")
    assert conversation.rounds[1].shown[0].score == pytest.approx(-32 / 255)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no dialogue"),
        ('{"messages": [{"role": "user"}]}', "line 1"),
        ('{"messages": [{"role": "user", "content": "hi"}]}', "alternation"),
        (
            '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": '
            '[{"type": "image", "id": "pink"}]}]}',
            "no picture 'pink'",
        ),
        (
            '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": '
            '"yes"}], "rounds": []}',
            "1 rounds of messages",
        ),
    ],
)
def test_files_of_another_shape_are_refused_with_the_reason(tmp_path: Path, content, says):
    (tmp_path / "d.jsonl").write_text(content)
    gallery = palette()
    with pytest.raises(ValueError, match=says) as caught:
        Conversation.load(
            tmp_path / "d.jsonl", ColourAssistant(), gallery, NearestIndex(gallery.vectors)
        )
    assert "d.jsonl" in str(caught.value)
