from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.retriever import Retriever
from chatsearcher.retrievers import load_retriever
from chatsearcher.retrievers.clip import ClipModel, ClipOptions, ClipRetriever, parse_spec
from tests.fixtures.tiny import picture

CONTEXT = 24


def tokenize(texts: list[str]) -> torch.Tensor:
    """One token a letter; 1 begins, 255 ends (the largest: open_clip pools there)."""
    rows = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
    for row, text in enumerate(texts):
        ids = [1, *text.encode()[: CONTEXT - 2], 255]
        rows[row, : len(ids)] = torch.tensor(ids)
    return rows


@functools.lru_cache(maxsize=1)
def model() -> ClipModel:
    torch.manual_seed(0)
    network = open_clip.CLIP(
        embed_dim=16,
        vision_cfg={"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
        text_cfg={
            "context_length": CONTEXT, "vocab_size": 256, "width": 16, "heads": 2, "layers": 1,
        },
    )  # fmt: skip
    preprocess = open_clip.image_transform(32, is_train=False)
    return ClipModel(network, preprocess, tokenize, lambda t: len(t.encode()) + 2, CONTEXT, "tiny")


def retriever(**options) -> ClipRetriever:
    return ClipRetriever(model(), ClipOptions(**options), "cpu")


def shown(number: int) -> Image:
    return Image(f"picture {number}", pixels=picture(number))


TALK = Dialogue().user("a red cat", shown(1)).assistant("which one?", shown(2)).user("the second")


def test_it_is_a_retriever_of_unit_vectors() -> None:
    system = retriever(mode="both")
    assert isinstance(system, Retriever)
    for vectors in (system.encode_images([picture(1), picture(2)]), system.encode_queries([TALK])):
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == system.embedding_dim == 16
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_text_choices_read_what_they_say() -> None:
    def text(content: str) -> np.ndarray:
        return retriever().encode_queries([Dialogue().user(content)])[0]

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / np.linalg.norm(vector)

    turns = ["a red cat", "which one?", "the second"]
    said = {
        name: retriever(text=name).encode_queries([TALK])[0] for name in ("last", "user", "mean")
    }
    np.testing.assert_allclose(said["last"], text("the second"), atol=1e-3)
    np.testing.assert_allclose(said["user"], text("a red cat the second"), atol=1e-3)
    np.testing.assert_allclose(
        said["mean"], unit(np.mean([text(turn) for turn in turns], axis=0)), atol=5e-3
    )


def test_a_long_text_is_divided_and_counted() -> None:
    system = retriever(text="user")
    short = Dialogue().user("a red cat")
    system.encode_queries([short])
    assert system.divided_texts == 0
    long = Dialogue().user("a red cat").user("a blue dog here. a tree")
    vector = system.encode_queries([long])[0]
    assert system.divided_texts == 1
    pieces = [
        retriever().encode_queries([Dialogue().user(part)])[0]
        for part in ("a red cat", "a blue dog here.", "a tree")
    ]
    mean = np.mean(pieces, axis=0)
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=5e-3)
    other = Dialogue().user("a red cat").user("a blue dog here. a bush")
    assert not np.allclose(system.encode_queries([other])[0], vector, atol=1e-3)
    with pytest.raises(ValueError, match="longer than the context"):
        system.encode_queries([Dialogue().user("x" * 40)])
    assert system.truncated_texts == 0


def test_a_long_text_is_cut_and_counted_where_one_asks_for_it() -> None:
    _, options = parse_spec("ViT-B-16/openai:text,long=cut")
    system = retriever(**vars(options))
    said = "a red cat and a blue dog here"
    kept = said[: CONTEXT - 2]
    vectors = system.encode_queries([Dialogue().user(said), Dialogue().user(kept)])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert (system.truncated_texts, system.divided_texts) == (1, 0)
    assert system.with_options(options).truncated_texts == 0
    with pytest.raises(ValueError, match="long='drop'; expected one of divide, cut"):
        parse_spec("ViT-B-16/openai:text,long=drop")


@pytest.mark.parametrize("choice", ["last", "all", "user", "mean"])
def test_an_empty_caption_is_a_query_too(choice: str) -> None:
    blank = Dialogue().user(shown(1), "")
    words = retriever(text=choice).encode_queries([blank])[0]
    np.testing.assert_allclose(words, retriever().encode_texts([""])[0], atol=1e-6)
    both = retriever(mode="both", text=choice, weight=0.5).encode_queries([blank])[0]
    picture_alone = retriever(mode="image").encode_queries([blank])[0]
    mean = (words + picture_alone) / 2
    np.testing.assert_allclose(both, mean / np.linalg.norm(mean), atol=1e-5)


def test_pictures_and_their_fusion_with_text() -> None:
    text = retriever(text="last").encode_queries([TALK])[0]
    images = retriever().encode_images([picture(1), picture(2)])
    last = retriever(mode="image").encode_queries([TALK])[0]
    mean = retriever(mode="image", pictures="mean").encode_queries([TALK])[0]
    np.testing.assert_allclose(last, images[1], atol=1e-2)
    middle = images.mean(0) / np.linalg.norm(images.mean(0))
    np.testing.assert_allclose(mean, middle, atol=1e-2)
    both = retriever(mode="both", text="last", weight=0.25).encode_queries([TALK])[0]
    expected = 0.25 * text + 0.75 * last
    np.testing.assert_allclose(both, expected / np.linalg.norm(expected), atol=1e-2)
    only_text = retriever(mode="both", text="last", weight=1.0).encode_queries([TALK])[0]
    np.testing.assert_allclose(only_text, text, atol=1e-5)


def test_without_a_picture_both_is_text_and_image_refuses() -> None:
    words = Dialogue().user("a red cat")
    talks = [words, TALK]
    both = retriever(mode="both", weight=0.1).encode_queries(talks)
    np.testing.assert_allclose(both[0], retriever().encode_queries([words])[0], atol=1e-5)
    with pytest.raises(ValueError, match="1 of 2 dialogues have no picture"):
        retriever(mode="image").encode_queries(talks)
    with pytest.raises(ValueError, match="no text"):
        retriever().encode_queries([Dialogue().user(shown(1))])
    with pytest.raises(ValueError, match="not decoded"):
        retriever(mode="image").encode_queries([Dialogue().user("x", Image("file"))])


def test_the_batch_size_does_not_matter() -> None:
    pictures = [picture(number, size=20 + number) for number in range(7)]
    one, all_at_once = retriever(), retriever()
    one.batch = 1
    np.testing.assert_allclose(
        one.encode_images(pictures), all_at_once.encode_images(pictures), atol=2e-2
    )
    assert retriever().encode_images([]).shape == (0, 16)
    assert retriever().encode_queries([]).shape == (0, 16)


def test_the_fingerprint_follows_the_weights_and_nothing_else() -> None:
    first = retriever().fingerprint
    assert retriever(mode="image").fingerprint == first
    with torch.no_grad():
        weight = model().network.visual.conv1.weight
        weight[0, 0, 0, 0] += 1
        changed = retriever().fingerprint
        weight[0, 0, 0, 0] -= 1
    assert changed != first


def test_specs() -> None:
    assert parse_spec("ViT-B-32/openai") == ("ViT-B-32/openai", ClipOptions())
    assert parse_spec("runs/tower:both,text=last,weight=0.3") == (
        "runs/tower",
        ClipOptions("both", "last", "last", 0.3),
    )
    for bad, message in (
        ("runs/tower:words", "unknown mode 'words'"),
        ("runs/tower,wait=3", "option 'wait=3'"),
        ("runs/tower,weight=3", "share of text"),
        ("runs/tower,text=first", "expected one of last"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_spec(bad)


def test_what_cannot_be_loaded_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TOWER/WEIGHTS"):
        load_retriever("clip:nothing")
    with pytest.raises(ValueError, match="neither a folder that is there"):
        load_retriever("clip:ViT-B-32/nobody")
    with pytest.raises(FileNotFoundError, match="open_clip_config"):
        load_retriever(f"clip:{tmp_path}")
    with pytest.raises(ValueError, match="did you mean 'clip'"):
        load_retriever("clp:x/y")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_retriever("./nowhere")
    with pytest.raises(ValueError, match="unknown retriever 'mini'"):
        load_retriever("mini")
