"""Pictures per second of the picture world on one core: cold (nothing drawn yet) and warm."""

from __future__ import annotations

import argparse
import random
import time

from chatsearcher.world.render import render
from chatsearcher.world.scene import sample_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=8000)
    parser.add_argument("--size", type=int, default=96)
    args = parser.parse_args()
    rng = random.Random(0)
    scenes = [sample_scene(rng) for _ in range(args.pictures)]
    for name in ("cold", "warm"):
        start = time.process_time()
        for seed, scene in enumerate(scenes):
            render(scene, args.size, seed)
        rate = len(scenes) / (time.process_time() - start)
        print(f"{name}: {rate:,.0f} pictures/s at {args.size} px ({len(scenes):,} random scenes)")


if __name__ == "__main__":
    main()
