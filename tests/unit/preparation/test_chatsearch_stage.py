"""The loop behind every stage: nothing lost, nothing doubled, the same bytes after any stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.preparation.chatsearch.layout import Entry, StageFolder
from chatsearcher.preparation.chatsearch.stage import Plan, Result, in_order, run_stage


class Stop(Exception):
    """A kill, as far as the stage can tell."""


def inputs(number: int) -> list[Entry]:
    return [{"id": str(place)} for place in range(number)]


def work_until(limit: float):
    """0, 1 or 2 records of an input, in an order of its own; stops after so many calls."""
    calls = 0

    async def work(entries: Sequence[Entry]) -> list[Result]:
        nonlocal calls
        calls += 1
        if calls > limit:
            raise Stop
        results = []
        for entry in entries:
            rng = random.Random(entry["id"])
            await asyncio.sleep(rng.choice((0, 0, 0.0005)))
            if rng.random() < 0.2:
                results.append(Result.drop(entry["id"], rng.choice(("bad", "worse"))))
            else:
                twice = rng.choice((1, 2))
                results.append(Result.keep(*({**entry, "n": n} for n in range(twice))))
        return results

    return work


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 130),
    st.sampled_from([(1, 1), (1, 50), (5, 3), (10, 1)]),
    st.lists(st.integers(0, 40), max_size=4),
)
def test_stopped_anywhere_the_bytes_are_the_same(
    number: int, shape: tuple[int, int], stops: list[int]
) -> None:
    plan = Plan(*shape, part=20)
    with TemporaryDirectory() as whole, TemporaryDirectory() as stopped:

        def run(path: str, limit: float) -> Entry:
            folder = StageFolder(Path(path), "01-x")
            return asyncio.run(
                run_stage(folder, {"a": 1}, iter(inputs(number)), work_until(limit), plan)
            )

        summary = run(whole, float("inf"))
        for limit in stops:
            try:
                run(stopped, limit)
            except Stop:
                continue
        assert run(stopped, float("inf")) == summary
        assert bytes_of(Path(whole)) == bytes_of(Path(stopped))
        folder = StageFolder(Path(whole), "01-x")
        kept = {record["id"] for record in folder.records()}
        dropped = [reject["id"] for reject in folder.rejects()]
        assert summary["inputs"] == number
        assert kept.isdisjoint(dropped)
        assert sorted([*kept, *dropped], key=int) == [str(n) for n in range(number)]
        assert sum(summary["rejects"].values()) == len(dropped)
        order = [int(record["id"]) for record in folder.records()]
        assert order == sorted(order)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, "01-x")
    work = work_until(float("inf"))
    asyncio.run(run_stage(folder, {"a": 1}, inputs(3), work, Plan(part=2)))
    with pytest.raises(ValueError, match=r"made with another a: \{'a': 1\} there, \{'a': 2\} now"):
        asyncio.run(run_stage(folder, {"a": 2}, inputs(3), work, Plan(part=2)))


def test_a_half_written_part_does_not_count(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, "01-x")
    folder.begin({"part": 2})
    (folder.path / ".part-000000.jsonl.draft").write_text('{"id": "0"')
    (folder.path / "rejects-000000.jsonl").write_text('{"id": "0", "reason": "stale"}\n')
    summary = asyncio.run(run_stage(folder, {}, inputs(2), lambda e: _keep(e), Plan(part=2)))
    assert (summary["records"], summary["rejects"]) == (2, {})


async def _keep(entries: Sequence[Entry]) -> list[Result]:
    return [Result.keep(entry) for entry in entries]


def test_never_more_under_way_than_the_window_and_none_left_behind() -> None:
    state = {"now": 0, "most": 0}

    async def work(item: int) -> int:
        state["now"] += 1
        state["most"] = max(state["most"], state["now"])
        try:
            await asyncio.sleep(random.Random(item).random() * 0.003)
            if item == 30:
                raise Stop
        finally:
            state["now"] -= 1
        return -item

    async def main() -> list[tuple[int, int]]:
        found = []
        try:
            async for pair in in_order(range(100), work, 8):
                found.append(pair)
        except Stop:
            return found
        raise AssertionError("it should have stopped")

    found = asyncio.run(main())
    assert found == [(n, -n) for n in range(30)]
    assert state["most"] <= 8
    assert state["now"] == 0


def test_a_batch_must_divide_the_part() -> None:
    with pytest.raises(ValueError, match="batch 3"):
        Plan(batch=3, part=10)
