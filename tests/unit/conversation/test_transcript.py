"""The page of a conversation: one file, nothing asked of the network, everything escaped."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image as PILImages

from chatsearcher.conversation import NOTHING_FITS, Conversation
from chatsearcher.transcript import page, write_page
from tests.fixtures.colours import ColourAssistant, NearestIndex, palette


class Reader(HTMLParser):
    """Collects tags, and checks that they close in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def find(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.tags
            if name == tag and all(attributes.get(key) == wanted[key] for key in wanted)
        ]


@pytest.fixture
def conversation() -> Conversation:
    gallery = palette()
    talk = Conversation(
        ColourAssistant(), gallery, NearestIndex(gallery.vectors), k=3, threshold=-0.8
    )
    talk.say("something red")
    talk.none_of_these()
    talk.pick(2)
    talk.attach(PILImages.new("RGB", (900, 600), (0, 0, 255)))
    talk.say("what colour is <b>it</b> & why?")
    talk.say("white")
    talk.say("red")
    return talk


def test_every_picture_is_inside_the_page_and_decodes(conversation):
    html = page(conversation)
    images = Reader(html).find("img")
    shown = sum(len(one.shown) + len(one.rejected) for one in conversation.rounds)
    assert len(images) == shown + 1
    for attributes in images:
        head, data = (attributes["src"] or "").split(",")
        assert head == "data:image/jpeg;base64"
        with PILImages.open(io.BytesIO(base64.b64decode(data))) as picture:
            picture.load()
            assert max(picture.size) <= 320
    assert all(attributes["alt"] for attributes in images)


def test_the_page_asks_the_network_for_nothing(conversation):
    html = page(conversation)
    rest = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.findall(r"https?:|//[a-z]|url\(|@import|<script|<link", rest)
    (policy,) = Reader(html).find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in (policy["content"] or "")


def test_picks_rejections_and_kept_answers_are_marked(conversation):
    reader = Reader(page(conversation))
    assert len(reader.find("li", **{"class": "picked"})) == 1
    # The third round was passed over without a pick; the last one is still open.
    assert len(reader.find("li", **{"class": "kept"})) == 1
    assert len(reader.find("ul", **{"class": "pictures rejected"})) == 1
    assert [word for word in reader.words if "✓" in word] == ["✓ picked"]


def test_words_are_escaped():
    gallery = palette()
    talk = Conversation(ColourAssistant(), gallery, NearestIndex(gallery.vectors))
    talk.say('<script>alert("x")</script>')
    html = page(talk, title="<i>title</i>", facts={"<u>": '"quoted"'})
    assert "<script" not in html
    assert "<i>title" not in html
    assert "<u>" not in html
    assert '<script>alert("x")</script>' in Reader(html).words


def test_nothing_fits_is_said():
    gallery = palette()
    talk = Conversation(ColourAssistant(), gallery, NearestIndex(gallery.vectors), threshold=-0.1)
    talk.say("red and blue")
    assert NOTHING_FITS in Reader(page(talk)).words
    talk.more()
    assert len(Reader(page(talk)).find("img")) == 5


def test_an_empty_conversation_is_a_page_too(tmp_path):
    gallery = palette()
    talk = Conversation(ColourAssistant(), gallery, NearestIndex(gallery.vectors))
    path = write_page(talk, tmp_path / "new" / "page.html", facts={"Model": "colours"})
    assert "colours" in Reader(path.read_text(encoding="utf-8")).words
