"""Food, furniture, clothing and tableware."""

from __future__ import annotations

from chatsearcher.world.art.shapes import (
    BODY,
    BROWN,
    CREAM,
    DARK,
    GOLD,
    INK,
    LEAF,
    LIGHT,
    SHADE,
    WHITE,
    Layer,
    arc,
    ellipse,
    rectangle,
    smooth,
    stroke,
)


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
        Layer(BODY, [smooth((4, 20), (17, 15), (32, 40), (56, 52), (82, 47), (100, 36), (108, 46),
            (97, 74), (64, 92),
                            (30, 84), (8, 56))]),
        Layer(BROWN, [[(4, 22), (2, 6), (13, 3), (18, 18)]]),
        Layer(BROWN, [ellipse(104, 40, 5, 6)]),
        Layer(INK, stroke(2.5, (14, 38), (24, 56), (40, 68), (62, 72), (84, 64), (96, 54)),
            outline=False),
    ]  # fmt: skip


def pear() -> list[Layer]:
    return [
        Layer(BODY, [smooth((50, 14), (62, 18), (66, 34), (72, 48), (86, 66), (82, 90), (62, 98),
            (50, 97),
                            (38, 98), (18, 90), (14, 66), (28, 48), (34, 34), (38, 18))]),
        Layer(BROWN, stroke(6, (50, 16), (50, 8), (55, -2))),
        Layer(LEAF, [smooth((53, 8), (62, -2), (80, 0), (74, 10), (62, 14))]),
        Layer(WHITE, [ellipse(31, 70, 4.5, 9, 18)], outline=False),
    ]  # fmt: skip


def carrot() -> list[Layer]:
    return [
        Layer(LEAF, [ellipse(50, 13, 7, 17), ellipse(33, 16, 7, 16, -36),
            ellipse(67, 16, 7, 16, 36)]),
        Layer(BODY, [smooth((19, 34), (34, 25), (66, 25), (81, 34), (81, 48), (66, 82), (50, 106),
            (34, 82), (19, 48))]),
        Layer(INK, [*stroke(3, (20, 48), (35, 50)), *stroke(3, (74, 62), (60, 64)),
            *stroke(3, (34, 78), (46, 79))],
              outline=False),
    ]  # fmt: skip


def cake() -> list[Layer]:
    icing = [(2, 44), (98, 44), (98, 51), *arc(86, 51, 12, 8, 0, 180), *arc(62, 51, 12, 10, 0, 180),
             *arc(38, 51, 12, 7, 0, 180), *arc(14, 51, 12, 10, 0, 180)]  # fmt: skip
    return [
        Layer(CREAM, [rectangle(-8, 98, 108, 105, 3)]),
        Layer(BODY, [rectangle(2, 42, 98, 99, 5)]),
        Layer(CREAM, [icing]),
        Layer(BODY, [rectangle(20, 16, 80, 45, 4)]),
        Layer(CREAM, [rectangle(18, 12, 82, 21, 4)]),
        Layer(WHITE, [rectangle(45, -6, 55, 13)]),
        Layer(GOLD, [smooth((50, -26), (57, -13), (50, -5), (43, -13))]),
    ]


def chair() -> list[Layer]:
    return [
        Layer(BROWN, [rectangle(68, 62, 76, 108), rectangle(40, 62, 47, 102),
                      rectangle(10, 66, 19, 120), rectangle(50, 70, 59, 120)]),
        Layer(BODY, [[(34, 2), (40, -2), (78, -6), (82, -2), (78, 56), (38, 58)]]),
        Layer(BODY, [[(36, 54), (80, 52), (62, 74), (62, 82), (6, 82), (6, 74)]]),
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
        Layer(BODY, [[(34, 6), (66, 6), (80, 12), (102, 38), (84, 52), (76, 44), (76, 96),
            (24, 96), (24, 44),
                      (16, 52), (-2, 38), (20, 12)]]),
        Layer(CREAM, [[*arc(50, 5, 16, 15, 0, 180)]]),
        Layer(INK, [*stroke(2.5, (76, 44), (76, 32)), *stroke(2.5, (24, 44),
            (24, 32))], outline=False),
    ]  # fmt: skip


def hat() -> list[Layer]:
    return [
        Layer(BODY, [ellipse(50, 74, 52, 13)]),
        Layer(BODY, [smooth((22, 72), (25, 40), (30, 14), (42, 8), (50, 14), (58, 8), (70, 14),
            (75, 40), (78, 72),
                            (50, 80))]),
        Layer(DARK, [[(23, 56), (77, 56), (79, 71), (50, 78), (21, 71)]], outline=False),
    ]  # fmt: skip


def boot() -> list[Layer]:
    return [
        Layer(BODY, [smooth((14, 10), (14, 40), (10, 70), (10, 88), (50, 90), (96, 88), (97, 72),
            (84, 60), (62, 54),
                            (56, 40), (57, 10), (36, 7))]),
        Layer(DARK, [[(8, 86), (98, 86), (98, 97), (44, 97), (42, 93), (34, 93), (33, 101),
            (8, 101)]]),
        Layer(LIGHT, [rectangle(9, 2, 62, 17, 5)]),
        Layer(INK, [*stroke(3, (44, 34), (57, 31)), *stroke(3, (45, 47), (59, 44))], outline=False),
    ]  # fmt: skip


def umbrella() -> list[Layer]:
    dome = [*arc(50, 57, 56, 52, 180, 360)]
    scallops = []
    for i in range(4):
        scallops += arc(92 - 28 * i, 57, 14, 10, 0, -180)
    handle = stroke(7, (50, 40), (50, 82), *arc(61, 82, 11, 11, 180, 0))
    return [
        Layer(BROWN, handle),
        Layer(DARK, stroke(5, (50, 8), (50, -1))),
        Layer(BODY, [dome + scallops]),
    ]  # fmt: skip


def cup() -> list[Layer]:
    return [
        Layer(BODY, stroke(9, (78, 40), (96, 40), (102, 52), (94, 66), (76, 70))),
        Layer(
            BODY,
            [smooth((6, 28), (80, 28), (80, 60), (70, 88), (58, 92), (28, 92), (16, 88), (6, 60))],
        ),
        Layer(CREAM, [ellipse(43, 28, 38, 9)]),
        Layer(BROWN, [ellipse(43, 30, 29, 5)], outline=False),
        Layer(SHADE, [ellipse(43, 95, 26, 4)]),
    ]


DRAWINGS = {
    "apple": apple, "banana": banana, "pear": pear, "carrot": carrot, "cake": cake, "chair": chair,
    "lamp": lamp, "shirt": shirt, "hat": hat, "boot": boot, "umbrella": umbrella, "cup": cup,
}  # fmt: skip
