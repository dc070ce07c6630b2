"""What COCO's and Karpathy's sets have in common: a picture and the captions people gave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Example, Unusable


def captioned_example(
    split: SplitName,
    id: str,
    names: Sequence[str],
    captions: Sequence[str],
    pictures: Pictures,
    **about: Any,
) -> Example:
    """A pair whose JSON holds all captions; its ``.txt`` is the first one.

    Raises:
        Unusable: no picture of these names, or no words.
    """
    words = [" ".join(caption.split()) for caption in captions if caption.strip()]
    if not words:
        raise Unusable("no words")
    picture = pictures.load(*names)
    about = {"id": id, "captions": words, **about}
    return Example(split, about, (picture,), words[0])
