"""The multiple choice beside equation 1: what it adds up to, and that it is left out of exports."""

from __future__ import annotations

import math

import pytest
import torch

from chatsearcher.data.collate import collate
from chatsearcher.model import ChatSearcherModel
from chatsearcher.model.choices import Choices
from tests.fixtures.tiny import seeing_model, tiny_processor, tiny_samples

QUESTIONS = [("colour", 3), ("count", 2), ("colour", 3)]


def answered_batch(answers=((2, 1, -100), (0, -100, 1))):
    """Two dialogues; the answers are those of their retrieved pictures."""
    processor = tiny_processor()
    samples = tiny_samples(processor, [0, 1])
    for sample, right in zip(samples, answers, strict=True):
        (target,) = (image for image in sample.images if image.target)
        target.answers = right
    return collate(samples, processor)


def test_the_sum_is_that_of_each_question_asked():
    torch.manual_seed(0)
    choices = Choices(QUESTIONS, 4)
    vectors = torch.nn.functional.normalize(torch.randn(3, 4), dim=-1)
    answers = torch.tensor([[2, 1, -100], [0, -100, 1], [-100, -100, -100]])
    lost, right = choices(vectors, answers)
    scores = vectors * 2 @ choices.answers.weight.detach().T + choices.answers.bias.detach()
    starts = [0, 3, 5]
    expected, hits = 0.0, torch.full((3, 3), -1)
    for n, q in ((0, 0), (0, 1), (1, 0), (1, 2)):
        these = scores[n, starts[q] : starts[q] + QUESTIONS[q][1]]
        expected -= float(these.log_softmax(0)[answers[n, q]])
        hits[n, q] = int(these.argmax() == answers[n, q])
    assert float(lost.detach()) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(right, hits)


def test_an_answer_counts_like_a_word():
    """With answers that say nothing, each of the four asked of query and key costs log(size)."""
    model = seeing_model(questions=QUESTIONS).eval()
    torch.nn.init.zeros_(model.choices.answers.weight)
    torch.nn.init.zeros_(model.choices.answers.bias)
    batch = answered_batch()
    asked = model(batch)
    plain = seeing_model().eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    before = plain(batch)
    added = (asked.loss - before.loss) * asked.target_count
    assert float(added) == pytest.approx(2 * (3 * math.log(3) + math.log(2)), rel=1e-4)
    assert before.choice_accuracy is None
    assert 0 <= float(asked.choice_accuracy) <= 1


def test_queries_learn_the_answers():
    model = seeing_model(questions=QUESTIONS)
    batch = answered_batch()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        out = model(batch)
        optimiser.zero_grad()
        out.loss.backward()
        optimiser.step()
    assert float(out.choice_accuracy) == 1.0
    weights = seeing_model(questions=QUESTIONS).choices.answers.weight
    assert not torch.equal(model.choices.answers.weight, weights)


def test_pictures_of_which_nothing_is_known_cost_nothing():
    model = seeing_model(questions=QUESTIONS).eval()
    processor = tiny_processor()
    batch = collate(tiny_samples(processor, [0, 1]), processor)
    plain = seeing_model().eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    assert float(model(batch).loss) == pytest.approx(float(plain(batch).loss), rel=1e-6)


def test_dropped_questions_are_in_no_file(tmp_path):
    model = seeing_model(questions=QUESTIONS)
    model.save_pretrained(tmp_path / "asked")
    assert ChatSearcherModel.from_pretrained(tmp_path / "asked").choices is not None
    model.drop_questions()
    model.save_pretrained(tmp_path / "plain")
    loaded = ChatSearcherModel.from_pretrained(tmp_path / "plain")
    assert loaded.choices is None
    assert not [name for name in loaded.state_dict() if name.startswith("choices")]
