"""GeneCIS: crops as the authors cut them, galleries of their own, ties against the target."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImages

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.genecis import CHANGE_OBJECT, FOCUS_ATTRIBUTE, SIZES, Genecis, crop
from chatsearcher.benchmarks.vectors import Vectors
from tests.fixtures.histogram import HistogramRetriever
from tests.fixtures.miniatures.genecis import GALLERY, make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path)


def test_sizes_of_the_paper() -> None:
    assert sum(queries for queries, _ in SIZES.values()) == 8_032
    assert {task: candidates for task, (_, candidates) in SIZES.items()} == {
        "focus-attribute": 10,
        "change-attribute": 15,
        "focus-object": 15,
        "change-object": 15,
    }


def test_a_crop_grows_to_the_left_and_to_the_top_and_is_padded_to_a_square() -> None:
    picture = PILImages.new("RGB", (100, 80))
    picture.putdata([(x, y, 200) for y in range(80) for x in range(100)])
    # box 30,40 20x10: from (30 - 14, 40 - 7) = (16, 33), 1.7 times as large: 34 x 17
    found = np.asarray(crop(picture, [30, 40, 20, 10]))
    assert found.shape == (34, 34, 3)
    above = (34 - 17) // 2
    assert found[above, 0].tolist() == [16, 33, 200]
    assert found[above + 16, 33].tolist() == [16 + 33, 33 + 16, 200]
    assert not found[:above].any()
    assert not found[above + 17 :].any()
    # cut at the edges
    cut = np.asarray(crop(picture, [2, 70, 20, 10]))
    assert cut[(34 - 17) // 2, 0].tolist() == [0, 63, 200]
    with pytest.raises(ValueError, match="outside of a picture"):
        crop(picture, [300, 10, 20, 10])


def test_a_crop_is_found_in_its_picture(root: Path) -> None:
    task = FOCUS_ATTRIBUTE.load(root, {})
    query = task.queries[0]
    assert query.reference == "5@10,5,12,6"
    assert task.pictures.path(query.reference) == "VG_100K/5.jpg"
    assert task.pictures.load(query.reference).size == (20, 20)  # 1.7 x 12
    (root / "VG_100K/6.jpg").unlink()
    assert list(task.pictures.missing(["5@10,5,12,6", "6@10,6,12,6"])) == ["6@10,6,12,6"]


def test_only_the_querys_own_pictures_compete(root: Path) -> None:
    task = CHANGE_OBJECT.load(root, {})
    images = np.eye(len(task.images), dtype=np.float32)
    rows = task.rows
    queries = images[task.target_rows()].copy()
    outside = [
        next(r for n, r in rows.items() if n not in (*q.members, *q.targets)) for q in task.queries
    ]
    queries[np.arange(3), outside] = 5  # scores best, and is no candidate
    assert CHANGE_OBJECT.score(task, Vectors(images, queries), {}).metrics["R@1"] == 100
    rival = [rows[query.members[0]] for query in task.queries]
    queries[np.arange(3), rival] = 1  # ties with the target
    figures = CHANGE_OBJECT.score(task, Vectors(images, queries), {}).metrics
    assert (figures["R@1"], figures["R@2"]) == (0, 100)


def test_a_copy_of_the_target_is_no_rival_and_is_counted(root: Path) -> None:
    file = root / "genecis/change_object.json"
    rows = json.loads(file.read_text())
    rows[1]["gallery"][2] = rows[1]["target"]
    file.write_text(json.dumps(rows))
    task = CHANGE_OBJECT.load(root, {})
    assert task.facts == {"galleries with a copy of the target": 1}
    assert [len(query.members) for query in task.queries] == [GALLERY, GALLERY - 1, GALLERY]


@pytest.mark.parametrize("name", SIZES)
def test_a_system_runs(name: str, root: Path) -> None:
    result = Genecis(name).run(HistogramRetriever(), Context(data_root=root, prompt=None))
    assert result.counts["queries"] == 3
    assert not result.shrunken
    shown = {each["query"]: each["found"] for each in result.examples}
    assert all(len(found) == GALLERY + 1 for found in shown.values())


def test_prompts_by_name(root: Path) -> None:
    result = CHANGE_OBJECT.run(HistogramRetriever(), Context(data_root=root, prompt="with-1"))
    assert result.settings["prompt"] == "with-1"
    with pytest.raises(ValueError, match="has no prompt 'plain'; expected one of plain-1, with-1"):
        CHANGE_OBJECT.run(HistogramRetriever(), Context(data_root=root, prompt="plain"))
    with pytest.raises(ValueError, match="has no option 'seed'"):
        CHANGE_OBJECT.run(HistogramRetriever(), Context(data_root=root, options={"seed": "1"}))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c[2].pop("condition"), "row 2: no key 'condition'"),
        (lambda c: c[2]["target"].pop("instance_bbox"), "row 2, target: no key 'instance_bbox'"),
        (
            lambda c: c[2]["gallery"][1].update(instance_bbox=[1, 2]),
            r"row 2, gallery\[1\]: instanc",
        ),
        (lambda c: c[2]["gallery"].insert(0, 5), r"row 2, gallery\[0\]: 5; expected an object"),
    ],
)
def test_broken_files_name_the_row(edit, message: str, root: Path) -> None:
    file = root / "genecis/focus_attribute.json"
    rows = json.loads(file.read_text())
    edit(rows)
    file.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=message):
        FOCUS_ATTRIBUTE.load(root, {})
