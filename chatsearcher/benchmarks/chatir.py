"""ChatIR (Levy et al., NeurIPS 2023) and PlugIR (Lee et al., ACL 2024): ten rounds of questions and
answers about one picture, the whole dialogue being the query of every round.

A file of dialogues is a list of ``{"img", "dialog": [11 strings]}``: a caption, then ten rounds
``question? answer``. Rules (the authors' script): the query of round r is the first r + 1 strings
joined by ``", "``; unit vectors, dot product. PlugIR's strings are rewritten captions, of which the
r-th alone is the query of round r.

Traps: a round is never divided into question and answer, as many lack a ``?``, have several, or
hold a stray ``Answer:`` and line breaks. The questions of ``Human_BLIP2.json`` are rotated (10, 1,
…, 9) and scored as they lie. The public scripts ignore their K, break ties arbitrarily and print
neither recall nor ATR (ChatIR) or leave the logarithm out of BRI (PlugIR at first).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    find_file,
    once,
    read_json,
    rows_of,
    strings,
    value,
)
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.ranking import target_ranks
from chatsearcher.benchmarks.rounds import LOWER, MEANING, METRICS, dialogue_figures, rank_table
from chatsearcher.benchmarks.task import FilePictures, Query, Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark
from chatsearcher.benchmarks.vectors import Vectors
from chatsearcher.dialogue import Dialogue

Form = Literal["joined", "turns", "alone"]
FORMS: tuple[Form, ...] = ("joined", "turns", "alone")
STRINGS = 11
PROMPTS = {PLAIN: "{text}", "show-1": "Show me a picture of this: {text}"}
SEPARATOR = ", "
REPETITIONS, REPEATED, UNIQUE = "question repetitions", "repeated questions", "unique tokens"
CHATIR_SPACE = "ChatIR_Protocol/Search_Space_val_50k.json"
SOURCE = "Levy et al., NeurIPS 2023; github.com/levymsn/ChatIR"
MADE = "those of the paper were never released: dialogues of one's own, in the same format"
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class ChatIRSet:
    """What tells one set from another.

    Attributes:
        name: the registered name.
        dialogues: the file under the data root.
        spaces: where the gallery's list may lie under it; the first that exists counts.
        sizes: official counts.
        form: how a query is made of the strings.
        space: the set that picture ids are unique in.
        has_questions: whether the strings are questions with answers.
    """

    name: str
    dialogues: str
    spaces: tuple[str, ...]
    sizes: Mapping[str, int]
    source: str
    form: Form = "joined"
    space: str = "coco-2017-files"
    has_questions: bool = True


@dataclass(frozen=True)
class DialogueTask(Task):
    """A task that remembers what was said, whatever prompt is put around it.

    Attributes:
        said: picture -> the strings of its dialogue.
    """

    said: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class ChatIR(VectorBenchmark):
    """One set of dialogues over one gallery."""

    def __init__(self, facts: ChatIRSet) -> None:
        self.facts = facts
        language = (REPETITIONS, REPEATED, UNIQUE) if facts.has_questions else (UNIQUE,)
        how = {
            "joined": 'the strings up to the round joined by ", "',
            "turns": "each string up to the round as a user's turn",
            "alone": "the round's own string",
        }
        self._card = Card(
            name=facts.name,
            data=f"{facts.dialogues} and {' or '.join(facts.spaces)}; the pictures under the names "
            "that the list gives, beside them or under images/",
            sizes=facts.sizes,
            metrics=(*METRICS, *language),
            primary=METRICS[0],
            protocol=f"recorded rounds 0 to {STRINGS - 1}; a query is {how[facts.form]}; "
            f"the whole list is the gallery; {MEANING}",
            source=facts.source,
            lower=LOWER,
            undirected=frozenset(language),
            prompts=PROMPTS,
            options={
                "form": f"what a query is made of: {'; '.join(f'{k}, {v}' for k, v in how.items())}"
                f" ({facts.form})",
                "dialogues": f"another file of dialogues under the data root ({facts.dialogues})",
            },
        )

    @property
    def card(self) -> Card:
        return self._card

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Read the dialogues and the gallery; see ``VectorBenchmark.load``."""
        root = data_root(root, self.name, self.card.data)
        remedy = f"see {self.facts.source}"
        chosen = options.get("dialogues", self.facts.dialogues)
        file = find_file(root, chosen, remedy=remedy)
        listed = find_gallery(root, self.facts.spaces, remedy)
        gallery = read_gallery(listed)
        records = read_dialogues(file, frozenset(gallery), listed.name)
        form = chosen_form(options.get("form", self.facts.form), self.name)
        return DialogueTask(
            images=gallery,
            queries=tuple(
                query for image, rounds in records.items() for query in queries(image, rounds, form)
            ),
            pictures=FilePictures(root, lambda id: (id, f"images/{id}")),
            data=checksum(root, [file], "gallery", *gallery),
            space=self.facts.space,
            said=records,
        )

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """Rank every round of every dialogue, and look at the words."""
        ranks = target_ranks(
            vectors.queries, vectors.images, task.target_rows(), metric=vectors.metric
        )
        figures = dialogue_figures(rank_table(task.queries, ranks), ranks)
        samples = dict(figures.samples)
        if not isinstance(task, DialogueTask):
            raise TypeError(f"{self.name}: expected the task that `load` returns")
        asked = dict.fromkeys(query.group for query in task.queries)
        rounds = [task.said[str(name)] for name in asked]
        if self.facts.has_questions:
            samples[REPETITIONS] = np.array([repetitions(said[1:]) for said in rounds], float)
            samples[REPEATED] = np.array([repeated(said[1:]) for said in rounds], float)
        samples[UNIQUE] = np.array([unique_tokens(said) for said in rounds], float)
        found = {name: float(values.mean()) for name, values in samples.items()}
        metrics = {name: {**figures.metrics, **found}[name] for name in self.card.metrics}
        return Figures(metrics, samples, ranks, figures.curves, figures.counts)


def queries(image: str, rounds: Sequence[str], form: Form) -> list[Query]:
    """One query a round; their group is the picture."""
    found = []
    for number in range(len(rounds)):
        key = f"{image}@{number}"
        dialogue = Dialogue(id=key)
        if form == "joined":
            dialogue = dialogue.user(SEPARATOR.join(rounds[: number + 1]))
        elif form == "alone":
            dialogue = dialogue.user(rounds[number])
        else:
            for said in rounds[: number + 1]:
                dialogue = dialogue.user(said)
        found.append(Query(key, dialogue, (image,), round=number, group=image))
    return found


def chosen_form(name: str, benchmark: str) -> Form:
    """One of ``FORMS``.

    Raises:
        ValueError: another name.
    """
    for form in FORMS:
        if form == name:
            return form
    raise ValueError(f"{benchmark}: form={name!r}; expected one of {', '.join(FORMS)}")


def find_gallery(root: Path, spaces: Sequence[str], remedy: str) -> Path:
    """The gallery's list; PlugIR's folder lacks it, so a ChatIR folder beside it serves too.

    Raises:
        FileNotFoundError: it is in none of the places.
    """
    beside = root.parent / "chatir" / CHATIR_SPACE
    own = any((root / name).is_file() for name in spaces)
    if CHATIR_SPACE in spaces and not own and beside.is_file():
        return beside
    return find_file(root, *spaces, remedy=remedy)


def read_gallery(file: Path) -> tuple[str, ...]:
    """A JSON list of unique names.

    Raises:
        ValueError: something that is no name, or a name twice, with its place (from 0).
    """
    seen: dict[str, int] = {}
    for place, name in enumerate(read_json(file, list)):
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"{file}, item {place}: {name!r}; expected a name such as "
                "'unlabeled2017/000000000008.jpg'"
            )
        if name in seen:
            raise ValueError(f"{file}, item {place}: {name!r} is item {seen[name]} too; keep one")
        seen[name] = place
    if not seen:
        raise ValueError(f"{file} lists no picture; expected the names of the gallery")
    return tuple(seen)


def read_dialogues(file: Path, gallery: frozenset[str], listed: str) -> dict[str, tuple[str, ...]]:
    """Picture -> the strings of its dialogue, in the file's order.

    Raises:
        ValueError: other keys, another number of strings, a picture twice or not in the gallery;
            with the row (from 0) and what to do.
    """
    found: dict[str, tuple[str, ...]] = {}
    rows: dict[str, str] = {}
    for where, entry in rows_of(read_json(file, list), file):
        image = value(entry, "img", str, where)
        said = strings(entry, "dialog", where)
        if len(said) != STRINGS:
            raise ValueError(
                f"{where}: 'dialog' has {len(said)} strings, expected {STRINGS}: the caption and "
                f"{STRINGS - 1} rounds"
            )
        blank = next((place for place, text in enumerate(said) if not text.strip()), None)
        if blank is not None:
            raise ValueError(f"{where}: 'dialog'[{blank}] is blank; every round must say something")
        once(rows, image, where, "picture")
        if image not in gallery:
            raise ValueError(
                f"{where}: {image!r} is not in {listed}; take dialogues and gallery of one set, "
                "and names as they stand there"
            )
        found[image] = tuple(said)
    if not found:
        raise ValueError(f"{file} holds no dialogue")
    return found


def question(said: str) -> str:
    """What counts as the question of a round: up to the first ``?``, all of it where there is
    none; small letters, single spaces."""
    asked, mark, _ = said.partition("?")
    return " ".join((asked + mark).lower().split())


def repetitions(rounds: Sequence[str]) -> int:
    """How many questions of a dialogue were asked before in the same words.

    The released FLAN-ALPACA file has 6.74 of ten; people and ChatGPT next to none.
    """
    return len(rounds) - len({question(said) for said in rounds})


def repeated(rounds: Sequence[str]) -> int:
    """How many different questions are asked more than once (FLAN-ALPACA: 1.66)."""
    counts = Counter(question(said) for said in rounds)
    return sum(count > 1 for count in counts.values())


def unique_tokens(strings: Sequence[str]) -> int:
    """How many different words (letters and digits, small) a dialogue has, caption included."""
    return len({word for said in strings for word in _WORDS.findall(said.lower())})


_OFFICIAL = {"queries": 2_064 * STRINGS, "gallery": 50_000, "dialogues": 2_064, "rounds": STRINGS}


def _released(name: str, file: str) -> ChatIR:
    return ChatIR(ChatIRSet(name, f"dialogues/{file}", (CHATIR_SPACE,), _OFFICIAL, SOURCE))


VISDIAL = _released("chatir-visdial", "VisDial_v1.0_queries_val.json")
CHATGPT = _released("chatir-chatgpt", "ChatGPT_BLIP2.json")
HUMAN = _released("chatir-human", "Human_BLIP2.json")
FLAN = _released("chatir-flan", "FLAN_ALPACA_XXL_BLIP2.json")
UNANSWERED = _released("chatir-unanswered", "Unanswered_ChatGPT_BLIP2.json")
COCO = ChatIR(
    ChatIRSet(
        "chatir-coco",
        "dialogues/coco.json",
        ("ChatIR_Protocol/Search_Space_coco.json", "Protocol/Search_Space_coco.json"),
        {"gallery": 5_000, "rounds": STRINGS},
        f"{SOURCE}; {MADE} (chatsearcher.roles.loop); the list of 5,000 is PlugIR's",
    )
)
FLICKR30K = ChatIR(
    ChatIRSet(
        "chatir-flickr30k",
        "dialogues/flickr30k.json",
        ("ChatIR_Protocol/Search_Space_flickr30k.json", "Protocol/Search_Space_flickr30k.json"),
        {"gallery": 30_000, "rounds": STRINGS},
        f"{SOURCE}; {MADE} (chatsearcher.roles.loop)",
        space="flickr30k-files",
    )
)
PLUGIR = ChatIR(
    ChatIRSet(
        "plugir",
        "dialogues/ours_final_q_n_5_recall_hitting_10_thres_low_500_recon_true_referring_true_"
        "filtering_true_select_true_reconed.json",
        ("Protocol/Search_Space_val_50k.json", CHATIR_SPACE),
        _OFFICIAL,
        "Lee et al., ACL 2024; github.com/Saehyung-Lee/PlugIR; the gallery is ChatIR's list, taken "
        "from there or from a folder chatir beside this one",
        form="alone",
        has_questions=False,
    )
)
