"""clip-retrieval's protocol against a real server."""

from __future__ import annotations

import asyncio
import base64
import io

import pytest
from aiohttp import web
from PIL import Image as Pillow

from chatsearcher.dialogue import Image
from chatsearcher.foundation import limits
from chatsearcher.foundation.language import EndpointDown
from chatsearcher.foundation.neighbours import SPARE, Hit, KnnService, read_hits
from tests.fixtures.http_service import posts, serving

ROWS = [
    {"id": 7, "url": "https://example.org/b.jpg", "caption": "a\n boat ", "similarity": 0.5},
    {"id": 3, "url": "https://example.org/a.jpg", "caption": "a ship", "similarity": 0.75},
    {"id": 9, "url": "https://example.org/c.jpg"},
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BASE_SECONDS", 0.002)


def test_asks_by_text_and_by_image() -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response(ROWS)

    async def main() -> tuple[list[list[Hit]], list[list[Hit]]]:
        async with serving(posts("/knn-service", handler)) as url:
            service = KnnService(url, "laion5B-H-14")
            picture = Image("x", pixels=Pillow.new("RGB", (500, 300), "red"))
            found = await service.by_text(["boat"], 2), await service.by_image([picture], 2)
            await service.close()
            return found

    by_text, by_image = asyncio.run(main())
    assert by_text == by_image
    assert by_text[0] == [
        Hit("laion5B-H-14/3", 0.75, None, "https://example.org/a.jpg", "a ship"),
        Hit("laion5B-H-14/7", 0.5, None, "https://example.org/b.jpg", "a boat"),
    ]
    text, image = asked
    assert (text["text"], text["image"]) == ("boat", None)
    # Duplicates are left out after the search, from among so many.
    assert text["num_images"] == text["num_result_ids"] == 2 * SPARE
    assert (text["indice_name"], text["modality"]) == ("laion5B-H-14", "image")
    assert image["text"] is None
    sent = Pillow.open(io.BytesIO(base64.b64decode(image["image"])))
    assert (sent.format, sent.size) == ("JPEG", (336, 202))


def test_pictures_that_the_service_sends_along_are_read() -> None:
    buffer = io.BytesIO()
    Pillow.new("RGB", (40, 40), "blue").save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    hits = read_hits([{"id": 1, "similarity": 1, "image": data}])
    assert hits[0].source is not None
    assert hits[0].source.startswith("data:image/jpeg;base64,")
    assert read_hits([{"id": 1, "similarity": 1, "image": "nonsense"}])[0].source is None
    with pytest.raises(ValueError, match="list of objects"):
        read_hits({"error": "x"})


def test_failures_pass_or_stop_the_run() -> None:
    answers: list[web.Response] = []

    async def handler(request: web.Request) -> web.Response:
        return answers.pop(0) if answers else web.json_response(ROWS)

    async def main(tries: int) -> list[list[Hit]]:
        async with serving(posts("/knn-service", handler)) as url:
            service = KnnService(url, "i", tries=tries)
            try:
                return await service.by_text(["boat"], 5)
            finally:
                await service.close()

    answers[:] = [web.Response(status=500), web.Response(text="no json")]
    assert len(asyncio.run(main(3))[0]) == 2
    answers[:] = [web.Response(status=500) for _ in range(2)]
    with pytest.raises(EndpointDown, match="HTTP 500, 2 times"):
        asyncio.run(main(2))
    answers[:] = [web.Response(status=404, text="no such index")]
    with pytest.raises(EndpointDown, match="no such index"):
        asyncio.run(main(2))
