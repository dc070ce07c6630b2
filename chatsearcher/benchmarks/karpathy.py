"""Flickr30K and COCO as Karpathy split them: captions to pictures, and pictures to captions.

Rules: a caption finds its own picture; a picture finds any one of its own captions. The captions
are asked as they stand, without reranking. Flickr30K's test split has 1,000 pictures with five
captions each. COCO's has 5,000 with 25,010 captions; lists of 25,000 keep five a picture, and the
older "1K" figures are means over five parts of 1,000 pictures: the options say which.

Flickr30K Entities has another test split, which shares 25 pictures with this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    find_file,
    once,
    read_json,
    rows_of,
    value,
)
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.ranking import relevant_ranks, target_ranks
from chatsearcher.benchmarks.recalls import means, recall_samples
from chatsearcher.benchmarks.task import FilePictures, Query, Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark
from chatsearcher.benchmarks.vectors import Vectors
from chatsearcher.dialogue import Dialogue

KS = (1, 5, 10)
TO_IMAGE, TO_TEXT = "t→i R", "i→t R"
METRICS = tuple(f"{name}@{k}" for name in (TO_IMAGE, TO_TEXT) for k in KS)
PROTOCOL = (
    "Karpathy's test split; text to image: the caption's own picture among the first k; image to "
    "text: any caption of the picture; ties against the target"
)
PROMPTS = {PLAIN: "{text}", "show-1": "Show me a picture of this: {text}"}
SENTENCES = "take caption_datasets.zip of cs.stanford.edu/people/karpathy/deepimagesent"
TEST_LIST = "karpathy_test_images.txt"
VSEPP_LIST = "vsepp_coco_test_caption_ann_ids.txt"
COCO_CAPTIONS = ("annotations/captions_val2014.json", "captions_val2014.json")
CHOICES = ("all", "five", "vsepp")


@dataclass(frozen=True)
class Captioned:
    """One picture.

    Attributes:
        id: the file's name, with its folder where the split has several.
        captions: (id, text) of each, in the file's order.
        where: the file and the row, for error messages.
    """

    id: str
    captions: tuple[tuple[str, str], ...]
    where: str


class CaptionRetrieval(VectorBenchmark):
    """Both directions over one list of pictures with captions; reading is the subclasses'."""

    _card: Card

    @property
    def card(self) -> Card:
        return self._card

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """Recall in both directions; with ``folds``, the mean over parts of the gallery."""
        folds = chosen_folds(options)
        own = np.array(task.target_rows())
        # The part of a picture is its place in the list: parts of 1,000 of the official 5,000.
        part_of = np.arange(len(task.images)) * folds // len(task.images)
        ranks = np.zeros(len(own), np.int64)
        captions_of = _rows_by(own, len(task.images))
        shown = [row for row in range(len(task.images)) if len(captions_of[row])]
        best = np.zeros(len(task.images), np.int64)
        for part in range(folds):
            images = np.flatnonzero(part_of == part)
            queries = np.flatnonzero(part_of[own] == part)
            if not len(queries):
                raise ValueError(f"{self.name}: no caption in part {part} of {folds}")
            pictures, texts = vectors.images[images], vectors.queries[queries]
            ranks[queries] = target_ranks(
                texts, pictures, own[queries] - images[0], metric=vectors.metric
            )
            place = np.full(len(own), -1, np.int64)
            place[queries] = np.arange(len(queries))
            mine = [row for row in images.tolist() if len(captions_of[row])]
            found = relevant_ranks(
                vectors.images[mine],
                texts,
                [place[captions_of[row]].tolist() for row in mine],
                metric=vectors.metric,
            )
            best[mine] = [int(each[0]) for each in found]
        samples = recall_samples(ranks, KS, TO_IMAGE) | recall_samples(best[shown], KS, TO_TEXT)
        figures = _mean_over_parts(samples, part_of[own], part_of[shown], folds)
        return Figures(
            figures,
            samples if folds == 1 else {},
            ranks,
            counts={"captions": len(own)},
            settings={"folds": folds, "captions": options.get("captions", "all")},
        )


class Flickr30K(CaptionRetrieval):
    """1,000 pictures, 5,000 captions."""

    def __init__(self) -> None:
        self._card = Card(
            name="flickr30k",
            data="dataset_flickr30k.json (Karpathy's) and the pictures under flickr30k-images/ or "
            "images/",
            sizes={"queries": 5_000, "gallery": 1_000},
            metrics=METRICS,
            primary=METRICS[0],
            protocol=PROTOCOL,
            source="Young et al., TACL 2014; splits: Karpathy and Fei-Fei, CVPR 2015",
            prompts=PROMPTS,
        )

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Read the test split; see ``VectorBenchmark.load``."""
        root = data_root(root, self.name, self.card.data)
        file = find_file(root, "dataset_flickr30k.json", remedy=SENTENCES)
        entries = read_karpathy(file)

        def places(id: str) -> tuple[str, ...]:
            return f"flickr30k-images/{id}", f"flickr30k_images/{id}", f"images/{id}", id

        return _task(entries, FilePictures(root, places), checksum(root, [file]), "flickr30k")


class Coco(CaptionRetrieval):
    """5,000 pictures, 25,010 captions."""

    def __init__(self) -> None:
        self._card = Card(
            name="coco",
            data=f"dataset_coco.json (Karpathy's), or {TEST_LIST} and {COCO_CAPTIONS[0]}; the "
            "pictures under val2014/, beside them or under images/",
            sizes={"queries": 25_010, "gallery": 5_000},
            metrics=METRICS,
            primary=METRICS[0],
            protocol=PROTOCOL,
            source="Lin et al., ECCV 2014; splits: Karpathy and Fei-Fei, CVPR 2015; "
            "cocodataset.org",
            prompts=PROMPTS,
            options={
                "captions": "all (25,010), five (the first five a picture, 25,000) or vsepp (those "
                f"listed in {VSEPP_LIST}, 25,000); all",
                "folds": "1 (the gallery of 5,000), or 5: the mean over five galleries of 1,000, "
                "known as 1K; 1",
            },
        )

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Read the test split; see ``VectorBenchmark.load``."""
        choice = options.get("captions", "all")
        if choice not in CHOICES:
            raise ValueError(f"coco: captions={choice!r}; expected one of {', '.join(CHOICES)}")
        chosen_folds(options)
        root = data_root(root, self.name, self.card.data)
        if (root / "dataset_coco.json").is_file():
            files = [root / "dataset_coco.json"]
            entries = read_karpathy(files[0])
        else:
            remedy = f"{SENTENCES}; or put {TEST_LIST} and {COCO_CAPTIONS[0]} there"
            listed = find_file(root, TEST_LIST, "dataset_coco.json", remedy=remedy)
            annotations = find_file(
                root,
                *COCO_CAPTIONS,
                remedy="the list alone has no words: take annotations_trainval2014.zip of "
                "cocodataset.org/#download",
            )
            files = [listed, annotations]
            entries = read_coco(listed, annotations)
        if choice == "five":
            entries = [replace(entry, captions=entry.captions[:5]) for entry in entries]
        if choice == "vsepp":
            wanted = find_file(root, VSEPP_LIST, remedy="it is in naver-ai/pcme under datasets/")
            files.append(wanted)
            entries = only_listed(entries, wanted)

        def places(id: str) -> tuple[str, ...]:
            return id, f"images/{id}", id.rpartition("/")[2], f"images/{id.rpartition('/')[2]}"

        return _task(entries, FilePictures(root, places), checksum(root, files), "coco2014")


def read_karpathy(file: Path, split: str = "test") -> list[Captioned]:
    """The pictures of one split of ``dataset_….json``.

    Raises:
        ValueError: a row of another shape, an id twice, or no picture of the split.
    """
    content = read_json(file, dict)
    entries = []
    pictures: dict[str, str] = {}
    texts: dict[str, str] = {}
    for where, entry in rows_of(value(content, "images", list, str(file)), file):
        if value(entry, "split", str, where) != split:
            continue
        name = value(entry, "filename", str, where)
        folder = value(entry, "filepath", str, where) if "filepath" in entry else ""
        captions = []
        for place, sentence in enumerate(value(entry, "sentences", list, where)):
            if not isinstance(sentence, dict):
                raise ValueError(f"{where}, sentence {place}: expected an object with raw, sentid")
            here = f"{where}, sentence {place}"
            number = str(value(sentence, "sentid", int, here))
            once(texts, number, here, "caption")
            captions.append((number, value(sentence, "raw", str, here)))
        picture = f"{folder}/{name}" if folder else name
        once(pictures, picture, where, "picture")
        entries.append(Captioned(picture, tuple(captions), where))
    if not entries:
        raise ValueError(f"{file} has no picture of split {split!r}; {SENTENCES}")
    return entries


def read_coco(listed: Path, annotations: Path) -> list[Captioned]:
    """The pictures of a list (``val2014/….jpg ID`` a line) with COCO's own captions.

    Raises:
        ValueError: a line of another shape, a picture or a caption twice, or no captions.
    """
    by_image: dict[int, list[tuple[str, str]]] = {}
    texts: dict[str, str] = {}
    content = read_json(annotations, dict)
    for where, entry in rows_of(value(content, "annotations", list, str(annotations)), annotations):
        image = value(entry, "image_id", int, where)
        caption = (str(value(entry, "id", int, where)), value(entry, "caption", str, where))
        once(texts, caption[0], where, "caption")
        by_image.setdefault(image, []).append(caption)
    entries, seen = [], set()
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{listed}, line {number}"
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or not parts[1].isdigit():
            raise ValueError(f"{where}: {line!r}; expected a path and the picture's number")
        if int(parts[1]) in seen:
            raise ValueError(f"{where}: picture {parts[1]} is listed twice; keep one line")
        seen.add(int(parts[1]))
        captions = by_image.get(int(parts[1]))
        if not captions:
            raise ValueError(f"{where}: {annotations} has no caption of picture {parts[1]}")
        entries.append(Captioned(parts[0], tuple(captions), where))
    if not entries:
        raise ValueError(f"{listed} is empty; expected a path and a number a line")
    return entries


def only_listed(entries: Iterable[Captioned], wanted: Path) -> list[Captioned]:
    """The captions whose ids a file lists, one a line.

    Raises:
        ValueError: an id twice, or one that no caption has.
    """
    lines: dict[str, int] = {}
    for number, line in enumerate(wanted.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() in lines:
            raise ValueError(f"{wanted}, line {number}: {line.strip()} stands twice; keep one")
        if line.strip():
            lines[line.strip()] = number
    left = dict(lines)
    kept = []
    for entry in entries:
        captions = tuple(each for each in entry.captions if left.pop(each[0], None) is not None)
        kept.append(replace(entry, captions=captions))
    if left:
        name, number = next(iter(left.items()))
        raise ValueError(
            f"{wanted}, line {number}: no caption of the test split has id {name} (nor have "
            f"{len(left) - 1:,} others); the list is of another split"
        )
    return kept


def chosen_folds(options: Mapping[str, str]) -> int:
    """How many parts the gallery is divided into.

    Raises:
        ValueError: neither 1 nor 5.
    """
    if options.get("folds", "1") not in ("1", "5"):
        raise ValueError(f"coco: folds={options['folds']!r}; expected 1 (5K) or 5 (1K)")
    return int(options.get("folds", "1"))


def _task(entries: Sequence[Captioned], pictures: FilePictures, data: str, space: str) -> Task:
    bare = next((entry for entry in entries if not entry.captions), None)
    if bare is not None:
        raise ValueError(f"{bare.where}: picture {bare.id!r} has no caption; give it one")
    return Task(
        images=tuple(entry.id for entry in entries),
        queries=tuple(
            Query(name, Dialogue(id=name).user(text), targets=(entry.id,))
            for entry in entries
            for name, text in entry.captions
        ),
        pictures=pictures,
        data=data,
        space=space,
    )


def _rows_by(own: np.ndarray, count: int) -> list[np.ndarray]:
    """For each picture the rows of its captions."""
    order = np.argsort(own, kind="stable")
    edges = np.searchsorted(own[order], np.arange(1, count))
    return list(np.split(order, edges))


def _mean_over_parts(
    samples: dict[str, np.ndarray], of_text: np.ndarray, of_image: np.ndarray, folds: int
) -> dict[str, float]:
    """Each part counts alike, however many captions it has."""
    if folds == 1:
        return means(samples)
    found = {}
    for name, values in samples.items():
        part = of_text if name.startswith(TO_IMAGE) else of_image
        found[name] = float(np.mean([values[part == n].mean() for n in range(folds)]))
    return found


FLICKR30K = Flickr30K()
COCO = Coco()
