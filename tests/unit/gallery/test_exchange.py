"""Vectors from elsewhere and out again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chatsearcher.gallery import Gallery, GalleryWriter, exchange, export_gallery, import_gallery
from chatsearcher.indexing import build_gallery
from tests.fixtures.histogram import HistogramRetriever


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((30, 7)).astype(np.float32)


def test_npy_with_ids_in_lines_or_jsonl(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "ids.txt").write_text("".join(f"picture {n}\n" for n in range(30)))
    import_gallery(tmp_path / "v.npy", tmp_path / "a", ids=tmp_path / "ids.txt", fingerprint="f")
    gallery = Gallery.open(tmp_path / "a")
    assert gallery.ids == [f"picture {n}" for n in range(30)]
    np.testing.assert_allclose(gallery.vectors, unit(vectors), atol=1e-6)
    lines = [
        {"id": f"p{n}", "caption": f"c{n}", "exif": {"GPS": 1}, "nsfw": 0.1} for n in range(30)
    ]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    import_gallery(
        tmp_path / "v.npy", tmp_path / "b", ids=tmp_path / "ids.jsonl", fingerprint="f", metric="l2"
    )
    gallery = Gallery.open(tmp_path / "b")
    assert gallery.metadata("p4") == {"caption": "c4", "nsfw": 0.1}
    assert (gallery.metric, gallery.fingerprint, gallery.embedding_dim) == ("l2", "f", 7)
    np.testing.assert_array_equal(gallery.vectors, vectors)  # l2: lengths are kept
    with pytest.raises(ValueError, match="has no thumbnail"):
        gallery.thumbnail("p4")


def test_clip_retrieval_layout_in_the_order_of_numbers(tmp_path: Path, vectors: np.ndarray) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    (tmp_path / "c" / "img_emb").mkdir(parents=True)
    (tmp_path / "c" / "metadata").mkdir()
    picture = tmp_path / "there.png"
    Image.new("RGB", (600, 300), "red").save(picture)
    for number, start in ((9, 0), (10, 10), (11, 20)):
        block = vectors[start : start + 10].astype(np.float16)
        np.save(tmp_path / "c" / "img_emb" / f"img_emb_{number}.npy", block)
        table = {
            "image_path": [str(picture)] + [f"/data/{start + n}.jpg" for n in range(1, 10)],
            "caption": [f"caption {start + n}" for n in range(10)],
            "key": [f"{start + n:09d}" for n in range(10)],
        }
        file = tmp_path / "c" / "metadata" / f"metadata_{number}.parquet"
        parquet.write_table(pyarrow.table(table), file)
    report = import_gallery(tmp_path / "c", tmp_path / "g", fingerprint="ViT-B/32")
    assert (report.added, report.failures) == (30, [])
    gallery = Gallery.open(tmp_path / "g")
    assert gallery.ids == [f"{n:09d}" for n in range(30)]
    assert gallery.metadata("000000012")["caption"] == "caption 12"
    assert gallery.source("000000012") == "/data/12.jpg"
    np.testing.assert_allclose(gallery.vectors, unit(vectors), atol=2e-3)
    assert gallery.thumbnail("000000000").size == (256, 128)  # made from the source on demand


@pytest.mark.parametrize("kind", ["fixed", "list"])
def test_parquet_with_a_column_of_vectors(tmp_path: Path, vectors: np.ndarray, kind: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    flat = pyarrow.array(vectors.ravel())
    column = pyarrow.FixedSizeListArray.from_arrays(flat, 7)
    if kind == "list":
        column = pyarrow.array(vectors.tolist(), pyarrow.list_(pyarrow.float64()))
    table = pyarrow.table({"id": list(map(str, range(30))), "emb": column})
    parquet.write_table(table, tmp_path / "v.parquet")
    import_gallery(tmp_path / "v.parquet", tmp_path / "g", fingerprint="f")
    np.testing.assert_allclose(Gallery.open(tmp_path / "g").vectors, unit(vectors), atol=1e-6)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_export_and_import_give_the_same_gallery(tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    photos = tmp_path / "private folder"
    photos.mkdir()
    exif = Image.Exif()
    exif[0x010F] = "Secret Camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    for n in range(5):
        Image.new("RGB", (20, 20), (50 * n, 9, 9)).save(photos / f"{n}.jpg", exif=exif)
    (photos / "3.txt").write_text("the third")
    (photos / "3.json").write_text('{"GPSLatitude": 52.5, "year": 1940}')
    build_gallery(photos, tmp_path / "g", HistogramRetriever(), name="histogram:1")
    gallery = Gallery.open(tmp_path / "g")
    assert export_gallery(gallery, tmp_path / "out", format=format) == 5
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    everything = b"".join(file.read_bytes() for file in files)
    stored = b"".join(f.read_bytes() for f in (tmp_path / "g").rglob("*") if f.is_file())
    for word in (b"Secret", b"Exif", b"EXIF", b"GPS"):
        assert word not in everything
        assert word not in stored
    assert b"private folder" not in everything
    import_gallery(tmp_path / "out", tmp_path / "again")
    again = Gallery.open(tmp_path / "again")
    assert again.ids == gallery.ids
    np.testing.assert_allclose(again.vectors, gallery.vectors, atol=1e-7)
    assert again.metadata("3.jpg") == {"caption": "the third", "year": 1940}
    assert again.retriever == "histogram:1"
    again.check(HistogramRetriever())
    with pytest.raises(ValueError, match="is not empty"):
        export_gallery(gallery, tmp_path / "out", format=format)


def test_rows_without_a_place_are_left_out_and_named(tmp_path: Path, vectors: np.ndarray) -> None:
    vectors[3], vectors[5, 2] = 0, np.nan
    np.save(tmp_path / "v.npy", vectors)
    report = import_gallery(tmp_path / "v.npy", tmp_path / "g", fingerprint="f")
    assert report.added == 28
    assert [failure.source for failure in report.failures] == ["row 3 (3)", "row 5 (5)"]
    report = import_gallery(tmp_path / "v.npy", tmp_path / "l", fingerprint="f", metric="l2")
    assert [failure.source for failure in report.failures] == ["row 5 (5)"]


def test_what_does_not_fit_is_refused(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "v.npy", vectors)
    np.save(tmp_path / "flat.npy", vectors[0])
    (tmp_path / "ids.txt").write_text("a\nb\n")
    (tmp_path / "twice.txt").write_text("same\n" * 30)
    (tmp_path / "hole.txt").write_text("a\n\nb\n")
    out = tmp_path / "g"
    with pytest.raises(ValueError, match="give its --fingerprint"):
        import_gallery(tmp_path / "v.npy", out)
    with pytest.raises(ValueError, match="30 vectors, but 2 ids"):
        import_gallery(tmp_path / "v.npy", out, ids=tmp_path / "ids.txt", fingerprint="f")
    with pytest.raises(ValueError, match="line 2: an empty id"):
        import_gallery(tmp_path / "v.npy", out, ids=tmp_path / "hole.txt", fingerprint="f")
    with pytest.raises(ValueError, match=r"shape \(7,\)"):
        import_gallery(tmp_path / "flat.npy", out, fingerprint="f")
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        import_gallery(tmp_path / "none.npy", out, fingerprint="f")
    with pytest.raises(ValueError, match="img_emb"):
        import_gallery(tmp_path, out, fingerprint="f")
    import_gallery(tmp_path / "v.npy", tmp_path / "t", fingerprint="f")
    monkeypatch.setattr(exchange, "BLOCK", 1)
    with pytest.raises(ValueError, match="row 1: the id 'same' is there already"):
        import_gallery(
            tmp_path / "v.npy", tmp_path / "t", ids=tmp_path / "twice.txt", fingerprint="f"
        )
    assert Gallery.open(tmp_path / "t").ids == list(map(str, range(30)))  # as it was before
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickled\.npy: not an array of numbers"):
        import_gallery(tmp_path / "pickled.npy", out, fingerprint="f")


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "v.parquet").touch()
    with pytest.raises(ImportError, match=r"chatsearcher\[parquet\]"):
        import_gallery(tmp_path / "v.parquet", tmp_path / "g", fingerprint="f")


def test_damage_is_told(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", vectors)
    import_gallery(tmp_path / "v.npy", tmp_path / "g", fingerprint="f")
    with pytest.raises(FileNotFoundError, match=r"is not a gallery.*chatsearcher index"):
        Gallery.open(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Gallery.open(tmp_path / "none")
    with pytest.raises(ValueError, match="no picture 'x'"):
        Gallery.open(tmp_path / "g").source("x")
    records = next((tmp_path / "g").rglob("records.jsonl"))
    records.write_bytes(records.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        Gallery.open(tmp_path / "g").metadata("29")
    records.unlink()
    with pytest.raises(ValueError, match="missing"):
        Gallery.open(tmp_path / "g")
    (tmp_path / "g" / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="gallery format 99"):
        Gallery.open(tmp_path / "g")
    (tmp_path / "g" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Gallery.open(tmp_path / "g")
    with pytest.raises(FileNotFoundError), GalleryWriter.open(tmp_path / "none"):
        pass
