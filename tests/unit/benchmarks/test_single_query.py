from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImages

from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.query_sets import Outcome, QuerySetBenchmark, outcome_of, task_of
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.single_query import GalleryVectors, set_checksum, with_pixels
from chatsearcher.benchmarks.vectors import encode
from chatsearcher.benchmarks.world import figures_of, joint_interval, suite_result
from chatsearcher.dialogue import Dialogue, Image


@dataclass(frozen=True)
class ToyQuery:
    id: str
    dialogue: Dialogue
    target: str
    exclude: frozenset[str] = frozenset()
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToySet:
    gallery: tuple[str, ...]
    queries: tuple[ToyQuery, ...]
    name: str = "toy"


def load(name: str) -> PILImages.Image:
    """Picture ``n`` is one pixel of brightness n."""
    return PILImages.new("RGB", (1, 1), (int(name),) * 3)


@dataclass
class Angle:
    """Pictures on a circle by brightness; a query is the number it says, plus its pictures'."""

    embedding_dim: int = 2
    metric: str = "cosine"
    fingerprint: str = "angle"
    encoded: list[int] = field(default_factory=list)

    def encode_images(self, images):
        self.encoded += [image.getpixel((0, 0))[0] for image in images]
        return self._unit(self.encoded[-len(images) :])

    def encode_queries(self, dialogues):
        return self._unit(
            [
                float(d.last("user").text) + sum(i.pixels.getpixel((0, 0))[0] for i in d.images)
                for d in dialogues
            ]
        )

    def _unit(self, numbers):
        angles = np.asarray(numbers, dtype=np.float64) / 100
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


class Constant(Angle):
    def _unit(self, numbers):
        return np.tile(np.array([0.6, 0.8], dtype=np.float32), (len(numbers), 1))


def ask(number: float, target: str, **rest) -> ToyQuery:
    return ToyQuery(f"q{number}", Dialogue().user(str(number)), target, **rest)


class ToyBenchmark(QuerySetBenchmark):
    """A toy set with the world's figures."""

    def __init__(self, queries: ToySet) -> None:
        self._queries = queries

    @property
    def card(self) -> Card:
        return Card(self._queries.name, "nothing", {}, ("mean recall",), "mean recall", "-", "-")

    def queries(self) -> ToySet:
        return self._queries

    def task(self):
        return task_of(self._queries, load)

    def figures(self, task, outcome):
        return figures_of(task, outcome)


def ranked(system: Angle, queries: ToySet) -> Outcome:
    encoded = encode(system, task_of(queries, load))
    return outcome_of(encoded.task, encoded.vectors)


def measured(system: Angle, queries: ToySet) -> Result:
    return ToyBenchmark(queries).run(system)


GALLERY = tuple(str(number) for number in range(0, 200, 10))


def test_ranks_exclusion_and_neighbours() -> None:
    queries = ToySet(
        GALLERY,
        (
            ask(50, "50", neighbours=("40", "60")),
            ask(54, "60", neighbours=("50", "70")),
            ask(53, "60", exclude=frozenset({"50", "not in the gallery"}), neighbours=("50", "70")),
        ),
    )
    out = ranked(Angle(), queries)
    assert out.ranks.tolist() == [1, 2, 1]
    assert out.beats_neighbours.tolist() == [True, False, True]
    assert out.candidates.tolist() == [20, 20, 19]
    assert out.rivals.tolist() == [2, 2, 1]


def test_pictures_of_a_dialogue_are_decoded() -> None:
    dialogue = Dialogue().user("10", Image("40"))
    queries = ToySet(GALLERY, (ToyQuery("q", dialogue, "50"),))
    assert ranked(Angle(), queries).ranks.tolist() == [1]
    kept = Image("40", pixels=load("7"))
    assert with_pixels(Dialogue().user(kept), load).images[0].pixels is kept.pixels


def test_a_constant_scorer_gets_nothing() -> None:
    queries = ToySet(GALLERY, tuple(ask(int(n), n, neighbours=("0", "190")) for n in GALLERY[1:-1]))
    result = measured(Constant(), queries)
    assert result.metrics["R@10"] == 0
    assert result.metrics["beats neighbours"] == 0
    assert result.metrics["beats neighbours by chance"] == pytest.approx(100 / 3)


def test_a_picture_is_encoded_once_and_remembered_on_disk(tmp_path: Path) -> None:
    system, vectors = Angle(), GalleryVectors(tmp_path)
    first = vectors.get(system, ["10", "20", "30"], load)
    vectors.get(system, ["30", "40", "20"], load)
    assert system.encoded == [10, 20, 30, 40]
    again = Angle()
    np.testing.assert_array_equal(
        GalleryVectors(tmp_path).get(again, ["10", "20", "30"], load), first
    )
    assert again.encoded == []
    other = Angle(fingerprint="other weights")
    GalleryVectors(tmp_path).get(other, ["10", "20", "30"], load)
    assert other.encoded == [10, 20, 30]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="'55' is not in the gallery"):
        ranked(Angle(), ToySet(GALLERY, (ask(5, "55"),)))
    with pytest.raises(ValueError, match="picture '1' stands in the data twice"):
        ranked(Angle(), ToySet(("1", "1"), (ask(1, "1"),)))
    with pytest.raises(ValueError, match="expected \\(1, 3\\)"):
        ranked(Angle(embedding_dim=3), ToySet(("1",), (ask(1, "1"),)))


def test_the_checksum_sees_every_part_of_a_set() -> None:
    base = ToySet(GALLERY, (ask(50, "50", neighbours=("40",)),))
    query = base.queries[0]
    variants = [
        base,
        replace(base, gallery=GALLERY[::-1]),
        *(
            replace(base, queries=(replace(query, **change),))
            for change in (
                {"target": "60"},
                {"exclude": frozenset({"0"})},
                {"neighbours": ("30",)},
                {"dialogue": Dialogue().user("51")},
            )
        ),
    ]
    assert len({set_checksum(each) for each in variants}) == len(variants)
    assert set_checksum(replace(base)) == set_checksum(base)


def test_the_suite_is_the_mean_of_all_recalls() -> None:
    sets = [
        ToySet(GALLERY, tuple(ask(int(n), n) for n in GALLERY), "one"),
        ToySet(GALLERY, tuple(ask(int(n) + 11, n) for n in GALLERY), "two"),
    ]
    results = [measured(Angle(), each) for each in sets]
    joint = suite_result("both", results)
    recalls = [result.metrics[f"R@{k}"] for result in results for k in (1, 5, 10)]
    assert len(recalls) == 6
    assert joint.metrics["mean recall"] == pytest.approx(np.mean(recalls))
    low, high = joint.intervals["mean recall"]
    assert low <= joint.metrics["mean recall"] <= high
    with pytest.raises(ValueError, match="different systems"):
        suite_result("both", [results[0], replace(results[1], retriever={"fingerprint": "x"})])


def test_the_joint_interval_closed_form() -> None:
    ranks = [np.repeat([1, 100], [300, 700]), np.repeat([1, 100], [600, 400])]
    low, high = joint_interval(ranks)
    half = 1.96 * 100 * np.sqrt((0.3 * 0.7 + 0.6 * 0.4) / 1000) / 2
    assert low == pytest.approx(45 - half, abs=0.5)
    assert high == pytest.approx(45 + half, abs=0.5)
