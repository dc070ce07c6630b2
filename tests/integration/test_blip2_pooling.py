"""What pooling costs BLIP-2: the script's ranks beside those of the model's own scores."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from chatsearcher.benchmarks import BENCHMARKS
from chatsearcher.retrievers import load_retriever
from tests.fixtures.blip_folders import blip2_folder
from tests.fixtures.miniatures.karpathy import make_flickr30k

SCRIPT = Path(__file__).resolve().parents[2] / "eval" / "blip2_pooling.py"


def test_ranks_by_the_largest_token_are_those_of_the_model(tmp_path, monkeypatch, capsys) -> None:
    import transformers

    folder, root = blip2_folder(tmp_path / "blip2"), make_flickr30k(tmp_path / "data")
    script = runpy.run_path(str(SCRIPT))
    task = BENCHMARKS["flickr30k"].load(root, {})
    system = load_retriever(f"blip2:{folder},length=40", "cpu")
    system._dtype = torch.float32
    ranks = script["compare"](system, task)
    model = transformers.Blip2ForImageTextRetrieval.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    process = transformers.AutoImageProcessor.from_pretrained(folder)
    texts = [query.dialogue.text for query in task.queries]
    read = tokenizer(texts, padding=True, return_tensors="pt")
    pictures = [task.pictures.load(name) for name in task.images]
    with torch.inference_mode():
        scores = model(
            pixel_values=process(images=pictures, return_tensors="pt")["pixel_values"],
            input_ids=read["input_ids"],
            attention_mask=read["attention_mask"],
        ).logits_per_image.T.numpy()
    targets = np.array(task.target_rows())
    own = scores[np.arange(len(texts)), targets][:, None]
    fewest = (scores > own + 1e-5).sum(axis=1) + 1
    most = (scores > own - 1e-5).sum(axis=1)
    assert ((fewest <= ranks["largest"]) & (ranks["largest"] <= most)).all()
    assert not np.array_equal(ranks["largest"], ranks["first"])
    arguments = [str(SCRIPT), f"blip2:{folder},length=40", "--data-root", str(root)]
    monkeypatch.setattr(sys, "argv", arguments)
    script["main"]()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["largest", "mean", "first"]


def test_a_tie_goes_against_the_target() -> None:
    late_ranks = runpy.run_path(str(SCRIPT))["late_ranks"]
    tokens = np.array([[[1.0, 0.0], [0.0, 1.0]]] * 3)
    queries = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert late_ranks(queries, tokens, [0, 1], None).tolist() == [3, 3]
    assert late_ranks(queries, tokens, [0, 1], [{1}, {0, 2}]).tolist() == [2, 1]


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(SCRIPT))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "nano", "--data-root", "."])
    with pytest.raises(SystemExit, match="expected blip2"):
        script["main"]()
