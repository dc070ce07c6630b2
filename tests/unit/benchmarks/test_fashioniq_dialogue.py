"""Fashion IQ dialogues: ranks of every turn by hand, seeded starts, simulated users, loss."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.fashioniq.dialogue import FashionIQDialogue, first_row, turn_figures
from chatsearcher.benchmarks.fashioniq.simulators import AttributeUsers
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.roles import User, UserSimulator
from tests.fixtures.miniatures.fashioniq import Alike, asin, attributes, make

WORDS = {f"p{n}": tuple(w for part in attributes(n) for w in part) for n in range(36)}


class Colours:
    """Sees the exact pixel, which names the product; reads a hash of the dialogue."""

    embedding_dim, metric, fingerprint = 6, "cosine", "colours"

    def __init__(self) -> None:
        self.read: list[Dialogue] = []

    def encode_images(self, images: Sequence) -> np.ndarray:
        return np.stack([self._vector(str(each.getpixel((0, 0)))) for each in images])

    def encode_queries(self, dialogues: Sequence[Dialogue]) -> np.ndarray:
        assert all(image.pixels is not None for each in dialogues for image in each.images)
        self.read.extend(dialogues)
        return np.stack([self._vector(str(each.to_messages())) for each in dialogues])

    def _vector(self, text: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        vector = np.random.default_rng(seed).normal(size=6).astype(np.float32)
        return vector / np.linalg.norm(vector)


def test_every_turn_is_what_one_gets_by_hand(tmp_path: Path) -> None:
    root = make(tmp_path)
    benchmark, system = FashionIQDialogue("dress"), Colours()
    options = {"seed": "3", "targets": "7"}
    result = benchmark.run(system, Context(data_root=root, options=options))
    task = benchmark.read(root, options)
    gallery = system.encode_images([task.pictures.load(name) for name in task.images])
    words = {
        name: tuple(w for part in attributes(n) for w in part) for n, name in enumerate(task.images)
    }
    ranks = np.zeros((7, 5), int)
    for row, query in enumerate(task.queries):
        user = AttributeUsers(words, 0.0, "").user(query.targets[0], 3)
        dialogue, shown = Dialogue(id=query.id), query.reference
        for turn in range(5):
            dialogue = user.respond(dialogue.assistant(Image(str(shown))))
            scores = gallery.astype(np.float64) @ system._vector(str(dialogue.to_messages()))
            ranks[row, turn] = 1 + (scores > scores[row]).sum()
            shown = task.images[int(scores.argmax())]
        assert dialogue in system.read
    expected, _, curves = turn_figures(ranks, 60)
    assert result.metrics == pytest.approx(expected, abs=1e-9)
    assert result.curves["P"] == pytest.approx(curves["P"])
    assert result.counts["queries"] == 7
    assert result.settings["simulator"] == "attributes-1"
    again = benchmark.run(Colours(), Context(data_root=root, options=options))
    assert again.metrics == result.metrics


def test_the_percentile_counts_ranks_from_zero() -> None:
    ranks = np.array([[1, 1, 1, 1, 1], [200, 100, 50, 11, 10]])
    metrics, samples, curves = turn_figures(ranks, 200)
    assert metrics["P turn 1"] == pytest.approx((100 + 0.5) / 2)
    assert metrics["P turn 5"] == pytest.approx((100 + 95.5) / 2)
    assert metrics["R@10 turn 3"] == 50
    assert metrics["R@50 turn 3"] == 100
    assert metrics["R@10 turn 5"] == 100
    assert curves["R@10"] == [50, 50, 50, 50, 100]
    assert len(samples) == 9


@given(st.integers(2, 500), st.integers(0, 99), st.data())
def test_what_is_shown_first_is_never_the_target(count: int, seed: int, data) -> None:
    row = data.draw(st.integers(0, count - 1))
    drawn = first_row(row, count, seed, f"p{row}")
    assert 0 <= drawn < count
    assert drawn != row
    assert drawn == first_row(row, count, seed, f"p{row}")


def test_first_pictures_differ_by_seed_and_not_by_system(tmp_path: Path) -> None:
    root = make(tmp_path)
    starts = [
        [query.reference for query in FashionIQDialogue("shirt").read(root, {"seed": seed}).queries]
        for seed in ("0", "0", "1")
    ]
    assert starts[0] == starts[1] != starts[2]
    assert len(set(starts[0])) > 20


def test_the_user_names_what_is_lacking_new_words_first() -> None:
    users = AttributeUsers(WORDS, 0.0, "")
    assert isinstance(users, UserSimulator)
    user = users.user("p0", 0)  # striped, long, red
    assert isinstance(user, User)
    first = user.respond(Dialogue().assistant(Image("p35")))  # plain, sleeveless, black
    assert first.turns[-1].text == "is striped and long and red, not plain"
    second = user.respond(first.assistant(Image("p17")))  # floral, sleeveless, green
    assert second.turns[-1].text == "is striped and long and red, not floral"
    same = user.respond(second.assistant(Image("p0")))
    assert same.turns[-1].text == "is very much like this"
    with pytest.raises(ValueError, match="needs one in the system's last turn"):
        user.respond(Dialogue().user("hello"))


def test_a_user_can_err_and_errs_alike_each_time() -> None:
    said = {}
    for wrong in (0.0, 0.3, 1.0):
        users = AttributeUsers(WORDS, wrong, "")
        lines = []
        for n in range(30):
            start = Dialogue().assistant(Image("p35"))
            lines.append(users.user(f"p{n}", 1).respond(start).turns[-1].text)
            assert lines[-1] == users.user(f"p{n}", 1).respond(start).turns[-1].text
        said[wrong] = lines
    changed = [sum(a != b for a, b in zip(said[0.0], said[w], strict=True)) for w in (0.3, 1.0)]
    assert 5 < changed[0] < 30
    assert changed[1] == 30


def test_a_missing_picture_takes_its_dialogues_with_it(tmp_path: Path) -> None:
    root = make(tmp_path)
    benchmark = FashionIQDialogue("toptee")
    task = benchmark.read(root, {})
    lost, broken = asin("toptee", "test", 4), asin("toptee", "test", 9)
    (root / f"images/{lost}.png").unlink()
    (root / f"images/{broken}.png").write_bytes(b"no picture")
    result = benchmark.run(Alike(), Context(data_root=root))
    gone = {lost, broken}
    out = [q for q in task.queries if q.reference in gone or q.targets[0] in gone]
    assert len(out) >= 2
    assert sorted(result.missing) == sorted(gone)
    assert result.counts["queries left out"] == len(out)
    assert result.counts["gallery"] == 58
    assert result.shrunken
    assert any(note.startswith("shrunken: 2 of 60 pictures") for note in result.notes)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    root = make(tmp_path)
    benchmark = FashionIQDialogue("dress")
    for options, message in (
        ({"simulator": "attribute"}, "did you mean 'attributes'"),
        ({"simulator": "attributes:2"}, "expected a share, 0 to 1"),
        ({"simulator": "attributes:often"}, "expected a share, 0 to 1"),
        ({"seed": "-1"}, "seed='-1'; expected a whole number from 0"),
        ({"targets": "0"}, "targets='0'; expected a whole number from 1"),
        ({"beam": "5"}, "has no option 'beam'"),
    ):
        with pytest.raises(ValueError, match=message):
            benchmark.run(Alike(), Context(data_root=root, options=options))
    with pytest.raises(ValueError, match="needs a system with vectors"):
        benchmark.run(object(), Context(data_root=root))
    file = root / "asin2attr.dress.test.json"
    file.write_text('{"x": [["red"]]}')
    with pytest.raises(ValueError, match="has no product 'BDT0000'"):
        benchmark.run(Alike(), Context(data_root=root))
    file.write_text('{"x": ["red"]}')
    with pytest.raises(ValueError, match="'x': expected lists of words"):
        benchmark.run(Alike(), Context(data_root=root))
    file.unlink()
    with pytest.raises(FileNotFoundError, match="prepare fashion-iq-attributes"):
        benchmark.run(Alike(), Context(data_root=root))
