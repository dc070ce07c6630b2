"""Pictures by name: a picture id says the scene graph and the seed, so that no file is needed."""

from __future__ import annotations

from PIL import Image

from chatsearcher.world.render import render
from chatsearcher.world.scene import Scene


def picture_id(scene: Scene, seed: int) -> str:
    """The name of one drawing of a scene, e.g. ``beach.day|left:2-big-red-plain-cat#7``."""
    return f"{scene.key}#{seed}"


def parse(picture: str) -> tuple[Scene, int]:
    """The scene and the seed of a picture id; ValueError when it is none."""
    key, mark, seed = picture.rpartition("#")
    try:
        if not mark:
            raise ValueError("it has no '#'")
        return Scene.from_key(key), int(seed)
    except ValueError as error:
        raise ValueError(
            f"picture id {picture!r} is not '<scene key>#<seed>' ({error}); "
            "take ids from picture_id(scene, seed)"
        ) from error


def load(picture: str, size: int = 96) -> Image.Image:
    """The picture of that id, RGB, size x size pixels."""
    scene, seed = parse(picture)
    return render(scene, size, seed)
