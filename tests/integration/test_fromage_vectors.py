"""FROMAGe's way through vectors: the two lists, its own code (here a toy of it), the figures."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImages
from safetensors.numpy import load_file

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.listing import lines
from tests.fixtures.miniatures.cirr import make

ROOT = Path(__file__).resolve().parents[2]
FOURTH = 64 / 255  # the last number of a toy picture
SCRIPT = ROOT / "eval" / "fromage_vectors.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script's names; ``main`` runs it as a command would."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "fixtures" / "fromage_toy"))
    for name in [name for name in sys.modules if name.split(".")[0] == "fromage"]:
        monkeypatch.delitem(sys.modules, name)
    return runpy.run_path(str(SCRIPT))


def test_vectors_by_other_code_are_scored(script, tmp_path, monkeypatch) -> None:
    root = make(tmp_path / "cirr")
    (root / "dev" / "dev-0-2-img0.png").unlink()
    benchmark = BENCHMARKS["cirr-val"]
    for what in ("images", "queries"):
        found = lines(benchmark, what, Context(spec="", data_root=root))
        (tmp_path / f"{what}.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in found), encoding="utf-8"
        )
    out = tmp_path / "fromage.safetensors"
    arguments = ["--model-dir", "toy", "--root", root, "--images", tmp_path / "images.jsonl"]
    arguments += ["--queries", tmp_path / "queries.jsonl", "--out", out]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    script["main"]()
    vectors = load_file(out)
    assert vectors["images"].shape == vectors["queries"].shape == (18, 4)
    assert vectors["missing"].tolist() == [0, 0, 1, *[0] * 15]
    colour = np.array(PILImages.open(root / "dev" / "dev-0-1-img0.png").getpixel((0, 0))) / 255
    np.testing.assert_allclose(vectors["images"][1], [*(3 * colour), 3 * FOURTH], rtol=1e-5)
    # Query 1 shows picture 1; the token that begins a text, and [RET].
    np.testing.assert_allclose(vectors["queries"][1], [*(2 * colour), 3 + 2 * FOURTH], rtol=1e-5)
    result = benchmark.run_features(out, Context(spec="", data_root=root), None)
    assert result.shrunken
    assert result.counts["missing images"] == 1
    assert list(result.missing) == ["dev-0-2-img0"]
    assert result.counts["queries"] == 16  # without the one that shows it and the one it answers


def test_turns_are_written_as_fromage_reads_them(script, tmp_path) -> None:
    from fromage import models  # type: ignore[import-not-found]

    PILImages.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    fromage = models.load_fromage("toy")
    encoder = script["Encoder"](fromage, tmp_path, ("Q:", "A:"))
    shown = {"type": "image", "id": "red", "path": "red.png"}

    def text(words: str) -> dict[str, str]:
        return {"type": "text", "text": words}

    talk = [
        {"role": "user", "content": [text("a cat "), shown, text("like * this?")]},
        {"role": "assistant", "content": [text("yes.")]},
        {"role": "user", "content": [text("another"), text("one")]},
    ]
    vector = encoder.query({"id": "1", "dialogue": talk})
    assert fromage.model.seen == ["Q: a cat", "like * this? A: yes. Q: another one[RET]"]
    # Red once and a star; the beginning of the first text alone, and [RET]; doubled.
    np.testing.assert_allclose(vector, [4, 2, 2, 3 + 2 * FOURTH], rtol=1e-6)
    encoder.query({"id": "2", "dialogue": [{"role": "user", "content": [shown, text("a dog")]}]})
    assert fromage.model.seen[2:] == ["a dog[RET]"]
    with pytest.raises(ValueError, match=r"'3' has 1\d\d positions, the language model reads 100"):
        encoder.query({"id": "3", "dialogue": [{"role": "user", "content": [text("x" * 120)]}]})
