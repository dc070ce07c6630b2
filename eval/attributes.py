"""What a system sees: how often words fit their picture better than one with one change.

    python eval/attributes.py clip:runs/nano/tower/model:text --scenes 200

Held-out scenes (split ``val``), one complete caption each, one random change of each attribute of
each thing.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter

from chatsearcher.dialogue import Dialogue
from chatsearcher.retrievers import load_retriever
from chatsearcher.world.captions import caption
from chatsearcher.world.render import render
from chatsearcher.world.scene import Edit, sample_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("retriever")
    parser.add_argument("--scenes", type=int, default=150)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    system = load_retriever(arguments.retriever, arguments.device)
    rng = random.Random(arguments.seed)
    told_apart: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    above_all = 0
    for _ in range(arguments.scenes):
        scene = sample_scene(rng, "val")
        by_owner: dict[tuple[str, int], list[Edit]] = {}
        for edit in scene.edits():
            by_owner.setdefault((edit.attribute, edit.thing), []).append(edit)
        edits = [rng.choice(choices) for choices in by_owner.values()]
        scenes = [scene, *(scene.apply(edit) for edit in edits)]
        pictures = system.encode_images([render(each, 96, at) for at, each in enumerate(scenes)])
        query = system.encode_queries([Dialogue().user(caption(scene, rng, complete=1.0))])[0]
        own, *others = (pictures @ query).tolist()
        above_all += all(own > other for other in others)
        for edit, other in zip(edits, others, strict=True):
            asked[edit.attribute] += 1
            told_apart[edit.attribute] += own > other
    for attribute in sorted(asked, key=lambda name: told_apart[name] / asked[name]):
        share = told_apart[attribute] / asked[attribute]
        print(f"{attribute:8} {share:6.1%} of {asked[attribute]} pairs")
    print(f"above all of its changes: {above_all / arguments.scenes:.1%} of {arguments.scenes}")


if __name__ == "__main__":
    main()
