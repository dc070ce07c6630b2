from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.answers.asking import Answerer
from chatsearcher.benchmarks.answers.seed import Likelihoods
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.model import ChatSearcherModel
from chatsearcher.model.generation import ChatSession
from chatsearcher.retrievers.chatsearcher import ChatSearcherRetriever
from tests.fixtures.miniatures.answers import make_seed, make_vqav2
from tests.fixtures.tiny import picture, tiny_config, tiny_processor


def retriever(**options) -> ChatSearcherRetriever:
    torch.manual_seed(0)
    model = ChatSearcherModel(tiny_config())
    return ChatSearcherRetriever(model, tiny_processor(), "cpu", torch.float32, **options)


def shown(number: int) -> Image:
    return Image(f"picture {number}", pixels=picture(number))


TALKS = [
    Dialogue().user(shown(1), "how many dogs?"),
    Dialogue().user("a cat").assistant(shown(2)).user("which colour?"),
    Dialogue().user("a bird or a chair?"),
]
ANSWERS = [["three", "two blue birds"], ["red"], ["a bird", "a green chair", ""]]


def slow(system: ChatSearcherRetriever, dialogue: Dialogue, answer: str) -> float:
    """Token after token, through the cache of a conversation."""
    session = ChatSession(system.model, system.processor)
    session.read(dialogue)
    tokenizer = system.processor.tokenizer
    ids = tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
    total = 0.0
    for token in [*ids, tokenizer.eos_token_id]:
        total += session._read()[0].double().log_softmax(-1)[token].item()
        session._history.ids.append(token)
        session._last = None
    return total


def test_likelihoods_are_those_of_generating_token_after_token() -> None:
    system = retriever()
    found = system.log_likelihoods(TALKS, ANSWERS)
    assert [len(each) for each in found] == [2, 1, 3]
    expected = [
        [slow(system, dialogue, answer) for answer in answers]
        for dialogue, answers in zip(TALKS, ANSWERS, strict=True)
    ]
    for mine, theirs in zip(found, expected, strict=True):  # measured 8e-7
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    single = retriever(token_budget=1).log_likelihoods(TALKS, ANSWERS)
    for mine, theirs in zip(found, single, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert system.log_likelihoods([], []) == []


def test_an_answer_is_words_even_where_a_picture_is_likelier() -> None:
    system = retriever(max_new_tokens=4)
    system.search_threshold = 0.0
    assert all(system.reply(talk).query is not None for talk in TALKS)
    words = system.answer(TALKS)
    session = ChatSession(system.model, system.processor)
    for talk, said in zip(TALKS, words, strict=True):
        session.read(talk)
        assert said == session.generate(4, allow_search=False).text
    with pytest.raises(ValueError, match="nothing to answer"):
        system.answer([Dialogue()])


def test_it_takes_the_tests_of_questions_about_pictures(tmp_path: Path) -> None:
    system = retriever(max_new_tokens=3)
    assert isinstance(system, Answerer)
    assert isinstance(system, Likelihoods)
    result = BENCHMARKS["seed"].run(system, Context(data_root=make_seed(tmp_path / "seed")))
    assert result.settings["way"].startswith("likelihood")
    assert result.counts["queries"] == 8
    result = BENCHMARKS["vqav2"].run(system, Context(data_root=make_vqav2(tmp_path / "vqa")))
    assert result.settings["answers"] == "in words only"
    assert result.counts["answers with a picture"] == 0
