from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Retriever
from chatsearcher.retrievers import load_retriever


def write(path: Path, **changes) -> Path:
    arrays = {
        "image_ids": np.array(["a", "b"]),
        "image_vectors": np.array([[3.0, 4.0], [0.0, 2.0]]),
        "query_ids": np.array(["q1"]),
        "query_vectors": np.array([[2.0, 0.0]]),
        **changes,
    }
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_vectors_are_found_by_id_and_made_unit(tmp_path: Path) -> None:
    system = load_retriever(f"precomputed:{write(tmp_path / 'v.npz')}")
    assert isinstance(system, Retriever)
    np.testing.assert_allclose(system.image_vectors_of(["b", "a"]), [[0, 1], [0.6, 0.8]])
    query = Dialogue(id="q1").user("anything")
    np.testing.assert_allclose(system.encode_queries([query]), [[1, 0]])
    with pytest.raises(ValueError, match="no vector for query 'q2'"):
        system.encode_queries([Dialogue(id="q2")])
    with pytest.raises(ValueError, match="no id"):
        system.encode_queries([Dialogue()])
    with pytest.raises(ValueError, match="gallery import"):
        system.encode_images([])


def test_distances_keep_their_lengths(tmp_path: Path) -> None:
    path = write(tmp_path / "v.npz", metric=np.array("l2"))
    system = load_retriever(f"precomputed:{path}")
    assert system.metric == "l2"
    np.testing.assert_allclose(system.image_vectors_of(["a"]), [[3, 4]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_ids": None}, "lacks query_ids"),
        ({"image_ids": np.array(["a"])}, "1 image ids"),
        ({"query_vectors": np.ones((1, 3))}, "2 dimensions"),
        ({"metric": np.array("dot")}, "unknown metric 'dot'"),
        ({"image_vectors": np.array([[1.0, 0], [0, 0]])}, r"image row 1 \(b\) is zero"),
        ({"image_vectors": np.array([[1.0, np.nan], [0, 1]])}, r"image row 0 \(a\) holds NaN"),
        ({"query_vectors": np.array([[np.inf, 1.0]])}, r"query row 0 \(q1\) holds NaN or inf"),
        ({"image_ids": np.array(["a", "a"])}, "image id 'a' stands in rows 0 and 1; keep one"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    path = write(tmp_path / "v.npz", **changes)
    with pytest.raises(ValueError, match=message) as error:
        load_retriever(f"precomputed:{path}")
    assert str(path) in str(error.value)
