"""Tower and Q-former from a file like LAVIS's give what LAVIS itself computes.

``tests/fixtures/lavis_reference.json`` was made with LAVIS's own classes (see the script beside
it); LAVIS wants another transformers than we do, so it does not run here.
"""

from __future__ import annotations

import pytest
import torch

from chatsearcher import ChatSearcher
from tests.fixtures.numbered import numbers
from tests.fixtures.public_formats import LAVIS as REFERENCE
from tests.fixtures.public_formats import vicuna_like


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    places = vicuna_like(tmp_path_factory.mktemp("parts"))
    return ChatSearcher.from_parts(*map(str, places), embedding_dim=8)


def test_the_tower_gives_the_layer_and_the_class_token_that_lavis_reads(parts):
    model = parts.model.eval()
    assert (model.config.tower_layer, model.config.tower_class_token) == (-2, True)
    pixels = torch.from_numpy(numbers("pixels", (2, 3, 32, 32)))
    with torch.no_grad():
        tokens, _ = model.tower(pixels)
    # float32, figures of six decimals in the file; measured worst: 4e-6
    torch.testing.assert_close(tokens, torch.tensor(REFERENCE["tokens"]), atol=5e-5, rtol=1e-5)


def test_the_qformer_gives_lavis_outputs(parts):
    model = parts.model.eval()
    pixels = torch.from_numpy(numbers("pixels", (2, 3, 32, 32)))
    caught = []
    handle = model.connector.qformer.register_forward_hook(lambda *a: caught.append(a[-1]))
    with torch.no_grad():
        model.embed_images(pixels)
    handle.remove()
    expected = torch.tensor(REFERENCE["output"])
    # measured worst: 4e-6
    torch.testing.assert_close(caught[0].last_hidden_state, expected, atol=2e-5, rtol=1e-5)
    assert model.config.qformer_config.num_attention_heads == 1
    assert model.connector.token_norm.eps == 1e-5  # LAVIS's ln_vision is torch's as it comes


def test_the_report_names_what_had_no_place(parts):
    report = parts.report
    left = report.left_over["the Q-former"]
    text_half = {name for name in left if ".intermediate." in name or ".output." in name}
    assert len(text_half) == 3 * 6  # three layers' feed-forward tensors of text
    assert "Qformer.bert.embeddings.word_embeddings.weight" in left
    assert len(report.taken["the Q-former"]) + len(left) == len(REFERENCE["qformer"]) + 1
    assert {"connector.cls_projection.weight", "query_projection.weight"} <= set(report.new)
    assert "log_scale" in report.new
    every = [*report.new, *(n for names in report.taken.values() for n in names)]
    assert sorted(every) == sorted(name for name, _ in parts.model.named_parameters())
    said = str(report)
    assert "newly initialised: 7 tensors" in said
    assert "[IMG] <image> [/IMG]" in said
