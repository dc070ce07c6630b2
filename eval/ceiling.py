"""What a tower allows: how often the best linear keys put a picture above all of its look-alikes.

    python eval/ceiling.py clip:runs/nano/tower/model --pictures 12000 --targets 300

The keys are fitted by least squares from the tower's features to the right answers of
``chatsearcher.world.choices`` (split ``train``), the queries are the right answers themselves, read
from the graph: no words, no language model. Each held-out target (split ``val``) stands among 12
pictures with one random change each. A whole system on this tower with linear keys, as M_Q is,
is unlikely to do better; where it does worse, its queries or its keys are to blame.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

import numpy as np

from chatsearcher.retrievers import load_retriever
from chatsearcher.world.choices import QUESTIONS, right_answers
from chatsearcher.world.render import render
from chatsearcher.world.scene import Edit, Scene, sample_scene

NEIGHBOURS = 12
SIZE = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("retriever", help="an encoder of pictures: clip:FOLDER")
    parser.add_argument("--pictures", type=int, default=12_000, help="to fit the keys on")
    parser.add_argument("--targets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    system = load_retriever(arguments.retriever, arguments.device)
    rng = random.Random(arguments.seed)

    def features(scenes: Sequence[Scene]) -> np.ndarray:
        parts = []
        for start in range(0, len(scenes), 256):
            drawn = [render(s, SIZE, rng.randrange(1_000_000)) for s in scenes[start : start + 256]]
            parts.append(system.encode_images(drawn))
        return np.concatenate(parts).astype(np.float64)

    known = [sample_scene(rng, "train") for _ in range(arguments.pictures)]
    matrix, centre, mean, spread = fit(features(known), codes(known))
    targets = [sample_scene(rng, "val") for _ in range(arguments.targets)]
    changes = [look_alikes(target, rng) for target in targets]
    groups = [
        [target, *(target.apply(edit) for edit in edits)]
        for target, edits in zip(targets, changes, strict=True)
    ]
    keys = (features([scene for group in groups for scene in group]) - centre) @ matrix
    keys = keys.reshape(len(groups), 1 + NEIGHBOURS, -1)
    away = keys - (codes(targets) - mean)[:, None]
    for name, metric in (("as they are", np.eye(len(spread))), ("by what errs", inverse(spread))):
        distances = np.einsum("tka,ab,tkb->tk", away, metric, away)
        above = distances[:, :1] < distances[:, 1:]
        print(
            f"keys {name}: above all {above.all(1).mean():.1%} of {len(groups)}; "
            + shares(above, changes)
        )


def codes(scenes: Sequence[Scene]) -> np.ndarray:
    """One of each question's answers, 0 throughout where it is not asked: [n, A]."""
    starts = np.cumsum([0, *(len(question.answers) for question in QUESTIONS)])
    found = np.zeros((len(scenes), starts[-1]))
    for row, scene in enumerate(scenes):
        for start, answer in zip(starts, right_answers(scene), strict=False):
            if answer >= 0:
                found[row, start + answer] = 1
    return found


def fit(features: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Least squares: the matrix, both means, and the covariance of what is left."""
    centre, mean = features.mean(0), wanted.mean(0)
    x, y = features - centre, wanted - mean
    scale = np.mean(x**2)
    ridge = 1e-3 * len(x) * scale * np.eye(x.shape[1])
    matrix = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    left = y - x @ matrix
    return matrix, centre, mean, left.T @ left / len(x)


def inverse(spread: np.ndarray) -> np.ndarray:
    """Of a covariance, kept away from 0."""
    return np.linalg.inv(spread + 1e-3 * np.eye(len(spread)))


def look_alikes(scene: Scene, rng: random.Random) -> list[Edit]:
    """Single changes, all different, each of an attribute drawn at random."""
    by_attribute: dict[str, list[Edit]] = {}
    for edit in scene.edits():
        by_attribute.setdefault(edit.attribute, []).append(edit)
    found: list[Edit] = []
    while len(found) < NEIGHBOURS:
        edit = rng.choice(by_attribute[rng.choice(sorted(by_attribute))])
        if edit not in found:
            found.append(edit)
    return found


def shares(above: np.ndarray, changes: Sequence[Sequence[Edit]]) -> str:
    """For each attribute, how often the target lies nearer than a change of it."""
    by_attribute: dict[str, list[bool]] = {}
    for row, edits in zip(above, changes, strict=True):
        for nearer, edit in zip(row, edits, strict=True):
            by_attribute.setdefault(edit.attribute, []).append(bool(nearer))
    return ", ".join(f"{name} {np.mean(hits):.1%}" for name, hits in sorted(by_attribute.items()))


if __name__ == "__main__":
    main()
