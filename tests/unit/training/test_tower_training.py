"""The tower's training: what open_clip loads back is what was trained."""

from __future__ import annotations

import open_clip
import pytest
import torch

from chatsearcher.data.records import ContrastiveConfig
from chatsearcher.model.tokenizer import nano_tokenizer
from chatsearcher.training.recipes.types import TowerRecipe
from chatsearcher.training.tower import (
    ContrastiveObjective,
    CroppedClip,
    TowerSettings,
    build_clip,
    choice_losses,
    held_out_hook,
    load_pictures,
    save_clip,
)

TEXTS = ["a red cat on a green chair", "two blue birds", "[IMG] three dogs at night, in the snow"]


@pytest.fixture(scope="module")
def tokenizer():
    return nano_tokenizer(TEXTS, 320)


@pytest.fixture
def config(tokenizer):
    settings = TowerSettings(
        image_size=32, embedding_dim=12, text_layers=2, text_width=16, text_heads=2
    )
    return settings.model_config(tokenizer)


def ids_of(tokenizer, texts):
    from chatsearcher.data.contrastive import encode_texts

    return encode_texts(tokenizer, texts, 64)[0]


def test_a_cropped_text_has_the_vector_of_the_whole_context(config, tokenizer):
    torch.manual_seed(0)
    clip = build_clip(config).eval()
    ids = ids_of(tokenizer, TEXTS)
    padded = torch.nn.functional.pad(ids, (0, 64 - ids.shape[1]), value=tokenizer.pad_token_id)
    with torch.no_grad():
        cropped = CroppedClip(clip).encode_text(ids)
        whole = clip.encode_text(padded, normalize=True)
    assert ids.shape[1] < 64
    torch.testing.assert_close(cropped, whole, atol=2e-6, rtol=0)  # measured worst: 2e-7


def test_open_clip_loads_what_was_saved(config, tokenizer, tmp_path):
    torch.manual_seed(0)
    model = CroppedClip(build_clip(config)).eval()
    save_clip(tmp_path / "model", model.state_dict(), config, tokenizer)
    name = f"local-dir:{tmp_path / 'model'}"
    loaded, _ = open_clip.create_model_from_pretrained(name)
    words = open_clip.get_tokenizer(name)
    ids = ids_of(tokenizer, TEXTS[:2])
    theirs = words(TEXTS[:2])
    assert theirs[:, : ids.shape[1]].tolist() == ids.tolist()
    assert (theirs[:, ids.shape[1] :] == tokenizer.pad_token_id).all()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        images, texts, _, _ = model(pixels, ids)
        torch.testing.assert_close(loaded.eval().encode_image(pixels, normalize=True), images)
        torch.testing.assert_close(
            loaded.encode_text(theirs, normalize=True), texts, atol=2e-6, rtol=0
        )


class Fixed(torch.nn.Module):
    """Vectors given from outside."""

    def __init__(self, images, texts, choices=None):
        super().__init__()
        self.images, self.texts = torch.nn.Parameter(images), torch.nn.Parameter(texts)
        self.choices = choices

    def forward(self, pixels, ids):
        return self.images, self.texts, torch.tensor(1.0), self.choices


class FakeBatch:
    pixel_values = torch.zeros(4, 3, 2, 2)
    input_ids = torch.zeros(4, 5, dtype=torch.long)
    keys = ("a", "b", "c", "d")
    answers = torch.tensor([[0, 1], [-100, 2], [1, -100], [0, 0]])

    def to(self, device):
        return self


def test_equal_vectors_cost_the_logarithm_of_the_batch():
    same = torch.ones(4, 8) / 8**0.5
    result = ContrastiveObjective()(Fixed(same, same.clone()), FakeBatch())
    assert float(result.loss.detach()) == pytest.approx(torch.log(torch.tensor(4.0)).item())
    assert result.samples == 4
    assert result.tokens == 20


def test_each_attribute_adds_the_mean_over_what_is_asked_about_it():
    """Even scores over n answers cost log n, however many pictures are asked."""
    same = torch.ones(4, 8) / 8**0.5
    model = Fixed(same, same.clone(), torch.zeros(4, 5))
    result = ContrastiveObjective(questions=[("size", 2), ("kind", 3)])(model, FakeBatch())
    expected = torch.tensor([4.0, 2.0, 3.0]).log()
    assert float(result.loss.detach()) == pytest.approx(expected.sum().item())
    assert float(result.metrics["loss_size"]) == pytest.approx(expected[1].item())
    scores = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    found = choice_losses(scores, FakeBatch.answers, [("look", 2), ("look", 3)])
    cross_entropy = torch.nn.functional.cross_entropy
    single = [cross_entropy(scores[i, :2], FakeBatch.answers[i, 0]) for i in (0, 2, 3)]
    single += [cross_entropy(scores[i, 2:], FakeBatch.answers[i, 1]) for i in (0, 1, 3)]
    torch.testing.assert_close(found, {"look": torch.stack(single).mean()})


def test_a_tower_goes_on_from_the_picture_side_of_another(config, tokenizer, tmp_path):
    torch.manual_seed(0)
    model = CroppedClip(build_clip(config), answers=7)
    save_clip(tmp_path / "model", model.state_dict(), config, tokenizer)
    torch.manual_seed(1)
    other = build_clip(config)
    words = other.text_projection.detach().clone()
    load_pictures(other, tmp_path / "model")
    assert torch.equal(other.text_projection, words)
    torch.testing.assert_close(
        dict(other.visual.named_parameters()), dict(model.clip.visual.named_parameters())
    )
    with pytest.raises(FileNotFoundError, match="no tower in"):
        load_pictures(other, tmp_path)
    wider = build_clip({**config, "embed_dim": 14})
    with pytest.raises(ValueError, match="built otherwise"):
        load_pictures(wider, tmp_path / "model")


def test_a_locked_picture_side_stays_as_it_is_while_the_words_learn(config, tokenizer):
    torch.manual_seed(0)
    model = CroppedClip(build_clip(config), locked=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    images, texts, scale, _ = model(torch.randn(3, 3, 32, 32), ids_of(tokenizer, TEXTS))
    (scale * images @ texts.T).diagonal().sum().backward()
    optimiser.step()
    moved = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert not any(name.startswith("clip.visual") for name in moved)  # running statistics neither
    assert {"clip.text_projection", "clip.token_embedding.weight"} <= moved
    with pytest.raises(ValueError, match="locked=True without start"):
        TowerRecipe(run="runs/x", locked=True)
    with pytest.raises(ValueError, match="only the picture world knows"):
        TowerRecipe(run="runs/x", choices=True, data=ContrastiveConfig(kind="shards"))


def test_the_hook_counts_hits_in_the_batch_and_in_the_group():
    images = torch.eye(4)
    texts = torch.eye(4)[[2, 1, 2, 2]]  # 1 and 2 right; 0 wrong outside its group, 3 inside it
    figures = held_out_hook([FakeBatch()], 2)(Fixed(images, texts), 0)
    # in its group {0, 1} text 0 scores 0 against 0: the first of equals, itself
    assert figures == {"val_recall_at_1": 0.5, "val_in_group": 0.75}


def test_weights_are_contiguous_because_deepspeed_broadcasts_them_as_bytes(config):
    for name, parameter in build_clip(config).named_parameters():
        assert parameter.is_contiguous(), name
