"""The learning rate as a function of the step, and what the optimiser is given."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chatsearcher.training.schedule import build_optimiser, learning_rate
from chatsearcher.training.settings import OptimiserSettings


def test_warm_up_then_half_a_cosine():
    settings = OptimiserSettings(steps=110, warmup=10, learning_rate=2.0, floor=0.1)
    assert learning_rate(0, settings) == pytest.approx(0.2)
    assert learning_rate(9, settings) == pytest.approx(2.0)
    assert learning_rate(10, settings) == pytest.approx(2.0)
    assert learning_rate(60, settings) == pytest.approx(1.1)  # half way: mean of peak and floor
    assert learning_rate(110, settings) == pytest.approx(0.2)
    assert learning_rate(10_000, settings) == pytest.approx(0.2)


@given(st.integers(0, 50), st.integers(1, 500), st.integers(0, 600))
def test_never_above_the_peak_nor_below_the_floor_after_warm_up(warmup, steps, step):
    settings = OptimiserSettings(steps=steps, warmup=warmup, learning_rate=1.0, floor=0.25)
    rate = learning_rate(step, settings)
    assert 0 < rate <= 1
    assert step < warmup or rate >= 0.25
    assert step < warmup or learning_rate(step + 1, settings) <= rate


def test_weight_decay_spares_vectors_and_scalars_and_frozen_parameters_are_left_out():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2), torch.nn.Linear(2, 2))
    model[2].requires_grad_(False)
    decayed, spared = build_optimiser(model, OptimiserSettings(weight_decay=0.3)).param_groups
    assert decayed["weight_decay"] == 0.3
    assert [p.shape for p in decayed["params"]] == [(2, 3)]
    assert spared["weight_decay"] == 0
    assert len(spared["params"]) == 3
    (only,) = build_optimiser(model, OptimiserSettings()).param_groups
    assert only["weight_decay"] == 0
    assert len(only["params"]) == 4


class Keyed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key_projection = torch.nn.Linear(3, 2, bias=False)
        self.rest = torch.nn.Linear(3, 2)


def test_the_key_projection_has_its_own_share_of_the_learning_rate():
    model = Keyed()
    groups = build_optimiser(model, OptimiserSettings(key_rate=0.2)).param_groups
    shares = {id(p): group["share"] for group in groups for p in group["params"]}
    assert shares[id(model.key_projection.weight)] == 0.2
    assert shares[id(model.rest.weight)] == shares[id(model.rest.bias)] == 1.0


def test_the_q_former_can_have_a_rate_of_its_own():
    parts = ("qformer", "query_projection", "cls_projection")
    connector = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in parts})
    model = torch.nn.ModuleDict({"connector": connector, "llm": torch.nn.Linear(2, 2)})
    groups = build_optimiser(model, OptimiserSettings(qformer_rate=0.1)).param_groups
    shares = {id(weight): group["share"] for group in groups for weight in group["params"]}
    slow = {shares[id(weight)] for name in parts[:2] for weight in connector[name].parameters()}
    full = {shares[id(weight)] for weight in connector["cls_projection"].parameters()}
    assert (slow, full) == ({0.1}, {1.0})
    assert {shares[id(weight)] for weight in model["llm"].parameters()} == {1.0}


def test_a_key_rate_of_nought_leaves_the_key_projection_as_it_is():
    model = Keyed()
    (group,) = build_optimiser(model, OptimiserSettings(key_rate=0.0)).param_groups
    assert not model.key_projection.weight.requires_grad
    assert len(group["params"]) == 2


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="no trainable parameter"):
        build_optimiser(torch.nn.Linear(1, 1).requires_grad_(False), OptimiserSettings())
