"""Stage ``final``: the test set that the reviewers leave.

A record of i and the record of m with the same final round stay together: where one is left out,
so is the other, and a final request that was rewritten is rewritten in both (the later rewrite
counts).
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence

from chatsearcher.preparation.chatsearch.layout import Entry, StageFolder
from chatsearcher.preparation.chatsearch.review.log import (
    Decision,
    Log,
    Verdict,
    record_version,
    text_parts,
    verdict,
    with_texts,
)
from chatsearcher.preparation.chatsearch.stage import Result, run_stage

TEST = "test"


def test_records(split: StageFolder) -> Iterator[Entry]:
    """What is reviewed."""
    return (record for record in split.records() if record["split"] == TEST)


test_records.__test__ = False  # type: ignore[attr-defined]


class Judgement:
    """The verdicts on all records of the test split."""

    def __init__(self, records: Iterable[Entry], log: Log) -> None:
        latest = log.latest()
        order = {id(decision): place for place, decision in enumerate(log.decisions)}
        self.verdicts: dict[str, Verdict] = {}
        self.partners: dict[str, str] = {}
        self.requests: dict[str, tuple[int, str]] = {}
        rounds: dict[str, list[str]] = {}
        for record in records:
            said = list(latest.get(record["id"], {}).values())
            self.verdicts[record["id"]] = verdict(said, record_version(record))
            if record["round"] is None:
                continue
            rounds.setdefault(record["round"], []).append(record["id"])
            self._note_request(record, said, order)
        for ids in rounds.values():
            if len(ids) == 2:
                self.partners |= {ids[0]: ids[1], ids[1]: ids[0]}

    def _note_request(self, record: Entry, said: Sequence[Decision], order: dict[int, int]) -> None:
        """Remember the last rewrite of the final request of this round, where it changed."""
        texts = self.verdicts[record["id"]].texts
        if not texts or texts[-1] == text_parts(record)[-1]:
            return
        place = max(order[id(each)] for each in said if each.texts == texts)
        if place >= self.requests.get(record["round"], (-1, ""))[0]:
            self.requests[record["round"]] = (place, texts[-1])

    def result(self, record: Entry) -> Result:
        """The record as it goes into the final set, or why it does not."""
        mine = self.verdicts[record["id"]]
        if not mine.keep:
            return Result.drop(record["id"], mine.reason, detail=mine.detail)
        partner = self.partners.get(record["id"])
        if partner is not None and not (theirs := self.verdicts[partner]).keep:
            return Result.drop(
                record["id"], "its final round is left out", partner=partner, why=theirs.reason
            )
        texts = list(mine.texts or text_parts(record))
        if record["round"] in self.requests:
            texts[-1] = self.requests[record["round"]][1]
        if texts == text_parts(record):
            return Result.keep(record)
        return Result.keep({**with_texts(record, texts), "rewritten": True})


def make_final(split: StageFolder, final: StageFolder, log: Log) -> Entry:
    """Build the final test set; anew where the log has grown since.

    Raises:
        FileNotFoundError: nothing was reviewed.
    """
    made_of = split.need()["sha256"]
    if not log.path.exists():
        raise FileNotFoundError(
            f"no decisions in {log.path}; run `chatsearcher prepare chatsearch review` first"
        )
    settings = {
        "input": made_of,
        "log": hashlib.sha256(log.path.read_bytes()).hexdigest(),
    }
    try:
        final.begin({**settings, "part": 1000})
    except ValueError:
        shutil.rmtree(final.path)  # derived from the log alone
    judgement = Judgement(test_records(split), log)

    async def work(entries: Sequence[Entry]) -> list[Result]:
        return [judgement.result(entry) for entry in entries]

    return asyncio.run(run_stage(final, settings, test_records(split), work))
