"""What all converters' commands have: where from, where to, how large, and the printed report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatsearcher.preparation.convert import Converter, Settings, convert
from chatsearcher.preparation.pictures import Pictures


def _nothing(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


@dataclass(frozen=True)
class SetCommand:
    """``chatsearcher prepare NAME --source … --out …`` for one set.

    Attributes:
        source: what ``--source`` is, for the help.
        build: parsed arguments -> the converter.
        configure: adds the set's own arguments.
        own: the names of those that change what is written.
        pictures: whether the set has picture files; where they are may be said apart.
    """

    source: str
    build: Callable[[argparse.Namespace], Converter]
    configure: Callable[[argparse.ArgumentParser], None] = _nothing
    own: tuple[str, ...] = ()
    pictures: bool = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--source", required=True, type=Path, metavar="PATH", help=self.source)
        parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
        if self.pictures:
            parser.add_argument(
                "--pictures",
                action="append",
                type=Path,
                metavar="PATH",
                help="a folder of pictures or of image shards; may be given several times "
                "(default: the source)",
            )
        parser.add_argument(
            "--max-side",
            type=int,
            default=0,
            metavar="PIXELS",
            help="make larger pictures smaller, as JPEG (default: files stay as they are)",
        )
        parser.add_argument("--records-per-shard", type=int, default=1000, metavar="N")
        parser.add_argument(
            "--limit", type=int, default=0, metavar="N", help="first N entries only"
        )
        parser.add_argument("--take", type=int, default=0, metavar="N", help="first N records only")
        parser.add_argument("--json", action="store_true", help="print the manifest")
        parser.add_argument(
            "--strict", action="store_true", help="fail where counts are not the published ones"
        )
        self.configure(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        from tqdm import tqdm

        if arguments.records_per_shard < 1:
            raise ValueError(
                f"--records-per-shard {arguments.records_per_shard}: expected 1 or more"
            )
        converter = self.build(arguments)
        own: dict[str, Any] = {name: _plain(getattr(arguments, name)) for name in self.own}
        settings = Settings(
            arguments.records_per_shard, arguments.max_side, arguments.limit, arguments.take, own
        )
        places: list[Path] = []
        if self.pictures:
            source = arguments.source
            places = arguments.pictures or [source if source.is_dir() else source.parent]
        with tqdm(unit=" entries", desc=converter.name, dynamic_ncols=True, disable=None) as bar:

            def progress(done: int) -> None:
                bar.update(done - bar.n)

            report = convert(
                converter,
                arguments.out,
                lambda index: Pictures(places, index, arguments.max_side),
                settings,
                progress,
            )
        if report.finished_before:
            print(
                f"{arguments.out} was finished before; nothing was done (remove it to begin anew)",
                file=sys.stderr,
            )
        if arguments.json:
            print(json.dumps(report.manifest))
        else:
            print("\n".join(report.lines()))
        if not report.manifest["records"]:
            where = "" if not self.pictures else "; are the pictures where --pictures says?"
            print(f"{converter.name}: not one record could be made{where}", file=sys.stderr)
            return 1
        if report.differences:
            print(
                f"{converter.name}: not as published: {', '.join(report.differences)}",
                file=sys.stderr,
            )
            return int(arguments.strict)
        return 0


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
