"""Local ``transformers`` models at a tiny size, saved and loaded as real ones are."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from chatsearcher.dialogue import Image
from chatsearcher.foundation.captioner import Captioner, ImageToText, open_captioner
from chatsearcher.foundation.language import LanguageModel, Prompt, Unanswered, open_model

WORDS = ["<pad>", "<s>", "</s>", "<image>", "a", "cat", "dog", "on", "the", "mat", "[", "]"]


def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="a"))
    made.pre_tokenizer = Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    wrapped.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}cat"
    return wrapped


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def test_a_local_model_answers_as_generate_does(llama: Path) -> None:
    model = open_model(f"local:{llama}", temperature=0.0, max_tokens=6, device="cpu")
    assert isinstance(model, LanguageModel)
    answer = asyncio.run(model.complete(Prompt("thing", "the dog", "on the mat")))
    words = tokenizer()
    ids = words("the dog on the mat cat", return_tensors="pt")["input_ids"]
    network = LlamaForCausalLM.from_pretrained(llama)
    whole = network.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False
    )
    wanted = whole[0, ids.shape[1] :]
    assert answer.text == words.decode(wanted, skip_special_tokens=True)
    assert (answer.prompt_tokens, answer.completion_tokens) == (6, len(wanted))
    asyncio.run(model.close())


def test_the_seed_alone_decides_what_is_sampled(llama: Path) -> None:
    model = open_model(f"local:{llama}", temperature=1.5, max_tokens=8, device="cpu")
    prompt = Prompt("thing", "the dog", "on the mat")

    async def main() -> list[str]:
        found = []
        for seed in (0, 1, 2, 0, 1, 2):
            torch.manual_seed(len(found))  # the process's own state does not count
            found.append((await model.complete(prompt, seed)).text)
        return found

    found = asyncio.run(main())
    assert found[:3] == found[3:]
    assert len(set(found)) > 1
    with pytest.raises(Unanswered, match="reads 64"):
        asyncio.run(model.complete(Prompt("thing", "cat " * 100, "dog")))
    asyncio.run(model.close())


def test_a_model_without_a_chat_template_is_refused(llama: Path, tmp_path: Path) -> None:
    LlamaForCausalLM.from_pretrained(llama).save_pretrained(tmp_path)
    plain = tokenizer()
    plain.chat_template = None
    plain.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no chat template"):
        open_model(f"local:{tmp_path}", device="cpu")


def test_blip2_puts_pictures_in_words(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vision = Blip2VisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    qformer = Blip2QFormerConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        encoder_hidden_size=16,
    )
    text = OPTConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        word_embed_proj_dim=16,
        ffn_dim=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = Blip2Config(
        vision_config=vision.to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=3,
    )
    Blip2ForConditionalGeneration(config).save_pretrained(tmp_path)
    size = {"height": 28, "width": 28}
    Blip2Processor(BlipImageProcessor(size=size), tokenizer(), num_query_tokens=4).save_pretrained(
        tmp_path
    )
    captioner = ImageToText(str(tmp_path), max_tokens=5, beams=2, device="cpu")
    assert isinstance(captioner, Captioner)
    pictures = [
        Image("a", pixels=Pillow.new("RGB", (50, 40), "red")),
        Image("b", pixels=Pillow.effect_noise((60, 60), 90).convert("RGB")),
    ]
    both = captioner.caption(pictures)
    assert len(both) == 2
    assert all(isinstance(words, str) and "\n" not in words for words in both)
    assert captioner.caption(pictures[:1]) == both[:1]
    assert captioner.caption([]) == []
    with pytest.raises(ValueError, match="'c' is not decoded"):
        captioner.caption([Image("c")])


def test_the_worlds_captioner_tells_the_truth() -> None:
    captioner = open_captioner("world")
    key = "beach.day|left:2-big-red-plain-cat|right:1-small-blue-striped-car#7"
    (words,) = captioner.caption([Image(key)])
    assert {"cats", "car", "beach"} <= set(re.findall(r"\w+", words.lower()))
    assert captioner.caption([Image(key)]) == [words]
