"""The words of the picture world: what can stand in a scene, and what is known about it."""

from __future__ import annotations

KINDS: dict[str, str] = {
    # kind -> family
    "cat": "animal", "dog": "animal", "fish": "animal", "bird": "animal",
    "rabbit": "animal", "cow": "animal", "elephant": "animal", "butterfly": "animal",
    "apple": "food", "banana": "food", "pear": "food", "carrot": "food", "cake": "food",
    "car": "vehicle", "bus": "vehicle", "boat": "vehicle", "plane": "vehicle",
    "bicycle": "vehicle",
    "chair": "furniture", "lamp": "furniture",
    "shirt": "clothing", "hat": "clothing", "boot": "clothing",
    "cloud": "weather", "umbrella": "weather",
    "house": "building", "castle": "building", "tent": "building",
    "tree": "plant", "flower": "plant", "mushroom": "plant",
    "cup": "tableware",
}  # fmt: skip

COLOURS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "blue", "purple", "white", "black",
)  # fmt: skip
PATTERNS: tuple[str, ...] = ("plain", "striped", "spotted", "checked")
SIZES: tuple[str, ...] = ("small", "big")
COUNTS: tuple[int, ...] = (1, 2, 3, 4)
SETTINGS: tuple[str, ...] = (
    "beach", "meadow", "desert", "mountains", "city", "forest", "snow", "lake", "room", "garden",
)  # fmt: skip
TIMES: tuple[str, ...] = ("day", "night")

# One thing may stand anywhere; two stand side by side or one above the other.
PLACES: tuple[str, ...] = ("left", "right", "top", "bottom", "middle")
