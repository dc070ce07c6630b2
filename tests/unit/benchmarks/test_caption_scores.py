"""BLEU, ROUGE-L and CIDEr against implementations of their own, and Fashion IQ's captions."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("pycocoevalcap", reason="pip install 'chatsearcher[eval]'")

from chatsearcher.benchmarks import SCORERS, Context
from chatsearcher.benchmarks.caption_scores import caption_scores, plain_words, tokenised
from chatsearcher.benchmarks.fashioniq.captions import QUESTION, FashionIQCaptions
from chatsearcher.retriever import Reply
from tests.fixtures.miniatures.fashioniq import PAIRS, Alike, Says, asin, make

SHARED = Path(__file__).resolve().parents[4] / "shared/data/benchmarks/fashion_iq"
VOCABULARY = [*"abcdefgh", "is", "has", "longer", "striped", "and", "the"]


def grams(words: list[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu(references: list[list[list[str]]], said: list[list[str]], order: int) -> float:
    """Papineni et al. 2002, closest reference length, the shorter one of two equally close."""
    logs = 0.0
    for n in range(1, order + 1):
        right = total = 0
        for group, words in zip(references, said, strict=True):
            most: Counter = Counter()
            for reference in group:
                most |= grams(reference, n)
            right += sum((grams(words, n) & most).values())
            total += max(0, len(words) - n + 1)
        logs += math.log(right / total)
    long = sum(len(words) for words in said)
    close = sum(
        min((abs(len(r) - len(words)), len(r)) for r in group)[1]
        for group, words in zip(references, said, strict=True)
    )
    return math.exp(logs / order) * (1.0 if long >= close else math.exp(1 - close / long))


def common(a: list[str], b: list[str]) -> int:
    """The longest common subsequence."""
    row = [0] * (len(b) + 1)
    for x in a:
        left = row[:]
        for j, y in enumerate(b):
            row[j + 1] = left[j] + 1 if x == y else max(left[j + 1], row[j])
    return row[-1]


def rouge(group: list[list[str]], words: list[str], beta: float = 1.2) -> float:
    """Lin 2004: best precision and best recall over the references."""
    recall = max(common(r, words) / len(r) for r in group)
    precision = max(common(r, words) / len(words) for r in group)
    if not recall or not precision:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def cider(references: list[list[list[str]]], said: list[list[str]], sigma: float = 6.0) -> list:
    """CIDEr-D, Vedantam et al. 2015, the one that everybody prints; 10 at best."""
    seen: Counter = Counter()
    for group in references:
        seen.update({g for r in group for n in range(1, 5) for g in grams(r, n)})
    whole = math.log(len(references))

    def weights(words: list[str], n: int) -> dict:
        return {g: c * (whole - math.log(max(1, seen[g]))) for g, c in grams(words, n).items()}

    def norm(vector: dict) -> float:
        return math.sqrt(sum(v * v for v in vector.values()))

    found = []
    for group, words in zip(references, said, strict=True):
        total = 0.0
        for n in range(1, 5):
            mine = weights(words, n)
            for reference in group:
                other = weights(reference, n)
                dot = sum(min(v, other[g]) * other[g] for g, v in mine.items() if g in other)
                if norm(mine) and norm(other):
                    dot /= norm(mine) * norm(other)
                # the length that counts is that of the bigrams
                far = (len(words) - 1 if len(words) > 1 else 0) - max(0, len(reference) - 1)
                total += dot * math.exp(-(far**2) / (2 * sigma**2))
        found.append(10 * total / 4 / len(group))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_figures_agree_with_others(seed: int) -> None:
    rng = random.Random(seed)

    def sentence() -> list[str]:
        return rng.choices(VOCABULARY[: 5 + seed], k=rng.randint(4, 9))

    references = [[sentence() for _ in range(2)] for _ in range(30)]
    said = [rng.choice([sentence(), group[0][:6]]) for group in references]
    figures, samples = caption_scores(
        [[" ".join(words) for words in group] for group in references],
        [" ".join(words) for words in said],
    )
    # pycocoevalcap adds 1e-9 to the counts that it divides by: nearly 1e-9 of the figure itself
    for n in range(1, 5):
        assert figures[f"BLEU-{n}"] / 100 == pytest.approx(bleu(references, said, n), abs=1e-9)
    rouges = [rouge(group, words) for group, words in zip(references, said, strict=True)]
    assert samples["ROUGE-L"] / 100 == pytest.approx(rouges, abs=1e-9)
    assert figures["ROUGE-L"] / 100 == pytest.approx(sum(rouges) / len(rouges), abs=1e-9)
    ciders = cider(references, said)
    assert samples["CIDEr"] / 100 == pytest.approx(ciders, abs=1e-9)
    assert figures["CIDEr"] / 100 == pytest.approx(sum(ciders) / len(ciders), abs=1e-9)


def test_words_are_small_and_without_punctuation() -> None:
    assert plain_words("  Is V-neck, and isn't (too) long.") == "is v-neck and isn't too long"
    assert plain_words("red/blue!") == "red blue"
    assert plain_words(" ... ") == ""
    with pytest.raises(ValueError, match="tokens='letters'; expected one of words, ptb"):
        tokenised(["a"], "letters")


@pytest.mark.skipif(shutil.which("java") is None, reason="no Java")
def test_the_treebank_tokeniser_leaves_the_same_of_plain_captions() -> None:
    texts = ["Is V-neck, and too long.", "has no\nsleeves!", "", "red; blue"]
    assert tokenised(texts, "ptb") == [plain_words(text) for text in texts]
    assert tokenised(["It isn't 3/4 long"], "ptb") == ["it is n't 3/4 long"]


def test_without_java_the_treebank_tokeniser_says_what_it_needs(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="install a Java runtime"):
        tokenised(["a"], "ptb")


def test_a_perfect_captioner_and_one_that_says_nothing(tmp_path: Path) -> None:
    root = make(tmp_path)
    pairs = json.loads((root / "captions/cap.dress.val.json").read_text())
    benchmark = FashionIQCaptions("dress")
    perfect = benchmark.run(Says([each["captions"][1] for each in pairs]), Context(data_root=root))
    assert perfect.metrics["ROUGE-L"] == pytest.approx(100)
    assert perfect.metrics["BLEU-1"] == pytest.approx(100)
    assert perfect.primary == "CIDEr"
    silent = benchmark.run(Says([""] * PAIRS), Context(data_root=root))
    assert all(value < 1e-6 for value in silent.metrics.values())
    assert silent.counts["empty captions"] == PAIRS
    assert perfect.settings["prompt"] == "plain-1"


class Talker:
    """An assistant; keeps what it was shown."""

    fingerprint = "talker"

    def reply(self, dialogue, on_text=None) -> Reply:
        self.last = dialogue
        return Reply("is red and longer")


def test_an_assistant_is_shown_both_pictures_and_asked(tmp_path: Path) -> None:
    root, system = make(tmp_path), Talker()
    context = Context(data_root=root, prompt="short-1")
    result = FashionIQCaptions("shirt").run(system, context)
    turn = system.last.turns[-1]
    assert [image.id for image in turn.images] == [asin("shirt", "val", n) for n in (24, 23)]
    assert all(image.pixels is not None for image in turn.images)
    assert turn.text.startswith(QUESTION)
    assert result.counts["queries"] == PAIRS
    assert any("not the official data" in note for note in result.notes)
    with pytest.raises(ValueError, match="Alike only searches"):
        FashionIQCaptions("shirt").run(Alike(), context)


def test_a_missing_picture_leaves_its_pair_out(tmp_path: Path) -> None:
    root = make(tmp_path)
    lost, broken = asin("dress", "val", 2), asin("dress", "val", 6)
    (root / f"images/{lost}.png").unlink()
    (root / f"images/{broken}.png").write_bytes(b"no picture")
    result = FashionIQCaptions("dress").run(Says(["is red"] * PAIRS), Context(data_root=root))
    assert sorted(result.missing) == sorted([lost, broken])
    assert result.counts["queries left out"] == 2
    assert result.counts["missing images"] == 2
    assert result.shrunken
    assert any(note.startswith("shrunken: 2 of") for note in result.notes)


def test_captions_made_elsewhere_are_scored_alike_and_find_their_category(tmp_path: Path) -> None:
    root = make(tmp_path)
    pairs = json.loads((root / "captions/cap.toptee.val.json").read_text())
    said = [f"is longer and has {n} buttons" for n in range(PAIRS)]
    expected = FashionIQCaptions("toptee").run(Says(said), Context(data_root=root)).metrics
    rows = [
        {"candidate": pair["candidate"], "target": pair["target"], "caption": text}
        for pair, text in zip(pairs, said, strict=True)
    ]
    file = tmp_path / "captions.json"

    def score(content, **options: str):
        file.write_text(json.dumps(content))
        context = Context(data_root=root, options=options)
        return SCORERS["fashioniq-captions"].score_predictions([file], context)

    result = score(rows[::-1])
    assert result.benchmark == "fashioniq-captions-toptee"
    assert result.metrics == pytest.approx(expected)
    one = [{**row, "captions": [row["caption"]]} for row in rows]
    for row in one:
        del row["caption"]
    assert score(one, category="toptee").metrics == pytest.approx(expected)
    strange = {**rows[0], "target": "x"}
    for content, message in (
        (rows[:-1], r"no caption for candidate 'BTV0024', target 'BTV0023'; every one of the 8"),
        ([*rows, rows[3]], r"row 8: .* stands in .*row 3 too"),
        ([*rows, strange], r"row 8: .* is no pair of cap.toptee.val.json"),
        ([strange], r"row 0: .* is no validation pair of dress, shirt, toptee"),
        ([], "is an empty list; expected"),
        ([{**one[0], "captions": ["a", "b"]}], "row 0: 2 captions; expected"),
        ([{**rows[0], "caption": 3}], "row 0: 'caption' is 3; expected a string"),
    ):
        with pytest.raises(ValueError, match=message):
            score(content)
    with pytest.raises(ValueError, match="category='hats'"):
        score(rows, category="hats")


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared: the official files lie there")
def test_people_described_by_each_other_on_the_official_files(tmp_path: Path) -> None:
    """Each pair's second caption as the prediction; it is a reference too, so that ROUGE-L is 100
    and one pair less counts nowhere: no validation pair has two empty captions."""
    file = tmp_path / "captions.json"
    rows = json.loads((SHARED / "captions/cap.dress.val.json").read_text())
    said = [
        {"candidate": r["candidate"], "target": r["target"], "caption": r["captions"][1]}
        for r in rows
    ]
    file.write_text(json.dumps(said))
    context = Context(data_root=SHARED)
    result = SCORERS["fashioniq-captions"].score_predictions([file], context)
    assert result.benchmark == "fashioniq-captions-dress"
    assert result.counts["queries"] == 2_017
    assert result.counts["queries left out"] == 0
    assert result.metrics["ROUGE-L"] == pytest.approx(100)
    assert result.notes == []
