"""Any tower of open_clip; a frozen one does not move."""

from functools import partial

import pytest
import torch

from chatsearcher.model import ChatSearcherModel
from chatsearcher.model.tower import VisionTower
from tests.fixtures.tiny import picture, tiny_config, tiny_processor

VIT = {
    "embed_dim": 20,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8},
}
RESNET = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
}
TIMM_VIT = {
    "embed_dim": 20,
    "vision_cfg": {
        "image_size": 32,
        "timm_model_name": "test_vit",
        "timm_pool": "",
        "timm_proj": "linear",
    },
}
TIMM_CNN = {
    "embed_dim": 20,
    "vision_cfg": {
        "image_size": 32,
        "timm_model_name": "test_resnet",
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
}
TOWERS = {"vit": VIT, "resnet": RESNET, "timm-vit": TIMM_VIT, "timm-resnet": TIMM_CNN}


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize("layer", [None, 1, -2])
def test_tokens_and_pooled_feature_of_any_tower(name, layer):
    tower = VisionTower(tiny_config(tower_config=TOWERS[name], tower_layer=layer))
    pixels = torch.randn(2, 3, 32, 32)
    tokens, pooled = tower(pixels)
    assert tokens.shape[0] == 2
    assert tokens.shape[2] == tower.token_dim
    assert pooled.shape == (2, tower.feature_dim)
    # the two ways agree; worst seen 2e-7
    assert torch.allclose(pooled, tower.pool(pixels), atol=1e-5)


def test_the_layer_is_the_one_asked_for():
    tower = VisionTower(tiny_config(tower_config=RESNET, tower_layer=3)).eval()
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        visual = tower.visual
        third = visual.layer3(visual.layer2(visual.layer1(visual.stem(pixels))))
    # memory layouts differ; worst seen 1e-7
    assert torch.allclose(tower(pixels)[0], third.flatten(2).transpose(1, 2), atol=1e-5)


def test_a_layer_that_is_not_there():
    with pytest.raises(ValueError, match="tower_layer is 9, but the tower has 5 layers"):
        VisionTower(tiny_config(tower_layer=9))


def test_an_unknown_field_of_the_tower():
    with pytest.raises(ValueError, match="CLIPVisionCfg"):
        VisionTower(tiny_config(tower_config={"embed_dim": 8, "vision_cfg": {"depth": 3}}))


@pytest.mark.parametrize("name", TOWERS)
def test_any_tower_trains_saves_and_loads(name, tmp_path):
    config = tiny_config(tower_config=TOWERS[name], tower_layer=None)
    model, processor = ChatSearcherModel(config).eval(), tiny_processor(config)
    pixels = processor.pixel_values([picture(1), picture(2)])
    model.save_pretrained(tmp_path)
    loaded = ChatSearcherModel.from_pretrained(tmp_path)
    for part, weights in loaded.state_dict().items():
        assert torch.equal(weights, model.state_dict()[part]), part
    # equal weights elsewhere in memory may add up in another order
    same = partial(torch.testing.assert_close, rtol=0, atol=1e-6)
    same(loaded.encode_images(pixels), model.encode_images(pixels))
    same(loaded.embed_images(pixels), model.embed_images(pixels))


def batch_statistics(tower):
    return {
        name: tensor.clone() for name, tensor in tower.state_dict().items() if "running" in name
    }


def test_a_frozen_tower_gets_no_gradient_and_its_statistics_stand_still():
    tower = VisionTower(tiny_config(freeze_tower=True)).train()
    before = batch_statistics(tower)
    tokens, pooled = tower(torch.randn(4, 3, 32, 32))
    assert not tokens.requires_grad
    assert not pooled.requires_grad
    after = batch_statistics(tower)
    assert before
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_tower_in_training_gets_gradients_and_moves_its_statistics():
    tower = VisionTower(tiny_config(freeze_tower=False)).train()
    before = batch_statistics(tower)
    _, pooled = tower(torch.randn(4, 3, 32, 32))
    assert pooled.requires_grad
    after = batch_statistics(tower)
    assert any(not torch.equal(before[name], after[name]) for name in before)
