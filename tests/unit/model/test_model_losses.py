"""The losses in closed form."""

import math

import pytest
import torch

from chatsearcher.model.batch import IGNORE
from chatsearcher.model.language import block_mask, is_one_sample_a_row
from chatsearcher.model.losses import KeyProjection, retrieval_losses, unit, word_loss, word_targets


@pytest.mark.parametrize("entries", [1, 7, 1000])
def test_equal_embeddings_lose_log_of_the_dictionary(entries):
    same = unit(torch.ones(1, 8))
    losses, _ = retrieval_losses(
        same.expand(3, -1),
        same.expand(entries, -1),
        torch.zeros(3, dtype=torch.long),
        torch.zeros(3, entries, dtype=torch.bool),
        torch.tensor(14.3),
    )
    # float32; worst seen 4e-7
    assert losses.tolist() == pytest.approx([math.log(entries)] * 3, abs=1e-5)


def test_what_is_excluded_is_not_in_the_sum():
    same = unit(torch.ones(1, 8))
    excluded = torch.zeros(1, 10, dtype=torch.bool)
    excluded[:, 4:] = True
    losses, _ = retrieval_losses(
        same, same.expand(10, -1), torch.tensor([0]), excluded, torch.tensor(5.0)
    )
    assert losses.item() == pytest.approx(math.log(4), abs=1e-5)


def test_the_right_key_against_its_opposite_at_a_temperature():
    keys = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    losses, correct = retrieval_losses(
        keys, keys, torch.tensor([0, 0]), torch.zeros(2, 2, dtype=torch.bool), torch.tensor(2.0)
    )
    assert losses.tolist() == pytest.approx(
        [math.log(1 + math.exp(-4)), 4 + math.log(1 + math.exp(-4))], abs=1e-6
    )
    assert correct.tolist() == [True, False]


def test_uniform_logits_lose_log_vocabulary_for_each_word():
    assert word_loss(torch.zeros(5, 11), torch.arange(5)).item() == pytest.approx(5 * math.log(11))
    assert word_loss(torch.zeros(0, 11), torch.zeros(0, dtype=torch.long)).item() == 0


def test_words_are_predicted_one_before_and_in_their_own_sample():
    labels = torch.tensor([[1, 2, 3, 4, IGNORE], [5, IGNORE, 7, 8, 9]])
    segments = torch.tensor([[1, 1, 2, 2, 0], [1, 1, 1, 0, 0]])
    positions, words = word_targets(labels, segments)
    assert positions.tolist() == [0, 2, 6]
    assert words.tolist() == [2, 4, 7]


def test_no_labels_no_words():
    positions, words = word_targets(torch.full((2, 3), IGNORE), torch.ones(2, 3, dtype=torch.long))
    assert positions.tolist() == words.tolist() == []


def test_the_mask_is_causal_inside_each_sample():
    segments = torch.tensor([[1, 1, 2, 2, 2, 0]])
    seen = block_mask(segments, "sdpa", torch.float32)[0, 0]
    expected = [
        [s == q and k <= i for k, s in enumerate(segments[0].tolist())]
        for i, q in enumerate(segments[0].tolist())
    ]
    assert seen.tolist() == expected
    added = block_mask(segments, "eager", torch.float32)[0, 0]
    assert torch.equal(added == 0, seen)
    assert (added[~seen] == torch.finfo(torch.float32).min).all()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1, 1, 1], True),
        ([1, 1, 0], True),
        ([1, 2, 2], False),
        ([0, 1, 1], False),
        ([2, 1, 1], False),
    ],
)
def test_rows_of_one_sample_are_told_from_packed_ones(row, expected):
    assert is_one_sample_a_row(torch.tensor([row, [1, 1, 1]])) is expected


def test_momentum_follows_its_formula_in_float32():
    projection = KeyProjection(3, 2, momentum=0.75)
    projection.init_weights()
    start = projection.average.value.clone()
    projection.to(torch.bfloat16)
    with torch.no_grad():
        projection.weight.add_(1)
    moved = projection.weight.detach().float()
    projection(None)
    assert torch.allclose(projection.average.value, 0.75 * start + 0.25 * moved, atol=1e-6)
    assert projection.average.value.dtype == torch.float32


def test_a_key_has_the_value_of_the_average_and_the_gradient_of_the_weights():
    torch.manual_seed(0)
    features, towards = torch.randn(5, 3), torch.randn(5, 2)
    averaged, plain = KeyProjection(3, 2, 0.9), KeyProjection(3, 2, 0.0)
    for projection in (averaged, plain):
        projection.weight.data = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
    averaged.average.value = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    keys = averaged(features)
    assert torch.equal(keys, unit(features @ averaged.average.value.T))
    (keys * towards).sum().backward()
    (plain(features) * towards).sum().backward()
    assert torch.equal(averaged.weight.grad, plain.weight.grad)
