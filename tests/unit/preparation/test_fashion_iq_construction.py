"""Fashion IQ's own construction: pairs by titles, attributes by words, the predictor's data."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsearcher import cli
from chatsearcher.preparation.fashion_iq.attributes import Vocabulary, read_vocabulary
from chatsearcher.preparation.fashion_iq.pairing import choose, pair_titles
from chatsearcher.preparation.fashion_iq.products import words
from tests.fixtures.published import fashion_iq, number_of, write_json, write_lines, write_pictures

Prepare = Callable[..., Any]
SCRIPT = Path(__file__).resolve().parents[3] / "data_prep" / "fashion_iq.py"

ATTRIBUTES = (
    ("floral", 1),
    ("floral print", 1),
    ("cotton", 2),
    ("a-line", 3),
    ("v-neck", 4),
    ("party", 5),
    ("print", 1),
)


def vocabulary_file(path: Path, attributes: Any = ATTRIBUTES) -> Path:
    lines = [str(len(attributes)), "attribute_name  attribute_type"]
    lines += [f"{name:<30}{group}" for name, group in attributes]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


# Pairs.


def test_the_reference_shares_the_rarest_words() -> None:
    titles = {
        "a": "Red floral dress",
        "b": "Blue dress",
        "c": "Red dress",
        "d": "Green floral dress",
        "e": "Dress",
    }
    pairs = {pair.target: pair for pair in pair_titles(list(titles), list(titles.values()))}
    # "dress" is in every title and weighs nothing; red and floral are each in two of five.
    assert pairs["a"].reference == "c"  # red and floral weigh the same: the first in the list
    assert pairs["a"].score == pytest.approx(math.log(5 / 2))
    assert pairs["a"].shared == ("red", "dress")
    assert pairs["c"].reference == "a"
    assert pairs["d"].reference == "a"
    assert set(pairs) == {"a", "c", "d"}  # the others share no word of any weight


@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=6), min_size=1, max_size=12))
def test_pairs_are_those_of_a_plain_search(titles: list[list[str]]) -> None:
    """Against every pair of titles compared word by word."""
    count = len(titles)
    df = {w: sum(w in title for title in titles) for title in titles for w in title}
    wanted = {}
    for t, target in enumerate(titles):
        scores = [
            sum(
                target.count(w) * math.log(count / df[w])
                for w in sorted(set(target) & set(reference))
            )
            if r != t
            else -1
            for r, reference in enumerate(titles)
        ]
        best = max(scores)
        if best > 1e-12:
            wanted[str(t)] = {str(r) for r, score in enumerate(scores) if score > best - 1e-9}
    ids = [str(number) for number in range(count)]
    found = {p.target: p.reference for p in pair_titles(ids, [" ".join(t) for t in titles])}
    assert set(found) == set(wanted)
    for target, reference in found.items():
        assert reference in wanted[target]
        assert reference != target


def test_targets_are_drawn_once_and_the_same_each_time() -> None:
    ids = [str(n) for n in range(200)]
    assert choose(ids, 0, 1) == set(ids)
    assert len(choose(ids, 50, 1)) == 50
    assert choose(ids, 50, 1) == choose(ids[::-1], 50, 1) != choose(ids, 50, 2)
    only = {"3", "4"}
    assert {p.target for p in pair_titles(ids, ["x " + n[0] for n in ids], only)} == only


def products(folder: Path) -> Path:
    """Metadata in both published spellings, some of it broken."""
    lists = fashion_iq(folder, products=4)
    ids = json.loads((lists / "image_splits" / "split.dress.val.json").read_text())
    texts = ["Floral-print A-line dress", "Red cotton dress", "Red floral dress", ""]
    entries: list[Any] = [
        {"asin": asin, "title": title, "description": "For a party." if n == 1 else ""}
        for n, (asin, title) in enumerate(zip(ids, texts, strict=True))
    ]
    entries[2] = repr({**entries[2], "feature": ["V-Neck", "it's nice"]})  # as in 2014
    write_lines(folder / "meta" / "meta_Clothing.json.gz", [*entries, "{broken", {"title": "x"}])
    return lists


def test_pairs_from_published_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = products(tmp_path)
    words_ = ["--source", str(folder), "--products", str(tmp_path / "meta"), "--targets", "0"]
    out = tmp_path / "pairs.jsonl"
    assert cli.main(["prepare", "fashion-iq-pairs", *words_, "--out", str(out)]) == 0
    pairs = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(p["category"], p["split"], p["target"], p["reference"]) for p in pairs] == [
        ("dress", "val", "B010000000", "B010000002"),
        ("dress", "val", "B010000001", "B010000002"),
        ("dress", "val", "B010000002", "B010000000"),
    ]
    printed = capsys.readouterr().out
    assert "dress val: 3 pairs of 4 targets (1 of 4 products without a title)" in printed
    assert "2 lines of the products could not be read" in printed


# Attributes.


def test_attributes_are_words_in_a_row_that_stand_in_the_text() -> None:
    vocabulary = Vocabulary(
        tuple(name for name, _ in ATTRIBUTES), ("texture",) * 2 + ("fabric",) * 5
    )

    def found(text: str) -> set[str]:
        return {vocabulary.names[n] for n in vocabulary.labels(text)}

    assert found("A FLORAL-print, a-Line dress") == {"floral", "floral print", "print", "a-line"}
    assert found("floral red print") == {"floral", "print"}
    assert found("florally aline printed") == set()
    assert found("V neck") == {"v-neck"}


@given(st.text("abc -", max_size=30), st.lists(st.text("abc-", min_size=1, max_size=4), max_size=4))
def test_labels_are_those_of_a_plain_search(text: str, names: list[str]) -> None:
    vocabulary = Vocabulary(tuple(names), ("style",) * len(names))
    said = f" {' '.join(words(text))} "
    wanted = [
        n for n, name in enumerate(names) if words(name) and f" {' '.join(words(name))} " in said
    ]
    assert vocabulary.labels(text) == wanted


def test_the_vocabulary_is_read_in_its_five_groups(tmp_path: Path) -> None:
    vocabulary = read_vocabulary(vocabulary_file(tmp_path / "v.txt"))
    assert vocabulary.names == tuple(name for name, _ in ATTRIBUTES)
    assert vocabulary.groups == (
        *("texture", "texture", "fabric", "shape", "part", "style", "texture"),
    )
    assert vocabulary.by_group([0, 2, 5]) == [["floral"], ["cotton"], [], [], ["party"]]
    with pytest.raises(ValueError, match=r"line 4: 'x.*6'; expected"):
        read_vocabulary(vocabulary_file(tmp_path / "w.txt", [("a", 1), ("x", 6)]))
    path = vocabulary_file(tmp_path / "u.txt")
    path.write_text(path.read_text().replace("7\n", "9\n", 1))
    with pytest.raises(ValueError, match="says '9' attributes, it has 7"):
        read_vocabulary(path)


def test_attributes_from_published_files_feed_the_predictor(
    prepare: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = products(tmp_path)
    vocabulary = vocabulary_file(tmp_path / "list_attr_cloth.txt")
    given_ = ["--source", str(folder), "--products", str(tmp_path / "meta")]
    given_ += ["--vocabulary", str(vocabulary), "--out", str(tmp_path / "attributes")]
    assert cli.main(["prepare", "fashion-iq-attributes", *given_]) == 0
    printed = capsys.readouterr().out
    assert "7 attributes (DIFFERS: published 1,000)" in printed
    assert "texture 3, fabric 1, shape 1, part 1, style 1" in printed
    assert "dress val: 4 of 4 products have a text, 1 of them no label; 2.0 labels each" in printed
    found = json.loads((tmp_path / "attributes" / "asin2attr.dress.val.json").read_text())
    assert list(found.values()) == [
        [["dress"], ["floral", "floral print", "print"], [], ["a-line"], [], []],
        [["dress"], [], ["cotton"], [], [], ["party"]],
        [["dress"], ["floral"], [], [], ["v-neck"], []],
        [["dress"], [], [], [], [], []],
    ]
    write_pictures(tmp_path / "pictures", [f"{asin}.jpg" for asin in list(found)[:2]])
    done = prepare(
        "fashion-iq-predictor",
        tmp_path / "attributes",
        "--vocabulary",
        vocabulary,
        "--pictures",
        tmp_path / "pictures",
    )
    assert [about["labels"] for about in done.abouts("val")] == [[0, 1, 3, 6], [2, 5]]
    assert [about["category"] for about in done.abouts("val")] == ["dress"] * 2
    assert done.records("val")[1].text() == "cotton, party"
    assert number_of(done.records("val")[1].picture("jpg")) == 1
    assert [r["kind"] for r in done.rejects] == ["picture missing", "no attribute"]


def test_the_script_makes_everything_that_its_downloads_allow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads, out = tmp_path / "downloads", tmp_path / "data"
    folder = products(downloads)
    (downloads / "fashion-iq").mkdir()
    for name in ("captions", "image_splits"):
        (folder / name).rename(downloads / "fashion-iq" / name)
    (downloads / "meta").rename(downloads / "products")
    vocabulary_file(downloads / "deepfashion" / "Anno" / "list_attr_cloth.txt")
    lists = downloads / "fashion-iq" / "image_splits" / "split.dress.val.json"
    ids = json.loads(lists.read_text())
    write_pictures(downloads / "images", [f"{asin}.jpg" for asin in ids])
    words_ = [sys.executable, str(SCRIPT), str(downloads), "--out", str(out)]
    done = subprocess.run(words_, capture_output=True, text=True, check=False)
    assert "fashion-iq-links: no" in done.stdout
    assert "asin2url" not in done.stderr
    assert len((out / "fashion-iq-pairs.jsonl").read_text().splitlines()) == 3
    assert (out / "fashion-iq-attributes" / "asin2attr.dress.val.json").exists()
    about = json.loads((out / "fashion-iq-predictor" / "manifest.json").read_text())
    assert about["records"] == {"val": 3}
    # DeepFashion's folder is there without its lists: that is a failure, and said.
    assert done.returncode == 1
    assert "list_attr_img.txt" in done.stderr


def test_deepfashion_in_its_published_layout(prepare: Prepare, tmp_path: Path) -> None:
    vocabulary_file(tmp_path / "Anno" / "list_attr_cloth.txt", ATTRIBUTES[:3])
    names = [f"img/Dress_{n}/img_0000000{n}.jpg" for n in range(6)]
    marks = ["1 -1 1", "-1 1 0", "-1 -1 -1", "1 1", "1 2 1", "1 1 1"]
    (tmp_path / "Anno" / "list_attr_img.txt").write_text(
        "6\nimage_name  attribute_labels\n"
        + "".join(f"{name:<60}{mark}\n" for name, mark in zip(names, marks, strict=True))
    )
    (tmp_path / "Eval").mkdir()
    splits = ["train", "val", "test", "test", "test"]
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text(
        "6\nimage_name  evaluation_status\n"
        + "".join(f"{n:<60}{split}\n" for n, split in zip(names, splits, strict=False))
    )
    write_pictures(tmp_path / "Img", names)
    done = prepare("fashion-iq-predictor", tmp_path)
    assert [about["labels"] for about in done.abouts("train")] == [[0, 2]]
    assert [(a["labels"], a["unknown"]) for a in done.abouts("val")] == [([1], [2])]
    assert number_of(done.records("val")[0].picture("jpg")) == 1
    assert [r["kind"] for r in done.rejects] == [
        *("no attribute", "malformed", "malformed", "in no split"),
    ]
    assert "pictures listed: 6 (DIFFERS: published 289,222)" in done.printed


# Links.


def test_links_of_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fashion_iq(tmp_path / "f", products=3)
    ids = json.loads((folder / "image_splits" / "split.dress.train.json").read_text())
    write_pictures(tmp_path / "pictures", [f"{ids[0]}.jpg"])
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "asin2url.dress.txt").write_text(f"{ids[1]} \t http://a.example/1.jpg\n")
    words_ = ["--source", str(folder), "--links", str(tmp_path / "links")]
    words_ += ["--pictures", str(tmp_path / "pictures"), "--out", str(tmp_path / "links.csv")]
    mirror = ["--mirror", "https://m.example/{asin}.jpg"]
    assert cli.main(["prepare", "fashion-iq-links", *words_, *mirror]) == 0
    with open(tmp_path / "links.csv", encoding="utf-8") as file:
        rows = [(row["asin"], row["url"]) for row in csv.DictReader(file)]
    own = [row for row in rows if row[0] in ids]
    assert own == [
        (ids[1], "http://a.example/1.jpg"),
        (ids[1], f"https://m.example/{ids[1]}.jpg"),
        (ids[2], f"https://m.example/{ids[2]}.jpg"),
    ]
    shown = capsys.readouterr()
    assert "dress train: 3 pictures (DIFFERS: published 11,452), 2 missing, 1 of those" in shown.out
    assert "all: 27 pictures, 26 missing, 25 without an address" in shown.out
    assert "where people find them" in shown.err
    assert cli.main(["prepare", "fashion-iq-links", *words_, "--mirror", "https://m"]) == 1
    write_json(tmp_path / "links" / "asin2url.shirt.txt", "no address")
    assert cli.main(["prepare", "fashion-iq-links", *words_]) == 1
    assert "asin2url.shirt.txt:1: expected an asin and an address" in capsys.readouterr().err
