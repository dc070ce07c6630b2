"""A connector drawn by its width: what its queries say of pictures at first."""

from __future__ import annotations

import pytest
import torch

from chatsearcher.model.connector import Connector
from chatsearcher.training.new_connector import draw_by_width
from tests.fixtures.tiny import tiny_config


@pytest.fixture
def connector() -> Connector:
    torch.manual_seed(0)
    config = tiny_config()
    config.qformer_config.hidden_size = 128
    config.qformer_config.intermediate_size = 256
    made = Connector(config, token_dim=96, feature_dim=48)
    made.init_weights(0.02)
    return made.eval()


def changing(connector: Connector) -> float:
    """How much of the queries' outputs changes from picture to picture."""
    with torch.no_grad():
        tokens, pooled = torch.randn(64, 9, 96), torch.randn(64, 48)
        said = connector(tokens, pooled)[:, 1:]
    return float((said - said.mean(0)).norm() / said.norm())


def test_queries_say_something_of_the_picture_from_the_start(connector: Connector) -> None:
    before = changing(connector)
    draw_by_width(connector)
    assert changing(connector) > 3 * before


def test_weights_have_the_spread_of_their_width(connector: Connector) -> None:
    draw_by_width(connector)
    found = {name: weight.detach() for name, weight in connector.named_parameters()}
    layers = connector.qformer.config.num_hidden_layers
    for name, weight in found.items():
        if weight.ndim != 2 or name == "cls_projection.weight":
            continue
        inputs = weight.shape[1]
        added = "output" in name and name.startswith("qformer.")
        expected = (inputs * (2 * layers if added else 1)) ** -0.5
        assert float(weight.std()) == pytest.approx(expected, rel=0.1), name
