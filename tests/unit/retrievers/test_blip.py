from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.retriever import Retriever
from chatsearcher.retrievers import load_retriever
from chatsearcher.retrievers.blip import Blip2Options, BlipRetriever, late_scores
from chatsearcher.retrievers.dual.options import parse_spec
from tests.fixtures.blip_folders import blip2_folder, blip_folder
from tests.fixtures.tiny import picture

PICTURES = [picture(number, size) for number, size in ((1, 32), (2, 48), (3, 20))]
TEXTS = ["a red cat", "which one is it ?", "the blue bird on the green chair , not the dog ."]
KINDS = ("blip", "blip2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("blip")
    return {"blip": blip_folder(root / "blip"), "blip2": blip2_folder(root / "blip2")}


def system(folders: dict[str, Path], kind: str, settings: str = ":text,length=40") -> Any:
    """In float32, whatever the machine multiplies fast."""
    found = load_retriever(f"{kind}:{folders[kind]}{settings}", "cpu")
    assert isinstance(found, BlipRetriever)
    found._dtype = torch.float32
    return found


def said(*texts: str) -> list[Dialogue]:
    return [Dialogue().user(text) for text in texts]


def reference(folder: Path, kind: str) -> np.ndarray:
    """[N, Q]: the contrastive scores of the model's own forward pass."""
    import transformers

    name = {"blip": "BlipForImageTextRetrieval", "blip2": "Blip2ForImageTextRetrieval"}[kind]
    model = getattr(transformers, name).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    process = transformers.AutoImageProcessor.from_pretrained(folder)
    inputs = {
        **tokenizer(TEXTS, padding=True, return_tensors="pt"),
        "pixel_values": process(images=PICTURES, return_tensors="pt")["pixel_values"],
    }
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        if kind == "blip":
            return model(**inputs, use_itm_head=False).itm_score.numpy()
        return model(**inputs, use_image_text_matching_head=False).logits_per_image.numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_the_scores_are_those_of_the_models_own_forward_pass(folders, kind) -> None:
    blip = system(folders, kind)
    assert isinstance(blip, Retriever)
    queries, tokens = blip.encode_queries(said(*TEXTS)), blip.image_tokens(PICTURES)
    expected = reference(folders[kind], kind)
    assert np.ptp(expected) > 0.1  # the miniature tells its inputs apart
    np.testing.assert_allclose(late_scores(queries, tokens).T, expected, atol=1e-5)
    if kind == "blip":
        np.testing.assert_allclose(blip.encode_images(PICTURES) @ queries.T, expected, atol=1e-5)
    for vectors in (queries, blip.encode_images(PICTURES)):
        assert vectors.dtype == np.float32
        assert vectors.shape == (3, blip.embedding_dim) == (3, 16)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_order_nor_batch_matters(folders, kind) -> None:
    blip, single = system(folders, kind), system(folders, kind)
    single.batch = 1
    order = [2, 0, 1]
    images, queries = blip.encode_images(PICTURES), blip.encode_queries(said(*TEXTS))
    np.testing.assert_allclose(
        single.encode_images([PICTURES[row] for row in order]), images[order], atol=1e-5
    )
    np.testing.assert_allclose(
        single.encode_queries(said(*(TEXTS[row] for row in order))), queries[order], atol=1e-5
    )
    assert blip.encode_images([]).shape == blip.encode_queries([]).shape == (0, 16)


def test_a_picture_of_blip2_is_pooled_as_named(folders) -> None:
    mean, first = system(folders, "blip2"), system(folders, "blip2", ",pool=first,length=40")
    tokens = mean.image_tokens(PICTURES)
    assert tokens.shape == (3, 4, 16)
    middle = tokens.mean(axis=1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    np.testing.assert_allclose(mean.encode_images(PICTURES), middle, atol=1e-6)
    np.testing.assert_allclose(first.encode_images(PICTURES), tokens[:, 0], atol=1e-6)
    assert mean.fingerprint != first.fingerprint


def test_late_scores_take_the_best_token() -> None:
    tokens = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [-1.0, 0.0]]])
    scores = late_scores(np.array([[0.0, 1.0], [1.0, 0.0]]), tokens)
    np.testing.assert_allclose(scores, [[1.0, 0.8], [1.0, 0.6]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_is_cut_and_counted(folders, kind) -> None:
    short = system(folders, kind, ",text=user,length=5")  # three words
    whole = system(folders, kind, ",text=user,length=40")
    cut = short.encode_queries(said("a red cat", "a red cat on the chair"))
    assert (short.truncated_texts, whole.truncated_texts) == (1, 0)
    np.testing.assert_allclose(cut[0], cut[1], atol=1e-6)
    full = whole.encode_queries(said("a red cat", "a red cat on the chair"))
    assert not np.allclose(full[0], full[1], atol=1e-2)
    np.testing.assert_allclose(cut[0], full[0], atol=1e-5)
    short.encode_queries(said("a red cat on the chair"))  # remembered, and counted all the same
    assert short.truncated_texts == 2
    talk = Dialogue().user("a").assistant("which one is it ?").user("the cat")
    short.encode_queries([talk])
    assert short.truncated_texts == 2  # three words of the user's


@pytest.mark.parametrize("kind", KINDS)
def test_words_and_pictures_are_weighed_as_named(folders, kind) -> None:
    shown = [Image(f"picture {row}", pixels=PICTURES[row]) for row in (0, 1)]
    talk = Dialogue().user("a red cat", shown[0]).assistant("this ?", shown[1]).user("a dog")
    settings = "text=last,length=40"
    text = system(folders, kind, f",{settings}").encode_queries([talk])[0]
    images = system(folders, kind).encode_images(PICTURES[:2])
    last = system(folders, kind, f":image,{settings}").encode_queries([talk])[0]
    mean = system(folders, kind, f":image,pictures=mean,{settings}").encode_queries([talk])[0]
    both = system(folders, kind, f":both,weight=0.25,{settings}")
    np.testing.assert_allclose(last, images[1], atol=1e-5)
    middle = images.mean(0) / np.linalg.norm(images.mean(0))
    np.testing.assert_allclose(mean, middle, atol=1e-5)
    expected = 0.25 * text + 0.75 * last
    expected /= np.linalg.norm(expected)
    found = both.encode_queries([*said("a dog"), talk])
    np.testing.assert_allclose(found, [text, expected], atol=1e-5)


def test_the_fingerprint_follows_what_decides_the_picture_vectors(folders) -> None:
    blip = system(folders, "blip")
    first = blip.fingerprint
    assert system(folders, "blip", ":image,length=30").fingerprint == first
    state = blip._network.model
    for tensor, changes in (
        (state.text_proj.weight, False),
        (state.itm_head.weight, False),
        (state.vision_proj.weight, True),
    ):
        with torch.no_grad():
            tensor[0, 0] += 1
        blip._fingerprint = None
        assert (blip.fingerprint != first) is changes


def test_specs() -> None:
    name, options = parse_spec(
        "Salesforce/blip2:both,weight=0.3,length=64,pool=first", Blip2Options
    )
    assert name == "Salesforce/blip2"
    assert options == Blip2Options("both", weight=0.3, length=64, pool="first")
    for bad, message in (
        ("x,pool=max", "blip2: pool='max'; expected one of mean, first"),
        ("x,length=long", "expected a value of type int"),
        ("x,weight=", "expected one of text="),
        ("x:words", "unknown mode 'words'"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_spec(bad, Blip2Options)


def test_what_cannot_be_loaded_says_what_was_expected(folders, tmp_path: Path) -> None:
    from transformers import AutoConfig, BlipForConditionalGeneration

    with pytest.raises(FileNotFoundError, match="cannot be read"):
        load_retriever(f"blip:{tmp_path}")
    with pytest.raises(ValueError, match="a model of type 'blip'; expected 'blip-2'"):
        load_retriever(f"blip2:{folders['blip']}")
    with pytest.raises(ValueError, match="reads from 3 to 40 tokens"):
        load_retriever(f"blip:{folders['blip']}")  # 200 by default
    captioner = blip_folder(tmp_path / "captioner")
    (captioner / "model.safetensors").unlink()
    config = AutoConfig.from_pretrained(captioner)
    BlipForConditionalGeneration(config).save_pretrained(captioner)
    with pytest.raises(ValueError, match=r"lack \d+ tensors of BlipForImageTextRetrieval"):
        load_retriever(f"blip:{captioner},length=40")
    pickled = blip_folder(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="safetensors"):
        load_retriever(f"blip:{pickled},length=40")
