"""Food, furniture, clothing and tableware."""

from __future__ import annotations

from chatsearcher.world.art.shapes import (
    BODY, BROWN, CREAM, DARK, GOLD, INK, LEAF, LIGHT, SHADE, WHITE,
    Layer, arc, ellipse, rectangle, smooth, stroke,
)  # fmt: skip


def apple() -> list[Layer]:
    return [
        Layer(BODY, [smooth((50, 28), (68, 20), (90, 32), (92, 60), (76, 90), (60, 95), (50, 91),
                            (40, 95), (24, 90), (8, 60), (10, 32), (32, 20))]),
        Layer(BROWN, stroke(6, (50, 30), (52, 16), (57, 6))),
        Layer(LEAF, [smooth((54, 18), (66, 4), (86, 4), (78, 17), (66, 22))]),
        Layer(WHITE, [ellipse(25, 44, 4.5, 9, 18)], outline=False),
    ]  # fmt: skip


def banana() -> list[Layer]:
    return [
        Layer(BODY, [smooth((6, 20), (16, 16), (30, 44), (56, 58), (84, 52), (100, 40), (106, 48), (94, 72), (64, 88),
                            (34, 80), (14, 56))]),
        Layer(BROWN, [[(4, 22), (2, 6), (13, 3), (18, 18)]]),
        Layer(BROWN, [ellipse(104, 43, 5, 6)]),
        Layer(INK, stroke(2.5, (18, 40), (34, 62), (60, 72), (88, 62)), outline=False),
    ]  # fmt: skip


def pear() -> list[Layer]:
    return [
        Layer(BODY, [smooth((50, 14), (62, 18), (66, 34), (72, 48), (86, 66), (82, 90), (62, 98), (50, 97),
                            (38, 98), (18, 90), (14, 66), (28, 48), (34, 34), (38, 18))]),
        Layer(BROWN, stroke(6, (50, 16), (50, 8), (55, -2))),
        Layer(LEAF, [smooth((53, 8), (62, -2), (80, 0), (74, 10), (62, 14))]),
        Layer(WHITE, [ellipse(31, 70, 4.5, 9, 18)], outline=False),
    ]  # fmt: skip


def carrot() -> list[Layer]:
    return [
        Layer(LEAF, [ellipse(50, 14, 6, 18), ellipse(36, 17, 6, 17, -32), ellipse(64, 17, 6, 17, 32)]),
        Layer(BODY, [smooth((28, 34), (40, 27), (60, 27), (72, 34), (72, 46), (60, 82), (50, 106), (40, 82), (28, 46))]),
        Layer(INK, [*stroke(3, (29, 48), (42, 50)), *stroke(3, (66, 62), (54, 64)), *stroke(3, (39, 77), (48, 78))],
              outline=False),
    ]  # fmt: skip


def cake() -> list[Layer]:
    icing = [(6, 46), (94, 46), (94, 60), *arc(83, 60, 11, 9, 0, 180), *arc(61, 60, 11, 11, 0, 180),
             *arc(39, 60, 11, 8, 0, 180), *arc(17, 60, 11, 11, 0, 180)]  # fmt: skip
    return [
        Layer(CREAM, [rectangle(-4, 92, 104, 99, 3)]),
        Layer(BODY, [rectangle(6, 42, 94, 94, 5)]),
        Layer(CREAM, [icing]),
        Layer(BODY, [rectangle(24, 22, 76, 46, 4)]),
        Layer(CREAM, [rectangle(24, 18, 76, 28, 4)]),
        Layer(WHITE, [rectangle(46, 2, 54, 20)]),
        Layer(GOLD, [smooth((50, -16), (56, -5), (50, 2), (44, -5))]),
    ]


def chair() -> list[Layer]:
    return [
        Layer(BROWN, [rectangle(20, 62, 28, 100), rectangle(72, 62, 80, 100),
                      rectangle(6, 66, 15, 108), rectangle(85, 66, 94, 108)]),
        Layer(BODY, [rectangle(18, 0, 82, 56, 9)]),
        Layer(BODY, [[(18, 52), (82, 52), (98, 72), (98, 79), (2, 79), (2, 72)]]),
    ]  # fmt: skip


def lamp() -> list[Layer]:
    return [
        Layer((255, 232, 130), [ellipse(50, 49, 13, 11)]),
        Layer(DARK, [rectangle(46, 50, 54, 92)]),
        Layer(BODY, [smooth((24, 104), (30, 92), (50, 88), (70, 92), (76, 104))]),
        Layer(BODY, [[(34, 0), (66, 0), (92, 48), (8, 48)]]),
        Layer(INK, stroke(2.5, (72, 50), (72, 66)), outline=False),
    ]


def shirt() -> list[Layer]:
    return [
        Layer(BODY, [[(34, 6), (66, 6), (80, 12), (102, 38), (84, 52), (76, 44), (76, 96), (24, 96), (24, 44),
                      (16, 52), (-2, 38), (20, 12)]]),
        Layer(CREAM, [[*arc(50, 5, 16, 15, 0, 180)]]),
        Layer(INK, [*stroke(2.5, (76, 44), (76, 32)), *stroke(2.5, (24, 44), (24, 32))], outline=False),
    ]  # fmt: skip


def hat() -> list[Layer]:
    return [
        Layer(BODY, [ellipse(50, 74, 52, 13)]),
        Layer(BODY, [smooth((22, 72), (25, 40), (30, 14), (42, 8), (50, 14), (58, 8), (70, 14), (75, 40), (78, 72),
                            (50, 80))]),
        Layer(DARK, [[(23, 56), (77, 56), (79, 71), (50, 78), (21, 71)]], outline=False),
    ]  # fmt: skip


def boot() -> list[Layer]:
    return [
        Layer(BODY, [smooth((14, 10), (14, 40), (10, 70), (10, 88), (50, 90), (96, 88), (97, 72), (84, 60), (62, 54),
                            (56, 40), (57, 10), (36, 7))]),
        Layer(DARK, [[(8, 86), (98, 86), (98, 97), (44, 97), (42, 93), (34, 93), (33, 101), (8, 101)]]),
        Layer(LIGHT, [rectangle(9, 2, 62, 17, 5)]),
        Layer(INK, [*stroke(3, (44, 34), (57, 31)), *stroke(3, (45, 47), (59, 44))], outline=False),
    ]  # fmt: skip


def umbrella() -> list[Layer]:
    dome = [*arc(50, 54, 50, 46, 180, 360)]
    scallops = []
    for i in range(4):
        scallops += arc(87.5 - 25 * i, 55, 12.5, 8, 0, -180)
    handle = stroke(6, (50, 40), (50, 90), *arc(60, 90, 10, 10, 180, 0))
    return [
        Layer(BROWN, handle),
        Layer(DARK, stroke(5, (50, 8), (50, 0))),
        Layer(BODY, [dome + scallops]),
        Layer(INK, [*stroke(2.5, (50, 8), (37, 26), (25, 50)), *stroke(2.5, (50, 8), (63, 26), (75, 50))],
              outline=False),
    ]  # fmt: skip


def cup() -> list[Layer]:
    return [
        Layer(BODY, stroke(9, (78, 40), (96, 40), (102, 52), (94, 66), (76, 70))),
        Layer(BODY, [smooth((6, 28), (80, 28), (80, 60), (70, 88), (58, 92), (28, 92), (16, 88), (6, 60))]),
        Layer(CREAM, [ellipse(43, 28, 38, 9)]),
        Layer(BROWN, [ellipse(43, 30, 29, 5)], outline=False),
        Layer(SHADE, [ellipse(43, 95, 26, 4)]),
    ]


DRAWINGS = {
    "apple": apple, "banana": banana, "pear": pear, "carrot": carrot, "cake": cake, "chair": chair,
    "lamp": lamp, "shirt": shirt, "hat": hat, "boot": boot, "umbrella": umbrella, "cup": cup,
}  # fmt: skip
