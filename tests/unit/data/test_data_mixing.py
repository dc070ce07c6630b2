from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsearcher.data.mixing import Mix, rank_slice

COUNTS = st.dictionaries(
    st.sampled_from("abcde"), st.integers(min_value=1, max_value=20), min_size=1
)


@given(COUNTS, st.integers(min_value=1, max_value=200))
def test_every_item_of_every_source_comes_once_and_in_order(
    counts: dict[str, int], length: int
) -> None:
    mix = Mix.of(counts)
    seen: dict[str, list[int]] = {name: [] for name in counts}
    for position in range(length):
        name, index = mix[position]
        seen[name].append(index)
    for indices in seen.values():
        assert indices == list(range(len(indices)))


@given(COUNTS, st.integers(min_value=0, max_value=50))
def test_each_step_has_the_fixed_counts(counts: dict[str, int], step: int) -> None:
    mix = Mix.of(counts)
    batch = sum(counts.values())
    names = Counter(mix[position][0] for position in rank_slice(step, batch, 0, 1))
    assert names == counts


@given(COUNTS)
def test_sources_are_spread_evenly(counts: dict[str, int]) -> None:
    """After any number of items no source is more than one whole item per source away."""
    mix, total = Mix.of(counts), sum(counts.values())
    seen: Counter[str] = Counter()
    for position in range(total):
        seen[mix[position][0]] += 1
        for name, count in counts.items():
            assert abs(seen[name] - count * (position + 1) / total) <= len(counts)


@given(
    st.integers(min_value=0, max_value=9),
    st.integers(min_value=1, max_value=64),
    st.integers(min_value=1, max_value=8),
)
def test_the_ranks_slices_are_the_global_batch(step: int, batch: int, ranks: int) -> None:
    slices = [p for rank in range(ranks) for p in rank_slice(step, batch, rank, ranks)]
    assert slices == list(range(step * batch, (step + 1) * batch))


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="no source"):
        Mix.of({})
    with pytest.raises(ValueError, match=r"'pairs' has count 0"):
        Mix.of({"pairs": 0})
    with pytest.raises(ValueError, match="rank 2 of 2"):
        rank_slice(0, 4, 2, 2)
