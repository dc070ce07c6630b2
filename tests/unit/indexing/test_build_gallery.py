"""Indexing loses nothing, doubles nothing, and says what it could not read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chatsearcher.gallery import Gallery, GalleryWriter
from chatsearcher.gallery.layout import Manifest
from chatsearcher.images import open_image
from chatsearcher.indexing import build, build_gallery
from tests.fixtures.histogram import HistogramRetriever

ROOT = Path(__file__).resolve().parents[3]


def check_whole(gallery: Gallery, folder: Path, names: list[str]) -> None:
    """Every picture once, each with the vector and the thumbnail of its own file."""
    assert sorted(gallery.ids) == sorted(names)
    pictures = [open_image(folder / id) for id in gallery.ids]
    np.testing.assert_array_equal(gallery.vectors, HistogramRetriever().encode_images(pictures))
    for id, picture in zip(gallery.ids, pictures, strict=True):
        assert gallery.source(id) == str(folder / id)
        small = np.asarray(gallery.thumbnail(id), float)
        assert small.shape == np.asarray(picture).shape
        assert np.abs(small - np.asarray(picture, float)).mean() < 30


def test_a_folder_becomes_a_gallery(tmp_path: Path, make_photos) -> None:
    names = make_photos(tmp_path / "photos", 20)
    (tmp_path / "photos" / "notes.md").write_text("not a picture")
    report = build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever(), batch_size=3)
    assert (report.added, report.total, report.others) == (20, 20, 1)
    assert report.failures == []
    gallery = Gallery.open(tmp_path / "g")
    assert gallery.ids == names  # in the order of their paths
    check_whole(gallery, tmp_path / "photos", names)
    assert isinstance(gallery.vectors, np.memmap)


def test_a_second_run_encodes_what_is_new_changed_or_moved_only(
    tmp_path: Path, make_photos
) -> None:
    photos = tmp_path / "photos"
    names = make_photos(photos, 10)
    build_gallery(photos, tmp_path / "g", HistogramRetriever())
    names = sorted(names + make_photos(photos, 4, start=10))
    shutil.copy(photos / names[-1], photos / names[-2])  # changed… into a copy
    (photos / names[-3]).unlink()
    Image.new("RGB", (9, 9), "red").save(photos / names[-4])
    os.utime(photos / names[-5], ns=(1, 1))  # touched
    retriever = HistogramRetriever()
    report = build_gallery(photos, tmp_path / "g", retriever)
    gallery = Gallery.open(tmp_path / "g")
    left = [name for name in names if name not in (names[-1], names[-3])]
    check_whole(gallery, photos, left)
    assert gallery.copies(names[-2]) == [str(photos / names[-1])]
    assert retriever.encoded == report.added
    assert report.added + report.unchanged == report.total == 12
    again = HistogramRetriever()
    build_gallery(photos, tmp_path / "g", again)
    assert again.encoded == 0
    # The folder moves: same names, same bytes, no encoding, new places.
    photos.rename(tmp_path / "elsewhere")
    build_gallery(tmp_path / "elsewhere", tmp_path / "g", again)
    assert again.encoded == 0
    check_whole(Gallery.open(tmp_path / "g"), tmp_path / "elsewhere", left)


def test_copies_take_the_place_of_an_original_that_goes(tmp_path: Path, make_photos) -> None:
    photos = tmp_path / "photos"
    names = make_photos(photos, 5)
    shutil.copy(photos / names[0], photos / "z1.png")
    shutil.copy(photos / names[0], photos / "z2.png")
    report = build_gallery(photos, tmp_path / "g", HistogramRetriever(), batch_size=2)
    assert (report.added, report.copies, report.total) == (5, 2, 5)
    gallery = Gallery.open(tmp_path / "g")
    assert gallery.copies(names[0]) == [str(photos / "z1.png"), str(photos / "z2.png")]
    (photos / names[0]).unlink()
    report = build_gallery(photos, tmp_path / "g", HistogramRetriever())
    assert (report.added, report.removed, report.copies) == (1, 1, 1)
    gallery = Gallery.open(tmp_path / "g")
    check_whole(gallery, photos, [*names[1:], "z1.png"])
    assert gallery.copies("z1.png") == [str(photos / "z2.png")]
    # An original that changes leaves its picture to a copy as well.
    Image.new("RGB", (5, 5), "blue").save(photos / "z1.png")
    build_gallery(photos, tmp_path / "g", HistogramRetriever())
    check_whole(Gallery.open(tmp_path / "g"), photos, [*names[1:], "z1.png", "z2.png"])


def test_removed_pictures_are_gone_from_the_disk(tmp_path: Path, make_photos) -> None:
    names = make_photos(tmp_path / "photos", 6)
    build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever())
    secret = Gallery.open(tmp_path / "g").thumbnail_jpeg(names[2])
    with GalleryWriter.open(tmp_path / "g") as writer:
        with pytest.raises(ValueError, match=r"no picture 'nope' .*and 1 more"):
            writer.remove(["nope", "nor this", names[1]])
        writer.remove([names[2]])
        writer.compact()
    check_whole(Gallery.open(tmp_path / "g"), tmp_path / "photos", names[:2] + names[3:])
    everything = b"".join(f.read_bytes() for f in (tmp_path / "g").rglob("*") if f.is_file())
    assert secret not in everything
    assert names[2].encode() not in everything


def test_missing_files_stay_when_asked_and_other_folders_are_left_alone(
    tmp_path: Path, make_photos
) -> None:
    one, two = make_photos(tmp_path / "a", 3), make_photos(tmp_path / "b", 3, start=100)
    build_gallery([tmp_path / "a", tmp_path / "b"], tmp_path / "g", HistogramRetriever())
    (tmp_path / "a" / one[0]).unlink()
    report = build_gallery(tmp_path / "a", tmp_path / "g", HistogramRetriever(), keep_missing=True)
    assert (report.removed, report.total) == (0, 6)
    report = build_gallery(tmp_path / "b", tmp_path / "g", HistogramRetriever())
    assert (report.removed, report.total) == (0, 6)
    report = build_gallery(tmp_path / "a", tmp_path / "g", HistogramRetriever())
    assert (report.removed, report.total) == (1, 5)
    assert sorted(Gallery.open(tmp_path / "g").ids) == sorted(one[1:] + two)


def test_one_id_for_two_files_is_a_named_failure(tmp_path: Path, make_photos) -> None:
    names = make_photos(tmp_path / "a", 2)
    make_photos(tmp_path / "b", 2)
    Image.new("RGB", (5, 5)).save(tmp_path / "b" / names[0])
    sources = [tmp_path / "a", tmp_path / "b"]
    for _ in range(2):
        report = build_gallery(sources, tmp_path / "g", HistogramRetriever())
        assert [failure.source for failure in report.failures] == [
            str(tmp_path / "b" / name) for name in names
        ]
        assert str(tmp_path / "a" / names[0]) in report.failures[0].reason
        check_whole(Gallery.open(tmp_path / "g"), tmp_path / "a", names)
    report = build_gallery(tmp_path / "b", tmp_path / "g", HistogramRetriever())
    assert len(report.failures) == 1  # the other one has the same bytes: it moved
    assert report.total == 2


def test_every_unreadable_file_is_listed_and_costs_no_other(tmp_path: Path, make_photos) -> None:
    photos = tmp_path / "photos"
    names = make_photos(photos, 7)
    (photos / "empty.jpg").touch()
    (photos / "words.jpg").write_text("this is no picture")
    (photos / "cut.png").write_bytes((photos / names[0]).read_bytes()[:-60])
    (photos / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (photos / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    (photos / "packed.tar.gz").write_bytes(b"\x1f\x8b")
    report = build_gallery(photos, tmp_path / "g", HistogramRetriever(), batch_size=2)
    bad = {"empty.jpg", "words.jpg", "cut.png", "phone.heic", "dangling.png", "packed.tar.gz"}
    assert {Path(failure.source).name for failure in report.failures} == bad
    assert all(failure.reason for failure in report.failures)
    written = [json.loads(line) for line in (tmp_path / "g" / "failures.jsonl").open()]
    assert {Path(line["source"]).name for line in written} == bad
    check_whole(Gallery.open(tmp_path / "g"), photos, names)
    # Mended files come in with the next run, and leave the list.
    Image.new("RGB", (5, 5), "green").save(photos / "empty.jpg")
    report = build_gallery(photos, tmp_path / "g", HistogramRetriever())
    assert (report.added, len(report.failures)) == (1, 5)


def test_vectors_that_are_not_finite_are_failures(tmp_path: Path, make_photos) -> None:
    class Faulty(HistogramRetriever):
        def encode_images(self, images):
            vectors = super().encode_images(images)
            vectors[1] = np.nan
            return vectors

    names = make_photos(tmp_path / "photos", 3)
    shutil.copy(tmp_path / "photos" / names[1], tmp_path / "photos" / "z.png")
    report = build_gallery(tmp_path / "photos", tmp_path / "g", Faulty())
    assert [Path(f.source).name for f in report.failures] == [Path(names[1]).name, "z.png"]
    assert report.added == 2


def test_wrong_sources_are_clear_errors(tmp_path: Path, make_photos) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no pictures"):
        build_gallery(tmp_path / "empty", tmp_path / "g", HistogramRetriever())
    assert not (tmp_path / "g").exists()
    with pytest.raises(FileNotFoundError, match="no such folder or shard"):
        build_gallery(tmp_path / "none", tmp_path / "g", HistogramRetriever())
    make_photos(tmp_path / "photos", 1)
    with pytest.raises(ValueError, match="holds other things"):
        build_gallery(tmp_path / "photos", tmp_path / "photos", HistogramRetriever())


def test_a_gallery_of_another_model_is_refused(tmp_path: Path, make_photos) -> None:
    names = make_photos(tmp_path / "photos", 3)
    build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever(), name="histogram:1")
    other = HistogramRetriever(version=2)
    with pytest.raises(ValueError, match=r"another model 'histogram:1'.*into a new folder"):
        build_gallery(tmp_path / "photos", tmp_path / "g", other)
    gallery = Gallery.open(tmp_path / "g")
    gallery.check(HistogramRetriever())
    with pytest.raises(ValueError, match=r"another model.*search with --retriever histogram:1"):
        gallery.check(other)
    assert sorted(gallery.ids) == names


def test_two_writers_are_one_too_many(tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path / "photos", 2)
    build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever())
    with GalleryWriter.open(tmp_path / "g"), pytest.raises(ValueError, match="another process"):
        build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever())


def test_a_reader_is_not_disturbed_by_a_writer(tmp_path: Path, make_photos) -> None:
    names = make_photos(tmp_path / "photos", 6)
    build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever())
    before = Gallery.open(tmp_path / "g")
    for name in names[:4]:
        (tmp_path / "photos" / name).unlink()
    build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever())
    assert before.ids == names
    assert before.thumbnail(names[0]).size == (24, 24)
    assert np.isfinite(before.vectors).all()
    assert Gallery.open(tmp_path / "g").ids == names[4:]


def test_adding_little_to_much_rewrites_little(tmp_path: Path, make_photos) -> None:
    photos = tmp_path / "photos"
    make_photos(photos, 40)
    build_gallery(photos, tmp_path / "g", HistogramRetriever())
    first = Manifest.load(tmp_path / "g").segments[0].name
    for start in range(40, 60):
        make_photos(photos, 1, start=start)
        build_gallery(photos, tmp_path / "g", HistogramRetriever())
        segments = Manifest.load(tmp_path / "g").segments
        assert len(segments) <= 6
        if start < 50:
            assert segments[0].name == first
    gallery = Gallery.open(tmp_path / "g")
    check_whole(gallery, photos, gallery.ids)
    assert len(gallery) == 60


SCRIPT = """
import sys
from chatsearcher.indexing import build
from tests.fixtures.histogram import HistogramRetriever
build.COMMIT_EVERY = (4, 60.0)
build.build_gallery(sys.argv[1], sys.argv[2], HistogramRetriever(pause=0.02), batch_size=2)
"""


def start_indexing(photos: Path, gallery: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(photos), str(gallery)], cwd=ROOT)


def committed(gallery: Path) -> int:
    if not (gallery / "manifest.json").exists():
        return 0
    return sum(segment.rows for segment in Manifest.load(gallery).segments)


def test_killed_runs_resume_without_losing_or_doubling(tmp_path: Path, make_photos) -> None:
    photos, gallery = tmp_path / "photos", tmp_path / "g"
    names = make_photos(photos, 120)
    shutil.copy(photos / names[0], photos / "zz.png")
    reached = [0]
    for _ in range(3):
        process = start_indexing(photos, gallery)
        while committed(gallery) <= reached[-1] + 8 and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        reached.append(committed(gallery))
        partial = Gallery.open(gallery)  # readable at every moment
        check_whole(partial, photos, partial.ids)
    assert reached == sorted(set(reached))  # every run went on from the one before
    assert reached[-1] < 120
    retriever = HistogramRetriever()
    report = build_gallery(photos, gallery, retriever)
    assert retriever.encoded == 120 - reached[-1]
    assert (report.added, report.unchanged) == (retriever.encoded, reached[-1])
    check_whole(Gallery.open(gallery), photos, names)
    segments = {entry.name for entry in (gallery / "segments").iterdir()}
    assert segments == {info.name for info in Manifest.load(gallery).segments}


def test_ctrl_c_keeps_what_was_encoded(
    tmp_path: Path, make_photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(HistogramRetriever):
        def encode_images(self, images):
            if self.encoded >= 6:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            return super().encode_images(images)

    names = make_photos(tmp_path / "photos", 20)
    report = build_gallery(tmp_path / "photos", tmp_path / "g", Interrupted(), batch_size=2)
    assert report.interrupted
    assert (report.added, report.total) == (6, 6)
    check_whole(Gallery.open(tmp_path / "g"), tmp_path / "photos", names[:6])
    report = build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever())
    assert (report.added, report.unchanged) == (14, 6)


def test_ctrl_c_during_a_commit_waits_for_it(
    tmp_path: Path, make_photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = make_photos(tmp_path / "photos", 12)
    monkeypatch.setattr(build, "COMMIT_EVERY", (4, 60.0))
    save = Manifest.save

    def interrupted_save(self: Manifest, gallery: Path) -> Manifest:
        if self.segments:
            os.kill(os.getpid(), signal.SIGINT)
        return save(self, gallery)

    monkeypatch.setattr(Manifest, "save", interrupted_save)
    report = build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever(), batch_size=4)
    assert report.interrupted
    monkeypatch.undo()
    assert Gallery.open(tmp_path / "g").ids == names[:4]


def test_limit_and_the_picture_world(tmp_path: Path) -> None:
    report = build_gallery("world:test:12:3", tmp_path / "g", HistogramRetriever(), limit=5)
    assert (report.added, report.total) == (5, 5)
    report = build_gallery("world:test:12:3", tmp_path / "g", HistogramRetriever())
    assert (report.added, report.unchanged, report.total) == (7, 5, 12)
    gallery = Gallery.open(tmp_path / "g")
    assert len(set(gallery.ids)) == 12
    assert all(id.endswith("#3") for id in gallery.ids)
    with pytest.raises(ValueError, match="world:SPLIT:COUNT"):
        build_gallery("world:tset:12", tmp_path / "g", HistogramRetriever())
