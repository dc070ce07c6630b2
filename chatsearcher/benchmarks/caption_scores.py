"""BLEU, ROUGE-L and CIDEr of captions against references, by ``pycocoevalcap``.

CIDEr weighs words by how rare they are in the references of the set that is scored: figures of a
part of a set do not compare with those of the whole. SPICE and METEOR need Java and are not
computed.
"""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Sequence

import numpy as np

BLEU = tuple(f"BLEU-{n}" for n in (1, 2, 3, 4))
ROUGE, CIDER = "ROUGE-L", "CIDEr"
METRICS = (CIDER, BLEU[3], ROUGE, *BLEU[:3])
TOKENS = ("words", "ptb")


def plain_words(text: str) -> str:
    """Lower case, punctuation gone, single spaces; hyphens and apostrophes within a word stay.

    Nearly what the Penn Treebank tokeniser of ``pycocoevalcap`` leaves, without Java. That one
    writes ``does n't`` for ``doesn't``, keeps ``3/4`` whole and ``&``: 40 of the 4,034 validation
    captions of dresses come out otherwise, and CIDEr of one person's captions against the other's
    is 44.59 in place of 44.57.
    """
    kept = []
    for word in text.lower().split():
        letters = [
            c if not unicodedata.category(c).startswith("P") or _inside(word, n) else " "
            for n, c in enumerate(word)
        ]
        kept.append("".join(letters))
    return " ".join(" ".join(kept).split())


def _inside(word: str, place: int) -> bool:
    """Whether a hyphen or an apostrophe stands between letters or digits."""
    if word[place] not in "-'’" or not 0 < place < len(word) - 1:
        return False
    return word[place - 1].isalnum() and word[place + 1].isalnum()


def tokenised(texts: Sequence[str], tokens: str) -> list[str]:
    """The texts as words with single spaces between them.

    Raises:
        ValueError: an unknown way.
        FileNotFoundError: Java is not there for ``ptb``.
    """
    if tokens == "words":
        return [plain_words(text) for text in texts]
    if tokens != "ptb":
        raise ValueError(f"tokens={tokens!r}; expected one of {', '.join(TOKENS)}")
    if shutil.which("java") is None:
        raise FileNotFoundError(
            "tokens=ptb runs a Java program, and no `java` is on the path; install a Java runtime, "
            "or leave the option out (plain words)"
        )
    _require()
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    # Line breaks would shift all later captions by a line.
    lines = {n: [{"caption": " ".join(text.split())}] for n, text in enumerate(texts)}
    found = PTBTokenizer().tokenize(lines)
    return [found[n][0] for n in range(len(texts))]


def caption_scores(
    references: Sequence[Sequence[str]], captions: Sequence[str], tokens: str = "words"
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """All figures, times 100 as papers print them.

    Args:
        references: for each caption, what people said; empty ones do not count.
        captions: what the system said.

    Returns:
        (figures, samples): CIDEr and ROUGE-L are means over captions and have samples [n]; BLEU is
        of the whole corpus and has none.

    Raises:
        ValueError: nothing to score, or a caption without a reference.
        ImportError: ``pycocoevalcap`` is not installed.
    """
    if len(references) != len(captions) or not captions:
        raise ValueError(f"{len(captions)} captions and {len(references)} sets of references")
    _require()
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    flat = tokenised([text for group in references for text in group], tokens)
    words = iter(flat)
    groups = [[text for _ in group if (text := next(words))] for group in references]
    bare = next((n for n, group in enumerate(groups) if not group), None)
    if bare is not None:
        raise ValueError(f"caption {bare} has no reference that says anything; leave it out")
    known = dict(enumerate(groups))
    said = {n: [text] for n, text in enumerate(tokenised(captions, tokens))}
    bleu, _ = Bleu(4).compute_score(known, said, verbose=0)
    rouge, rouges = Rouge().compute_score(known, said)
    cider, ciders = Cider().compute_score(known, said)
    figures = dict(zip(BLEU, map(float, bleu), strict=True))
    figures |= {ROUGE: float(rouge), CIDER: float(cider)}
    samples = {ROUGE: 100.0 * np.asarray(rouges), CIDER: 100.0 * np.asarray(ciders)}
    return {name: 100.0 * figures[name] for name in METRICS}, samples


def _require() -> None:
    try:
        import pycocoevalcap  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "BLEU, ROUGE-L and CIDEr are computed by pycocoevalcap; "
            "pip install 'chatsearcher[eval]'"
        ) from error
