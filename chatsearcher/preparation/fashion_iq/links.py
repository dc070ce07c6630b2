"""The pictures of Fashion IQ that are missing, as a list that img2dataset downloads.

    asin2url.{dress,shirt,toptee}.txt    asin, address a line (hongwang600/fashion-iq-metadata)

Nothing is fetched here. Of every picture of the lists it is said whether it is there; those that
are not get a row for their published address and one for each mirror, in that order.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from chatsearcher.preparation.convert import file_sha256
from chatsearcher.preparation.fashion_iq.layout import IMAGES, picture_names
from chatsearcher.preparation.fashion_iq.products import read_image_lists
from chatsearcher.preparation.lines import find_files, read_lines
from chatsearcher.preparation.pictures import Pictures

MIRRORS = (
    "hongwang600/fashion-iq-metadata on GitHub: the authors' list of addresses, some known as dead",
    "XiaoxiaoGuo/fashion-iq on GitHub, issue 18: archives that users keep",
    "Plachta/FashionIQ on the Hugging Face hub: a user's copy",
)
"""Where people say that they find the pictures (public copies hold about 74,381 of the 77,683)."""


class Links:
    """``chatsearcher prepare fashion-iq-links``"""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--source", required=True, type=Path, metavar="FOLDER", help="with image_splits/"
        )
        parser.add_argument(
            "--links", required=True, type=Path, metavar="FOLDER", help="of asin2url.….txt"
        )
        parser.add_argument(
            "--pictures",
            action="append",
            default=[],
            type=Path,
            metavar="PATH",
            help="pictures that are there: folders, or folders of shards",
        )
        parser.add_argument(
            "--mirror",
            action="append",
            default=[],
            metavar="ADDRESS",
            help="with {asin} in it, for instance https://example.org/{asin}.jpg",
        )
        parser.add_argument("--out", required=True, type=Path, metavar="FILE.csv")

    def run(self, arguments: argparse.Namespace) -> int:
        for mirror in arguments.mirror:
            if "{asin}" not in mirror:
                raise ValueError(f"--mirror {mirror}: expected {{asin}} in it")
        lists = read_image_lists(arguments.source)
        addresses = read_links(arguments.links)
        index = arguments.out.with_name(f".{arguments.out.name}.sqlite")
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        pictures = Pictures(arguments.pictures, index)
        for _ in pictures.index():
            pass
        listed = absent = without = 0
        print("fashion-iq-links:")
        with open(arguments.out, "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("url", "asin"))
            for (category, split), ids in sorted(lists.items()):
                missing = [asin for asin in ids if not pictures.has(*picture_names(asin))]
                bare = 0
                for asin in missing:
                    known = [addresses[asin]] if asin in addresses else []
                    bare += not known
                    mirrored = [each.replace("{asin}", asin) for each in arguments.mirror]
                    rows.writerows((url, asin) for url in (*known, *mirrored))
                published = IMAGES.get((category, split), len(ids))
                verdict = "" if published == len(ids) else f" (DIFFERS: published {published:,})"
                print(
                    f"  {category} {split}: {len(ids):,} pictures{verdict}, {len(missing):,} "
                    f"missing, {bare:,} of those without an address"
                )
                listed, absent, without = listed + len(ids), absent + len(missing), without + bare
        pictures.remove_index()
        print(f"  all: {listed:,} pictures, {absent:,} missing, {without:,} without an address")
        print(f"  sha256 {file_sha256(arguments.out)}  {arguments.out.name}")
        if absent:
            print("where people find them:", *MIRRORS, sep="\n  ", file=sys.stderr)
        return 0


def read_links(folder: Path) -> dict[str, str]:
    """asin -> its published address.

    Raises:
        ValueError: a line that is not an asin and an address.
    """
    addresses: dict[str, str] = {}
    for line in read_lines(find_files(folder, "asin2url.*.txt")):
        fields = (line.data or b"").decode("utf-8", errors="replace").split()
        if len(fields) != 2 or "://" not in fields[1]:
            raise ValueError(f"{line.where}: expected an asin and an address")
        addresses.setdefault(fields[0], fields[1])
    return addresses


PREPARATION = Links()
