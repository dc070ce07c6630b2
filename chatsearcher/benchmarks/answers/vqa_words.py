"""VQA's way with answers: how they are normalised, and when ten people agree with one.

The rules of the official evaluator (github.com/GT-Vision-Lab/VQA, commit a013f00), its quirks
included, since published figures have them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

PEOPLE = 10
"""Each question was answered by ten people."""

_MARKS = ';/[]"{}()=+\\_-><@`,?!'  # no apostrophe, no colon
_THOUSANDS = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_MOST_FULL_STOPS = 32
"""The official script hands a flag over where ``re.sub`` expects a count; the flag is 32."""

_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_ARTICLES = frozenset({"a", "an", "the"})
# Written without one of their apostrophes, these get it back. "its", "well", "shell" and the like
# are words of their own and not here.
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're
    you've
"""
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTED.split()
    for place, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}  # the wrong way round, as in the official table


def cleaned(text: str) -> str:
    """Line breaks and tabs as spaces, none at the ends; done to every answer, once."""
    return text.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 16)  # ten people say much the same
def normalised(text: str) -> str:
    """Punctuation, then case, number words and articles, then contractions.

    Only ``accuracy`` calls it: where all ten people agree nothing is normalised, and an answer that
    was normalised beforehand could miss what they said.
    """
    return _plain_words(_without_punctuation(text))


def _without_punctuation(text: str) -> str:
    """A mark with a space at its side goes, else it becomes a space; where the text has a digit,
    a comma and a digit in a row, every mark goes. Full stops go unless a digit follows."""
    found = text
    joined = _THOUSANDS.search(text) is not None
    for mark in _MARKS:
        loose = f"{mark} " in text or f" {mark}" in text
        found = found.replace(mark, "" if loose or joined else " ")
    return _FULL_STOP.sub("", found, count=_MOST_FULL_STOPS)


def _plain_words(text: str) -> str:
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def accuracy(answer: str, people: Sequence[str]) -> float:
    """The share of agreement, in [0, 1]: the mean over the ten sets that leave one person out of
    min(1, agreeing / 3); 0, 1, 2, 3 and 4 agreeing people give 0, 0.3, 0.6, 0.9 and 1.

    Where all ten said the same, letter by letter, nothing is normalised (official).
    """
    said = [cleaned(each) for each in people]
    answer = cleaned(answer)
    if len(set(said)) > 1:
        said = [normalised(each) for each in said]
        answer = normalised(answer)
    agreeing = Counter(said)[answer]
    left_in = min(1.0, agreeing / 3) * (len(said) - agreeing)
    left_out = min(1.0, (agreeing - 1) / 3) * agreeing
    return (left_in + left_out) / len(said)
