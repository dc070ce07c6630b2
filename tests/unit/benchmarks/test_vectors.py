"""Vectors of a task: what a file of them must hold, and what a system's are checked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImages
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from chatsearcher.benchmarks.single_query import GalleryVectors
from chatsearcher.benchmarks.task import FilePictures, Query, Task, reworded
from chatsearcher.benchmarks.vectors import encode, read_features
from chatsearcher.dialogue import Dialogue, Image, Text
from tests.fixtures.histogram import PALETTE, HistogramRetriever

NAMES = ("red", "green", "blue", "grey")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Four pictures of one colour, a query for each; two of them show a further picture."""
    for name in (*NAMES, "white", "black"):
        PILImages.new("RGB", (8, 8), PALETTE[name]).save(tmp_path / f"{name}.png")
    shown = {"green": "white", "blue": "black"}
    queries = tuple(
        Query(
            name,
            Dialogue(id=name).user(
                *([Image(shown[name])] if name in shown else []), f"a {name} one"
            ),
            (name,),
        )
        for name in NAMES
    )
    pictures = FilePictures(tmp_path, lambda id: (f"{id}.png",))
    return Task(NAMES, queries, pictures, "data", space="colours")


def vectors(rows: int = 4, width: int = 3) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, width)).astype(np.float32)


def written(folder: Path, **tensors: np.ndarray) -> Path:
    file = folder / "v.safetensors"
    save_file({"images": vectors(), "queries": vectors() + 1} | tensors, file)
    return file


def test_rows_become_unit_vectors_under_cosine_only(task: Task, tmp_path: Path) -> None:
    file = written(tmp_path, images=3 * vectors())
    found = read_features(file, task)
    np.testing.assert_allclose(np.linalg.norm(found.vectors.images, axis=1), 1, atol=1e-6)
    assert read_features(file, task, "l2").vectors.images == pytest.approx(3 * vectors())
    save_file({"images": vectors(), "queries": vectors()}, file, metadata={"metric": "l2"})
    assert read_features(file, task).vectors.metric == "l2"
    assert read_features(file, task, "cosine").vectors.metric == "cosine"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_float_is_read(task: Task, tmp_path: Path, dtype: torch.dtype) -> None:
    file = tmp_path / "v.safetensors"
    images = torch.from_numpy(vectors())
    save_tensors({"images": images.to(dtype), "queries": images.to(dtype)}, file)
    found = read_features(file, task).vectors
    assert found.images.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    expected = (images / images.norm(dim=1, keepdim=True)).numpy()
    np.testing.assert_allclose(found.images, expected, atol=1e-2)


def with_value(value: float, row: int) -> np.ndarray:
    found = vectors()
    found[row] = value
    return found


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"images": vectors(3)}, r"images has 3 rows, expected 4: row 3 \('grey'\)"),
        ({"queries": vectors(6)}, r"queries has 6 rows, expected 4: row 4 belongs to nothing"),
        ({"queries": vectors(4, 5)}, "images have 3 dimensions, queries 5"),
        ({"images": with_value(np.nan, 1)}, r"images row 1 \('green'\) holds NaN or infinity"),
        ({"queries": with_value(np.inf, 2)}, r"queries row 2 \('blue'\) holds NaN or infinity"),
        ({"queries": with_value(0, 3)}, r"queries row 3 \('grey'\) is zero"),
        ({"images": np.ones((4, 3), np.int64)}, "expected .* floats"),
        ({"images": vectors()[:, 0].copy()}, r"images has shape \[4\]"),
        ({"texts": vectors()}, "holds 'texts' besides"),
        ({"missing": np.zeros(3, bool)}, "missing has shape"),
        ({"missing": np.ones(4, bool)}, "4 of 4 pictures are marked"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_row(
    tensors: dict, message: str, task: Task, tmp_path: Path
) -> None:
    file = written(tmp_path, **tensors)
    with pytest.raises(ValueError, match=message) as error:
        read_features(file, task)
    assert str(file) in str(error.value)


def test_files_that_are_none(task: Task, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file of vectors"):
        read_features(tmp_path / "none", task)
    file = tmp_path / "v.safetensors"
    file.write_bytes(b"\x80\x04no")
    with pytest.raises(ValueError, match="no safetensors file"):
        read_features(file, task)
    save_file({"images": vectors()}, file)
    with pytest.raises(ValueError, match="lacks 'queries'; it holds images"):
        read_features(file, task)
    save_file({"images": vectors(), "queries": vectors()}, file, metadata={"metric": "dot"})
    with pytest.raises(ValueError, match="metric 'dot'"):
        read_features(file, task)


def test_rows_marked_as_missing_may_hold_anything(task: Task, tmp_path: Path) -> None:
    marks = np.array([0, 1, 0, 0], np.uint8)
    found = read_features(written(tmp_path, images=with_value(np.nan, 1), missing=marks), task)
    assert found.task.images == ("red", "blue", "grey")
    assert [query.id for query in found.task.queries] == ["red", "blue", "grey"]
    assert found.vectors.queries.shape == (3, 3)
    assert list(found.missing) == ["green"]


def test_a_picture_that_only_a_dialogue_shows_may_be_broken(task: Task, tmp_path: Path) -> None:
    (tmp_path / "white.png").write_bytes(b"nothing")
    (tmp_path / "black.png").unlink()
    found = encode(HistogramRetriever(), task)
    assert [query.id for query in found.task.queries] == ["red", "grey"]
    assert found.task.images == NAMES
    assert set(found.missing) == {"white", "black"}
    assert found.vectors.images.shape == (4, 11)
    np.testing.assert_allclose(np.linalg.norm(found.vectors.queries, axis=1), 1, atol=1e-6)


def test_equal_ids_of_different_sets_are_not_taken_for_one(task: Task, tmp_path: Path) -> None:
    cache = GalleryVectors()
    first = encode(HistogramRetriever(), task, cache).vectors.images
    for name in NAMES:
        PILImages.new("RGB", (8, 8), "purple").save(tmp_path / f"{name}.png")
    assert (encode(HistogramRetriever(), task, cache).vectors.images == first).all()
    other = encode(HistogramRetriever(), replace(task, space="other"), cache).vectors.images
    assert not np.allclose(other, first)


def test_texts_that_a_system_cuts_are_counted(task: Task) -> None:
    class Short(HistogramRetriever):
        truncated_texts = 5

        def encode_queries(self, dialogues):
            self.truncated_texts += sum(len(d.text) > 9 for d in dialogues)
            return super().encode_queries(dialogues)

    found = encode(Short(), task)
    assert (found.truncated, found.divided) == (
        3,
        None,
    )  # "a green one", "a blue one", "a grey one"
    assert encode(HistogramRetriever(), task).truncated is None


def test_texts_that_a_system_divides_are_counted_apart(task: Task) -> None:
    class Dividing(HistogramRetriever):
        truncated_texts, divided_texts = 0, 7

        def encode_queries(self, dialogues):
            self.divided_texts += len(dialogues)
            return super().encode_queries(dialogues)

    found = encode(Dividing(), task)
    assert (found.truncated, found.divided) == (0, 4)


def test_who_knows_vectors_by_id_needs_no_pixels(task: Task, tmp_path: Path) -> None:
    class Known(HistogramRetriever):
        def image_vectors_of(self, ids):
            return np.eye(4, 11, dtype=np.float32)[[NAMES.index(name) for name in ids]]

        def encode_queries(self, dialogues):
            return self.image_vectors_of([dialogue.id for dialogue in dialogues])

    for file in tmp_path.glob("*.png"):
        file.unlink()
    found = encode(Known(), task)
    assert not found.missing
    assert (found.vectors.images == found.vectors.queries).all()


def test_vectors_of_another_length_than_one_are_refused(task: Task) -> None:
    class Long(HistogramRetriever):
        def encode_images(self, images):
            return 2 * super().encode_images(images)

    with pytest.raises(
        ValueError, match=r"must be of unit length under cosine, row \d has length 2"
    ):
        encode(Long(), task)


def test_a_prompt_goes_around_the_last_users_words() -> None:
    dialogue = Dialogue().user("first").assistant("yes").user(Image("a"), "second", "half")
    changed = reworded(dialogue, "Now {text}, please.")
    assert changed.turns[:2] == dialogue.turns[:2]
    assert changed.turns[2].content == (Image("a"), Text("Now second half, please."))
    assert reworded(Dialogue().user(Image("a")), "this").turns[0].text == "this"
    assert reworded(Dialogue(), "x") == Dialogue()


def test_a_task_refuses_ids_that_stand_twice(task: Task) -> None:
    with pytest.raises(ValueError, match="picture 'red' stands in the data twice"):
        replace(task, images=(*NAMES, "red"))
    with pytest.raises(ValueError, match="query 'red' stands in the data twice"):
        replace(task, queries=task.queries + task.queries[:1])
    with pytest.raises(ValueError, match="query 'red': 'red' is not in the gallery"):
        replace(task, images=NAMES[1:])
