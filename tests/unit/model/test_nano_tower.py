"""nano's own picture encoder, as timm and open_clip see it."""

from __future__ import annotations

import pytest
import timm
import torch

from chatsearcher.model.nano_tower import NanoTower, pool_halves


def test_pooling_by_halves_sees_where_things_stand() -> None:
    x = torch.zeros(1, 1, 6, 6)
    x[0, 0, 1, 5] = 3.0  # upper right
    mean, top, left, right, upper, lower = pool_halves(x)[0]
    assert mean == pytest.approx(3 / 36)
    assert (top, left, right, upper, lower) == (3.0, 0.0, 3.0, 3.0, 0.0)


def test_timm_makes_it_and_its_parts_give_the_whole() -> None:
    torch.manual_seed(0)
    tower = timm.create_model("chatsearcher_nano", num_classes=7).eval()
    assert isinstance(tower, NanoTower)
    pixels = torch.randn(2, 3, 96, 96)
    last, stages = tower.forward_intermediates(pixels, indices=[0, -1])
    assert [tuple(s.shape[1:]) for s in stages] == [(64, 24, 24), (256, 6, 6)]
    assert torch.equal(stages[-1], last)
    assert torch.equal(tower.forward_head(last), tower(pixels))
    assert [stage["num_chs"] for stage in tower.feature_info] == [64, 128, 256]


def test_it_has_no_weights_to_download() -> None:
    with pytest.raises(ValueError, match="no weights of its own"):
        timm.create_model("chatsearcher_nano", pretrained=True)
    with pytest.raises(ValueError, match="pools by halves"):
        timm.create_model("chatsearcher_nano", global_pool="avg")
