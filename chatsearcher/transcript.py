"""A conversation as one HTML page that needs nothing else: the pictures are inside it.

The page asks the network for nothing (its own content policy forbids it), follows the reader's
light or dark setting, and prints well.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from chatsearcher.conversation import NOTHING_FITS, Candidate, Conversation, Round
from chatsearcher.dialogue import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SIDE = 320  # pixels; larger pictures are reduced


def write_page(
    conversation: Conversation,
    path: str | Path,
    title: str = "A conversation",
    facts: Mapping[str, str] | None = None,
    picture: Callable[[str], PILImage] | None = None,
) -> Path:
    """Write the page; see ``page``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(conversation, title, facts, picture), encoding="utf-8")
    return path


def page(
    conversation: Conversation,
    title: str = "A conversation",
    facts: Mapping[str, str] | None = None,
    picture: Callable[[str], PILImage] | None = None,
) -> str:
    """The whole page.

    Args:
        conversation: shown as it stands: shown candidates, picks, rejected pictures.
        title: the heading.
        facts: small print under the heading, e.g. {"Model": "nano", "Gallery": "1,000 pictures"}.
        picture: id -> a gallery's picture to show; the stored thumbnail by default.
    """
    style = resources.files("chatsearcher").joinpath("transcript.css").read_text(encoding="utf-8")
    stored = conversation.gallery.thumbnail_jpeg

    @cache
    def uri(id: str) -> str:
        return _jpeg_uri(stored(id) if picture is None else _jpeg(picture(id)))

    lines = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in (facts or {}).items()
    )
    body = "\n".join(
        part
        for number, one in enumerate(conversation.rounds, start=1)
        for part in _round(conversation, number, one, uri)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{escape(title)}</h1>
<dl>{lines}</dl>
</header>
<ol class="rounds">
{body}
</ol>
</main>
</body>
</html>
"""


def _round(
    conversation: Conversation, number: int, one: Round, uri: Callable[[str], str]
) -> Iterator[str]:
    yield f'<li class="round" id="round-{number}">'
    yield '<section class="user"><span class="who">You</span><div class="bubble">'
    for image in one.user.images:
        yield f'<img class="attached" src="{_data_uri(image)}" alt="an attached picture">'
    if one.user.text:
        yield f"<p>{escape(one.user.text)}</p>"
    yield "</div></section>"
    yield '<section class="assistant"><span class="who">ChatSearcher</span>'
    words = one.text
    if not one.fits:
        words = f"{words} {NOTHING_FITS}".strip()
    if words:
        yield f'<div class="bubble"><p>{escape(words)}</p></div>'
    if one.rejected:
        yield f'<p class="note">None of these {len(one.rejected)}:</p>'
        yield '<ul class="pictures rejected">'
        for id in one.rejected:
            yield f'<li><img src="{uri(id)}" alt="{escape(id)}"></li>'
        yield "</ul>"
    if one.shown:
        yield '<ol class="pictures">'
        for candidate in one.shown:
            yield _card(conversation, candidate, one, uri)
        yield "</ol>"
    if one.continuation:
        yield f'<div class="bubble after"><p>{escape(one.continuation)}</p></div>'
    yield "</section></li>"


def _card(
    conversation: Conversation, candidate: Candidate, one: Round, uri: Callable[[str], str]
) -> str:
    label, mark = "", ""
    if one.picked == candidate.number:
        label, mark = "picked", "<em>✓ picked</em>"
    elif candidate.number == 1 and one.picked is None and one is not conversation.rounds[-1]:
        label, mark = "kept", "<em>kept</em>"
    caption = candidate.caption or candidate.id
    score = "" if math.isnan(candidate.score) else f"{candidate.score:.3f}"
    return (
        f'<li class="{label}"><figure>'
        f'<img src="{uri(candidate.id)}" alt="{escape(caption)}" '
        f'title="{escape(candidate.id)}">'
        f'<figcaption><span class="top"><b>{candidate.number}</b>{mark}<i>{score}</i></span>'
        f"<span>{escape(caption)}</span></figcaption></figure></li>"
    )


def _data_uri(image: Image) -> str:
    if image.pixels is None:
        raise ValueError(f"the picture {image.id!r} is not decoded")
    return _jpeg_uri(_jpeg(image.pixels))


def _jpeg_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _jpeg(picture: PILImage) -> bytes:
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    small.info = {}
    file = io.BytesIO()
    small.save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()
