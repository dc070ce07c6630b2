"""nano's own picture encoder, as timm and open_clip see it."""

from __future__ import annotations

import pytest
import timm
import torch

from chatsearcher.model.nano_tower import CellPool, LatentPool, NanoTower


def test_cells_are_read_by_their_place() -> None:
    torch.manual_seed(0)
    pool = CellPool(16, squeezed=4, grid=6).eval()
    x = torch.randn(2, 16, 6, 6)
    assert pool(x).shape == (2, CellPool.features)
    assert not torch.allclose(pool(x), pool(x.flip(3)), atol=1e-4)  # mirrored
    finer = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(pool(finer), pool(x))


def test_latents_see_what_stands_where() -> None:
    torch.manual_seed(0)
    pool = LatentPool(16, queries=3, heads=2)
    x = torch.randn(1, 16, 6, 6)
    assert pool(x).shape == (1, 3 * 16)
    assert not torch.allclose(pool(x), pool(x.flip(3)), atol=1e-4)  # mirrored
    with torch.no_grad():
        pool.places.zero_()  # without places only what is there counts, not where
    torch.testing.assert_close(pool(x), pool(x.flip(3)))
    assert pool(torch.randn(2, 16, 2, 3)).shape == (2, 48)  # another grid: places between places


@pytest.mark.parametrize("pool", ["cells", "latents"])
def test_timm_makes_it_and_its_parts_give_the_whole(pool: str) -> None:
    torch.manual_seed(0)
    tower = timm.create_model("chatsearcher_nano", num_classes=7, global_pool=pool).eval()
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
    with pytest.raises(ValueError, match="pools by cells or latents"):
        timm.create_model("chatsearcher_nano", global_pool="avg")
