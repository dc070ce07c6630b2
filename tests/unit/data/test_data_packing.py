from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsearcher.data.packing import cut, first_fit, pack_rows, rounds, shorten
from chatsearcher.dialogue import Dialogue
from chatsearcher.model.processing import EncodedImage, EncodedSample

BOS, IMAGE, WORD = 1, 9, 5


@given(st.lists(st.integers(min_value=0, max_value=30), max_size=60))
def test_packing_places_each_sample_once_and_overfills_no_row(lengths: list[int]) -> None:
    rows = first_fit(lengths, 30)
    assert sorted(n for row in rows for n in row) == list(range(len(lengths)))
    filled = [sum(lengths[n] for n in row) for row in rows]
    assert all(total <= 30 for total in filled)
    assert sum(total * 2 <= 30 for total in filled) <= 1, "first fit leaves one row half empty"


@given(st.lists(st.integers(min_value=1, max_value=100), max_size=40))
def test_balanced_packing_needs_no_more_rows_and_no_more_width(lengths: list[int]) -> None:
    rows, width = pack_rows(lengths, 100)
    assert sorted(n for row in rows for n in row) == list(range(len(lengths)))
    assert all(sum(lengths[n] for n in row) <= width <= 100 for row in rows)
    longest_first = sorted(lengths, reverse=True)
    assert len(rows) <= len(first_fit(longest_first, 100))
    assert not rows or width % 8 == 0 or width == 100


def test_balanced_packing_shares_the_room_evenly() -> None:
    """Five times 60 fill three rows of 150 as 2 + 2 + 1; a width of 120 is enough for that."""
    rows, width = pack_rows([60] * 5, 150)
    assert (len(rows), width) == (3, 120)
    assert pack_rows([], 64) == ([], 0)


def test_packing_refuses_what_fits_no_row() -> None:
    with pytest.raises(ValueError, match="sample 1 has 31 tokens, a row holds 30"):
        first_fit([3, 31], 30)


def document(pieces: list[int]) -> EncodedSample:
    """Positive: so many words (ids 100, 101, …); zero: a picture of WORD tokens, all IMAGE."""
    ids, images = [BOS], []
    for piece in pieces:
        if piece == 0:
            images.append(EncodedImage(len(ids), f"p{len(images)}", True, None))  # type: ignore[arg-type]
            ids += [IMAGE] * WORD
        else:
            ids += [100 + len(ids) + n for n in range(piece)]
    return EncodedSample(ids, list(ids), images, "doc")


@given(
    st.lists(st.integers(min_value=0, max_value=15), max_size=12),
    st.integers(min_value=WORD + 1, max_value=24),
)
def test_cutting_loses_nothing_and_splits_no_picture(pieces: list[int], length: int) -> None:
    whole = document(pieces)
    parts = cut(whole, length, WORD, BOS)
    assert all(len(part.input_ids) <= length for part in parts)
    bodies = [part.input_ids[1:] if n else part.input_ids for n, part in enumerate(parts)]
    assert [token for body in bodies for token in body] == whole.input_ids
    labels = [part.labels[1:] if n else part.labels for n, part in enumerate(parts)]
    assert [label for body in labels for label in body] == whole.labels
    assert [image.id for part in parts for image in part.images] == [i.id for i in whole.images]
    for number, part in enumerate(parts):
        for image in part.images:
            assert part.input_ids[image.start : image.start + WORD] == [IMAGE] * WORD
        if number:
            assert part.input_ids[0] == BOS
            assert part.labels[0] == -100
    assert len({part.key for part in parts}) == len(parts)


def test_a_row_too_short_for_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="a picture takes 5 tokens, a row holds 5"):
        cut(document([0, 3]), 5, WORD, BOS)


def conversation(number: int) -> Dialogue:
    dialogue = Dialogue().add("system", "rules")
    for n in range(number):
        dialogue = dialogue.user(f"q{n}").assistant(f"a{n}")
    return dialogue


@given(st.integers(min_value=1, max_value=8), st.integers(min_value=1, max_value=8))
def test_shortening_drops_whole_rounds_from_the_front(number: int, room: int) -> None:
    shorter, dropped = shorten(conversation(number), lambda d: len(rounds(d)[1]) <= room)
    assert dropped == max(0, number - room)
    expected = ["rules"]
    for n in range(dropped, number):
        expected += [f"q{n}", f"a{n}"]
    assert [turn.text for turn in shorter.turns] == expected


def test_a_last_round_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="last round alone"):
        shorten(conversation(3), lambda _: False)
