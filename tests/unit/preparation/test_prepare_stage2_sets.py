"""LLaVA, InstructPix2Pix and VisDial from their published layouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.preparation.wording import change_request, edit_request
from tests.fixtures.published import (
    jpeg,
    llava_entry,
    number_of,
    visdial,
    write_json,
    write_pictures,
)

Prepare = Callable[..., Any]


def roles(about: dict[str, Any]) -> str:
    return "".join(message["role"][0] for message in about["messages"])


@pytest.mark.parametrize(
    ("prefix", "packed"),
    [("", ""), ("", "train2017/"), ("", "coco/train2017/"), ("coco/train2017/", "")],
)
def test_llava_puts_the_picture_where_the_placeholder_stood(
    prepare: Prepare, tmp_path: Path, prefix: str, packed: str
) -> None:
    names = [f"{prefix}{n:012d}.jpg" for n in range(3)]
    entries = [llava_entry(n, name) for n, name in enumerate(names)] + [llava_entry(7, None, 3)]
    write_json(tmp_path / "l" / "llava_instruct_150k.json", entries)
    write_pictures(tmp_path / "l", [f"{packed}{name}" for name in names])
    done = prepare("llava", tmp_path / "l", "--val-every", "0")
    assert done.rejects == []
    for n, (about, record) in enumerate(zip(done.abouts(), done.records(), strict=True)):
        dialogue = Dialogue.from_messages(about["messages"])
        first = dialogue.turns[0].content
        assert roles(about) == ("uaua" if n < 3 else "uauaua")
        if n == 3:
            assert not dialogue.images
            continue
        place = 0 if n % 2 else 1
        assert first[place] == Image(f"coco/{n:012d}.jpg", "0.jpg")
        assert dialogue.turns[0].text == f"Question 0 about {n}?"
        assert number_of(record.picture("0.jpg")) == n
    assert done.manifest["counts"] == {
        "conversations with a picture": 3,
        "conversations text alone": 1,
    }


def test_llava_rejects(prepare: Prepare, tmp_path: Path) -> None:
    name = "coco/train2017/000000000001.jpg"
    twice = llava_entry(1, name)
    twice["conversations"][2]["value"] += "<image>"
    stray = llava_entry(2, None)
    stray["conversations"][0]["value"] += "<image>"
    without = llava_entry(1, name)
    without["conversations"][0]["value"] = "No placeholder."
    doubled = llava_entry(3, None)
    doubled["conversations"].insert(1, {"from": "human", "value": "again"})
    robot = llava_entry(4, None)
    robot["conversations"][0]["from"] = "robot"
    starts = llava_entry(5, None)
    starts["conversations"].insert(0, {"from": "gpt", "value": "hello"})
    open_end = llava_entry(6, None)
    open_end["conversations"].append({"from": "human", "value": "and?"})
    entries = [
        *(twice, stray, without, doubled, robot, starts, open_end),
        {"id": "8"},
        llava_entry(8, "gqa/images/9.jpg"),
        {"id": "9", "conversations": []},
    ]
    write_json(tmp_path / "llava_v1_5_mix665k.json", entries)
    write_pictures(tmp_path, [name], first=1)
    done = prepare("llava", tmp_path / "llava_v1_5_mix665k.json", "--val-every", "0")
    assert [
        (r["where"].removeprefix("llava_v1_5_mix665k.json"), r["kind"]) for r in done.rejects
    ] == [
        ("[0]", "placeholders do not fit"),
        ("[1]", "placeholder without a picture"),
        ("[2]", "placeholders do not fit"),
        ("[3]", "speakers do not take turns"),
        ("[4]", "unknown speaker"),
        ("[5]", "answer before any question"),
        ("[6]", "no answer at the end"),
        ("[7]", "malformed"),
        ("[8]", "picture missing"),
        ("[9]", "no answer at the end"),
    ]
    assert [about["id"] for about in done.abouts()] == [f"{5:012d}"]
    assert roles(done.abouts()[0]) == "uaua"


def test_llava_sets_that_share_conversations_are_not_mixed(
    prepare: Prepare, tmp_path: Path
) -> None:
    for name in ("llava_instruct_150k.json", "llava_v1_5_mix665k.json"):
        write_json(tmp_path / "hub" / name, [llava_entry(1, None)])
    done = prepare("llava", tmp_path / "hub")
    assert done.code == 1
    assert "give one file" in done.printed
    assert prepare("llava", tmp_path / "hub" / "llava_instruct_150k.json").code == 0


def pix2pix_archive(folder: Path, count: int = 6) -> Path:
    write_json(folder / "seeds.json", [[f"{n:07d}", [str(100 + n), "9"]] for n in range(count)])
    for n in range(count):
        prompt = {"caption": "a hill", "output": "a snowy hill", "edit": f"Make it snowy {n}. "}
        write_json(folder / f"{n:07d}" / "prompt.json", prompt)
        names = [f"{n:07d}/{100 + n}_{side}.jpg" for side in (0, 1)]
        write_pictures(folder, names, first=2 * n)
    return folder


def check_edit(about: dict[str, Any], record: Any, n: int) -> None:
    dialogue = Dialogue.from_messages(about["messages"])
    user, assistant = dialogue.turns
    assert user.content[0] == Image(user.images[0].id, "0.jpg")
    assert assistant.content == (Image(assistant.images[0].id, "1.jpg"),)
    assert f"ake it snowy {n}" in user.text
    assert user.text != about["edit"]
    assert [number_of(record.picture(p)) for p in ("0.jpg", "1.jpg")] == [2 * n, 2 * n + 1]


def test_instructpix2pix_archive(prepare: Prepare, tmp_path: Path) -> None:
    folder = pix2pix_archive(tmp_path / "ip2p")
    (folder / "0000001" / "prompt.json").unlink()
    (folder / "0000002" / "102_1.jpg").write_bytes(b"no picture")
    write_json(folder / "0000003" / "prompt.json", {"edit": " . "})
    done = prepare("instructpix2pix", folder, "--val-every", "0")
    kinds = [(r["where"], r["kind"]) for r in done.rejects]
    assert kinds == [
        ("seeds.json[1]", "prompt missing"),
        ("seeds.json[2]", "picture broken"),
        ("seeds.json[3]", "no words"),
    ]
    for n, about, record in zip((0, 4, 5), done.abouts(), done.records(), strict=True):
        check_edit(about, record, n)


def test_instructpix2pix_parquet_and_sampling(prepare: Prepare, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    def side(k: int) -> list[dict[str, Any]]:
        return [{"bytes": jpeg(2 * n + k), "path": None} for n in range(40)]

    table = pyarrow.table(
        {
            "original_image": side(0),
            "edit_prompt": [f"make it snowy {n}" for n in range(40)],
            "edited_image": side(1),
            "original_prompt": ["x"] * 40,
        }
    )
    (tmp_path / "data").mkdir()
    parquet.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet", row_group_size=7)
    done = prepare("instructpix2pix", tmp_path, "--val-every", "0")
    for n, (about, record) in enumerate(zip(done.abouts(), done.records(), strict=True)):
        check_edit(about, record, n) if n < 20 else None
    assert done.manifest["records"] == {"train": 40}
    requests = {Dialogue.from_messages(a["messages"]).turns[0].text[:8] for a in done.abouts()}
    assert len(requests) > 4, "several templates are used"
    sampled = prepare(
        "instructpix2pix", tmp_path, "--keep-one-in", "3", "--take", "5", out="sampled"
    )
    assert sum(sampled.manifest["records"].values()) == 5
    edits = {about["edit"] for split in ("train", "val") for about in sampled.abouts(split)}
    assert edits <= {about["edit"] for about in done.abouts()}


def test_requests_are_sentences() -> None:
    for n in range(60):
        text = edit_request("Make it  rain.", f"k{n}")
        assert "rain.." not in text
        assert "  " not in text
        assert text[0].isupper()
        assert text[-1] in ".?"
        assert "make it rain" in text or text.startswith("Make it rain") or ". Make it rain" in text
    assert "Van Gogh" in edit_request("Van Gogh style", "k")
    assert edit_request("use {braces}", "k").count("{braces}") == 1
    both = change_request(["is darker.", "", "has {a} bow"], "k")
    assert "is darker and has {a} bow" in both
    assert change_request(["is red", "is red"], "k").count("is red") == 1
    with pytest.raises(ValueError, match="no words"):
        change_request([" ", "."], "k")


def test_visdial_is_a_search_that_ends_in_the_picture(prepare: Prepare, tmp_path: Path) -> None:
    for split, numbers in (("train", (1, 2)), ("val", (3,)), ("test", (4,))):
        rounds = 4 if split == "test" else 10
        write_json(tmp_path / "v" / f"visdial_1.0_{split}.json", visdial(numbers, split, rounds))
    pictures = [
        "train2014/COCO_train2014_000000000001.jpg",
        "COCO_val2014_000000000002.jpg",
        "VisualDialog_val2018_000000000003.jpg",
        "VisualDialog_test2018/VisualDialog_test2018_000000000004.jpg",
    ]
    write_pictures(tmp_path / "v", pictures, first=1)
    done = prepare("visdial", tmp_path / "v")
    assert done.rejects == []
    for split, numbers in (("train", (1, 2)), ("val", (3,)), ("test", (4,))):
        for number, about, record in zip(
            numbers, done.abouts(split), done.records(split), strict=True
        ):
            rounds = 4 if split == "test" else 10
            asked = [[f"is it number {n}?", f"answer {(n + number) % 12}"] for n in range(rounds)]
            assert about["rounds"] == asked
            assert about["caption"] == f"scene {number}"
            assert roles(about) == "ua" * (rounds + 1)
            dialogue = Dialogue.from_messages(about["messages"])
            assert [turn.text for turn in dialogue.turns[:-1]] == [
                about["caption"],
                *(words for each in asked for words in each),
            ]
            assert dialogue.turns[-1].images == (Image(f"coco/{number:012d}.jpg", "0.jpg"),)
            assert number_of(record.picture("0.jpg")) == number
    assert "dialogues val: 1 (DIFFERS: published 2,064)" in done.printed
    assert "not as published" in done.printed


def test_visdial_rejects_numbers_that_point_nowhere(prepare: Prepare, tmp_path: Path) -> None:
    entry = visdial((1, 2, 3))
    entry["data"]["dialogs"][0]["dialog"][3]["answer"] = 99
    del entry["data"]["dialogs"][1]["caption"]
    write_json(tmp_path / "v" / "visdial_1.0_train.json", entry)
    done = prepare("visdial", tmp_path / "v")
    assert [(r["kind"], r.get("detail", "")) for r in done.rejects] == [
        ("malformed", "no answer number 99"),
        ("malformed", "no image_id or caption"),
        ("picture missing", "train2014/COCO_train2014_000000000003.jpg"),
    ]
    assert done.code == 1
    assert "not one record" in done.printed
    json.dumps(done.manifest)
