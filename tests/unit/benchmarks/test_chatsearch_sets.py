"""Dialogue sets of one's own: the record format, the pipeline's export, and what is refused."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImages

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.chatsearch import CHATSEARCH_I, CHATSEARCH_M, CHATSEARCH_T
from chatsearcher.benchmarks.vectors import Vectors
from tests.fixtures.histogram import HistogramRetriever
from tests.fixtures.miniatures.chatsearch import COLOURS, make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path)


def edited(root: Path, number: int, **change) -> None:
    """Line ``number`` of i.jsonl with other values; None takes a key out."""
    lines = (root / "i.jsonl").read_text().splitlines()
    record = json.loads(lines[number]) | change
    lines[number] = json.dumps({key: value for key, value in record.items() if value is not None})
    (root / "i.jsonl").write_text("\n".join(lines) + "\n")


def test_a_system_that_sees_colours_finds_them(root: Path) -> None:
    result = CHATSEARCH_T.run(HistogramRetriever(), Context(spec="histogram", data_root=root))
    assert result.metrics["R@1"] == 100
    assert result.metrics["mean rank"] == 1
    assert result.counts["targets"] == 5
    assert result.settings["shown pictures"] == "exclude"
    assert result.notes == []


def test_shown_pictures_are_no_candidates_unless_asked_for(root: Path) -> None:
    task = CHATSEARCH_I.load(root, {})
    assert task.queries[0].exclude == {"green"}
    assert task.queries[0].reference == "green"
    images = np.eye(8, dtype=np.float32)
    queries = images[task.target_rows()] + 5 * np.roll(images[task.target_rows()], 1, axis=1)
    shown_first = Vectors(images, queries)
    assert (
        CHATSEARCH_I.score(task, shown_first, {}).metrics["R@1"] == 80
    )  # 2 shows a picture from elsewhere
    kept = CHATSEARCH_I.load(root, {"shown": "keep"})
    figures = CHATSEARCH_I.score(kept, shown_first, {"shown": "keep"})
    assert figures.metrics["R@1"] == 0
    assert figures.settings == {"shown pictures": "keep"}
    assert kept.data != task.data
    with pytest.raises(ValueError, match="option shown='drop'; expected exclude or keep"):
        CHATSEARCH_I.load(root, {"shown": "drop"})


def test_any_set_of_ones_own_by_its_name(root: Path) -> None:
    (root / "i.jsonl").rename(root / "mine.jsonl")
    (root / "gallery-i.txt").unlink()
    task = CHATSEARCH_I.load(root, {"file": "mine"})
    assert task.images == COLOURS[:5]  # without a list the targets are the gallery
    with pytest.raises(FileNotFoundError, match=r"lacks i\.jsonl"):
        CHATSEARCH_I.load(root, {})


def test_pictures_are_found_by_name_by_table_and_by_the_dialogues_own_path(root: Path) -> None:
    task = CHATSEARCH_I.load(root, {})
    assert task.pictures.path("red") == "pictures/red.jpg"
    assert task.pictures.path("green") == "pictures/green.png"
    assert task.pictures.path("orange") == "elsewhere/1.png"
    assert task.pictures.load("orange").getpixel((0, 0)) == (255, 165, 0)
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "image", "id": "green", "path": "elsewhere/1.png"},
                {"type": "text", "text": "but red"},
            ],
        }
    ]
    edited(root, 0, messages=messages)
    assert CHATSEARCH_I.load(root, {}).pictures.path("green") == "elsewhere/1.png"
    messages[0]["content"][0]["id"] = "orange"
    messages[0]["content"][0]["path"] = "elsewhere/2.png"
    edited(root, 0, messages=messages)
    with pytest.raises(ValueError, match=r"'orange' is at 'elsewhere/1\.png' here, elsewhere at"):
        CHATSEARCH_I.load(root, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "line 3: no key 'target'"),
        ({"target": 5}, "line 3: 'target' is 5; expected a string"),
        ({"target": "pink"}, r"line 3: target 'pink' is not in gallery-i\.txt; add it"),
        ({"id": "i0"}, r"line 3: id 'i0' stands in .*line 1 too"),
        ({"messages": []}, "line 3: the messages must end with the user's turn"),
        (
            {"messages": [{"role": "assistant", "content": "well"}]},
            "line 3: the messages must end with the user's turn",
        ),
        ({"messages": [{"role": "user"}]}, "line 3: message 0: missing key 'content'"),
        ({"exclude": ["blue"]}, "line 3: the target 'blue' is among `exclude`"),
        ({"group": 3}, "line 3: group is 3; expected a string"),
    ],
)
def test_broken_records_name_the_line(change: dict, message: str, root: Path) -> None:
    edited(root, 2, **change)
    with pytest.raises(ValueError, match=message) as error:
        CHATSEARCH_I.load(root, {})
    assert "i.jsonl" in str(error.value)


def test_broken_files_name_the_line(root: Path) -> None:
    with open(root / "gallery-i.txt", "a") as file:
        file.write("red\n")
    with pytest.raises(ValueError, match=r"gallery-i\.txt, line 9: 'red' stands in line 1 too"):
        CHATSEARCH_I.load(root, {})
    with open(root / "i.jsonl", "a") as file:
        file.write('{"id": \n')
    with pytest.raises(ValueError, match=r"i\.jsonl, line 6: no JSON object"):
        CHATSEARCH_I.load(root, {})
    edited_target = json.loads((root / "m.jsonl").read_text().splitlines()[0])
    edited_target["target"] = "green"
    (root / "m.jsonl").write_text(json.dumps(edited_target) + "\n")
    with pytest.raises(ValueError, match="shows its own target 'green'"):
        CHATSEARCH_M.load(root, {})


def exported(root: Path, pixels: bool = True) -> Path:
    """The same sets as the pipeline's export writes them."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    out = root / "export"
    for part in ("t", "i", "m"):
        (out / "data" / part).mkdir(parents=True)
        rows = []
        for line in (root / f"{part}.jsonl").read_text().splitlines():
            record = json.loads(line)
            for message in record["messages"]:
                message["content"] = [
                    {"type": p["type"], "text": p.get("text"), "id": p.get("id")}
                    for p in message["content"]
                ]
            rows.append({**record, "kind": "text", "source": "s", "round": None, "images": []})
        pq.write_table(
            pa.Table.from_pylist(rows),
            out / "data" / part / "test-000000.parquet",
            row_group_size=2,
        )
    (out / "data/pictures").mkdir()
    pictures = []
    for name in (*COLOURS, "orange"):
        buffer = io.BytesIO()
        PILImages.new("RGB", (8, 8), name).save(buffer, "JPEG")
        image = {"bytes": buffer.getvalue() if pixels else None, "path": None}
        galleries = [f"test/{part}" for part in "tim"] if name != "orange" else ["train/t"]
        pictures.append({"id": name, "image": image, "url": None, "galleries": galleries})
    for number in range(2):
        pq.write_table(
            pa.Table.from_pylist(pictures[number::2]),
            out / f"data/pictures/all-{number:06d}.parquet",
            row_group_size=2,
        )
    return out


def test_an_export_of_the_pipeline_gives_the_same_figures(root: Path) -> None:
    out = exported(root)
    for benchmark in (CHATSEARCH_T, CHATSEARCH_I, CHATSEARCH_M):
        own, other = benchmark.load(root, {}), benchmark.load(out, {})
        assert set(own.images) == set(other.images)
        assert [replace(q, exclude=frozenset()) for q in own.queries] == [
            replace(q, exclude=frozenset()) for q in other.queries
        ]
        figures = [
            benchmark.run(HistogramRetriever(), Context(data_root=folder)).metrics
            for folder in (root, out)
        ]
        assert figures[0] == figures[1]


def test_an_export_without_pixels_says_so(root: Path) -> None:
    out = exported(root, pixels=False)
    with pytest.raises(ValueError, match="none of 8 pictures can be decoded"):
        CHATSEARCH_T.run(HistogramRetriever(), Context(data_root=out))
