"""WebDataset shards in img2dataset's layout, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatsearcher.gallery import Gallery
from chatsearcher.indexing import build_gallery, list_sources
from tests.fixtures.histogram import HistogramRetriever


def test_shards_give_keys_and_captions_but_no_places(tmp_path: Path, make_shard) -> None:
    (tmp_path / "shards").mkdir()
    make_shard(tmp_path / "shards" / "00000.tar", 4)
    make_shard(tmp_path / "shards" / "00001.tar", 3, start=4)
    for source in (tmp_path / "shards", tmp_path / "shards" / "*.tar"):
        out = tmp_path / f"g{source.name[0]}".replace("*", "star")
        report = build_gallery(source, out, HistogramRetriever())
        assert (report.added, report.failures) == (7, [])
        gallery = Gallery.open(out)
        assert gallery.ids == [f"{seed:05d}" for seed in range(7)]
        assert gallery.metadata("00005") == {
            "caption": "picture number 5",
            "url": "http://x/5",
        }
        assert gallery.source("00005").endswith("00001.tar#00005.png")
    again = HistogramRetriever()
    report = build_gallery(tmp_path / "shards", out, again)
    assert (again.encoded, report.unchanged) == (0, 7)


@given(cut=st.floats(0, 1))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_of_a_truncated_shard_the_readable_part_is_taken(
    tmp_path: Path, make_shard, cut: float
) -> None:
    whole = make_shard(tmp_path / "whole.tar", 6)
    content = whole.read_bytes()
    part = tmp_path / "part.tar"
    part.write_bytes(content[: int(cut * len(content))])
    listed = list_sources([str(whole)]).items
    size = part.stat().st_size
    readable = [item.id for item in listed if item.span.offset + item.span.length <= size]
    listing = list_sources([str(part)])
    assert [item.id for item in listing.items] == readable
    for item in listing.items:
        assert item.read() == next(one for one in listed if one.id == item.id).read()
    ended = listed[-1].json.offset + listed[-1].json.length
    if size < ended:
        assert [failure.source for failure in listing.failures] == [str(part)]
        assert "cut off" in listing.failures[0].reason or "damaged" in listing.failures[0].reason


def test_a_truncated_shard_is_one_named_failure_and_comes_whole_later(
    tmp_path: Path, make_shard
) -> None:
    shard = make_shard(tmp_path / "a.tar", 6)
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    report = build_gallery(shard, tmp_path / "g", HistogramRetriever())
    taken = report.added
    assert 0 < taken < 6
    assert [failure.source for failure in report.failures] == [str(shard)]
    assert "cut off" in report.failures[0].reason
    shard.write_bytes(content)
    retriever = HistogramRetriever()
    report = build_gallery(shard, tmp_path / "g", retriever)
    assert (report.added, report.total, report.failures) == (6 - taken, 6, [])
    assert retriever.encoded == 6 - taken


def test_a_spoilt_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path, make_shard) -> None:
    shard = make_shard(tmp_path / "a.tar", 6)
    items = list_sources([str(shard)]).items
    content = bytearray(shard.read_bytes())
    header = items[3].span.offset - 512
    content[header : header + 100] = b"\xff" * 100
    shard.write_bytes(bytes(content))
    listing = list_sources([str(shard)])
    assert [item.id for item in listing.items] == [item.id for item in items[:3]]
    assert "damaged at byte" in listing.failures[0].reason


def test_a_sample_that_left_its_shard_leaves_the_gallery(tmp_path: Path, make_shard) -> None:
    shard = make_shard(tmp_path / "a.tar", 6)
    build_gallery(shard, tmp_path / "g", HistogramRetriever())
    make_shard(shard, 4)
    report = build_gallery(shard, tmp_path / "g", HistogramRetriever())
    assert (report.removed, report.added, report.total) == (2, 0, 4)
    # …but not when the shard cannot be read to its end.
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 3])
    report = build_gallery(shard, tmp_path / "g", HistogramRetriever())
    assert (report.removed, report.total) == (0, 4)


def test_broken_text_beside_a_picture_costs_the_text_only(tmp_path: Path, make_photos) -> None:
    names = make_photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / names[0]).with_suffix(".json").write_text("{oops")
    (tmp_path / "photos" / names[1]).with_suffix(".txt").write_text(" a fine picture\n")
    report = build_gallery(tmp_path / "photos", tmp_path / "g", HistogramRetriever())
    assert report.added == 2
    assert "text beside it" in report.failures[0].reason
    gallery = Gallery.open(tmp_path / "g")
    assert gallery.metadata(names[0]) == {}
    assert gallery.metadata(names[1]) == {"caption": "a fine picture"}


def test_not_a_shard(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(np.random.default_rng(0).bytes(5000))
    report = build_gallery(tmp_path / "a.tar", tmp_path / "g", HistogramRetriever())
    assert (report.total, len(report.failures)) == (0, 1)
    with pytest.raises(ValueError, match="holds no pictures"):
        list_sources([str(tmp_path / "g")])
