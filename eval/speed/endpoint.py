"""The language-model stages beside a bare asynchronous client, and their memory at two sizes.

    python eval/speed/endpoint.py --records 3200 --memory 10000 1000000

Speed: a rehearsal server in its own process answers after 200 ms. The bare client keeps 64 calls in
flight and does nothing else: no cache, no schema, no record, bodies made beforehand. Ours is the
stage ``text`` whole: prompt, call, schema, checks, cache, records on disk. Both are run in turns.

Memory: the stages ``text``, ``compose`` and ``split`` and the statistics in a process of their own
for each number of records, with rules in place of the endpoint and pictures known by name only;
the largest resident size of the process, in MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from chatsearcher.foundation.cache import AnswerCache, CachedModel
from chatsearcher.foundation.endpoint import EndpointModel, EndpointSettings
from chatsearcher.foundation.language import Answer, LanguageModel, Prompt
from chatsearcher.foundation.rehearsal.rules import PlainWriter, captions_in
from chatsearcher.preparation.chatsearch import compose, split
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.prompts import load_prompt
from chatsearcher.preparation.chatsearch.run import Run
from chatsearcher.preparation.chatsearch.shown import picture_entry
from chatsearcher.preparation.chatsearch.stage import Plan, Result, run_stage
from chatsearcher.preparation.chatsearch.statistics import statistics as count
from chatsearcher.preparation.chatsearch.writing import TEXT, TEXT_SCHEMA

SPEED_BOUND = 0.75
MEMORY_BOUND = 1.2
WORDS = "river bridge lantern harbour market tower garden bicycle violin kettle orchard".split()  # noqa: SIM905


def sources(number: int) -> Iterator[Entry]:
    """Records as the stage ``source`` leaves them; five hundred are held out, however many there
    are: test lists do not grow with the training data.
    """
    for place in range(number):
        rng = random.Random(place)
        caption = f"Number {place} shows a {', a '.join(rng.sample(WORDS, 5))} at noon."
        name = f"picture/{place:07d}"
        grid = b"".join(hashlib.sha256(f"{place} {n}".encode()).digest() for n in range(6))
        yield {
            "id": name,
            "split": "test" if place < 500 else "train",
            "picture": picture_entry(name, None, signature=b64encode(grid).decode("ascii")),
            "caption": caption,
        }


async def bare(url: str, bodies: Sequence[bytes], in_flight: int) -> float:
    """Calls a second of a client that only calls."""
    import aiohttp

    left = iter(bodies)

    async def caller(session: aiohttp.ClientSession) -> None:
        for body in left:
            async with session.post(f"{url}/chat/completions", data=body) as response:
                await response.read()

    async with aiohttp.ClientSession(
        headers={"Content-Type": "application/json"},
        connector=aiohttp.TCPConnector(limit=in_flight),
    ) as session:
        started = time.perf_counter()
        await asyncio.gather(*(caller(session) for _ in range(in_flight)))
        return len(bodies) / (time.perf_counter() - started)


async def ours(url: str, records: Sequence[Entry], in_flight: int) -> float:
    """Calls a second of the stage."""
    settings = EndpointSettings(url, "rehearsal", concurrency=in_flight)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        model = CachedModel(EndpointModel(settings), AnswerCache(Path(folder) / "a.sqlite"))
        summary = await text_stage(Run(Path(folder)), model, records, 16 * in_flight)
        await model.close()
        seconds = time.perf_counter() - started
    assert summary["records"] == len(records), summary["rejects"]
    return len(records) / seconds


async def text_stage(run: Run, model: LanguageModel, records: Any, window: int) -> Entry:
    prompt = load_prompt(TEXT.prompt)
    work = partial(TEXT.work, prompt=prompt, model=model, attempts=1)
    return await run_stage(run.stage("text"), {}, records, work, Plan(1, window))


def measure_speed(records: int, delay: float, in_flight: int, repeats: int) -> dict[str, Any]:
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "chatsearcher", "prepare", "chatsearch", "rehearse"),
            *("--port", "0", "--delay", str(delay), "--writer", "plain"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip().partition("#")[0]
        entries = list(sources(records))
        prompt = load_prompt(TEXT.prompt)
        model = EndpointModel(EndpointSettings(url, "rehearsal"))
        bodies = [
            json.dumps(
                model._request(prompt.fill(TEXT_SCHEMA, caption=each["caption"]), 0)
            ).encode()
            for each in entries
        ]
        asyncio.run(bare(url, bodies[:in_flight], in_flight))  # the server's first calls
        asyncio.run(ours(url, entries[:in_flight], in_flight))
        pairs, work = [], []
        for _ in range(repeats):
            at = [time.process_time()]
            first = asyncio.run(bare(url, bodies, in_flight))
            at.append(time.process_time())
            second = asyncio.run(ours(url, entries, in_flight))
            at.append(time.process_time())
            pairs.append((first, second))
            work.append([1e3 * (b - a) / records for a, b in pairwise(at)])
    finally:
        server.terminate()
        server.wait()
    return {
        "records": records,
        "delay_s": delay,
        "in_flight": in_flight,
        "repeats": repeats,
        "bare_calls_per_s": statistics.median(first for first, _ in pairs),
        "stage_calls_per_s": statistics.median(second for _, second in pairs),
        "ratio": statistics.median(second / first for first, second in pairs),
        "ratio_least": min(second / first for first, second in pairs),
        "bare_cpu_ms": statistics.median(first for first, _ in work),
        "stage_cpu_ms": statistics.median(second for _, second in work),
        "bound": SPEED_BOUND,
    }


class Rules:
    """The rules without a server between."""

    identity: Mapping[str, Any] = {"model": "rules"}

    async def complete(self, prompt: Prompt, seed: int = 0) -> Answer:
        rng = random.Random(prompt.user)
        return Answer(json.dumps(PlainWriter().write(prompt.name, captions_in(prompt.user), rng)))

    async def close(self) -> None:
        pass


async def through(number: int, folder: Path) -> None:
    """The stages over so many records."""
    run = Run(folder)

    async def same(entries: Sequence[Entry]) -> list[Result]:
        return [Result.keep(entry) for entry in entries]

    async def found(entries: Sequence[Entry]) -> list[Result]:
        return [
            Result.keep(
                {
                    **entry,
                    "neighbour": picture_entry(f"other/{entry['id']}", None),
                    "neighbour_caption": "a harbour at night",
                    "first_picture": picture_entry(f"first/{entry['id']}", None),
                    "similarity": 0.8,
                    "modification": "The same at night, please.",
                    "first_request": "A harbour, please.",
                    "first_caption": "a harbour",
                    "second_request": "And now with the tower in front.",
                }
            )
            for entry in entries
        ]

    plan = Plan(50, 4)
    await run_stage(run.stage("source"), {}, sources(number), same, plan)
    model = CachedModel(Rules(), AnswerCache(folder / "answers.sqlite"))
    await text_stage(run, model, run.stage("source").records(), 1024)
    await model.close()
    for name in ("modifications", "answers"):
        await run_stage(run.stage(name), {}, run.stage("source").records(), found, plan)
    stages = (run.stage(name) for name in ("source", "text", "modifications", "answers"))
    inputs = compose.compose_inputs(*stages)
    await run_stage(run.stage("compose"), {}, inputs, compose.compose_work, plan)
    records = run.stage("compose").records
    shelves = split.protected_shelves(records(), split.PAPER)
    work = partial(split.split_work, shelves=shelves, names=split.PAPER)
    await run_stage(run.stage("split"), {}, records(), work, plan)
    count(run.records())


def measure_memory(sizes: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for number in sizes:
        child = [sys.executable, __file__, "--child", str(number)]
        started = time.perf_counter()
        peak = int(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
        seconds = time.perf_counter() - started
        rows.append({"records": number, "peak_mib": peak / 1024, "seconds": seconds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=3200, help="0 leaves the speed out")
    parser.add_argument("--delay", type=float, default=0.2, metavar="SECONDS")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[], metavar="RECORDS")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    if arguments.child:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(through(arguments.child, Path(folder)))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    results: dict[str, Any] = {}
    if arguments.records:
        row = measure_speed(
            arguments.records, arguments.delay, arguments.in_flight, arguments.repeats
        )
        results["speed"] = row
        print(
            f"{row['records']} records, {row['in_flight']} in flight, {row['delay_s'] * 1e3:.0f} "
            f"ms an answer: bare {row['bare_calls_per_s']:.0f} calls/s, stage "
            f"{row['stage_calls_per_s']:.0f}, ratio {row['ratio']:.3f} (least "
            f"{row['ratio_least']:.3f}, bound {SPEED_BOUND:.2f}); CPU time a call "
            f"{row['bare_cpu_ms']:.2f} and {row['stage_cpu_ms']:.2f} ms",
            flush=True,
        )
    if arguments.memory:
        rows = results["memory"] = measure_memory(arguments.memory)
        for row in rows:
            ratio = row["peak_mib"] / rows[0]["peak_mib"]
            print(
                f"{row['records']:>9,} records: {row['peak_mib']:.0f} MiB at most, "
                f"{ratio:.3f} x (bound {MEMORY_BOUND:.1f}), {row['seconds']:.0f} s",
                flush=True,
            )
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
