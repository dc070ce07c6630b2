"""A tower as training saves it is a CLIP baseline."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chatsearcher.dialogue import Dialogue
from chatsearcher.model.configuration import CLIP_MEAN, CLIP_STD
from chatsearcher.retrievers import load_retriever
from chatsearcher.training.tower import CroppedClip, TowerSettings, build_clip, save_clip
from tests.fixtures.tiny import picture, tiny_tokenizer

SETTINGS = TowerSettings(
    image_size=32, embedding_dim=16, text_layers=1, text_width=16, text_heads=2, context=16
)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    torch.manual_seed(1)
    tokenizer = tiny_tokenizer()
    config = SETTINGS.model_config(tokenizer)
    clip = build_clip(config).eval()
    folder = tmp_path_factory.mktemp("tower")
    save_clip(folder, CroppedClip(clip).state_dict(), config, tokenizer)
    return folder, clip, tokenizer


def test_a_saved_tower_gives_the_vectors_it_was_trained_to_give(tower) -> None:
    folder, clip, tokenizer = tower
    system = load_retriever(f"clip:{folder}:text,text=last", "cpu")
    said = ["a red cat", "two dogs on a green chair"]
    vectors = system.encode_queries([Dialogue().user(text) for text in said])
    for text, vector in zip(said, vectors, strict=True):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        row = torch.tensor([[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]])
        with torch.no_grad():
            expected = CroppedClip(clip).encode_text(row)[0].numpy()
        np.testing.assert_allclose(vector, expected, atol=2e-2)  # bfloat16; measured 5e-3
    assert system.divided_texts == 0


def test_a_saved_tower_divides_what_is_longer_than_its_context(tower) -> None:
    folder, _, tokenizer = tower
    system = load_retriever(f"clip:{folder}:text", "cpu")
    long = "a red cat on a green chair. two blue birds here. three dogs at night, please."
    assert len(tokenizer(long).input_ids) > SETTINGS.context
    vector = system.encode_queries([Dialogue().user(long)])[0]
    changed = system.encode_queries([Dialogue().user(long.replace("night", "chair"))])[0]
    assert system.divided_texts == 2
    assert not np.allclose(vector, changed, atol=1e-3)


def test_a_saved_tower_sees_pictures_as_it_was_trained_to(tower) -> None:
    folder, clip, _ = tower
    system = load_retriever(f"clip:{folder}:image", "cpu")
    vectors = system.encode_images([picture(1), picture(2)])
    pixels = np.stack([np.asarray(picture(n), dtype=np.float32) / 255 for n in (1, 2)])
    pixels = (pixels - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    with torch.no_grad():
        expected = clip.encode_image(torch.tensor(pixels).permute(0, 3, 1, 2).float(), True)
    np.testing.assert_allclose(vectors, expected.numpy(), atol=2e-2)  # bfloat16; measured 2e-3
    assert load_retriever(f"clip:{folder}:text", "cpu").fingerprint == system.fingerprint
