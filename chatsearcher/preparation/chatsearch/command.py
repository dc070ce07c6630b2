"""``chatsearcher prepare chatsearch STEP --run FOLDER …``"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatsearcher.foundation.cache import Price
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.options import add_options, settle
from chatsearcher.preparation.chatsearch.run import STAGES, Run

AUTOMATIC = STAGES[:-1]
OTHERS = {
    "all": "every automatic stage, then statistics and samples",
    "status": "what is done, and what was left out why",
    "review": "the page on which people review the test split",
    "agreement": "how far reviewers agree",
    "final": "the test set that the reviewers leave",
    "statistics": "the paper's table 1 of this run",
    "samples": "a page of samples with pictures",
    "export": "Parquet with a card, and training records",
    "rehearse": "a server of rules in place of a language model, which fails on purpose",
}


class _Command:
    """The preparation ``chatsearch``."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        steps = "\n".join(f"  {name:<12}{help}" for name, help in OTHERS.items())
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = (
            f"automatic stages, in order: {', '.join(AUTOMATIC)}\nothers:\n{steps}\n\n"
            "Stopped or killed, the same command goes on where it was. docs/chatsearch-data.md "
            "tells what each stage reads and writes."
        )
        parser.add_argument("step", choices=(*AUTOMATIC, *OTHERS), metavar="STEP")
        parser.add_argument("--run", type=Path, metavar="FOLDER", dest="folder")
        parser.add_argument("--again", action="store_true", help="make the stage anew")
        add_options(parser)
        _add_means(parser)
        _add_pages(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        if arguments.step == "rehearse":
            return _rehearse(arguments)
        if arguments.folder is None:
            raise ValueError(f"{arguments.step} needs --run FOLDER, where everything is kept")
        run = Run(arguments.folder)
        if arguments.step == "status":
            return _status(run, arguments.json)
        if arguments.step in ("review", "agreement"):
            return _PAGES[arguments.step](run, arguments)
        with _alone(run.path):
            if arguments.step in _PAGES:
                return _PAGES[arguments.step](run, arguments)
            return _make(run, arguments)


PREPARATION = _Command()


def _add_means(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how to go about it (changes no output)").add_argument
    add("--concurrency", type=int, default=64, metavar="N", help="calls in flight")
    add("--calls-per-minute", type=float, default=0, metavar="N")
    add("--tokens-per-minute", type=float, default=0, metavar="N")
    add("--timeout", type=float, default=60.0, metavar="SECONDS", help="of one call")
    add("--tries", type=int, default=8, metavar="N", help="of a call that fails")
    add("--key", default="OPENAI_API_KEY", metavar="VARIABLE", help="that holds the key")
    add("--price", type=_price, metavar="IN:OUT", help="of a million tokens; kept")
    add("--device", help="cuda, mps or cpu")


def _add_pages(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("pages, export, rehearsal").add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8070, help="0 takes a free one")
    add("--reviews", type=int, default=2, metavar="N", help="people who look at a record")
    add("--overlap", type=float, default=1.0, metavar="X", help="share of records so many look at")
    add("--samples", type=int, default=12, metavar="N", help="of each task")
    add("--split", default="test", choices=("train", "val", "test"), help="of the samples")
    add("--out", type=Path, metavar="PATH", help="of the export or the page of samples")
    add("--side", type=int, default=512, metavar="PIXELS", help="of exported pictures")
    add("--no-pixels", action="store_true", help="export ids and addresses only")
    add("--writer", nargs="+", default=["world", "plain"], help="rules that answer")
    add("--delay", type=float, default=0.0, metavar="SECONDS", help="before each answer")
    add("--failures", type=float, default=0.0, metavar="SHARE", help="of calls that fail")
    add("--json", action="store_true", help="print JSON")


def _price(text: str) -> Price:
    try:
        asked, answered = (float(number) for number in text.split(":"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}; expected IN:OUT, e.g. 2.5:10") from error
    return Price(asked, answered)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time works on a run."""
    from chatsearcher.gallery.layout import writer_lock

    folder.mkdir(parents=True, exist_ok=True)
    with writer_lock(folder):
        yield


def _make(run: Run, arguments: argparse.Namespace) -> int:
    from chatsearcher.preparation.chatsearch.steps import Means, discard, run_step

    settings = settle(run, arguments)
    endpoint = {
        "concurrency": arguments.concurrency,
        "calls_per_minute": arguments.calls_per_minute,
        "tokens_per_minute": arguments.tokens_per_minute,
        "timeout": arguments.timeout,
        "tries": arguments.tries,
        "key_variable": arguments.key,
    }
    means = Means(endpoint, arguments.device, arguments.price)
    names = AUTOMATIC if arguments.step == "all" else (arguments.step,)
    for name in names:
        if arguments.again:
            discard(run, name)
        with _bar(name) as progress:
            summary = run_step(run, name, settings, means, progress)
        _tell(name, summary)
    usage = run.path / "usage.json"
    if usage.exists() and {"text", "modifications", "rounds"} & set(names):
        _tell_usage(json.loads(usage.read_text(encoding="utf-8")))
    if arguments.step == "all":
        return _statistics(run, arguments) or _samples(run, arguments)
    return 0


@contextmanager
def _bar(name: str) -> Iterator[Callable[[str, int, int], None]]:
    from tqdm import tqdm

    with tqdm(unit=" inputs", desc=name, dynamic_ncols=True, disable=None, leave=False) as bar:

        def progress(stage: str, done: int, total: int) -> None:
            bar.total = total or None
            if bar.n == 0 and done > 0:
                bar.initial = done  # there before: not part of the speed
            bar.update(done - bar.n)

        yield progress


def _tell(name: str, summary: Entry) -> None:
    print(f"{name}: {summary['inputs']:,} in, {summary['records']:,} records", flush=True)
    for reason, count in summary["rejects"].items():
        print(f"  left out, {reason}: {count:,}", flush=True)


def _tell_usage(usage: Entry) -> None:
    used = usage["answers"].values()
    print(
        f"language model so far: {sum(each['answers'] for each in used):,} answers, "
        f"{sum(each['prompt_tokens'] for each in used):,} tokens in, "
        f"{sum(each['completion_tokens'] for each in used):,} out, "
        + (f"cost {usage['cost']:g}" if any(usage["price_per_million"]) else "no --price given")
    )
    for name, calls in usage["calls"].items():
        told = ", ".join(f"{what} {count:,}" for what, count in calls.items())
        print(f"  {name}: {told}")


def _status(run: Run, as_json: bool) -> int:
    found: dict[str, Any] = {}
    for name in STAGES:
        folder = run.stage(name)
        if (done := folder.done()) is not None:
            found[name] = {key: done[key] for key in ("inputs", "records", "rejects")}
        elif folder.path.exists():
            found[name] = {"parts so far": folder.parts()}
    if as_json:
        print(json.dumps(found))
        return 0
    for name in STAGES:
        about = found.get(name)
        if about is None:
            print(f"{name}: not begun")
        elif "records" in about:
            _tell(name, about)
        else:
            print(f"{name}: not complete, {about['parts so far']} parts")
    usage = run.path / "usage.json"
    if usage.exists():
        _tell_usage(json.loads(usage.read_text(encoding="utf-8")))
    return 0


def _review(run: Run, arguments: argparse.Namespace) -> int:
    from chatsearcher.preparation.chatsearch.review.log import Log
    from chatsearcher.preparation.chatsearch.review.server import Records, Review, serve

    log = Log.read(run.log)
    for number in log.broken:
        print(f"{run.log}, line {number}: not a decision; passed over", file=sys.stderr)
    review = Review(
        Records(run.stage("split")), log, arguments.reviews, arguments.overlap, arguments.seed or 0
    )
    asyncio.run(serve(review, arguments.host, arguments.port))
    return 0


def _agreement(run: Run, arguments: argparse.Namespace) -> int:
    from chatsearcher.preparation.chatsearch.review.agreement import agreement
    from chatsearcher.preparation.chatsearch.review.log import Log

    found = agreement(Log.read(run.log).latest())
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(f"{found['records']:,} records with a decision")
    for name, counts in found["reviewers"].items():
        print(f"  {name}: {', '.join(f'{what} {count}' for what, count in counts.items())}")
    for pair in found["pairs"]:
        print(
            f"  {' and '.join(pair['reviewers'])}: {pair['records']} records, the same on "
            f"{pair['same']:.1%}, Cohen's kappa {pair['cohen_kappa']}"
        )
    fleiss = found["fleiss"]
    print(
        f"Fleiss' kappa {fleiss['kappa']} ({fleiss['records']} records with {fleiss['raters']} "
        "reviewers)"
    )
    return 0


def _final(run: Run, arguments: argparse.Namespace) -> int:
    from chatsearcher.preparation.chatsearch.review.final import make_final
    from chatsearcher.preparation.chatsearch.review.log import Log

    _tell("final", make_final(run.stage("split"), run.stage("final"), Log.read(run.log)))
    return 0


def _statistics(run: Run, arguments: argparse.Namespace) -> int:
    from chatsearcher.preparation.chatsearch.statistics import statistics, table
    from chatsearcher.preparation.convert import write_json

    numbers = statistics(run.records())
    write_json(run.path / "statistics.json", numbers)
    if arguments.json:
        print(json.dumps(numbers))
        return 0
    for split in numbers:
        print(f"\n{split}\n\n{table(numbers[split])}")
    return 0


def _samples(run: Run, arguments: argparse.Namespace) -> int:
    from chatsearcher.preparation.chatsearch.samples import choose, samples_page
    from chatsearcher.preparation.chatsearch.statistics import statistics

    split = arguments.split
    chosen = choose(run.records(), arguments.samples, split)
    reviewed = "reviewed by people" if run.reviewed else "not reviewed by people yet"
    note = f"{arguments.samples} of each task at most, chosen by their names"
    if split == "test":
        note += f"; {reviewed}"
    page = samples_page(chosen, statistics(run.records()), split, f"{note}.")
    path = run.path / "samples.html" if arguments.step == "all" else None
    path = path or arguments.out or run.path / "samples.html"
    path.write_text(page, encoding="utf-8")
    print(f"\nsamples: {path}")
    return 0


def _export(run: Run, arguments: argparse.Namespace) -> int:
    from chatsearcher.preparation.chatsearch.export import export

    out = arguments.out or run.path / "export"
    manifest = export(
        run,
        out,
        settle(run, arguments),
        side=arguments.side,
        pixels=not arguments.no_pixels,
        progress=lambda name: print(f"export: {name}", file=sys.stderr, flush=True),
    )
    if arguments.json:
        print(json.dumps(manifest))
        return 0
    print(f"{out}: {len(manifest['files'])} files; open with load_dataset({str(out)!r}, 't')")
    for what, count in manifest["missing"].items():
        if count:
            print(f"  pictures missing, {what}: {count:,}")
    return 0


def _rehearse(arguments: argparse.Namespace) -> int:
    from chatsearcher.foundation.rehearsal.failures import Failures
    from chatsearcher.foundation.rehearsal.server import Rehearsal, serve

    share = arguments.failures
    failures = Failures(passing=share, spoilt=share, hopeless=share / 10, forbidden=share / 10)
    rehearsal = Rehearsal(arguments.writer, arguments.delay, failures)
    asyncio.run(serve(rehearsal, arguments.host, arguments.port))
    return 0


_PAGES: dict[str, Callable[[Run, argparse.Namespace], int]] = {
    "review": _review,
    "agreement": _agreement,
    "final": _final,
    "statistics": _statistics,
    "samples": _samples,
    "export": _export,
}
