"""Parts with weights of their own, put together."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig

from chatsearcher.model import Batch
from chatsearcher.model.assembly import ChatSearcher
from chatsearcher.model.qformer_weights import read_qformer
from chatsearcher.model.tower import build_visual
from chatsearcher.model.tower_weights import read_tower
from tests.fixtures.tiny import seeing_model, tiny_tokenizer

TOWER = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "quick_gelu": True,
}
QFORMER = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 1,
    "intermediate_size": 24,
    "cross_attention_frequency": 2,
}


def save_language_model(folder, vocabulary=320):
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
    )
    llm = AutoModelForCausalLM.from_config(config)
    llm.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return llm


def save_tower(folder):
    folder.mkdir()
    torch.manual_seed(6)
    visual = build_visual(TOWER)
    save_file(
        {f"visual.{k}": v for k, v in visual.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    about = {
        "model_cfg": {**TOWER, "text_cfg": {"width": 8}},
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    return visual


def lavis_names(model):
    """A connector's weights as LAVIS writes them, with the text parts that we have no use for."""
    written = {}
    for key, tensor in model.connector.state_dict().items():
        if key.startswith(("cls_projection", "query_projection")):
            continue
        name = key.replace("token_norm", "ln_vision").replace(
            "attention.attention.", "attention.self."
        )
        name = name.replace("qformer.layernorm", "qformer.embeddings.LayerNorm")
        written[name.replace("qformer.", "Qformer.bert.")] = tensor
    text = torch.zeros(2, 2)
    written["Qformer.bert.encoder.layer.0.intermediate.dense.weight"] = text
    written["Qformer.bert.encoder.layer.0.output.dense.weight"] = text
    written["Qformer.bert.embeddings.word_embeddings.weight"] = text
    written["Qformer.cls.predictions.bias"] = text
    return written


def transformers_names(model):
    return {
        key.replace("token_norm", "vision_model.post_layernorm"): tensor
        for key, tensor in model.connector.state_dict().items()
        if not key.startswith(("cls_projection", "query_projection"))
    }


@pytest.fixture
def source():
    """A model of the same tower, whose Q-former is the one to be found again."""
    return seeing_model(qformer_config=QFORMER, tower_config=TOWER, num_query_tokens=5, seed=7)


@pytest.mark.parametrize("kind", ["lavis", "transformers"])
def test_parts_keep_their_weights(tmp_path, source, kind):
    llm, visual = save_language_model(tmp_path / "llm", 318), save_tower(tmp_path / "tower")
    if kind == "lavis":
        qformer = tmp_path / "q.pth"
        torch.save({"model": lavis_names(source)}, qformer)
    else:
        qformer = tmp_path / "blip2"
        qformer.mkdir()
        save_file(transformers_names(source), qformer / "model.safetensors")
    model, processor, _ = ChatSearcher.from_parts(
        str(tmp_path / "llm"), str(tmp_path / "tower"), str(qformer), embedding_dim=12
    )
    model.eval()
    config = model.config
    assert (config.num_query_tokens, processor.num_query_tokens) == (5, 5)
    assert (config.image_size, config.image_mean) == (32, [0.5] * 3)
    assert model.get_input_embeddings().weight.shape[0] == len(processor.tokenizer) == 320
    ids = torch.randint(6, 318, (2, 9))
    expected = llm.eval()(input_ids=ids).logits
    assert torch.equal(model.llm(input_ids=ids).logits[..., :318], expected)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.tower.pool(pixels), visual.eval()(pixels))
    ours, theirs = model.connector.state_dict(), source.connector.state_dict()
    for key in transformers_names(source):
        key = key.replace("vision_model.post_layernorm", "token_norm")
        assert torch.equal(ours[key], theirs[key]), key
    assert torch.equal(model.key_projection.average.value, model.key_projection.weight)
    model.train()(Batch.text(ids, labels=ids)).loss.backward()


def test_a_qformer_of_another_width_is_refused_with_the_remedy(tmp_path, source):
    save_language_model(tmp_path / "llm")
    for weights in (tmp_path / "llm").glob("*.safetensors"):
        weights.unlink()  # said before the language model is loaded
    save_tower(tmp_path / "tower")
    other = seeing_model(qformer_config=QFORMER)  # its tower is 32 wide
    torch.save(lavis_names(other), tmp_path / "q.pth")
    with pytest.raises(ValueError, match=r"width 32, the tower's have 16.*blip2_pretrained_vitL"):
        ChatSearcher.from_parts(
            str(tmp_path / "llm"), str(tmp_path / "tower"), str(tmp_path / "q.pth")
        )


def test_a_file_without_a_qformer(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="holds no Q-former"):
        read_qformer(str(tmp_path / "a.safetensors"))
    with pytest.raises(FileNotFoundError, match="no Q-former at"):
        read_qformer(str(tmp_path / "nothing.pth"))


class Trainer:
    """Something of a training run, as people save it beside the weights."""


def test_a_file_that_is_more_than_tensors_is_refused_without_advice_to_load_it(tmp_path):
    """torch's message names weights_only=False, which would run what the file says."""
    torch.save({"model": {}, "trainer": Trainer()}, tmp_path / "objects.pth")
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    for name in ("objects.pth", "page.pth"):
        with pytest.raises(ValueError, match="no file of tensors alone") as caught:
            read_qformer(str(tmp_path / name))
        assert "False" not in str(caught.value)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list; expected tensors by their names"):
        read_qformer(str(tmp_path / "list.pth"))


def test_a_qformer_with_a_hole_is_refused(tmp_path, source):
    save_language_model(tmp_path / "llm")
    save_tower(tmp_path / "tower")
    weights = lavis_names(source)
    del weights["Qformer.bert.encoder.layer.1.output_query.dense.bias"]
    torch.save(weights, tmp_path / "q.pth")
    with pytest.raises(ValueError, match="does not fit: missing"):
        ChatSearcher.from_parts(
            str(tmp_path / "llm"), str(tmp_path / "tower"), str(tmp_path / "q.pth")
        )


def test_an_unknown_tower():
    with pytest.raises(ValueError, match="neither a folder nor NAME/WEIGHTS"):
        read_tower("ViT-Q-99/nobody")
