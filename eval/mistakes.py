"""Which look-alikes a system puts above the target: by the attribute in which they differ.

    python eval/mistakes.py nano world-t-val world-i-val world-m-val
    python eval/mistakes.py nano world-t-val --bare    # not a word before its [IMG]

For each attribute: the share of pairs (target, neighbour) told apart, and the share of queries in
which a neighbour of that sort stands above the target or level with it. Look at the validation
sets (``-val``); the others are for the final figures.
"""

from __future__ import annotations

import argparse
from collections import Counter

from chatsearcher.benchmarks.single_query import GalleryVectors, encode_dialogues
from chatsearcher.benchmarks.world import WorldBenchmark, load_picture
from chatsearcher.retrievers import load_retriever
from chatsearcher.world.pictures import parse
from chatsearcher.world.scene import Scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("retriever")
    parser.add_argument("sets", nargs="+", help="names such as world-t-val")
    parser.add_argument("--bare", action="store_true", help="queries without words before [IMG]")
    parser.add_argument("--device")
    arguments = parser.parse_args()
    system = load_retriever(arguments.retriever, arguments.device)
    if arguments.bare:
        if not getattr(system, "reformulates", False):
            parser.error(f"{arguments.retriever} says nothing before its pictures as it is")
        system.reformulates = False
    vectors = GalleryVectors()
    for name in arguments.sets:
        queries = WorldBenchmark(name).queries()
        names = queries.gallery
        pictures = dict(zip(names, vectors.get(system, names, load_picture), strict=True))
        asked = encode_dialogues(
            system, [query.dialogue for query in queries.queries], load_picture
        )
        pairs: Counter[str] = Counter()
        missed: Counter[str] = Counter()
        spoilt: Counter[str] = Counter()
        above_all = 0
        for query, vector in zip(queries.queries, asked, strict=True):
            target, own = parse(query.target)[0], pictures[query.target] @ vector
            wrong = set()
            for neighbour in query.neighbours:
                attribute = difference(target, parse(neighbour)[0])
                pairs[attribute] += 1
                if pictures[neighbour] @ vector >= own:
                    missed[attribute] += 1
                    wrong.add(attribute)
            spoilt.update(wrong)
            above_all += not wrong
        count = len(queries.queries)
        print(f"{name}: above all neighbours {above_all / count:.1%} of {count} queries")
        for attribute in sorted(pairs, key=lambda each: -spoilt[each]):
            told_apart = 1 - missed[attribute] / pairs[attribute]
            print(
                f"  {attribute:8} {told_apart:6.1%} of {pairs[attribute]} pairs; "
                f"above the target in {spoilt[attribute] / count:.1%} of queries"
            )


def difference(target: Scene, other: Scene) -> str:
    """The attribute of the one edit that makes ``other`` of ``target``.

    Raises:
        ValueError: no single edit does.
    """
    for edit in target.edits():
        if target.apply(edit) == other:
            return edit.attribute
    raise ValueError(f"{other.key} does not differ from {target.key} in exactly one attribute")


if __name__ == "__main__":
    main()
