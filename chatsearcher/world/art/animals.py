"""The eight animals, facing right unless they face the viewer."""

from __future__ import annotations

from chatsearcher.world.art.shapes import (
    BODY,
    DARK,
    GOLD,
    INK,
    PINK,
    SHADE,
    WHITE,
    Layer,
    ellipse,
    eye,
    rectangle,
    smooth,
    stroke,
)


def cat() -> list[Layer]:
    tail = stroke(9, (68, 86), (84, 84), (92, 72), (90, 58), (82, 52))
    return [
        Layer(BODY, tail),
        Layer(BODY, [smooth((30, 50), (22, 72), (20, 94), (50, 97), (78, 94), (76, 72), (68, 50))]),
        Layer(BODY, [
            [(16, 30), (14, 2), (40, 14)], [(84, 30), (86, 2), (60, 14)],
            ellipse(50, 34, 36, 27),
        ]),
        Layer(PINK, [[(20, 20), (19, 9), (30, 14)], [(80, 20), (81, 9), (70, 14)]], outline=False),
        *eye(35, 32, 7), *eye(65, 32, 7),
        Layer(PINK, [[(44, 42), (56, 42), (50, 49)]], outline=False),
        Layer(INK, [*stroke(2.5, (34, 45), (8, 41)), *stroke(2.5, (34, 49), (8, 52)),
                    *stroke(2.5, (66, 45), (92, 41)), *stroke(2.5, (66, 49),
                        (92, 52))], outline=False),
        Layer(INK, stroke(3, (50, 78), (50, 95)), outline=False),
    ]  # fmt: skip


def dog() -> list[Layer]:
    return [
        Layer(BODY, stroke(8, (12, 46), (4, 34), (3, 22))),
        Layer(BODY, [
            smooth((8, 44), (40, 42), (66, 42), (74, 56), (66, 70), (36, 68), (12, 72)),
            rectangle(10, 58, 23, 97, 4), rectangle(27, 60, 38, 97, 4),
            rectangle(52, 60, 63, 97, 4), rectangle(66, 52, 78, 97, 4),
            smooth((52, 48), (56, 20), (70, 8), (84, 14), (100, 26), (106, 33), (102, 42),
                (84, 43), (76, 58)),
        ]),
        Layer(SHADE, [smooth((58, 10), (66, 8), (68, 22), (64, 42), (54, 46), (50, 34))]),
        Layer((214, 60, 60), stroke(6, (58, 50), (76, 56)), outline=False),
        Layer(DARK, [ellipse(104, 30, 6, 5)], outline=False),
        *eye(80, 22, 5.5),
    ]  # fmt: skip


def fish() -> list[Layer]:
    return [
        Layer(SHADE, [smooth((40, 26), (52, 6), (70, 10), (70, 26)), smooth((48, 66), (50, 84),
            (62, 80), (66, 64))]),
        Layer(BODY, [[(30, 46), (2, 18), (8, 46), (2, 76)], ellipse(62, 46, 40, 25)]),
        Layer(INK, [*stroke(3, (78, 28), (73, 38), (73, 54), (78, 64))], outline=False),
        *eye(88, 40, 6.5),
    ]  # fmt: skip


def bird() -> list[Layer]:
    return [
        Layer(GOLD, [*stroke(4, (44, 78), (43, 95), (53, 95)), *stroke(4, (60, 78), (60, 95),
            (70, 95))]),
        Layer(GOLD, [[(86, 18), (106, 29), (86, 38)]]),
        Layer(BODY, [
            [(26, 46), (-4, 34), (-2, 60), (20, 70)],
            smooth((8, 52), (30, 40), (48, 32), (54, 10), (74, 1), (92, 14), (93, 40), (86, 68),
                (62, 84), (28, 78)),
        ]),
        Layer(BODY, [smooth((10, 50), (34, 38), (58, 42), (63, 58), (46, 71), (24, 66))]),
        *eye(76, 21, 6.5),
    ]  # fmt: skip


def rabbit() -> list[Layer]:
    return [
        Layer(WHITE, [ellipse(10, 76, 11, 11)]),
        Layer(BODY, [ellipse(56, 18, 7.5, 25, -14), ellipse(74, 17, 7.5, 25, 8)]),
        Layer(PINK, [ellipse(56, 18, 3, 17, -14), ellipse(74, 17, 3, 17, 8)], outline=False),
        Layer(BODY, [
            ellipse(40, 74, 32, 25), ellipse(72, 52, 22, 19),
            rectangle(62, 84, 88, 99, 7), rectangle(20, 86, 54, 99, 7), ellipse(66, 78, 14, 20),
        ]),
        Layer(INK, stroke(3, (26, 74), (34, 66), (46, 68), (52, 80), (48, 90)), outline=False),
        Layer(PINK, [ellipse(93, 54, 4.5, 4)], outline=False),
        *eye(78, 47, 5.5),
    ]  # fmt: skip


def cow() -> list[Layer]:
    return [
        Layer(INK, stroke(4, (4, 34), (1, 50), (2, 66)), outline=False),
        Layer(PINK, [ellipse(34, 70, 10, 8)]),
        Layer(BODY, [
            rectangle(6, 28, 74, 68, 12),
            rectangle(8, 56, 20, 92, 3), rectangle(24, 58, 34, 92, 3),
            rectangle(50, 58, 60, 92, 3), rectangle(63, 56, 75, 92, 3),
        ]),
        Layer(DARK, [rectangle(7, 87, 21, 96), rectangle(23, 87, 35, 96),
            rectangle(49, 87, 61, 96), rectangle(62, 87, 76, 96)], outline=False),
        Layer((240, 226, 190), [smooth((70, 20), (62, 10), (66, 2), (72, 10), (78, 16)),
            smooth((98, 20), (106, 10), (102, 2), (96, 10), (90, 16))]),
        Layer(SHADE, [ellipse(62, 26, 9, 5, 15), ellipse(106, 26, 9, 5, -15)]),
        Layer(BODY, [smooth((68, 18), (84, 13), (100, 18), (100, 40), (96, 54), (72, 54),
            (68, 40))]),
        Layer(PINK, [ellipse(84, 51, 17, 11)]),
        Layer(DARK, [ellipse(78, 51, 2.8, 3.2), ellipse(90, 51, 2.8, 3.2)], outline=False),
        *eye(76, 31, 5), *eye(92, 31, 5),
    ]  # fmt: skip


def elephant() -> list[Layer]:
    return [
        Layer(INK, stroke(4, (6, 40), (0, 54), (2, 64)), outline=False),
        Layer(BODY, [
            smooth((4, 46), (14, 24), (40, 16), (64, 22), (70, 50), (62, 70), (30, 70), (8, 66)),
            rectangle(6, 56, 23, 94, 4), rectangle(28, 60, 42, 94, 4), rectangle(50, 56, 66, 94, 4),
            ellipse(76, 32, 23, 22),
            *stroke(13, (88, 38), (97, 52), (98, 68), (98, 80), (106, 86), (113, 80)),
        ]),
        Layer(WHITE, [smooth((74, 49), (84, 50), (92, 58), (98, 60), (90, 67), (80, 62))]),
        Layer(SHADE, [smooth((54, 16), (67, 14), (74, 27), (71, 44), (63, 53), (53, 45),
            (49, 29))]),
        *eye(86, 28, 5.5),
    ]  # fmt: skip


def butterfly() -> list[Layer]:
    upper = smooth((52, 44), (60, 16), (84, 4), (100, 12), (100, 36), (84, 52), (56, 54))
    lower = smooth((52, 52), (78, 54), (90, 68), (84, 88), (68, 90), (56, 72))
    wings = [upper, lower]
    mirrored = [[(100 - x, y) for x, y in wing] for wing in wings]
    return [
        Layer(BODY, wings + mirrored),
        Layer(
            INK, [*stroke(3.5, (53, 22), (62, 4)), *stroke(3.5, (47, 22), (38, 4))], outline=False
        ),
        Layer(DARK, [ellipse(50, 50, 5.5, 31)]),
    ]


DRAWINGS = {
    "cat": cat, "dog": dog, "fish": fish, "bird": bird, "rabbit": rabbit, "cow": cow,
    "elephant": elephant, "butterfly": butterfly,
}  # fmt: skip
