"""Terse annotations reworded as what a person would say, by templates of our own.

The paper rewords InstructPix2Pix's edits "by templates" and prints none; these are ours. Which one
a record gets depends on its key alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

# {edit}: "make it snowy", as a clause; {Edit}: the same with a capital.
EDIT_REQUESTS = (
    "I like this picture, but {edit}.",
    "Can you find one like this, only {edit}?",
    "Take this as a start and {edit}.",
    "This is nearly it. {Edit}, please.",
    "Show me this again, but {edit}.",
    "Starting from this one, {edit}.",
    "Here is what I have. Could you {edit}?",
    "{Edit}. Keep the rest as it is.",
    "Something like this, please, with one change: {edit}.",
    "I am looking for a picture close to this one, but {edit}.",
)

# {change}: "is darker and has a floral design", "more colourful".
CHANGE_REQUESTS = (
    "I want something like this that {change}.",
    "Close to this one, but it {change}.",
    "Can you find one like this which {change}?",
    "Like this, except that the one I want {change}.",
    "The one I am after {change}.",
)
PLAIN_REQUESTS = (
    "Like this one, but {change}.",
    "Similar to this: {change}.",
    "I want this with a change: {change}.",
    "Not quite this. {Change}.",
    "Show me something like this, only {change}.",
)
# fmt: off
_VERBS = frozenset((
    "is", "are", "has", "have", "was", "were", "looks", "seems", "appears", "comes",
    "features", "shows", "contains", "wears", "goes", "fits", "does", "had",
))
# Words that are written small when they no longer begin the sentence.
_COMMON = _VERBS | {
    "make", "add", "turn", "change", "remove", "replace", "put", "have", "let", "give",
    "set", "swap", "convert", "transform", "take", "place", "insert", "show", "it", "as",
    "in", "with", "without", "the", "a", "an", "and", "get", "do", "cut", "move", "paint",
    "draw", "use", "see", "more", "less", "no", "different", "same", "all", "only", "leave",
    "keep", "zoom", "focus",
}
# fmt: on


def pick(choices: Sequence[str], key: str) -> str:
    """One of the choices, by the key's hash."""
    code = int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big")
    return choices[code % len(choices)]


def edit_request(edit: str, key: str) -> str:
    """An edit instruction ("make it snowy") as a request.

    Raises:
        ValueError: there are no words in it.
    """
    clause = _clause(edit)
    return pick(EDIT_REQUESTS, key).format(edit=clause, Edit=_capital(clause))


def change_request(captions: Sequence[str], key: str) -> str:
    """Relative captions ("is darker", "has a floral design") as one request.

    Raises:
        ValueError: there are no words in any of them.
    """
    clauses = list(dict.fromkeys(_clause(each) for each in captions if each.strip(" .,;!?")))
    if not clauses:
        raise ValueError("no words")
    verbs = [clause.split()[0].lower() in _VERBS for clause in clauses]
    change = " and ".join(clauses)
    choices = CHANGE_REQUESTS if all(verbs) else PLAIN_REQUESTS
    return pick(choices, key).format(change=change, Change=_capital(change))


def _clause(text: str) -> str:
    """Without outer space, final stops, and the capital of a first common word."""
    words = " ".join(text.split()).strip(" .,;!?")
    if not words:
        raise ValueError("no words")
    first = words.split()[0]
    # "Make it blue" -> "make it blue"; "Van Gogh style" and "TV on" stay.
    if first[:1].isupper() and first[1:].islower() and first.lower() in _COMMON:
        words = words[0].lower() + words[1:]
    return words


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
