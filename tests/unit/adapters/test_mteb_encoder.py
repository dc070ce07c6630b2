from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("mteb", reason="MTEB is not installed: pip install 'chatsearcher[mteb]'")

import mteb
import torch
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.models_protocols import EncoderProtocol
from PIL import Image as PILImages

from chatsearcher.adapters.mteb_encoder import RetrieverEncoder
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.retrievers import CHECKPOINTS, load_retriever
from chatsearcher.world.captioned import captioned
from chatsearcher.world.pictures import load
from tests.fixtures.histogram import HistogramRetriever

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (30, 60, 220)}


def task_of(category: str, queries: dict[str, list], corpus: dict[str, list]) -> Any:
    """A retrieval task in memory: query n is answered by document n."""
    modalities = {"t": "text", "i": "image"}

    class Own(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name=f"Own{category.upper()}",
            type="Any2AnyRetrieval",
            category=category,
            modalities=sorted({modalities[letter] for letter in category if letter != "2"}),
            description="Query n is answered by document n.",
            dataset={"path": "none", "revision": "none"},
            eval_langs=["eng-Latn"],
            main_score="hit_rate_at_1",
        )

        def load_data(self, **kwargs: Any) -> None:
            count = len(next(iter(queries.values())))
            split = {
                "queries": Dataset.from_dict({"id": [f"q{n}" for n in range(count)], **queries}),
                "corpus": Dataset.from_dict(
                    {"id": [f"d{n}" for n in range(len(next(iter(corpus.values()))))], **corpus}
                ),
                "relevant_docs": {f"q{n}": {f"d{n}": 1} for n in range(count)},
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Own()


def scores(encoder: RetrieverEncoder, task: Any) -> dict[str, float]:
    found = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False)
    return found.task_results[0].scores["test"][0]


def plain(colour: str, size: int) -> Any:
    return PILImages.new("RGB", (size, size), COLOURS[colour])


HISTOGRAM = RetrieverEncoder("histogram", retriever=HistogramRetriever())
NAMES = list(COLOURS)
PICTURES = [plain(name, 8 + row) for row, name in enumerate(NAMES)]


def test_it_is_an_encoder_of_mteb() -> None:
    assert isinstance(HISTOGRAM, EncoderProtocol)
    meta = HISTOGRAM.mteb_model_meta
    assert meta.name == "chatsearcher/histogram"
    assert meta.embed_dim == 11
    with pytest.raises(ValueError, match="mean nothing here: colour"):
        RetrieverEncoder("histogram", retriever=HistogramRetriever(), colour="red")


@pytest.mark.parametrize(
    ("category", "queries", "corpus"),
    [
        ("t2i", {"text": NAMES}, {"image": PICTURES}),
        ("i2t", {"image": PICTURES}, {"text": NAMES}),
        ("i2i", {"image": PICTURES}, {"image": PICTURES}),
        ("it2i", {"text": ["lighter"] * 3, "image": PICTURES}, {"image": PICTURES}),
        ("t2t", {"text": NAMES}, {"text": NAMES}),
    ],
)
def test_words_and_pictures_reach_the_right_side(category, queries, corpus) -> None:
    assert scores(HISTOGRAM, task_of(category, queries, corpus))["main_score"] == 1.0


def test_a_wrong_answer_counts_as_one() -> None:
    task = task_of("t2i", {"text": ["red", "green", "red"]}, {"image": PICTURES})
    assert scores(HISTOGRAM, task)["main_score"] == pytest.approx(2 / 3, abs=1e-4)


def test_earlier_turns_are_read_as_turns() -> None:
    seen: list[Dialogue] = []

    class Listening(HistogramRetriever):
        def encode_queries(self, dialogues):
            seen.extend(dialogues)
            return super().encode_queries(dialogues)

    encoder = RetrieverEncoder("listening", "1", retriever=Listening())
    turns = [
        {"role": "user", "content": "a cat"},
        {"role": "assistant", "content": "which colour"},
        {"role": "user", "content": "red"},
    ]
    task = task_of("t2i", {"text": [turns]}, {"image": PICTURES})
    assert scores(encoder, task)["main_score"] == 1.0
    assert [turn.role for turn in seen[0].turns] == ["user", "assistant", "user"]
    assert seen[0].text == "a cat which colour red"


def test_what_has_no_place_is_refused() -> None:
    task = task_of("t2it", {"text": NAMES}, {"text": NAMES, "image": PICTURES})
    with pytest.raises(ValueError, match="no words beside it"):
        scores(HISTOGRAM, task)
    with pytest.raises(ValueError, match="audio"):
        HISTOGRAM.encode(
            [{"audio": [0]}], task_metadata=task.metadata, hf_split="test", hf_subset="default"
        )


def test_distances_are_negated() -> None:
    far = HistogramRetriever()
    far.metric = "l2"
    encoder = RetrieverEncoder("far", "1", retriever=far)
    first, second = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[3.0, 4.0], [0.0, 1.0]])
    expected = torch.tensor([[-5.0, -1.0], [0.0, -(18**0.5)]])
    torch.testing.assert_close(encoder.similarity(first, second), expected)
    torch.testing.assert_close(encoder.similarity_pairwise(first, second),
                               -torch.tensor([5.0, 18**0.5]))  # fmt: skip
    cosine = HISTOGRAM.similarity([[2.0, 0.0]], [[3.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(cosine, torch.tensor([[1.0, 0.0]]))


@pytest.mark.skipif(not (CHECKPOINTS / "nano").is_dir(), reason="the checkpoint nano is not there")
def test_nano_runs_a_task_and_scores_as_its_vectors_do() -> None:
    nano = load_retriever("nano", "cpu")
    rows = list(captioned("test:16"))
    words = [caption for _, caption, _ in rows]
    pictures = [load(name) for name, _, _ in rows]
    encoder = RetrieverEncoder("nano", retriever=nano)
    found = scores(encoder, task_of("t2i", {"text": words}, {"image": pictures}))
    queries = nano.encode_queries([Dialogue().user(text) for text in words])
    similarity = queries @ nano.encode_images(pictures).T
    first = (similarity.argmax(axis=1) == np.arange(16)).mean()
    assert found["main_score"] == pytest.approx(first, abs=1 / 16)  # batches round differently
    assert found["main_score"] > 0.5  # chance 0.06; measured 1.0
    edit = task_of("it2i", {"text": words, "image": pictures[::-1]}, {"image": pictures})
    shown = [
        Dialogue().user(Image(f"picture {row}", pixels=seen), text)
        for row, (text, seen) in enumerate(zip(words, pictures[::-1], strict=True))
    ]
    similarity = nano.encode_queries(shown) @ nano.encode_images(pictures).T
    first = (similarity.argmax(axis=1) == np.arange(16)).mean()
    assert scores(encoder, edit)["main_score"] == pytest.approx(first, abs=1 / 16)
