"""``chatsearcher index PICTURES --out GALLERY``"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "index",
        help="make a gallery of pictures, or bring one up to date",
        description="Make a gallery of pictures, or bring one up to date: new and changed "
        "pictures are encoded, those whose files are gone are removed, byte-identical copies are "
        "noted only. Stopped or killed, the same command goes on where it was.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="PICTURES",
        help="folders, WebDataset shards (.tar), or world:SPLIT:COUNT[:SEED]",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="GALLERY", help="its folder")
    parser.add_argument("--retriever", metavar="NAME", help="default: the gallery's own, or nano")
    parser.add_argument("--device", help="cuda, mps or cpu; default: the best one here")
    parser.add_argument("--batch-size", type=_positive, default=64, metavar="N")
    parser.add_argument("--workers", type=_positive, metavar="N", help="threads that decode")
    parser.add_argument("--limit", type=_positive, metavar="N", help="the first N pictures only")
    parser.add_argument(
        "--keep-missing", action="store_true", help="keep pictures whose files are gone"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from chatsearcher.gallery import Manifest
    from chatsearcher.indexing import build_gallery
    from chatsearcher.retrievers import load_retriever

    name = arguments.retriever
    if name is None and (arguments.out / "manifest.json").exists():
        name = Manifest.load(arguments.out).retriever
    name = name or "nano"
    retriever = load_retriever(name, arguments.device)
    with tqdm(unit=" pictures", desc="index", dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            if bar.n == 0 and done > 0:
                bar.initial = done  # there before: not part of the speed
            bar.update(done - bar.n)

        report = build_gallery(
            arguments.sources,
            arguments.out,
            retriever,
            name=name,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            limit=arguments.limit,
            keep_missing=arguments.keep_missing,
            progress=progress,
        )
    print(
        f"{arguments.out}: {report.total} pictures "
        f"({report.added} added, {report.unchanged} unchanged, {report.removed} removed, "
        f"{report.copies} byte-identical copies noted) in {report.seconds:.1f} s"
    )
    if report.others:
        print(f"{report.others} other files passed over (not named like pictures)")
    if report.failures:
        print(f"{len(report.failures)} could not be read ({arguments.out / 'failures.jsonl'}):")
        for failure in report.failures:
            print(f"  {failure.source}: {failure.reason}")
    if report.interrupted:
        print("stopped; what is counted above is kept. Run the same command again to go on.")
        return 130
    return 0


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1 on")
    return int(text)
