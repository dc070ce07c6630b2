"""Vehicles, buildings, plants and the cloud."""

from __future__ import annotations

import math

from chatsearcher.world.art.shapes import (
    BODY,
    BROWN,
    CREAM,
    DARK,
    GLASS,
    GOLD,
    GREY,
    INK,
    LEAF,
    SHADE,
    Layer,
    arc,
    ellipse,
    rectangle,
    smooth,
    stroke,
)


def _wheel(x: float, y: float, r: float) -> list[Layer]:
    return [
        Layer(DARK, [ellipse(x, y, r, r)]),
        Layer((200, 204, 210), [ellipse(x, y, r * 0.45, r * 0.45)], outline=False),
    ]


def car() -> list[Layer]:
    return [
        Layer(BODY, [smooth((2, 38), (20, 32), (33, 11), (48, 5), (66, 6), (82, 30), (106, 37),
            (114, 56), (108, 70),
                            (6, 70), (-1, 58))]),
        Layer(GLASS, [[(33, 32), (40, 17), (51, 14), (51, 32)], [(57, 32), (57, 14), (65, 15),
            (73, 32)]]),
        Layer(GOLD, [ellipse(108, 48, 4, 5)], outline=False),
        *_wheel(27, 70, 13), *_wheel(87, 70, 13),
    ]  # fmt: skip


def bus() -> list[Layer]:
    panes = [rectangle(8 + 20 * i, 16, 23 + 20 * i, 36, 2) for i in range(4)]
    return [
        Layer(BODY, [rectangle(0, 4, 118, 76, 9)]),
        Layer(GLASS, [*panes, rectangle(90, 16, 112, 44, 2)]),
        Layer(GOLD, [ellipse(112, 62, 4, 5)], outline=False),
        *_wheel(27, 76, 12),
        *_wheel(88, 76, 12),
    ]


def boat() -> list[Layer]:
    return [
        Layer(BROWN, [rectangle(47, -4, 53, 70)]),
        Layer(BODY, [[(56, 0), (56, 58), (98, 58)]]),
        Layer(BODY, [[(44, 12), (44, 58), (10, 58)]]),
        Layer(
            BODY,
            [smooth((0, 66), (50, 68), (104, 66), (98, 80), (86, 94), (50, 96), (18, 94), (6, 80))],
        ),
    ]


def plane() -> list[Layer]:
    return [
        Layer(SHADE, [[(52, 42), (46, 10), (58, 10), (76, 42)]]),
        Layer(BODY, [
            [(10, 46), (-2, 12), (12, 12), (34, 40)],
            smooth((2, 44), (14, 38), (60, 34), (92, 34), (110, 44), (108, 54), (94, 60), (50, 62),
                (18, 56)),
        ]),
        Layer(GLASS, [[(90, 38), (100, 40), (106, 46), (92, 46)]], outline=False),
        Layer(GLASS, [ellipse(36 + 13 * i, 44, 3.2, 3.2) for i in range(4)], outline=False),
        Layer(BODY, [[(44, 54), (72, 54), (36, 90), (22, 90)]]),
    ]  # fmt: skip


def bicycle() -> list[Layer]:
    frame = [*stroke(6, (22, 66), (44, 32), (85, 32), (59, 66), (22, 66)), *stroke(6, (59, 66),
        (42, 24)),
             *stroke(6, (96, 66), (80, 14))]  # fmt: skip
    return [
        Layer(DARK, [ellipse(22, 66, 28, 28), ellipse(96, 66, 28, 28)]),
        Layer(BODY, [ellipse(22, 66, 23, 23), ellipse(96, 66, 23, 23)], outline=False),
        Layer(BODY, frame),
        Layer(DARK, [*stroke(7, (33, 21), (50, 21)), *stroke(6, (80, 14), (93, 11), (97, 18))]),
        Layer(GREY, [ellipse(59, 66, 6, 6)]),
    ]


def cloud() -> list[Layer]:
    return [
        Layer(BODY, [ellipse(22, 58, 22, 19), ellipse(46, 36, 27, 26), ellipse(78, 46, 22, 21),
            ellipse(96, 60, 19, 17),
                     rectangle(22, 50, 96, 77)]),
        Layer(INK, [*stroke(2.5, *arc(40, 44, 18, 16, 190, 260)),
            *stroke(2.5, *arc(80, 50, 13, 12, 200, 270))],
              outline=False),
    ]  # fmt: skip


def house() -> list[Layer]:
    return [
        Layer(SHADE, [rectangle(70, 4, 83, 40)]),
        Layer(BODY, [rectangle(12, 44, 88, 98)]),
        Layer(BODY, [[(50, 0), (104, 48), (-4, 48)]]),
        Layer(BROWN, [rectangle(60, 68, 77, 98)]),
        Layer(GLASS, [rectangle(22, 62, 42, 80)]),
        Layer(DARK, [rectangle(31, 62, 33, 80), rectangle(22, 70, 42, 72)], outline=False),
        Layer(GOLD, [ellipse(73, 84, 2.2, 2.2)], outline=False),
    ]


def _merlons(x0: float, x1: float, y: float, n: int) -> list[list[tuple[float, float]]]:
    step = (x1 - x0) / (2 * n - 1)
    return [rectangle(x0 + 2 * i * step, y, x0 + (2 * i + 1) * step, y + 14) for i in range(n)]


def castle() -> list[Layer]:
    return [
        Layer((214, 60, 60), [[(51, -14), (70, -7), (51, 0)]]),
        Layer(DARK, stroke(3, (50, -14), (50, 16)), outline=False),
        Layer(BODY, [rectangle(26, 36, 74, 96), rectangle(36, 18, 64, 60),
            *_merlons(34, 66, 8, 3)]),
        Layer(BODY, [rectangle(2, 28, 30, 96), *_merlons(0, 32, 18, 3), rectangle(70, 28, 98, 96),
                     *_merlons(68, 100, 18, 3)]),
        Layer(DARK, [[(38, 96), *arc(50, 72, 12, 14, 180, 360), (62, 96)],
                     rectangle(13, 44, 19, 58), rectangle(81, 44, 87, 58),
                         rectangle(47, 30, 53, 42)], outline=False),
    ]  # fmt: skip


def tent() -> list[Layer]:
    return [
        Layer(DARK, [*stroke(4, (44, 14), (52, 2)), *stroke(4, (56, 14), (48, 2))], outline=False),
        Layer(BODY, [[(50, 8), (106, 86), (-6, 86)]]),
        Layer(DARK, [[(50, 40), (64, 86), (36, 86)]]),
        Layer(CREAM, [[(50, 38), (36, 86), (28, 86)], [(50, 38), (64, 86), (72, 86)]]),
    ]


def tree() -> list[Layer]:
    return [
        Layer(BROWN, [[(42, 56), (58, 56), (60, 90), (66, 102), (34, 102), (40, 90)]]),
        Layer(BODY, [ellipse(50, 22, 25, 22), ellipse(26, 46, 24, 21), ellipse(74, 46, 24, 21),
            ellipse(50, 50, 24, 20)]),
        Layer(INK, [*stroke(2.5, *arc(34, 48, 12, 11, 190, 270)),
            *stroke(2.5, *arc(56, 26, 14, 13, 200, 280))],
              outline=False),
    ]  # fmt: skip


def flower() -> list[Layer]:
    petals = []
    for i in range(6):
        a = math.tau * i / 6 + math.pi / 6
        petals.append(
            ellipse(50 + 27 * math.cos(a), 34 + 27 * math.sin(a), 20, 17.5, math.degrees(a))
        )
    return [
        Layer(LEAF, stroke(7, (50, 50), (50, 104))),
        Layer(LEAF, [smooth((50, 102), (58, 86), (82, 78), (76, 97)), smooth((50, 104), (42, 88),
            (18, 80), (24, 99))]),
        *[Layer(BODY, [petal]) for petal in petals],
        Layer((120, 70, 30), [ellipse(50, 34, 13, 13)]),
        Layer(GOLD, [ellipse(50, 34, 10, 10)], outline=False),
    ]  # fmt: skip


def mushroom() -> list[Layer]:
    return [
        Layer(CREAM, [smooth((36, 50), (64, 50), (62, 72), (70, 94), (50, 99), (30, 94),
            (38, 72))]),
        Layer(BODY, [smooth((2, 52), (6, 30), (24, 10), (50, 3), (76, 10), (94, 30), (98, 52),
            (76, 61), (50, 63),
                            (24, 61))]),
    ]  # fmt: skip


DRAWINGS = {
    "car": car, "bus": bus, "boat": boat, "plane": plane, "bicycle": bicycle, "cloud": cloud,
    "house": house, "castle": castle, "tent": tent, "tree": tree, "flower": flower,
    "mushroom": mushroom,
}  # fmt: skip
