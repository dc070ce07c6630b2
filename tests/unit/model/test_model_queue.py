"""The feature queue: what it holds, what it drops, and what does not count."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.model.queue import EMPTY, FeatureQueue, batch_dictionary, newest


def features(ids):
    """A feature that names its picture: [n, 2]."""
    return torch.stack([torch.tensor(ids).float(), torch.ones(len(ids))], dim=1).view(-1, 2)


def push(queue, ids):
    return queue.enqueue(features(ids), torch.tensor(ids, dtype=torch.long))


def test_an_empty_batch_changes_nothing():
    queue = FeatureQueue(4, 2)
    push(queue, [1, 2])
    before = queue.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    dictionary = push(queue, [])
    assert all(torch.equal(before[name], tensor) for name, tensor in queue.state_dict().items())
    assert dictionary.own_n.shape == (0,)
    assert sorted(dictionary.ids_K.tolist()) == [EMPTY, EMPTY, 1, 2]


def test_the_oldest_leave_first_and_the_ring_wraps():
    queue = FeatureQueue(4, 2)
    push(queue, [1, 2, 3])
    assert len(queue) == 3
    dictionary = push(queue, [4, 5, 6])
    assert sorted(queue.ids.tolist()) == [3, 4, 5, 6]
    assert dictionary.ids_K[dictionary.own_n].tolist() == [4, 5, 6]
    assert torch.equal(queue.features[:, 0].long(), queue.ids)


def test_a_batch_larger_than_the_queue_is_its_own_dictionary_and_its_newest_stay():
    queue = FeatureQueue(3, 2)
    push(queue, [9])
    dictionary = push(queue, [1, 2, 3, 4, 5])
    assert dictionary.ids_K.tolist() == [1, 2, 3, 4, 5]
    assert dictionary.own_n.tolist() == [0, 1, 2, 3, 4]
    assert sorted(queue.ids.tolist()) == [3, 4, 5]
    assert sorted(push(queue, [6]).ids_K.tolist()) == [4, 5, 6]


def test_other_entries_of_the_same_picture_and_empty_slots_do_not_count():
    queue = FeatureQueue(6, 2)
    push(queue, [7, 8])
    dictionary = push(queue, [7, 9])
    excluded = dictionary.excluded(torch.tensor([0, 1]))
    counted = [dictionary.ids_K[~row].tolist() for row in excluded]
    assert sorted(counted[0]) == [7, 8, 9]  # one of the two 7s
    assert sorted(counted[1]) == [7, 7, 8, 9]
    assert not excluded[0, dictionary.own_n[0]]
    assert dictionary.own_n[0] == 2  # the newest of the two


def test_a_picture_twice_in_a_batch_has_one_entry_that_counts():
    dictionary = batch_dictionary(features([5, 6, 5]), torch.tensor([5, 6, 5]))
    assert dictionary.own_n.tolist() == [2, 1, 2]
    assert dictionary.excluded(torch.arange(3)).tolist() == [
        [True, False, False],
        [False, False, False],
        [True, False, False],
    ]


def test_a_dictionary_does_not_change_with_the_next_batch():
    queue = FeatureQueue(2, 2)
    dictionary = push(queue, [1, 2])
    push(queue, [3, 4])
    assert dictionary.ids_K.tolist() == [1, 2]
    assert dictionary.features_KF[:, 0].tolist() == [1, 2]


def test_peeking_changes_nothing_and_sees_the_queue_and_the_batch():
    queue = FeatureQueue(3, 2)
    push(queue, [1, 2])
    dictionary = queue.peek(features([2, 3]), torch.tensor([2, 3]))
    assert sorted(queue.ids.tolist()) == [EMPTY, 1, 2]
    assert dictionary.ids_K[dictionary.own_n].tolist() == [2, 3]
    assert sorted(dictionary.ids_K[~dictionary.excluded(torch.tensor([0]))[0]].tolist()) == [
        1,
        2,
        3,
    ]


def test_the_queue_stays_float32_and_keeps_its_values_under_bfloat16():
    queue = FeatureQueue(2, 2)
    queue.enqueue(torch.tensor([[1.0009765625, 3.0]]), torch.tensor([2**62 + 1]))
    queue.to(torch.bfloat16)
    assert queue.features.dtype == torch.float32
    assert queue.features[0, 0].item() == 1.0009765625
    assert queue.ids[0].item() == 2**62 + 1


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 7),
    batches=st.lists(st.lists(st.integers(0, 9), max_size=9), min_size=1, max_size=6),
)
def test_the_queue_holds_the_last_entries_in_any_history(size, batches):
    queue = FeatureQueue(size, 2)
    everything = []
    for ids in batches:
        everything += ids
        dictionary = push(queue, ids)
        held = [number for number in queue.ids.tolist() if number != EMPTY]
        assert sorted(held) == sorted(everything[-size:])
        assert dictionary.ids_K[dictionary.own_n].tolist() == ids
        if ids:
            excluded = dictionary.excluded(torch.arange(len(ids)))
            for number, row in zip(ids, excluded, strict=True):
                assert dictionary.ids_K[~row].tolist().count(number) == 1
                assert EMPTY not in dictionary.ids_K[~row].tolist()


def test_newest_names_the_last_of_each_id():
    assert newest(torch.tensor([4, 4, 2, 4])).tolist() == [3, 3, 2, 3]
    assert newest(torch.zeros(0, dtype=torch.long)).tolist() == []
