"""Composition, splits, near-duplicates, checks of what was written, statistics."""

from __future__ import annotations

import asyncio
import io
import random
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from chatsearcher.foundation.language import Answer
from chatsearcher.foundation.structured import read_answer
from chatsearcher.preparation.chatsearch.compose import compose_inputs, composed
from chatsearcher.preparation.chatsearch.layout import Entry, StageFolder
from chatsearcher.preparation.chatsearch.names import Names
from chatsearcher.preparation.chatsearch.prompts import load_prompt
from chatsearcher.preparation.chatsearch.shown import (
    near,
    near_signatures,
    picture_entry,
    read_signature,
    signature,
)
from chatsearcher.preparation.chatsearch.split import (
    KEEP_VAL,
    PAPER,
    Shelf,
    protected_shelves,
    split_work,
)
from chatsearcher.preparation.chatsearch.statistics import statistics, table
from chatsearcher.preparation.chatsearch.writing import MODIFICATIONS, ROUNDS, TEXT, quotes
from tests.fixtures.chatsearch_records import made, write


def said(record: Entry) -> list[str]:
    """A dialogue in short: ``u:[a] change it``."""
    return [
        f"{m['role'][0]}:" + " ".join(p.get("text") or f"[{p['id']}]" for p in m["content"])
        for m in record["messages"]
    ]


def test_the_three_sub_tasks_are_the_papers() -> None:
    records = {r["kind"]: r for r in composed({"id": "a", **made()}).records}
    assert {kind: record["task"] for kind, record in records.items()} == {
        "text": "t",
        "reference-image": "i",
        "reference-text": "i",
        "merged": "m",
        "two-round": "m",
    }
    assert said(records["text"]) == ["u:u1", "a:a1", "u:u2"]
    assert said(records["reference-image"]) == ["u:[a] change it"]
    assert said(records["merged"]) == ["u:u1", "a:a1", "u:u2", "a:[a]", "u:change it"]
    assert said(records["reference-text"]) == ["u:[a-first] second"]
    assert said(records["two-round"]) == ["u:first", "a:[a-first]", "u:second"]
    targets = {kind: record["target"]["id"] for kind, record in records.items()}
    assert targets == {
        "text": "a",
        "reference-image": "a-near",
        "merged": "a-near",
        "reference-text": "a",
        "two-round": "a",
    }
    assert records["merged"]["round"] == records["reference-image"]["round"]
    assert records["two-round"]["round"] == records["reference-text"]["round"]
    assert len({record["id"] for record in records.values()}) == 5


@settings(deadline=None)
@given(st.sets(st.sampled_from(["text", "i", "t"])))
def test_i_and_m_always_share_their_final_rounds(missing: set[str]) -> None:
    parts = {name: None if name in missing else entry for name, entry in made().items()}
    result = composed({"id": "a", **parts})
    rounds = {
        task: sorted(r["round"] for r in result.records if r["task"] == task) for task in "im"
    }
    assert rounds["i"] == rounds["m"]
    lost = missing == {"text", "i", "t"} or ("text" in missing and "i" not in missing)
    assert bool(result.rejects) == lost


def test_stages_are_joined_by_their_order(tmp_path: Path) -> None:
    def stage(name: str, part: str, ids: str) -> StageFolder:
        return write(StageFolder(tmp_path, name), [made(id)[part] for id in ids])

    source, text = stage("1", "text", "abcd"), stage("2", "text", "acd")
    found = list(compose_inputs(source, text, stage("3", "i", "bd"), stage("4", "t", "")))
    assert [(e["id"], *(n for n in ("text", "i", "t") if e[n])) for e in found] == [
        ("a", "text"),
        ("b", "i"),
        ("c", "text"),
        ("d", "text", "i"),
    ]
    with pytest.raises(ValueError, match="'b' is not in the order"):
        list(
            compose_inputs(
                source, stage("5", "text", "cb"), stage("6", "i", ""), stage("7", "t", "")
            )
        )


def picture(seed: int) -> Pillow.Image:
    rng = np.random.default_rng(seed)
    small = Pillow.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    return small.resize((120, 96), Pillow.Resampling.BICUBIC)


def test_copies_are_near_and_other_pictures_are_not() -> None:
    for seed in range(20):
        original = picture(seed)
        buffer = io.BytesIO()
        original.resize((70, 64)).save(buffer, "JPEG", quality=55)
        copy = Pillow.open(buffer)
        assert near_signatures(signature(original), signature(copy))
        assert not near_signatures(signature(original), signature(picture(seed + 100)))
    assert not near_signatures(None, signature(original))


def grid(rng: random.Random, near_to: bytes | None = None) -> bytes:
    if near_to is None:
        return rng.randbytes(192)
    return bytes(min(255, max(0, value + rng.randint(-9, 9))) for value in near_to)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_the_shelf_finds_what_comparing_all_pairs_finds(seed: int, size: int) -> None:
    rng = random.Random(seed)
    shelf = Shelf("test")
    marks: list[bytes] = []
    for place in range(size):
        marks.append(grid(rng, rng.choice(marks) if marks and rng.random() < 0.4 else None))
        shelf.add(picture_entry(f"p{place}", None, signature=b64encode(marks[-1]).decode()))
    for _ in range(10):
        asked = grid(rng, rng.choice(marks) if rng.random() < 0.7 else None)
        mark = read_signature(b64encode(asked).decode())
        all_near = [
            n
            for n, m in enumerate(marks)
            if near(np.frombuffer(m, np.uint8).astype(np.int16), mark)
        ]
        assert shelf.nearest(mark) == (f"p{all_near[0]}" if len(all_near) else None)


def record(id: str, split: str, *pictures: Entry) -> Entry:
    return {"id": id, "split": split, "target": pictures[0], "pictures": list(pictures[1:])}


@pytest.mark.parametrize("names", [PAPER, KEEP_VAL])
def test_no_picture_and_no_near_duplicate_is_in_two_splits(names: dict[str, str]) -> None:
    rng = random.Random(5)
    marks = [rng.randbytes(192) for _ in range(12)]

    def shown() -> Entry:
        which = rng.randrange(12)
        twin = rng.randrange(3)
        mark = marks[which] if twin == 0 else grid(random.Random(which * 9 + twin), marks[which])
        return picture_entry(f"p{which}.{twin}", None, signature=b64encode(mark).decode())

    splits = rng.choices(["train", "restval", "val", "test"], [20, 4, 3, 3], k=60)
    records = [record(str(n), split, shown(), shown()) for n, split in enumerate(splits)]
    shelves = protected_shelves(records, names)
    results = asyncio.run(split_work(records, shelves, names))
    kept = [r for result in results for r in result.records]
    rejects = [r for result in results for r in result.rejects]
    assert len(kept) + len(rejects) == len(records)
    assert {r["id"] for r in kept if r["split"] == "test"} == {
        str(n) for n, split in enumerate(splits) if names[split] == "test"
    }
    where: dict[str, set[str]] = {}
    for each in kept:
        for shown_picture in (each["target"], *each["pictures"]):
            where.setdefault(shown_picture["signature"], set()).add(each["split"])
    for first, its in where.items():
        for second, others in where.items():
            if near_signatures(first, second):
                assert its == others
                assert len(its) == 1
    assert {"picture is in test too", "near-duplicate of a picture in test"} <= {
        reject["reason"] for reject in rejects
    }


def test_what_a_model_wrote_is_checked() -> None:
    caption = "Two cats sleep on a red sofa"
    assert quotes("I'd like: two cats sleep, on a red sofa!", caption)
    assert not quotes("two cats sleep on a red sofa bed".replace("red", "blue"), caption)
    assert not quotes("a red cat", "red cat")  # too short to be a quotation

    def text(*turns: str) -> str | None:
        rounds = [{"user": turns[0], "assistant": turns[1]}]
        return TEXT.check({"rounds": rounds, "request": turns[2]}, {"caption": caption})

    assert text("two cats", "where?", "on a sofa") is None
    assert text("two cats", "where?", caption.upper()) == "quotes the caption"
    assert str(text("two cats", "where?", "see [image]")).startswith("markup")
    assert str(text("two cats", "  ", "on a sofa")).startswith("empty")
    both = {"first": "a dog on grass", "second": caption}
    assert MODIFICATIONS.check({"modification": caption}, both) == "quotes the caption"
    same = {"first_request": "cats", "first_caption": caption + ".", "second_request": "now red"}
    assert str(ROUNDS.check(same, {"caption": caption})).startswith("no difference")


def test_prompts_have_their_places_and_their_example_fits() -> None:
    for stage in (TEXT, MODIFICATIONS, ROUNDS):
        prompt = load_prompt(stage.prompt)
        entry = {"caption": "a $5 cat:\n two", "neighbour_caption": "a dog"}
        filled = prompt.fill(stage.schema, **stage.captions(entry))
        assert "a $5 cat: two" in filled.user
        assert "$" not in filled.user.replace("$5", "")
        example = prompt.system[prompt.system.rindex("\n{") :]
        value, problem = read_answer(Answer(example), stage.schema)
        assert problem is None
        assert value is not None


def test_names_keep_their_first_order_and_note() -> None:
    with Names() as names:
        assert [names.add(n, f"note {n}", 1 << k) for k, n in enumerate("abab")] == [
            True,
            True,
            False,
            False,
        ]
        assert list(names.items()) == [("a", "note a", 0b101), ("b", "note b", 0b1010)]
        assert len(names) == 2


def test_statistics_count_words_rounds_and_targets() -> None:
    records = [r for id in "ab" for r in composed({"id": id, **made(id, "test")}).records]
    numbers = statistics(records)["test"]
    assert {task: numbers[task]["samples"] for task in "tim"} == {"t": 2, "i": 4, "m": 4}
    # t: "u1 a1 u2"; i: "change it", "second"; m: "u1 a1 u2 change it", "first second"
    assert [numbers[task]["context length"] for task in "tim"] == [3.0, 1.5, 3.5]
    assert [numbers[task]["rounds"] for task in "tim"] == [2.0, 1.0, 2.5]
    assert [numbers[task]["different targets"] for task in "tim"] == [2, 4, 4]
    assert "| Sample number | 2 | 4 | 4 |" in table(numbers)


def test_words_beyond_the_memorys_bound_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of them are in both tasks, and some come again."""
    monkeypatch.setattr("chatsearcher.preparation.chatsearch.statistics.IN_MEMORY", 3)
    texts = {"t": ["a b c d e", "e d f a"], "m": ["d e", "g h i h"]}
    records = [
        {
            "split": "test",
            "task": task,
            "kind": task,
            "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
            "pictures": [],
            "target": {"id": "x"},
        }
        for task, said in texts.items()
        for text in said
    ]
    numbers = statistics(records)["test"]
    assert {task: numbers[task]["different words"] for task in "tim"} == {"t": 6, "i": 0, "m": 5}
