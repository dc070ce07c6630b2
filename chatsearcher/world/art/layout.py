"""Where the copies of a thing stand: inside their part of the frame, apart from each other."""

from __future__ import annotations

from functools import lru_cache

# place -> left, top, right, bottom in parts of the frame
REGIONS: dict[str, tuple[float, float, float, float]] = {
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.5),
    "bottom": (0.0, 0.5, 1.0, 1.0),
    "middle": (0.18, 0.18, 0.82, 0.82),
}
# Arrangements as offsets from the middle, in steps; the first that leaves room is taken.
_FORMS: dict[int, tuple[tuple[tuple[float, float], ...], ...]] = {
    1: (((0, 0),),),
    2: (
        ((-0.5, 0), (0.5, 0)),
        ((0, -0.5), (0, 0.5)),
        ((-0.5, -0.5), (0.5, 0.5)),
    ),
    3: (
        ((0, -0.5), (-0.5, 0.5), (0.5, 0.5)),
        ((-0.5, -1), (0.5, 0), (-0.5, 1)),
        ((-1, -0.5), (0, 0.5), (1, -0.5)),
    ),
    4: (
        ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)),
        ((-0.5, -1.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 1.5)),
        ((-1.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (1.5, 0.5)),
    ),
}
_ROOM = 1.28  # widest step, in sprites


@lru_cache(maxsize=4096)
def spread(
    count: int, wide: int, high: int, width: int, height: int
) -> tuple[tuple[tuple[float, float], ...], float, float]:
    """Centres of ``count`` boxes of width x height in a region of wide x high pixels.

    Returns the centres relative to the region's middle, and how far (x, y) every centre may still
    move without leaving the region or touching a neighbour.
    """
    best: tuple[float, tuple[tuple[float, float], ...]] | None = None
    for form in _FORMS[count]:
        half_x = max(abs(x) for x, _ in form)
        half_y = max(abs(y) for _, y in form)
        room_x, room_y = (wide - width) / 2 - 1, (high - height) / 2 - 1
        step_x = min(_ROOM * width, room_x / half_x) if half_x else 0.0
        step_y = min(_ROOM * height, room_y / half_y) if half_y else 0.0
        centres = tuple((x * step_x, y * step_y) for x, y in form)
        apart = min(
            (
                max(abs(a[0] - b[0]) / width, abs(a[1] - b[1]) / height)
                for i, a in enumerate(centres)
                for b in centres[:i]
            ),
            default=2.0,
        )
        if best is None or apart > best[0] + 0.02:
            best = (apart, centres)
        if best[0] >= 1.12:
            break
    assert best is not None
    slack = max(0.0, best[0] - 1.0) / 3
    edge_x = (wide - width) / 2 - 0.5 - max(abs(x) for x, _ in best[1])
    edge_y = (high - height) / 2 - 0.5 - max(abs(y) for _, y in best[1])
    return (
        best[1],
        max(0.0, min(edge_x, slack * width, 0.05 * wide)),
        max(0.0, min(edge_y, slack * height, 0.05 * high)),
    )
