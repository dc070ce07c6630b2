"""Review: the log, agreement, verdicts, the page's server, the final test set."""

from __future__ import annotations

import asyncio
import json
import math
from itertools import pairwise
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from chatsearcher.preparation.chatsearch.compose import composed
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.review.agreement import (
    agreement,
    cohen_kappa,
    fleiss_kappa,
)
from chatsearcher.preparation.chatsearch.review.final import make_final
from chatsearcher.preparation.chatsearch.review.log import (
    Decision,
    Log,
    record_version,
    text_parts,
    verdict,
    with_texts,
)
from chatsearcher.preparation.chatsearch.review.server import Pages, Records, Review
from chatsearcher.preparation.chatsearch.run import Run
from tests.fixtures.chatsearch_records import made, write
from tests.fixtures.http_service import serving


def test_cohens_kappa_of_a_known_table() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, expected 0.5.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohen_kappa(pairs) == pytest.approx(0.4)
    assert math.isnan(cohen_kappa([("y", "y")] * 3))
    assert cohen_kappa([("y", "y"), ("n", "n")]) == 1.0


def test_fleiss_kappa_of_a_known_table() -> None:
    # The worked example that is usually given for it: 10 subjects, 14 raters, 5 categories.
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(np.array(table)) == pytest.approx(0.20993, abs=1e-5)
    with pytest.raises(ValueError, match="the same number"):
        fleiss_kappa(np.array([[1, 1], [2, 1]]))


def test_two_raters_of_equal_habits_agree_as_fleiss_says() -> None:
    pairs = [("y", "y")] * 6 + [("n", "n")] * 6 + [("y", "n")] * 2 + [("n", "y")] * 2
    table = [[(a == "y") + (b == "y"), (a == "n") + (b == "n")] for a, b in pairs]
    assert fleiss_kappa(np.array(table)) == pytest.approx(cohen_kappa(pairs))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Four pictures' dialogues in the test split, one in train."""
    run = Run(tmp_path)
    records = [
        record
        for id in "abcde"
        for record in composed({"id": id, **made(id, "train" if id == "e" else "test")}).records
    ]
    write(run.stage("split"), records)
    return run


def records_of(run: Run) -> dict[str, Entry]:
    return {record["id"]: record for record in run.stage("split").records()}


def decide(run: Run, id: str, reviewer: str, choice: str, texts: tuple[str, ...] = ()) -> None:
    version = record_version(records_of(run)[id])
    Log.read(run.log).add(Decision(id, version, reviewer, choice, texts))  # type: ignore[arg-type]


def accept_all(run: Run, reviewer: str = "Ada") -> None:
    for id, record in records_of(run).items():
        if record["split"] == "test":
            decide(run, id, reviewer, "accept")


def final(run: Run) -> tuple[dict[str, Entry], dict[str, str]]:
    make_final(run.stage("split"), run.stage("final"), Log.read(run.log))
    stage = run.stage("final")
    kept = {record["id"]: record for record in stage.records()}
    dropped = {reject["id"]: reject["reason"] for reject in stage.rejects()}
    assert kept.keys().isdisjoint(dropped)
    assert len(kept) + len(dropped) == 20
    return kept, dropped


def test_the_majority_decides_and_a_tie_waits() -> None:
    def of(*choices: str) -> tuple[bool, str]:
        said = [
            Decision("r", "v", str(n), c, ("x",) if c == "rewrite" else ())  # type: ignore[arg-type]
            for n, c in enumerate(choices)
        ]
        found = verdict(said, "v")
        return found.keep, found.reason

    assert of("accept") == (True, "")
    assert of("accept", "rewrite", "quality") == (True, "")
    assert of("accept", "quality") == (False, "undecided")
    assert of("relevance", "quality") == (False, "rejected: quality")
    assert of("relevance", "relevance", "quality") == (False, "rejected: relevance")
    assert of() == (False, "not reviewed")
    assert verdict([Decision("r", "old", "a", "accept")], "v").reason == "not reviewed"


def test_the_last_decision_counts_and_can_be_taken_back(run: Run) -> None:
    for choice in ("quality", "withdrawn", "accept", "relevance"):
        decide(run, "text/a", "Ada", choice)
    decide(run, "text/b", "Ada", "quality")
    decide(run, "text/b", "Ada", "withdrawn")
    latest = Log.read(run.log).latest()
    assert latest["text/a"]["Ada"].choice == "relevance"
    assert latest["text/b"] == {}
    assert len(run.log.read_text().splitlines()) == 6


def test_a_line_that_was_cut_off_costs_no_other(run: Run) -> None:
    decide(run, "text/a", "Ada", "accept")
    with open(run.log, "a", encoding="utf-8") as file:
        file.write('{"record": "text/b", "rev')
    decide(run, "text/c", "Ada", "accept")
    log = Log.read(run.log)
    assert log.broken == [2]
    assert [decision.record for decision in log.decisions] == ["text/a", "text/c"]


def test_a_round_leaves_or_stays_in_both_tasks(run: Run) -> None:
    accept_all(run)
    decide(run, "merged/a", "Ada", "quality")
    decide(run, "reference-text/b", "Ada", "relevance")
    kept, dropped = final(run)
    assert dropped == {
        "merged/a": "rejected: quality",
        "reference-image/a": "its final round is left out",
        "reference-text/b": "rejected: relevance",
        "two-round/b": "its final round is left out",
    }
    rounds = {t: sorted(r["round"] for r in kept.values() if r["task"] == t) for t in "im"}
    assert rounds["i"] == rounds["m"]
    assert all(record["split"] == "test" for record in kept.values())


def test_a_rewritten_request_is_rewritten_in_both_tasks(run: Run) -> None:
    accept_all(run)
    accept_all(run, "Grace")
    decide(run, "merged/a", "Ada", "rewrite", ("U1", "A1", "U2", "at night"))
    kept, _ = final(run)
    assert text_parts(kept["merged/a"]) == ["U1", "A1", "U2", "at night"]
    assert text_parts(kept["reference-image/a"]) == ["at night"]
    assert text_parts(kept["text/a"]) == ["u1", "a1", "u2"]
    decide(run, "reference-image/a", "Grace", "rewrite", ("by day",))
    kept, _ = final(run)  # made anew, since the log has grown
    assert text_parts(kept["merged/a"]) == ["U1", "A1", "U2", "by day"]
    assert text_parts(kept["reference-image/a"]) == ["by day"]
    assert [r["id"] for r in run.records() if r["split"] == "train"] == [
        f"{kind}/e" for kind in ("text", "reference-image", "merged", "reference-text", "two-round")
    ]


def test_a_rewrite_has_as_many_texts_as_the_record(run: Run) -> None:
    record = records_of(run)["merged/a"]
    with pytest.raises(ValueError, match="has 4 texts; got 1"):
        with_texts(record, ["x"])
    with pytest.raises(ValueError, match="1 are empty"):
        with_texts(record, ["x", "y", " ", "z"])
    with pytest.raises(ValueError, match="new texts"):
        Decision("r", "v", "Ada", "rewrite")


def test_agreement_of_a_log(run: Run) -> None:
    accept_all(run, "Ada")
    accept_all(run, "Grace")
    decide(run, "text/a", "Grace", "quality")
    decide(run, "text/b", "Grace", "quality")
    decide(run, "text/b", "Ada", "quality")
    found = agreement(Log.read(run.log).latest())
    # 20 records: 18 keep/keep, 1 keep/quality, 1 quality/quality.
    expected = (19 * 18 + 1 * 2) / 400
    kappa = (19 / 20 - expected) / (1 - expected)
    assert found["pairs"] == [
        {
            "reviewers": ["Ada", "Grace"],
            "records": 20,
            "same": 0.95,
            "cohen_kappa": round(kappa, 4),
        }
    ]
    assert found["fleiss"]["raters"] == 2
    assert found["fleiss"]["records"] == 20
    assert found["reviewers"]["Grace"] == {"keep": 18, "quality": 2}


def test_the_page_hands_out_records_and_writes_decisions_down(run: Run) -> None:
    async def main() -> None:
        review = Review(Records(run.stage("split")), Log.read(run.log), reviews=2)
        async with (
            serving(Pages(review).app()) as url,
            aiohttp.ClientSession() as session,
        ):

            async def get(path: str) -> Entry:
                async with session.get(url + path) as response:
                    assert response.status == 200, await response.text()
                    found: Entry = await response.json()
                    return found

            async def post(body: Entry, **headers: str) -> tuple[int, str]:
                async with session.post(f"{url}/decisions", json=body, headers=headers) as response:
                    return response.status, await response.text()

            seen: dict[str, list[str]] = {"Ada": [], "Grace": [], "Joan": []}
            for turn in range(60):
                reviewer = ("Ada", "Grace", "Joan")[turn % 3]
                view = await get(f"/next?reviewer={reviewer}")
                if view["id"] is None:
                    continue
                seen[reviewer].append(view["id"])
                body = {
                    "record": view["id"],
                    "version": view["version"],
                    "reviewer": reviewer,
                    "choice": "accept",
                }
                status, text = await post(body)
                assert status == 200, text
                assert json.loads(text)["decision"] == "accept"
            everything = [id for ids in seen.values() for id in ids]
            assert all(len(set(ids)) == len(ids) for ids in seen.values())
            assert sorted(everything) == sorted(2 * [i for i in records_of(run) if i[-1] != "e"])
            wrong = {**body, "version": "other"}
            assert (await post(wrong))[0] == 400
            assert (await post({**body, "record": "text/e"}))[0] == 404  # not in the test split
            assert (await post({**body, "reviewer": " "}))[0] == 400
            assert (await post({**body, "choice": "rewrite", "texts": ["", "x"]}))[0] == 400
            assert (await post(body, Origin="https://example.org"))[0] == 403
            async with session.post(f"{url}/decisions", data="{}") as response:
                assert response.status == 415
            for path in ("/", "/page.css", "/page.js"):
                async with session.get(url + path) as response:
                    assert response.status == 200
                    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
            async with session.get(f"{url}/picture?record=text/a&id=a") as response:
                assert response.status == 404  # this one has no pixels

    asyncio.run(main())
    assert len(Log.read(run.log).decisions) == 40


def test_records_of_a_source_are_shown_together_and_overlap_is_a_share(run: Run) -> None:
    review = Review(Records(run.stage("split")), Log.read(run.log), reviews=3, overlap=0.0)
    sources = [id.rpartition("/")[2] for id in review.order]
    assert sorted(sources) == sorted("abcd" * 5)
    assert sum(a != b for a, b in pairwise(sources)) == 3
    assert set(review.wanted.values()) == {1}
