"""Benchmarks, by name. They know retrievers by their protocol only, never by their class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chatsearcher.registry import Registry

if TYPE_CHECKING:
    from chatsearcher.benchmarks.card import Card
    from chatsearcher.benchmarks.results import Result
    from chatsearcher.benchmarks.single_query import GalleryVectors

BENCHMARKS = Registry(
    "benchmark",
    {
        "world-t": "chatsearcher.benchmarks.world:WORLD_T",
        "world-i": "chatsearcher.benchmarks.world:WORLD_I",
        "world-m": "chatsearcher.benchmarks.world:WORLD_M",
        "world-t-val": "chatsearcher.benchmarks.world:WORLD_T_VAL",
        "world-i-val": "chatsearcher.benchmarks.world:WORLD_I_VAL",
        "world-m-val": "chatsearcher.benchmarks.world:WORLD_M_VAL",
        "real-openstax": "chatsearcher.benchmarks.real:OPENSTAX",
        "real-openmoji": "chatsearcher.benchmarks.real:OPENMOJI",
        "real-edits": "chatsearcher.benchmarks.real:EDITS",
        "real-openstax-val": "chatsearcher.benchmarks.real:OPENSTAX_VAL",
        "real-openmoji-val": "chatsearcher.benchmarks.real:OPENMOJI_VAL",
        "real-edits-val": "chatsearcher.benchmarks.real:EDITS_VAL",
        "world-decision": "chatsearcher.benchmarks.decision:WORLD_DECISION",
        "world-decision-val": "chatsearcher.benchmarks.decision:WORLD_DECISION_VAL",
        "world-rounds": "chatsearcher.benchmarks.world_rounds:WORLD_ROUNDS",
        "world-rounds-val": "chatsearcher.benchmarks.world_rounds:WORLD_ROUNDS_VAL",
        "world-interactive": "chatsearcher.benchmarks.world_interactive:TEST",
        "world-interactive-val": "chatsearcher.benchmarks.world_interactive:VAL",
        "chatsearch-t": "chatsearcher.benchmarks.chatsearch:CHATSEARCH_T",
        "chatsearch-i": "chatsearcher.benchmarks.chatsearch:CHATSEARCH_I",
        "chatsearch-m": "chatsearcher.benchmarks.chatsearch:CHATSEARCH_M",
        "chatir-visdial": "chatsearcher.benchmarks.chatir:VISDIAL",
        "chatir-chatgpt": "chatsearcher.benchmarks.chatir:CHATGPT",
        "chatir-human": "chatsearcher.benchmarks.chatir:HUMAN",
        "chatir-flan": "chatsearcher.benchmarks.chatir:FLAN",
        "chatir-unanswered": "chatsearcher.benchmarks.chatir:UNANSWERED",
        "chatir-coco": "chatsearcher.benchmarks.chatir:COCO",
        "chatir-flickr30k": "chatsearcher.benchmarks.chatir:FLICKR30K",
        "plugir": "chatsearcher.benchmarks.chatir:PLUGIR",
        "cirr-val": "chatsearcher.benchmarks.cirr:VAL",
        "cirr-test1": "chatsearcher.benchmarks.cirr:TEST1",
        "circo-val": "chatsearcher.benchmarks.circo:VAL",
        "circo-test": "chatsearcher.benchmarks.circo:TEST",
        "genecis-focus-attribute": "chatsearcher.benchmarks.genecis:FOCUS_ATTRIBUTE",
        "genecis-change-attribute": "chatsearcher.benchmarks.genecis:CHANGE_ATTRIBUTE",
        "genecis-focus-object": "chatsearcher.benchmarks.genecis:FOCUS_OBJECT",
        "genecis-change-object": "chatsearcher.benchmarks.genecis:CHANGE_OBJECT",
        "flickr30k": "chatsearcher.benchmarks.karpathy:FLICKR30K",
        "coco": "chatsearcher.benchmarks.karpathy:COCO",
        "fashioniq-dress-paper": "chatsearcher.benchmarks.fashioniq.single:DRESS_PAPER",
        "fashioniq-dress-joined": "chatsearcher.benchmarks.fashioniq.single:DRESS_JOINED",
        "fashioniq-dress-both-orders": "chatsearcher.benchmarks.fashioniq.single:DRESS_ORDERS",
        "fashioniq-dress-val-pool": "chatsearcher.benchmarks.fashioniq.single:DRESS_POOL",
        "fashioniq-shirt-paper": "chatsearcher.benchmarks.fashioniq.single:SHIRT_PAPER",
        "fashioniq-shirt-joined": "chatsearcher.benchmarks.fashioniq.single:SHIRT_JOINED",
        "fashioniq-shirt-both-orders": "chatsearcher.benchmarks.fashioniq.single:SHIRT_ORDERS",
        "fashioniq-shirt-val-pool": "chatsearcher.benchmarks.fashioniq.single:SHIRT_POOL",
        "fashioniq-toptee-paper": "chatsearcher.benchmarks.fashioniq.single:TOPTEE_PAPER",
        "fashioniq-toptee-joined": "chatsearcher.benchmarks.fashioniq.single:TOPTEE_JOINED",
        "fashioniq-toptee-both-orders": "chatsearcher.benchmarks.fashioniq.single:TOPTEE_ORDERS",
        "fashioniq-toptee-val-pool": "chatsearcher.benchmarks.fashioniq.single:TOPTEE_POOL",
        "fashioniq-dialogue-dress": "chatsearcher.benchmarks.fashioniq.dialogue:DRESS",
        "fashioniq-dialogue-shirt": "chatsearcher.benchmarks.fashioniq.dialogue:SHIRT",
        "fashioniq-dialogue-toptee": "chatsearcher.benchmarks.fashioniq.dialogue:TOPTEE",
        "fashioniq-captions-dress": "chatsearcher.benchmarks.fashioniq.captions:DRESS",
        "fashioniq-captions-shirt": "chatsearcher.benchmarks.fashioniq.captions:SHIRT",
        "fashioniq-captions-toptee": "chatsearcher.benchmarks.fashioniq.captions:TOPTEE",
        "vqav2": "chatsearcher.benchmarks.answers.vqav2:VQAV2",
        "gqa": "chatsearcher.benchmarks.answers.gqa:TESTDEV",
        "mmbench": "chatsearcher.benchmarks.answers.mmbench:MMBENCH",
        "seed": "chatsearcher.benchmarks.answers.seed:IMAGES",
    },
)
# What `chatsearcher score NAME` reads: objects with `score_predictions(path, context) -> Result`.
# A name may stand for several benchmarks, where the file itself says which one it is of.
SCORERS = Registry(
    "format of predictions",
    {
        "cirr": "chatsearcher.benchmarks.cirr:SUBMISSION",
        "circo": "chatsearcher.benchmarks.circo:SUBMISSION",
        "fashioniq-captions": "chatsearcher.benchmarks.fashioniq.captions:PREDICTIONS",
        "vqav2": "chatsearcher.benchmarks.answers.vqav2:VQAV2",
        "gqa": "chatsearcher.benchmarks.answers.gqa:TESTDEV",
        "mmbench": "chatsearcher.benchmarks.answers.mmbench:MMBENCH",
        "seed": "chatsearcher.benchmarks.answers.seed:IMAGES",
    },
)
# One name for several benchmarks.
SUITES: dict[str, tuple[str, ...]] = {
    "world": ("world-t", "world-i", "world-m"),
    "world-val": ("world-t-val", "world-i-val", "world-m-val"),
    "chatsearch": ("chatsearch-t", "chatsearch-i", "chatsearch-m"),
    "genecis": (
        "genecis-focus-attribute",
        "genecis-change-attribute",
        "genecis-focus-object",
        "genecis-change-object",
    ),
    "fashioniq-paper": (
        "fashioniq-dress-paper",
        "fashioniq-shirt-paper",
        "fashioniq-toptee-paper",
    ),
    "fashioniq-joined": (
        "fashioniq-dress-joined",
        "fashioniq-shirt-joined",
        "fashioniq-toptee-joined",
    ),
    "fashioniq-both-orders": (
        "fashioniq-dress-both-orders",
        "fashioniq-shirt-both-orders",
        "fashioniq-toptee-both-orders",
    ),
    "fashioniq-val-pool": (
        "fashioniq-dress-val-pool",
        "fashioniq-shirt-val-pool",
        "fashioniq-toptee-val-pool",
    ),
}
# suite -> "module:function" (name, results) -> Result.
JOINTS = Registry(
    "joint figure",
    {
        "world": "chatsearcher.benchmarks.world:suite_result",
        "world-val": "chatsearcher.benchmarks.world:suite_result",
        "chatsearch": "chatsearcher.benchmarks.results:joint_result",
        "genecis": "chatsearcher.benchmarks.results:joint_result",
        "fashioniq-paper": "chatsearcher.benchmarks.fashioniq.single:suite_result",
        "fashioniq-joined": "chatsearcher.benchmarks.fashioniq.single:suite_result",
        "fashioniq-both-orders": "chatsearcher.benchmarks.fashioniq.single:suite_result",
        "fashioniq-val-pool": "chatsearcher.benchmarks.fashioniq.single:suite_result",
    },
)


@dataclass
class Context:
    """What a run needs besides the system.

    Attributes:
        spec: how the system was named on the command line; written into the result.
        vectors: image vectors that are known already; benchmarks on one gallery share them.
        progress: called as ``progress(what, done, total)``.
        data_root: the folder of the benchmark's data, as its publisher lays it out.
        prompt: the name of one of the benchmark's prompts; the first of them by default.
        options: the benchmark's own settings by name (``Card.options``).
        submission: a folder for official submission files.
    """

    spec: str = ""
    vectors: GalleryVectors | None = None
    progress: Callable[[str, int, int], None] | None = None
    data_root: Path | None = None
    prompt: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    submission: Path | None = None


class Benchmark(Protocol):
    """A named measurement of a system.

    Those that vectors are enough for are ``vector_benchmark.VectorBenchmark``, which adds reading
    (``load``), scoring (``score``), files of vectors (``run_features``) and submissions.
    """

    @property
    def name(self) -> str: ...

    @property
    def card(self) -> Card: ...

    def run(self, system: Any, context: Context | None = None) -> Result: ...


def expand(names: Sequence[str]) -> list[str]:
    """Suites replaced by their benchmarks, each name once, in order.

    Raises:
        ValueError: an unknown name, with the nearest known one.
    """
    flat = [part for name in names for part in SUITES.get(name, (name,))]
    for name in flat:
        BENCHMARKS[name]
    return list(dict.fromkeys(flat))
