"""``chatsearcher gallery info|remove|import|export …``"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "gallery", help="look into a gallery, remove from it, import and export"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    info = actions.add_parser("info", help="what a gallery holds")
    info.add_argument("gallery", type=Path)
    info.add_argument("--ids", action="store_true", help="print every id, and nothing else")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=run_info)

    remove = actions.add_parser(
        "remove",
        help="take pictures out",
        description="Take pictures out of a gallery, from the disk too. Indexing a folder where "
        "their files still lie takes them in again.",
    )
    remove.add_argument("gallery", type=Path)
    remove.add_argument("ids", nargs="+", metavar="ID", help="or - to read ids, one a line")
    remove.set_defaults(run=run_remove)

    take = actions.add_parser("import", help="make a gallery of vectors made elsewhere")
    take.add_argument(
        "--vectors",
        required=True,
        type=Path,
        metavar="FILE",
        help=".npy, .parquet, or a folder in clip-retrieval's layout",
    )
    take.add_argument("--ids", type=Path, metavar="FILE", help="an id a line, or JSONL with id")
    take.add_argument("--out", required=True, type=Path, metavar="GALLERY")
    take.add_argument("--fingerprint", metavar="TEXT", help="of the model that made the vectors")
    take.add_argument("--retriever", metavar="NAME", help="that model; gives the fingerprint")
    take.add_argument("--metric", choices=("cosine", "l2"))
    take.add_argument("--device", help="for --retriever")
    take.set_defaults(run=run_import)

    give = actions.add_parser("export", help="write ids, vectors and captions as open formats")
    give.add_argument("gallery", type=Path)
    give.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    give.add_argument("--format", choices=("parquet", "jsonl"), default="parquet")
    give.set_defaults(run=run_export)


def run_info(arguments: argparse.Namespace) -> int:
    from chatsearcher.gallery import Gallery

    gallery = Gallery.open(arguments.gallery)
    if arguments.ids:
        sys.stdout.writelines(f"{id}\n" for id in gallery.ids)
        return 0
    size = sum(file.stat().st_size for file in arguments.gallery.rglob("*") if file.is_file())
    facts = {
        "pictures": len(gallery),
        "copies": sum(len(gallery.copies(id)) for id in gallery.ids),
        "retriever": gallery.retriever,
        "fingerprint": gallery.fingerprint,
        "metric": gallery.metric,
        "dim": gallery.embedding_dim,
        "bytes": size,
    }
    if arguments.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name:<12} {value}")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    from chatsearcher.gallery import GalleryWriter

    ids = arguments.ids
    if ids == ["-"]:
        ids = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    with GalleryWriter.open(arguments.gallery) as writer:
        writer.remove(set(ids))
        writer.compact()
        left = sum(known.copy_of is None for known in writer.known.values())
    print(f"{arguments.gallery}: {len(set(ids))} removed, {left} pictures left")
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    from chatsearcher.gallery import import_gallery

    fingerprint, metric = arguments.fingerprint, arguments.metric
    if arguments.retriever and fingerprint is None:
        from chatsearcher.retrievers import load_retriever

        retriever = load_retriever(arguments.retriever, arguments.device)
        fingerprint, metric = retriever.fingerprint, metric or retriever.metric
    report = import_gallery(
        arguments.vectors,
        arguments.out,
        ids=arguments.ids,
        fingerprint=fingerprint,
        metric=metric,
        retriever=arguments.retriever,
    )
    print(f"{arguments.out}: {report.added} pictures imported")
    if report.failures:
        print(f"{len(report.failures)} rows left out:")
        for failure in report.failures:
            print(f"  {failure.source}: {failure.reason}")
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    from chatsearcher.gallery import Gallery, export_gallery

    gallery = Gallery.open(arguments.gallery)
    count = export_gallery(gallery, arguments.out, format=arguments.format)
    print(f"{arguments.out}: {count} pictures")
    return 0
