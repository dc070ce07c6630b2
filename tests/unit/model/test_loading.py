"""Loading a saved model elsewhere: Auto classes, parts on several devices, 8 and 4 bits."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, LlamaConfig

import chatsearcher
from chatsearcher import ChatSearcher
from chatsearcher.dialogue import Dialogue
from chatsearcher.model import ChatSearcherModel
from chatsearcher.retrievers.chatsearcher import ChatSearcherRetriever
from tests.fixtures.tiny import (
    picture,
    seeing_model,
    tiny_dialogue,
    tiny_processor,
    tiny_tokenizer,
)

ROOT = Path(__file__).resolve().parents[3]
LLM = LlamaConfig(
    vocab_size=len(tiny_tokenizer()),
    hidden_size=128,  # the 4-bit kernels want whole blocks of 64
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("saved")
    parts = ChatSearcher(seeing_model(llm_config=LLM), tiny_processor())
    parts.save_pretrained(made, max_shard_size="300KB")
    return made


def vectors(model: ChatSearcherModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Query vectors of two dialogues, key vectors of two pictures."""
    processor = tiny_processor()
    asked = [Dialogue(tiny_dialogue(number).turns[:1]) for number in (1, 2)]
    batch = processor.batch([processor.encode_query(dialogue) for dialogue in asked])
    model.eval()
    return model.encode_queries(batch), model.encode_images(batch.pixel_values)


PROGRAMS = {
    "model first": "from transformers import AutoModel; import chatsearcher",
    "ours first": "import chatsearcher; from transformers import AutoModel",
    # half imported when the Auto classes are done: the network needs its other half
    "in the middle of blip-2": (
        "import chatsearcher; import transformers.models.blip_2.modeling_blip_2; "
        "from transformers import AutoModel"
    ),
}


@pytest.fixture(scope="module")
def started(folder) -> dict[str, subprocess.Popen[str]]:
    """All of them at once: most of their time is the import of everything."""
    loading = f"""
from transformers import AutoConfig, AutoProcessor
config, processor = (c.from_pretrained({str(folder)!r}) for c in (AutoConfig, AutoProcessor))
model = AutoModel.from_pretrained({str(folder)!r})
print(type(config).__name__, type(processor).__name__, type(model).__name__)
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return {
        name: subprocess.Popen([sys.executable, "-c", program + loading], cwd=ROOT, **pipes)
        for name, program in PROGRAMS.items()
    }


@pytest.mark.parametrize("name", PROGRAMS)
def test_auto_classes_know_the_network_after_a_light_import(name, started):
    said, errors = started[name].communicate()
    expected = "ChatSearcherConfig ChatSearcherProcessor ChatSearcherModel"
    assert said.split("\n")[-2] == expected, errors[-2000:]


def test_the_public_name_is_lazy():
    assert chatsearcher.ChatSearcher is ChatSearcher
    with pytest.raises(AttributeError, match="no attribute 'ChatSeeker'"):
        chatsearcher.ChatSeeker  # noqa: B018


def test_shards_load_as_one(folder):
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    loaded = ChatSearcher.from_pretrained(folder)
    for ours, theirs in zip(
        vectors(loaded.model), vectors(seeing_model(llm_config=LLM)), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert loaded.processor.num_query_tokens == 2


@pytest.mark.parametrize("placed", ["auto", "by hand"])
def test_parts_on_several_devices_compute_the_same(placed, folder, tmp_path):
    pytest.importorskip("accelerate")
    options = {"device_map": "auto"}
    if placed == "by hand":  # the disk stands for a second device: its weights come when called
        rest = ("tower", "connector", "query_projection", "key_projection", "queue", "log_scale")
        places = dict.fromkeys(rest, "cpu")
        places |= {f"llm.{name}": "cpu" for name in ("model.embed_tokens", "model.rotary_emb")}
        places |= {"llm.model.layers.0": "cpu", "llm.model.layers.1": "disk"}
        places |= {"llm.model.norm": "disk", "llm.lm_head": "disk"}
        options = {"device_map": places, "offload_folder": str(tmp_path)}
    model = AutoModel.from_pretrained(folder, **options)
    whole = ChatSearcherModel.from_pretrained(folder)
    if placed == "by hand":
        assert {p.device.type for p in model.llm.model.layers[1].parameters()} == {"meta"}
    for ours, theirs in zip(vectors(model), vectors(whole), strict=True):
        assert torch.equal(ours, theirs)


def test_automatic_placement_keeps_tower_and_connector_whole(folder):
    """Both reach into their own parts; a part elsewhere would not be found."""
    accelerate = pytest.importorskip("accelerate")
    model = ChatSearcherModel.from_pretrained(folder)
    sizes = {"cpu": "900KB", "disk": "10MB"}
    places = accelerate.infer_auto_device_map(
        model, max_memory=sizes, no_split_module_classes=model._no_split_modules
    )
    assert len(set(places.values())) > 1
    inside = [n for n in places if n.startswith(("tower.", "connector."))]
    assert not inside, inside
    assert not any(name.startswith("llm.model.layers.0.") for name in places)


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
@pytest.mark.parametrize("bits", [8, 4])
def test_the_language_model_alone_is_quantised_and_still_converses(bits, folder):
    from transformers import BitsAndBytesConfig

    chosen = BitsAndBytesConfig(**{f"load_in_{bits}bit": True})
    model = AutoModel.from_pretrained(folder, quantization_config=chosen)
    assert chosen.llm_int8_skip_modules is None  # the caller's own settings stay as they were
    quantised = {type(m).__name__ for m in model.llm.model.layers.modules()}
    assert {8: "Linear8bitLt", 4: "Linear4bit"}[bits] in quantised
    for part in (model.tower, model.connector, model.query_projection, model.llm.lm_head):
        assert not any("bit" in type(module).__name__ for module in part.modules())
    whole = ChatSearcherModel.from_pretrained(folder)
    (queries, keys), (wanted_queries, wanted_keys) = vectors(model), vectors(whole)
    assert torch.equal(keys, wanted_keys)  # galleries stay as they are
    cosines = (queries * wanted_queries).sum(dim=1)
    # random weights; measured worst: 0.9998 in 8 bits, 0.964 in 4
    assert cosines.min() > {8: 0.999, 4: 0.93}[bits]
    retriever = ChatSearcherRetriever(model, tiny_processor(), "cpu", max_new_tokens=3)
    assert retriever.fingerprint == ChatSearcherRetriever(whole, tiny_processor()).fingerprint
    asked = Dialogue().user("show me a dog")
    assert isinstance(retriever.reply(asked).text, str)
    assert retriever.encode_images([picture(1)]).shape == (1, 12)
    if bits == 4 and importlib.util.find_spec("peft") is not None:
        model.add_lora(rank=2)
        with pytest.raises(ValueError, match="Train the adapters on a bfloat16 model"):
            model.save_pretrained(folder / "quantised")


def test_without_bitsandbytes_the_remedy_is_named_before_anything_is_loaded(monkeypatch, tmp_path):
    from transformers import BitsAndBytesConfig

    from chatsearcher.model import quantization

    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'chatsearcher\[quantize\]'"):
        ChatSearcherModel.from_pretrained(
            tmp_path, quantization_config=BitsAndBytesConfig(load_in_4bit=True)
        )


def test_memory_of_a_model_in_four_bits_is_what_it_says(folder):
    """0.5 bytes a weight of the decoder's layers, and a float32 scale for each 64 of them."""
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    model = AutoModel.from_pretrained(
        folder, quantization_config=BitsAndBytesConfig(load_in_4bit=True), dtype=torch.bfloat16
    )
    linear = LLM.num_hidden_layers * (4 * 128 * 128 + 3 * 128 * 256)
    held = sum(
        weight.numel() * weight.element_size()
        for name, weight in model.llm.model.layers.named_parameters()
        if weight.dtype == torch.uint8
    )
    assert held == linear // 2
