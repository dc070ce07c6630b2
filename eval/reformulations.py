"""What a system says it looks for, read as a scene: how often it is right, by attribute.

    python eval/reformulations.py nano world-t-val world-i-val world-m-val

The words that stand before a picture decide what is found. "Right" counts queries whose words tell
the target and nothing else; then the attributes that are told wrongly, in percent of the queries
(of two things, either may be wrong). Look at the validation sets (``-val``).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from chatsearcher.benchmarks.single_query import with_pixels
from chatsearcher.benchmarks.world import WorldBenchmark, load_picture
from chatsearcher.retrievers import load_retriever
from chatsearcher.world.pictures import parse
from chatsearcher.world.reformulation import read_reformulation
from chatsearcher.world.scene import LOOKS, Scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("retriever")
    parser.add_argument("sets", nargs="+", help="names such as world-t-val")
    parser.add_argument("--show", type=int, default=0, help="print so many wrong ones of each set")
    parser.add_argument("--device")
    arguments = parser.parse_args()
    system = load_retriever(arguments.retriever, arguments.device)
    if not getattr(system, "reformulates", False):
        parser.error(f"{arguments.retriever} does not say what it looks for before it shows it")
    for name in arguments.sets:
        queries = WorldBenchmark(name).queries().queries
        said = system.reformulate([with_pixels(each.dialogue, load_picture) for each in queries])
        targets = [parse(each.target)[0] for each in queries]
        found = [read_reformulation(words) for words in said]
        print(f"{name}: {summary(targets, found)}")
        wrong = [row for row, scene in enumerate(found) if scene != targets[row]]
        for row in wrong[: arguments.show]:
            print(f"  {targets[row].key}\n  {said[row]}")


def summary(targets: Sequence[Scene], found: Sequence[Scene | None]) -> str:
    """The share of right ones, and the attributes told wrongly, the worst first."""
    count = len(targets)
    right = sum(target == scene for target, scene in zip(targets, found, strict=True))
    wrong: Counter[str] = Counter()
    for target, scene in zip(targets, found, strict=True):
        wrong.update(mistakes(target, scene))
    shares = ", ".join(f"{name} {n / count:.1%}" for name, n in wrong.most_common())
    return f"right {right / count:.1%} of {count}; wrong: {shares or 'nothing'}"


def mistakes(target: Scene, scene: Scene | None) -> set[str]:
    """The attributes in which the scene differs from the target."""
    if scene is None:
        return {"not a whole scene"}
    for edit in target.edits():  # also two things that have changed places
        if target.apply(edit) == scene:
            return {edit.attribute}
    found = {name for name in ("setting", "time") if getattr(scene, name) != getattr(target, name)}
    if len(scene.things) != len(target.things):
        return found | {"number of things"}
    for ours, theirs in zip(scene.things, target.things, strict=True):
        found |= {
            name for name in (*LOOKS, "place") if getattr(ours, name) != getattr(theirs, name)
        }
    return found


if __name__ == "__main__":
    main()
