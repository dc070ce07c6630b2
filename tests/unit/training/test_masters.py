"""AdamW on float32 masters, and the batches that steps are measured on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chatsearcher.model import ChatSearcherModel
from chatsearcher.training.masters import MasterAdamW
from chatsearcher.training.synthetic import stage1_batch
from tests.fixtures.planned import planned_model


def trained(dtype: torch.dtype, masters: bool, bucket: int = 50) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)
    model[0].bias.requires_grad_(False)
    weights = list(model.parameters())
    optimiser = (
        MasterAdamW(weights, 1e-2, bucket=bucket)
        if masters
        else torch.optim.AdamW(
            [w for w in weights if w.requires_grad], lr=1e-2, weight_decay=0.0, fused=True
        )
    )
    for _ in range(20):
        inputs = torch.randn(16, 6).to(dtype)
        model(inputs).float().square().mean().backward()
        optimiser.step()
        if not masters:
            optimiser.zero_grad()
    return [w.detach().float() for w in weights]


@pytest.mark.parametrize("bucket", [1, 50, 10_000])
def test_masters_of_float32_weights_move_as_adamw_moves_them(bucket):
    for ours, theirs in zip(
        trained(torch.float32, True, bucket), trained(torch.float32, False), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_masters_keep_the_small_steps_that_bfloat16_loses():
    exact = trained(torch.float32, False)
    with_masters = trained(torch.bfloat16, True)
    without = trained(torch.bfloat16, False)

    def error(weights):
        return sum(float((w - e).norm() ** 2) for w, e in zip(weights, exact, strict=True)) ** 0.5

    assert error(with_masters) < 0.5 * error(without)


def test_a_measured_batch_is_one_that_the_network_trains_on():
    config = planned_model()
    batch, pairs = stage1_batch(config, rows=2, length=256)
    seen = (batch.segment_ids[:, :, None] == batch.segment_ids[:, None, :]).tril().sum()
    assert pairs == int(seen)
    assert (batch.segment_ids > 0).all()
    output = ChatSearcherModel(config).train()(batch)
    output.loss.backward()
    assert int(output.image_count) == len(batch.image_positions)
    assert int(output.text_count) > 0.4 * batch.input_ids.numel()
    with pytest.raises(ValueError, match="expected at least"):
        stage1_batch(config, rows=1, length=40)
