"""Short illustrated narratives: a scene that changes from sentence to sentence."""

from __future__ import annotations

import random

from chatsearcher.world.captions import EVERYTHING, describe
from chatsearcher.world.lexicon import sentence
from chatsearcher.world.scene import Scene, Split, sample_scene

_OPENINGS = ("First we saw {x}", "It began with {x}", "Look at {x}", "We start with {x}")
_NEXT = ("Then came {x}", "Next we met {x}", "After that we found {x}", "Later we saw {x}")
_LAST = ("In the end we found {x}", "At last we saw {x}")


def story(split: Split, rng: random.Random) -> list[tuple[Scene, str]]:
    """Two to five (scene, sentence); two in three scenes grow out of the one before."""
    length = rng.randint(2, 5)
    scene = sample_scene(rng, split)
    told = []
    for index in range(length):
        if index:
            scene = _next_scene(scene, split, rng)
        lead = _OPENINGS if index == 0 else _LAST if index == length - 1 else _NEXT
        text = describe(scene, rng, EVERYTHING, lead=False)
        told.append((scene, sentence(rng.choice(lead).format(x=text))))
    return told


def _next_scene(scene: Scene, split: Split, rng: random.Random) -> Scene:
    if rng.random() < 0.33:
        return sample_scene(rng, split)
    edits = list(scene.edits())
    rng.shuffle(edits)
    for edit in edits:
        changed = scene.apply(edit)
        if changed.split == split:
            return changed
    return sample_scene(rng, split)
