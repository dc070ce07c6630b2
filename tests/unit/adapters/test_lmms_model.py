from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "lmms_eval.api.model", reason="lmms-eval is not installed: pip install 'chatsearcher[lmms]'"
)

import numpy as np
import torch
from lmms_eval.api.instance import Instance
from lmms_eval.evaluator import simple_evaluate
from lmms_eval.models.registry_v2 import ModelRegistryV2
from lmms_eval.tasks import TaskManager

from chatsearcher.adapters.lmms_model import ChatModel, SimpleModel
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.model import ChatSearcherModel
from chatsearcher.retrievers.chatsearcher import ChatSearcherRetriever
from tests.fixtures.histogram import HistogramRetriever
from tests.fixtures.tiny import picture, tiny_config, tiny_processor

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    {"picture": "1.png", "question": "how many dogs?", "answer": "1", "choices": ["1", "22"]},
    {"picture": "2.png", "question": "which one?", "answer": "2", "choices": ["11", "2"]},
    {"picture": "1.png", "question": "and here?", "answer": "3", "choices": ["4", "3"]},
]
UTILS = """
from pathlib import Path
from PIL import Image

def visual(doc):
    return [Image.open(Path(__file__).parent / doc["picture"])]

def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]

def results(doc, results):
    return {"right": float(results[0] == doc["answer"])}
"""
COMMON = """
dataset_path: json
dataset_kwargs:
  data_files: {data}
test_split: train
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
metadata:
  - version: 0.0
"""
GENERATE = """
task: own_words
output_type: generate_until
generation_kwargs:
  max_new_tokens: 4
  temperature: 0
  do_sample: false
process_results: !function utils.results
metric_list:
  - metric: right
    aggregation: mean
    higher_is_better: true
"""
CHOOSE = """
task: own_choices
output_type: multiple_choice
doc_to_choice: choices
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


class Clerk:
    """Answers with how many user's turns, pictures and words it saw; likes short answers."""

    def __init__(self) -> None:
        self.max_new_tokens = 64
        self.heard: list[tuple[Dialogue, int]] = []

    def answer(self, dialogues: Sequence[Dialogue]) -> list[str]:
        self.heard += [(dialogue, self.max_new_tokens) for dialogue in dialogues]
        return [str(len(dialogue.images)) for dialogue in dialogues]

    def log_likelihoods(
        self, dialogues: Sequence[Dialogue], answers: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        return [[-float(len(text)) for text in texts] for texts in answers]


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskManager:
    """Two tasks in files, as lmms-eval reads them with --include_path."""
    for name in (1, 2):
        picture(name).save(tmp_path / f"{name}.png")
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    (tmp_path / "utils.py").write_text(UTILS, encoding="utf-8")
    common = COMMON.format(data=data)
    (tmp_path / "own_words.yaml").write_text(GENERATE + common, encoding="utf-8")
    (tmp_path / "own_choices.yaml").write_text(CHOOSE + common, encoding="utf-8")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return TaskManager(include_path=str(tmp_path), include_defaults=False)


def figures(model: Any, task: str, manager: TaskManager) -> dict[str, Any]:
    found = simple_evaluate(model=model, tasks=[task], task_manager=manager, bootstrap_iters=0)
    return found["results"][task]


def request(kind: str, arguments: tuple[Any, ...]) -> Instance:
    metadata = {"task": "own", "doc_id": 0, "repeats": 1}
    return Instance(kind, arguments, 0, metadata)


def words(messages: list[dict[str, Any]], **settings: Any) -> Instance:
    arguments = ("", lambda doc: messages, {"max_new_tokens": 8, **settings}, 0, "own", "test")
    return request("generate_until", arguments)


def chat(system: Any, kind: type[ChatModel] = ChatModel) -> ChatModel:
    model = kind(system, "cpu")
    model.task_dict = {"own": {"test": [{"picture": picture(1)}]}}
    return model


@pytest.mark.parametrize("kind", [ChatModel, SimpleModel])
def test_a_task_of_words_runs_end_to_end(kind, tasks) -> None:
    clerk = Clerk()
    assert figures(kind(clerk, "cpu"), "own_words", tasks)["right,none"] == pytest.approx(1 / 3)
    assert [dialogue.text for dialogue, _ in clerk.heard] == [row["question"] for row in ROWS]
    assert {limit for _, limit in clerk.heard} == {4}
    assert clerk.max_new_tokens == 64  # as before
    first, second, third = [dialogue.images[0] for dialogue, _ in clerk.heard]
    assert first.id == third.id != second.id
    assert np.array_equal(np.asarray(second.pixels), np.asarray(picture(2)))


def test_the_likeliest_choice_is_the_one_taken(tasks) -> None:
    # The shorter answer is the likelier: rows 0 and 1 are right, row 2 is a tie and the first
    # choice is taken.
    found = figures(SimpleModel(Clerk(), "cpu"), "own_choices", tasks)
    assert found["acc,none"] == pytest.approx(2 / 3)


def test_a_model_answers_and_weighs_as_the_retriever_does() -> None:
    torch.manual_seed(0)
    system = ChatSearcherRetriever(
        ChatSearcherModel(tiny_config()), tiny_processor(), "cpu", torch.float32
    )
    content = [{"type": "image", "url": picture(1)}, {"type": "text", "text": "how many dogs?"}]
    (said,) = chat(system).generate_until([words([{"role": "user", "content": content}])])
    talk = Dialogue().user(Image("1", pixels=picture(1)), "how many dogs?")
    system.max_new_tokens = 8
    assert said == system.answer([talk])[0]
    arguments = [
        ("how many dogs?", f" {text}", lambda doc: [doc["picture"]], 0, "own", "test")
        for text in ("three", "two blue birds")
    ]
    simple = chat(system, SimpleModel)
    found = simple.losses([request("loglikelihood", each) for each in arguments])
    expected = system.log_likelihoods([talk], [["three", "two blue birds"]])[0]
    np.testing.assert_allclose([loss for loss, _ in found], -np.array(expected), rtol=1e-5)
    assert [greedy for _, greedy in found] == [False, False]


def test_greedy_is_what_the_system_says() -> None:
    arguments = [("a <image> b", text, lambda doc: [picture(1)], 0, "own", "test") for text in "10"]
    clerk = Clerk()
    found = chat(clerk, SimpleModel).losses(
        [request("loglikelihood", each) for each in arguments]
        + [request("loglikelihood", ("", "22"))]
    )
    assert found == [(1.0, True), (1.0, False), (2.0, False)]
    assert len(clerk.heard) == 2  # once a question
    assert [type(part).__name__ for part in clerk.heard[0][0].turns[0].content] == [
        "Text", "Image", "Text",
    ]  # fmt: skip


def test_turns_and_stops() -> None:
    clerk = Clerk()
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "content": [{"type": "image", "url": picture(1)}]},
        {"role": "assistant", "content": [{"type": "text", "text": "yes?"}]},
        {"role": "user", "content": "how many?"},
    ]
    model = chat(clerk)
    assert model.generate_until([words(messages)]) == ["1"]
    assert [turn.role for turn in clerk.heard[0][0].turns] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert model.generate_until([words(messages, until=["\n\n", "1"])]) == [""]


def test_rounds_go_on_until_the_task_ends_them() -> None:
    def rounds(doc, round_idx=None, previous_output=None, previous_round_info=None):
        image = {"type": "image", "url": doc["picture"]}
        if round_idx is None:
            return [{"role": "user", "content": [image]}]
        if round_idx == 2:
            return None, True, previous_output, previous_round_info
        said = {"type": "text", "text": f"you said {previous_output[-1]}"}
        return [{"role": "user", "content": [image, image, said]}], False, previous_output, "info"

    clerk = Clerk()
    arguments = ("", rounds, {"max_new_tokens": 8}, 0, "own", "test")
    found = chat(clerk).generate_until_multi_round([request("generate_until", arguments)])
    assert found == [["1", "2"]]
    assert clerk.heard[1][0].text == "you said 1"


def test_what_it_cannot_do_is_refused() -> None:
    model = chat(Clerk())
    for content, message in (
        ([{"type": "video", "url": "a.mp4"}], "own, test, row 0: video"),
        ([{"type": "image", "url": "https://somewhere/a.png"}], "not fetched"),
        ([{"type": "image", "url": 3}], "expected a picture, got int"),
    ):
        with pytest.raises(ValueError, match=message):
            model.generate_until([words([{"role": "user", "content": content}])])
    with pytest.raises(ValueError, match="do not end in a user's turn"):
        model.generate_until([words([{"role": "assistant", "content": "hm"}])])
    for settings in ({"temperature": 0.7}, {"do_sample": True}, {"num_beams": 5}):
        with pytest.raises(ValueError, match="sampling or beams"):
            model.generate_until([words([{"role": "user", "content": "hm"}], **settings)])
    with pytest.raises(ValueError, match="does not answer in words"):
        ChatModel(HistogramRetriever(), "cpu")  # type: ignore[arg-type]


def test_lmms_eval_finds_it_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition('[project.entry-points."lmms_eval.models"]\n')[2]
    line = section.partition("\n\n")[0]
    folder = tmp_path / "chatsearcher_probe-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: chatsearcher-probe\nVersion: 1")
    (folder / "entry_points.txt").write_text(
        "[lmms_eval.models]\n" + line.replace('"', "") + "\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert str(tmp_path) in sys.path
    registry = ModelRegistryV2()
    registry.load_entrypoint_manifests()
    assert registry.get_model_class("chatsearcher") is ChatModel
    assert registry.get_model_class("chatsearcher", force_simple=True) is SimpleModel
