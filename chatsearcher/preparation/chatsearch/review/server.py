"""The page that reviewers work on: a dialogue with its pictures, a key for each decision."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from chatsearcher.preparation.chatsearch.layout import Entry, StageFolder
from chatsearcher.preparation.chatsearch.review.final import TEST
from chatsearcher.preparation.chatsearch.review.log import (
    Decision,
    Log,
    record_version,
    with_texts,
)
from chatsearcher.preparation.chatsearch.shown import thumbnail

HERE = Path(__file__).parent
CLAIM_SECONDS = 600.0
"""So long a record that was handed to a reviewer is not handed to others."""

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"


class Records:
    """The test split's records, found again by their place in the files."""

    def __init__(self, split: StageFolder) -> None:
        split.need()
        self._places: dict[str, tuple[Path, int]] = {}
        for number in range(split.parts()):
            path = split.part(number)
            at = 0
            with open(path, "rb") as lines:
                for line in lines:
                    record = json.loads(line)
                    if record["split"] == TEST:
                        self._places[record["id"]] = (path, at)
                    at += len(line)
        self.ids = list(self._places)

    def get(self, id: str) -> Entry:
        """The record.

        Raises:
            KeyError: no such record in the test split.
        """
        path, at = self._places[id]
        with open(path, "rb") as file:
            file.seek(at)
            record: Entry = json.loads(file.readline())
            return record


class Review:
    """The work at hand, and who does what.

    Args:
        reviews: how many people look at a record.
        overlap: the share of records that so many look at; the others are looked at once.
        seed: of the order, in which i and m of one final round stand together.
    """

    def __init__(
        self, records: Records, log: Log, reviews: int = 2, overlap: float = 1.0, seed: int = 0
    ) -> None:
        if reviews < 1 or not 0.0 <= overlap <= 1.0:
            raise ValueError(f"{reviews} reviews, overlap {overlap}: expected 1 or more, and 0…1")
        self.records = records
        self.log = log
        self.order = _order(records.ids, seed)
        rng = random.Random(f"overlap {seed}")
        self.wanted = {id: reviews if rng.random() < overlap else 1 for id in self.order}
        self.latest = log.latest()
        self._claims: dict[str, dict[str, float]] = {}
        self._writing = asyncio.Lock()

    def next(self, reviewer: str, skip: frozenset[str] = frozenset()) -> str | None:
        """A record that still needs this reviewer's eyes, or None."""
        now = time.monotonic()
        for id in self.order:
            said = self.latest.get(id, {})
            if reviewer in said or id in skip:
                continue
            claims = self._claims.get(id, {})
            others = {who for who, at in claims.items() if now - at < CLAIM_SECONDS} - {reviewer}
            if len(set(said) | others) < self.wanted[id]:
                self._claims.setdefault(id, {})[reviewer] = now
                return id
        return None

    async def decide(self, decision: Decision) -> None:
        """Take a decision down.

        Raises:
            ValueError: of another version of the record, or with unfitting texts.
            KeyError: no such record.
        """
        record = self.records.get(decision.record)
        if decision.version != record_version(record):
            raise ValueError("the record has changed since it was shown; reload the page")
        if decision.texts:
            with_texts(record, decision.texts)
        async with self._writing:
            stamped = await asyncio.to_thread(self.log.add, decision)
        mine = self.latest.setdefault(decision.record, {})
        mine.pop(decision.reviewer, None)
        if decision.choice != "withdrawn":
            mine[decision.reviewer] = stamped
        self._claims.get(decision.record, {}).pop(decision.reviewer, None)

    def progress(self, reviewer: str) -> Entry:
        mine = sum(reviewer in said for said in self.latest.values())
        done = sum(len(self.latest.get(id, {})) >= n for id, n in self.wanted.items())
        return {"mine": mine, "done": done, "all": len(self.order)}

    def view(self, id: str, reviewer: str) -> Entry:
        """What the page shows of a record."""
        record = self.records.get(id)
        said = self.latest.get(id, {}).get(reviewer)
        return {
            "id": id,
            "version": record_version(record),
            "task": record["task"],
            "kind": record["kind"],
            "messages": record["messages"],
            "target": record["target"]["id"],
            "links": {
                each["id"]: each["url"]
                for each in (*record["pictures"], record["target"])
                if each["source"] is None
            },
            "captions": record["captions"],
            "decision": said.choice if said else None,
            "progress": self.progress(reviewer),
        }


class Pages:
    """The HTTP side."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 20, middlewares=[_guard])
        app.router.add_get("/", self.file)
        app.router.add_get("/{name:page\\.(?:css|js)}", self.file)
        app.router.add_get("/next", self.next)
        app.router.add_get("/record", self.record)
        app.router.add_get("/picture", self.picture)
        app.router.add_post("/decisions", self.decide)
        return app

    async def file(self, request: web.Request) -> web.Response:
        path = HERE / request.match_info.get("name", "page.html")
        return web.Response(
            text=path.read_text(encoding="utf-8"), content_type=_TYPES[path.suffix], charset="utf-8"
        )

    async def next(self, request: web.Request) -> web.Response:
        reviewer = _reviewer(request.query.get("reviewer", ""))
        skip = frozenset(request.query.getall("skip", []))
        id = self.review.next(reviewer, skip)
        if id is None:
            return web.json_response({"id": None, "progress": self.review.progress(reviewer)})
        return web.json_response(self.review.view(id, reviewer))

    async def record(self, request: web.Request) -> web.Response:
        reviewer = _reviewer(request.query.get("reviewer", ""))
        try:
            return web.json_response(self.review.view(request.query.get("id", ""), reviewer))
        except KeyError as error:
            raise web.HTTPNotFound(text="no such record") from error

    async def picture(self, request: web.Request) -> web.Response:
        try:
            record = self.review.records.get(request.query.get("record", ""))
            pictures = {each["id"]: each for each in (*record["pictures"], record["target"])}
            source = pictures[request.query.get("id", "")]["source"]
        except KeyError as error:
            raise web.HTTPNotFound(text="no such picture") from error
        if source is None:
            raise web.HTTPNotFound(text="its pixels are not here")
        if source not in self._thumbnails:
            try:
                self._thumbnails[source] = await asyncio.to_thread(thumbnail, source)
            except (FileNotFoundError, ValueError) as error:
                raise web.HTTPNotFound(text=str(error)) from error
            while len(self._thumbnails) > 256:
                self._thumbnails.popitem(last=False)
        headers = {"Cache-Control": "private, max-age=3600"}
        return web.Response(
            body=self._thumbnails[source], content_type="image/jpeg", headers=headers
        )

    async def decide(self, request: web.Request) -> web.Response:
        try:
            said: Any = await request.json()
            texts: Sequence[Any] = said.get("texts") or ()
            decision = Decision(
                str(said["record"]),
                str(said["version"]),
                _reviewer(str(said["reviewer"])),
                said["choice"],
                tuple(str(text) for text in texts),
            )
            await self.review.decide(decision)
        except KeyError as error:
            raise web.HTTPNotFound(text=f"no such record or field: {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.json_response(self.review.view(decision.record, decision.reviewer))


@web.middleware
async def _guard(request: web.Request, handler: Any) -> web.StreamResponse:
    """No other site may send decisions through a reviewer's browser."""
    if request.method == "POST":
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.host:
            raise web.HTTPForbidden(text="decisions come from this page only")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="decisions are JSON")
    response: web.StreamResponse = await handler(request)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _reviewer(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 80:
        raise web.HTTPBadRequest(text="a reviewer needs a name of at most 80 characters")
    return name


def _order(ids: Sequence[str], seed: int) -> list[str]:
    """Sources in random order, all records of one source together: they share pictures."""

    def key(id: str) -> tuple[float, str]:
        source = id.partition("/")[2]
        return random.Random(f"review {seed} {source}").random(), id

    return sorted(ids, key=key)


async def serve(review: Review, host: str, port: int) -> None:
    """Serve until stopped; prints the address once it is open (port 0 takes a free one)."""
    runner = web.AppRunner(Pages(review).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    bound = runner.addresses[0][1]
    print(f"http://{host}:{bound}/", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
