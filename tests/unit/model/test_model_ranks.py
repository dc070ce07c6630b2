"""Two ranks with a part of the batch each do what one rank does with all of it."""

import pytest
import torch
import torch.multiprocessing as multiprocessing

from tests.fixtures.ranks import share_of, split_step, step
from tests.fixtures.tiny import seeing_model, tiny_processor, tiny_samples

# name: changes of the configuration, and for each step the samples of either rank
CASES = {
    "halves": ({}, [([0, 1], [2, 3]), ([4, 0], [5, 1])]),
    "unequal shares, one without pictures": ({}, [([0, 1, 2], [-2]), ([-3], [3, 4])]),
    "nobody has a picture": ({}, [([0], [1]), ([-1], [-2, -3])]),
    "a batch larger than the queue": ({"queue_size": 3}, [([0, 1], [2, 3])]),
    "in-batch negatives": ({"negatives": "batch", "momentum": 0.0}, [([0], [1, 2, -4])]),
    "a tower in training": (
        {"freeze_tower": False},
        [([0, 1], [2, 3]), ([4], [-5])],
    ),
}


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("ranks"))
    multiprocessing.spawn(split_step, args=(2, folder, CASES), nprocs=2)
    return torch.load(f"{folder}/results.pt", weights_only=True)


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_with_parts_equal_one_with_all(name, on_two_ranks):
    changes, steps = CASES[name]
    processor = tiny_processor()
    batches = [
        processor.batch(share_of(tiny_samples, processor, [*first, *second]))
        for first, second in steps
    ]
    alone, together = step(seeing_model(**changes).train(), batches), on_two_ranks[name]
    assert together["target_count"] == alone["target_count"]
    assert torch.equal(together["queue"]["ids"], alone["queue"]["ids"])
    assert torch.equal(together["queue"]["pushed"], alone["queue"]["pushed"])
    # float32, batches of other shapes; worst seen 2e-6
    for ours, theirs in zip(together["losses"], alone["losses"], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(together["queue"]["features"], alone["queue"]["features"], atol=1e-5)
    assert together["gradients"].keys() == alone["gradients"].keys()
    for key, gradient in alone["gradients"].items():
        assert torch.allclose(together["gradients"][key], gradient, atol=1e-5), key
