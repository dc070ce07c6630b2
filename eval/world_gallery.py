"""Contact sheets of the picture world, to look at: kinds, patterns, colours, settings, counts."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from PIL import Image

from chatsearcher.world.render import render
from chatsearcher.world.scene import PAIR_PLACES, Scene, Thing, sample_scene
from chatsearcher.world.vocabulary import COLOURS, COUNTS, KINDS, PATTERNS, SETTINGS, SIZES, TIMES


def sheet(pictures: list[Image.Image], columns: int, zoom: int = 1) -> Image.Image:
    """Pictures of one size in rows."""
    side = pictures[0].width * zoom
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * (side + 2), rows * (side + 2)), (255, 255, 255))
    for i, picture in enumerate(pictures):
        shown = picture.resize((side, side), Image.Resampling.NEAREST)
        page.paste(shown, (i % columns * (side + 2), i // columns * (side + 2)))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--zoom", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    kinds = list(KINDS)
    rng = random.Random(0)

    def one(setting: str, time: str, *things: Thing) -> Image.Image:
        return render(Scene(setting, time, things), args.size, rng.randrange(1000))

    pages = {
        "kinds": (8, [
            one(SETTINGS[i % 10], TIMES[i % 2],
                Thing(kind, COLOURS[i % 8], "plain", "big", 1, "left"),
                Thing(kinds[i - 1], COLOURS[(i + 3) % 8], "plain", "small", 2, "right"))
            for i, kind in enumerate(kinds)
        ]),
        "patterns": (8, [
            one("meadow", "day" if size == "big" else "night",
                Thing(kind, COLOURS[i % 8], pattern, size, 2, "middle"))
            for size in SIZES for pattern in PATTERNS for i, kind in enumerate(kinds[:: 4])
        ]),
        "colours": (8, [
            one("forest", time, Thing(kinds[(7 * i + j) % 32], colour, pattern, "big", 2, "middle"))
            for time in TIMES
            for j, pattern in enumerate(PATTERNS)
            for i, colour in enumerate(COLOURS)
        ]),
        "settings": (10, [one(s, t, Thing("cup", "white", "plain", "small", 1, "top"))
                          for t in TIMES for _ in range(2) for s in SETTINGS]),
        "counts": (8, [
            one("beach", "day", Thing("cow", "red", "plain", size, count, first),
                Thing("lamp", "blue", "striped", size, count, second))
            for size in SIZES for first, second in PAIR_PLACES for count in COUNTS
        ]),
        "random": (8, [render(sample_scene(rng), args.size, i) for i in range(48)]),
    }  # fmt: skip
    for name, (columns, pictures) in pages.items():
        sheet(pictures, columns, args.zoom).save(args.out / f"{name}.png")
        print(args.out / f"{name}.png")


if __name__ == "__main__":
    main()
