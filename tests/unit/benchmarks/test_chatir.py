"""ChatIR and PlugIR: official counts, the published measures of the words, every figure against an
independent implementation, and what a bad file is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.chatir import question, repeated, repetitions, unique_tokens
from chatsearcher.benchmarks.rounds import dialogue_figures, rank_table, round_queries
from chatsearcher.benchmarks.vectors import Vectors
from chatsearcher.dialogue import Dialogue
from tests.fixtures.miniatures import chatir as miniature

SHARED = Path(__file__).resolve().parents[4] / "shared/data/benchmarks"
needs_files = pytest.mark.skipif(
    not (SHARED / "chatir").is_dir(), reason="needs the released files in ../shared"
)
RELEASED = {  # figure -> what the released files have, counted apart from this code
    "chatir-visdial": (0.0078, 0.0078),
    "chatir-chatgpt": (0.0, 0.0),
    "chatir-human": (0.0078, 0.0078),
    "chatir-flan": (6.74, 1.66),
    "chatir-unanswered": (0.0005, 0.0005),
}


@needs_files
@pytest.mark.parametrize("name", [*RELEASED, "plugir"])
def test_the_released_files_have_the_official_counts(name: str) -> None:
    benchmark = BENCHMARKS[name]
    root = SHARED / ("plugir" if name == "plugir" else "chatir")
    task = benchmark.load(root, {})
    sizes = benchmark.card.sizes
    assert (len(task.queries), len(task.images)) == (22_704, 50_000)
    assert (sizes["queries"], sizes["gallery"], sizes["dialogues"]) == (22_704, 50_000, 2_064)
    assert list(task.images) == sorted(task.images)
    assert len({query.target for query in task.queries}) == 2_064
    assert [query.round for query in task.queries[:12]] == [*range(11), 0]
    if name in RELEASED:
        extra, different = RELEASED[name]
        said = [rounds[1:] for rounds in task.said.values()]
        assert np.mean([repetitions(each) for each in said]) == pytest.approx(extra, abs=5e-3)
        assert np.mean([repeated(each) for each in said]) == pytest.approx(different, abs=5e-3)


@needs_files
def test_the_sets_share_captions_and_order_and_the_human_one_is_rotated() -> None:
    tasks = {name: BENCHMARKS[name].load(SHARED / "chatir", {}) for name in RELEASED}
    first = next(iter(tasks.values()))
    for task in tasks.values():
        assert list(task.said) == list(first.said)
        assert all(task.said[key][0] == first.said[key][0] for key in first.said)
    human, visdial = tasks["chatir-human"].said, tasks["chatir-visdial"].said
    for key in human:
        moved = [question(visdial[key][n]) for n in (10, *range(1, 10))]
        assert [question(said) for said in human[key][1:]] == moved


@needs_files
@pytest.mark.parametrize(
    ("name", "bare", "strays", "unanswered"),
    [  # rounds without a question mark, with "Answer:", that end with their question
        ("chatir-visdial", 0, 0, 0),
        ("chatir-chatgpt", 0, 151, 1),
        ("chatir-human", 0, 0, 0),
        ("chatir-flan", 55, 13_547, 431),
        ("chatir-unanswered", 382, 0, None),
    ],
)
def test_the_traps_in_the_released_words_are_there(
    name: str, bare: int, strays: int, unanswered: int | None
) -> None:
    task = BENCHMARKS[name].load(SHARED / "chatir", {})
    said = [text for rounds in task.said.values() for text in rounds[1:]]
    assert len(said) == 20_640
    assert sum("?" not in text for text in said) == bare
    assert sum("Answer:" in text for text in said) == strays
    if name == "chatir-chatgpt":
        assert sum("\n" in text for text in said) == strays
    if unanswered is not None:
        assert sum(text.rstrip().endswith("?") for text in said) == unanswered


@needs_files
def test_clip_cannot_read_the_late_rounds() -> None:
    tokenizer = pytest.importorskip("open_clip.tokenizer").SimpleTokenizer()
    for name in RELEASED:
        task = BENCHMARKS[name].load(SHARED / "chatir", {})
        whole = [query.dialogue.text for query in task.queries if query.round == 10][::16]
        assert np.mean([len(tokenizer.encode(text)) > 75 for text in whole]) >= 0.95


@needs_files
def test_plugirs_own_list_and_captions_are_whole() -> None:
    names = json.loads((SHARED / "plugir/Protocol/Search_Space_coco.json").read_text())
    captions = json.loads((SHARED / "plugir/Protocol/coco_captions.json").read_text())
    assert len(names) == len(set(names)) == len(captions) == 5_000
    made = SHARED / "plugir"
    with pytest.raises(FileNotFoundError, match=r"lacks dialogues/coco\.json"):
        BENCHMARKS["chatir-coco"].load(made, {})


def independent(queries: np.ndarray, images: np.ndarray, targets: list[int]) -> dict[str, float]:
    """The same figures by sorting, round by round, and loops in plain Python."""
    ranks = []
    for query, target in zip(queries.astype(np.float64), targets, strict=True):
        scores = images.astype(np.float64) @ query
        order = sorted(range(len(images)), key=lambda n: (-scores[n], n == target))
        ranks.append(order.index(target))  # 0-based
    rounds = 11
    table = [ranks[start : start + rounds] for start in range(0, len(ranks), rounds)]
    found = {"Hits@10": np.mean([any(rank < 10 for rank in row) for row in table]) * 100}
    found["Hits@10 round 0"] = np.mean([row[0] < 10 for row in table]) * 100
    for k in (1, 5, 10):
        found[f"R@{k}"] = np.mean([row[-1] < k for row in table]) * 100
    found["ATR"] = np.mean([row[-1] + 1 for row in table])
    total = 0.0
    for row in table:
        best = [min(row[: t + 1]) for t in range(rounds)]
        total += sum((np.log(best[t] + 1) + np.log(best[t + 1] + 1)) / 2 for t in range(10)) / 10
    return {**found, "BRI": total / len(table)}


@pytest.mark.parametrize("name", ["chatir-visdial", "plugir"])
@pytest.mark.parametrize("seed", range(3))
def test_every_figure_agrees_with_an_independent_one(name: str, seed: int, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    task = benchmark.load(miniature.make(tmp_path, name), {})
    rng = np.random.default_rng(seed)
    images, queries = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (rng.normal(size=(len(part), 6)) for part in (task.images, task.queries))
    )
    figures = benchmark.score(task, Vectors(images, queries), {})
    expected = independent(queries, images, task.target_rows())
    for key, value in expected.items():
        assert figures.metrics[key] == pytest.approx(value, abs=1e-9), key
    assert figures.curves["Hits@10"][-1] == figures.metrics["Hits@10"]
    assert figures.curves["R@10"][0] == figures.metrics["Hits@10 round 0"]
    assert len(figures.curves["ATR"]) == 11
    assert len(figures.samples["BRI"]) == len(task.said)  # so that BRI has an interval too


@given(st.lists(st.lists(st.integers(1, 40), min_size=3, max_size=3), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_what_must_hold_of_any_ranks(rows: list[list[int]]) -> None:
    figures = dialogue_figures(np.array(rows))
    for k in (1, 5, 10):
        hits, recall = figures.curves[f"Hits@{k}"], figures.curves[f"R@{k}"]
        assert hits == sorted(hits)
        assert all(one >= other for one, other in zip(hits, recall, strict=True))
    assert 0 <= figures.metrics["BRI"] <= np.log(40)
    assert figures.metrics["ATR"] == np.mean([row[-1] for row in rows])


def test_a_shorter_dialogue_keeps_its_last_rank_and_a_gap_is_refused() -> None:
    long = list(round_queries(Dialogue().user("a").user("b").user("c"), "long", "x"))
    short = list(round_queries(Dialogue().user("a").user("b"), "short", "x"))
    table = rank_table([*long, *short], np.array([5, 4, 3, 2, 1]))
    assert table.tolist() == [[5, 4, 3], [2, 1, 1]]
    with pytest.raises(ValueError, match="'long': expected every round"):
        rank_table([long[0], long[2]], np.array([1, 2]))
    with pytest.raises(ValueError, match="'long': expected every round"):
        rank_table([long[0], long[0]], np.array([1, 2]))


def test_the_query_of_a_round(tmp_path: Path) -> None:
    root = miniature.make(tmp_path, "chatir-flan")
    joined = BENCHMARKS["chatir-flan"].load(root, {}).queries[2]
    assert joined.id == "unlabeled2017/000000000002.jpg@2"
    assert joined.dialogue.text == "picture number 0, Is it number 0? yes, Is it number 1? no"
    turns = BENCHMARKS["chatir-flan"].load(root, {"form": "turns"}).queries[2]
    assert [turn.role for turn in turns.dialogue.turns] == ["user"] * 3
    alone = BENCHMARKS["plugir"].load(miniature.make(tmp_path, "plugir"), {}).queries[2]
    assert alone.dialogue.text == "Is it number 1? no"
    with pytest.raises(ValueError, match="form='both'; expected one of joined, turns, alone"):
        BENCHMARKS["plugir"].load(root, {"form": "both"})


def test_questions_are_never_guessed_at() -> None:
    assert question("What is it?  A   dog? a dog") == "what is it?"
    assert question("Is the desk well no") == "is the desk well no"
    assert repetitions(["Is it? no", "is  IT? Answer: yes", "Is it red no", "Is it? no"]) == 2
    assert repeated(["Is it? no", "is  IT? Answer: yes", "Is it red no", "Is it? no"]) == 1
    assert unique_tokens(["A dog", "a DOG's dog? no"]) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows, names: rows[1].pop("img"), r"visdial\.json, row 1: no key 'img'"),
        (lambda rows, names: rows[2]["dialog"].pop(), r"row 2: 'dialog' has 10 strings"),
        (lambda rows, names: rows[3]["dialog"].__setitem__(4, 7), r"row 3: 'dialog'\[4\] is 7"),
        (lambda rows, names: rows[3]["dialog"].__setitem__(4, " "), r"row 3.*\[4\] is blank"),
        (lambda rows, names: rows.append(rows[0]), r"row 5: .* stands in .*row 0 too"),
        (lambda rows, names: rows[0].update(img="x.jpg"), r"row 0: 'x.jpg' is not in Search_Sp"),
        (lambda rows, names: rows.clear(), "holds no dialogue"),
        (lambda rows, names: names.append(names[3]), r"item 14: .* is item 3 too"),
        (lambda rows, names: names.insert(1, 5), r"item 1: 5; expected a name"),
    ],
)
def test_a_bad_file_is_named_with_its_row(change, said: str, tmp_path: Path) -> None:
    rows, names = miniature.dialogues(), list(miniature.GALLERY)
    change(rows, names)
    for folder in ("dialogues", "ChatIR_Protocol"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dialogues/visdial.json").write_text(json.dumps(rows))
    (tmp_path / "ChatIR_Protocol/Search_Space_val_50k.json").write_text(json.dumps(names))
    with pytest.raises(ValueError, match=said):
        BENCHMARKS["chatir-visdial"].load(tmp_path, {"dialogues": "dialogues/visdial.json"})


class Cutting:
    """Reads the first words only, and says how often there were more."""

    embedding_dim, metric, fingerprint, truncated_texts = 3, "cosine", "cutting", 0

    def encode_images(self, images) -> np.ndarray:
        return np.tile(np.array([1, 0, 0], np.float32), (len(images), 1))

    def encode_queries(self, dialogues) -> np.ndarray:
        self.truncated_texts += sum(len(each.text.split()) > 30 for each in dialogues)
        return np.tile(np.array([1, 0, 0], np.float32), (len(dialogues), 1))


def test_texts_that_a_system_cuts_are_counted(tmp_path: Path) -> None:
    root = miniature.make(tmp_path, "chatir-visdial")
    result = BENCHMARKS["chatir-visdial"].run(Cutting(), Context(data_root=root, spec="cutting:"))
    assert result.counts["truncated texts"] == 25  # five dialogues, from the sixth round on
    assert any("not the official data: 55 queries" in note for note in result.notes)
