"""Multiple choice: showing options, and reading from an answer in words which one is meant."""

from __future__ import annotations

from collections.abc import Mapping

RULES = "letter, then text (rules-1); undecided is wrong"
"""The name of these rules in results; it changes when they do."""

LETTER = "{text}\nAnswer with the option's letter from the given choices directly."  # LLaVA-1.5
UNDECIDED = ""

_BETWEEN = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_SENTENCE = 3  # in more words than these, "A" may be the article


def with_options(text: str, options: Mapping[str, str]) -> str:
    """The question with its options under it, ``A. …`` each in its own line."""
    return "\n".join([text, *(f"{letter}. {option}" for letter, option in options.items())])


def chosen(answer: str, options: Mapping[str, str]) -> str:
    """The letter of the option that an answer means; ``UNDECIDED`` where the rules do not say.

    In order, the first that applies (after the rules that MMBench tries before a language model,
    arXiv:2307.06281, section 4):

    1. The answer is one option's text, whatever the case.
    2. Exactly one option's letter stands alone in it, as a capital; an "A" in a sentence of more
       than three words may be the article, and decides nothing.
    3. It holds exactly one option's text, whatever the case. It is not longer than twice all
       options together: an essay that speaks of everything decides nothing.

    Args:
        options: letter -> text, in order.
    """
    said = answer.strip()
    texts = {letter: option.strip().lower().rstrip(".") for letter, option in options.items()}
    same = [letter for letter, text in texts.items() if text and text == said.lower().rstrip(".")]
    if len(same) == 1:
        return same[0]
    words = said.translate(_BETWEEN).split()
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1 and (letters != ["A"] or len(words) <= _SENTENCE):
        return letters[0]
    if len(said) > 2 * sum(len(text) for text in texts.values()):
        return UNDECIDED
    held = [letter for letter, text in texts.items() if text and text in said.lower()]
    return held[0] if len(held) == 1 else UNDECIDED
