"""GeneCIS (Vaze et al., CVPR 2023): a picture and a condition, among a few pictures of its own.

Rules: recall@1/2/3 among the target and the pictures of the query's gallery (9 or 14 of them). The
authors' loader puts the target first, so that ties favour it; here they never do. One gallery of
``change_object`` holds the target itself once more: such a copy is no rival, and is counted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    find_file,
    read_json,
    rows_of,
    value,
)
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.ranking import ranks_among
from chatsearcher.benchmarks.recalls import means, recall_samples
from chatsearcher.benchmarks.task import FilePictures, Query, Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark
from chatsearcher.benchmarks.vectors import Vectors
from chatsearcher.dialogue import Dialogue, Image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

KS = (1, 2, 3)
DILATION = 0.7
# task -> (queries, pictures that each is ranked among)
SIZES = {
    "focus-attribute": (2_000, 10),
    "change-attribute": (2_112, 15),
    "focus-object": (1_960, 15),
    "change-object": (1_960, 15),
}
PROMPTS = {
    "focus-attribute": ("same-1", "Show me another one with the same {text}."),
    "change-attribute": ("now-1", "Show me one like it, but {text}."),
    "focus-object": ("also-1", "Show me another scene like this that has the {text} too."),
    "change-object": ("with-1", "Show me the same kind of scene, but with {text}."),
}


class Genecis(VectorBenchmark):
    """One of the four tasks.

    Args:
        task: a key of ``SIZES``.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self.attribute = task.endswith("attribute")
        queries, candidates = SIZES[task]
        name, template = PROMPTS[task]
        self._card = Card(
            name=f"genecis-{task}",
            data=f"genecis/{task.replace('-', '_')}.json of the authors' repository, and "
            + ("Visual Genome 1.2 in VG_100K_all/ (or VG_100K/ and VG_100K_2/)" if self.attribute
               else "COCO's val2017/"),
            sizes={"queries": queries, "candidates a query": candidates},
            metrics=tuple(f"R@{k}" for k in KS),
            primary="R@1",
            protocol="GeneCIS: among the target and the query's own gallery; ties against the "
            "target"
            + ("; crops as the authors cut them, padded to squares" if self.attribute else ""),
            source="Vaze et al., CVPR 2023; github.com/facebookresearch/genecis",
            prompts={PLAIN: "{text}", name: template},
        )  # fmt: skip

    @property
    def card(self) -> Card:
        return self._card

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Read a task; see ``VectorBenchmark.load``."""
        root = data_root(root, self.name, self.card.data)
        name = f"{self.task.replace('-', '_')}.json"
        file = find_file(
            root,
            f"genecis/{name}",
            name,
            remedy="it comes from github.com/facebookresearch/genecis",
        )
        queries, images, copies = [], {}, 0
        for number, (where, entry) in enumerate(rows_of(read_json(file, list), file)):
            query = self._query(str(number), entry, where)
            queries.append(query)
            copies += len(query.members) < len(entry["gallery"])
            images.update(dict.fromkeys((*query.targets, *query.members)))
        return Task(
            images=tuple(images),
            queries=tuple(queries),
            pictures=Crops(root) if self.attribute else FilePictures(root, _coco_places),
            data=checksum(root, [file]),
            space="visual-genome-crops" if self.attribute else "coco-val2017",
            facts={"galleries with a copy of the target": copies},
            own_galleries=True,
        )

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """Recall among each query's own pictures."""
        rows = task.rows
        ranks = ranks_among(
            vectors.queries,
            vectors.images,
            task.target_rows(),
            [[rows[name] for name in query.members] for query in task.queries],
            metric=vectors.metric,
        )
        samples = recall_samples(ranks, KS)
        return Figures(means(samples), samples, ranks)

    def _query(self, key: str, entry: dict[str, Any], where: str) -> Query:
        reference = self._picture(value(entry, "reference", dict, where), f"{where}, reference")
        target = self._picture(value(entry, "target", dict, where), f"{where}, target")
        gallery = []
        for place, each in enumerate(value(entry, "gallery", list, where)):
            at = f"{where}, gallery[{place}]"
            if not isinstance(each, dict):
                raise ValueError(f"{at}: {each!r}; expected an object")
            gallery.append(self._picture(each, at))
        return Query(
            id=key,
            dialogue=Dialogue(id=key).user(Image(reference), value(entry, "condition", str, where)),
            targets=(target,),
            reference=reference,
            group=tuple(name for name in gallery if name != target),
        )

    def _picture(self, entry: dict[str, Any], where: str) -> str:
        if not self.attribute:
            return f"{value(entry, 'val_image_id', int, where):012d}"
        box = value(entry, "instance_bbox", list, where)
        if len(box) != 4 or not all(isinstance(side, (int, float)) for side in box):
            raise ValueError(f"{where}: instance_bbox {box!r}; expected [left, top, width, height]")
        number = str(value(entry, "image_id", (int, str), where))
        return f"{number}@{','.join(str(side) for side in box)}"


class Crops:
    """Parts of Visual Genome's pictures, cut as the authors do it.

    Their ids are ``NUMBER@left,top,width,height``. The box is made larger by 0.7 of its size to the
    left and to the top only (right = left + 1.7 width, from the moved left edge), cut at the
    picture's edges, and padded with black to a square.
    """

    def __init__(self, root: Path) -> None:
        self._files = FilePictures(root, _genome_places)

    def missing(self, ids: Collection[str]) -> dict[str, str]:
        """Those whose whole picture is not there."""
        return {
            id: reason
            for id in ids
            for reason in self._files.missing([_split(id)[0]]).values()
        }  # fmt: skip

    def path(self, id: str) -> str | None:
        """The whole picture's file."""
        return self._files.path(_split(id)[0])

    def load(self, id: str) -> PILImage:
        """The padded crop."""
        number, box = _split(id)
        return crop(self._files.load(number), box)


def crop(picture: PILImage, box: Sequence[float]) -> PILImage:
    """See ``Crops``.

    Args:
        box: left, top, width, height in pixels.
    """
    from PIL import Image as PILImages

    left, top, width, height = box
    left, top = max(0.0, left - DILATION * width), max(0.0, top - DILATION * height)
    right = min(float(picture.width), left + (1 + DILATION) * width)
    bottom = min(float(picture.height), top + (1 + DILATION) * height)
    left, top, right, bottom = round(left), round(top), round(right), round(bottom)
    if right <= left or bottom <= top:
        raise ValueError(f"the box {tuple(box)} lies outside of a picture of {picture.size}")
    cut = picture.crop((left, top, right, bottom))
    side = max(cut.size)
    square = PILImages.new("RGB", (side, side))
    square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return square


def _split(id: str) -> tuple[str, list[float]]:
    match = re.fullmatch(r"([^@]+)@([^,]+),([^,]+),([^,]+),([^,]+)", id)
    if match is None:
        raise ValueError(f"picture {id!r}; expected NUMBER@left,top,width,height")
    return match[1], [float(side) for side in match.groups()[1:]]


def _coco_places(id: str) -> tuple[str, ...]:
    return f"val2017/{id}.jpg", f"coco/val2017/{id}.jpg"


def _genome_places(number: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{number}.jpg" for folder in ("VG_100K_all", "VG_100K", "VG_100K_2"))


FOCUS_ATTRIBUTE = Genecis("focus-attribute")
CHANGE_ATTRIBUTE = Genecis("change-attribute")
FOCUS_OBJECT = Genecis("focus-object")
CHANGE_OBJECT = Genecis("change-object")
