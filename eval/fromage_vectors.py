"""FROMAGe's vectors of a benchmark, made by FROMAGe's own code (docs/fromage.md).

    python eval/fromage_vectors.py --model-dir fromage_model --root DATA \\
        --images images.jsonl --queries queries.jsonl --out fromage.safetensors

Runs in FROMAGe's environment, with its repository on PYTHONPATH and ``safetensors`` installed; it
imports nothing of this project. ``--images`` and ``--queries`` are what ``chatsearcher evaluate
NAME --list images|queries`` printed, ``--root`` is that call's ``--data-root``.

A picture becomes ``get_visual_embs(mode="retrieval")``. A query becomes the projected last hidden
state of ``[RET]`` after the dialogue: texts as they are, pictures as ``get_visual_embs(mode=
"captioning")`` in their places; where there are several turns, each begins with who speaks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file

RETRIEVE = "[RET]"


def read_lines(path: str) -> list[dict[str, Any]]:
    """JSON objects, one a line."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


class Encoder:
    """FROMAGe's two kinds of vectors.

    Args:
        fromage: what its ``load_fromage`` gives.
        root: the folder that the paths of pictures begin at.
        speakers: how a user's and an assistant's turn begin, where there are several turns.
    """

    def __init__(self, fromage: Any, root: Path, speakers: tuple[str, str]) -> None:
        self.model = fromage.model
        self.root = root
        self.speakers = {"user": speakers[0], "assistant": speakers[1], "system": ""}

    def image(self, line: dict[str, Any]) -> np.ndarray:
        """[D] of one picture of the gallery."""
        vector = self.model.get_visual_embs(self._pixels(line), mode="retrieval")
        return vector[0, 0].float().cpu().numpy()

    def query(self, line: dict[str, Any]) -> np.ndarray:
        """[D] of one dialogue."""
        parts: list[torch.Tensor] = []
        begun = False
        for piece in self.pieces(line["dialogue"]):
            if isinstance(piece, dict):
                parts.append(self.model.get_visual_embs(self._pixels(piece), mode="captioning"))
            else:
                ids = self.model.tokenizer(piece, add_special_tokens=True, return_tensors="pt")
                # As in its own prompts, the token that begins a text stands before the first only.
                ids = ids.input_ids[:, 1:] if begun else ids.input_ids
                parts.append(self.model.input_embeddings(ids.to(self.model.logit_scale.device)))
                begun = True
        embedded = torch.cat(parts, dim=1)
        longest = self.model.lm.config.max_position_embeddings
        if embedded.shape[1] > longest:
            raise ValueError(
                f"query {line['id']!r} has {embedded.shape[1]} positions, the language model reads "
                f"{longest}"
            )
        read = self.model.lm(inputs_embeds=embedded, use_cache=False, output_hidden_states=True)
        layers = self.model.args.text_emb_layers
        projected = [
            project(read.hidden_states[layers[row]])
            for row, project in enumerate(self.model.text_hidden_fcs)
        ]
        return torch.stack(projected).sum(dim=0)[0, -1].float().cpu().numpy()

    def pieces(self, turns: list[dict[str, Any]]) -> list[Any]:
        """Texts, as long as no picture divides them, and pictures; the last text ends in [RET]."""
        found: list[Any] = []
        words: list[str] = []
        for turn in turns:
            if len(turns) > 1:
                words.append(self.speakers[turn["role"]].strip())
            for part in turn["content"]:
                if part["type"] == "text":
                    words.append(part["text"].strip())
                    continue
                found += [" ".join(filter(None, words)), part]
                words = []
        found.append(" ".join(filter(None, words)) + RETRIEVE)
        return [piece for piece in found if piece]

    def _pixels(self, line: dict[str, Any]) -> torch.Tensor:
        with Image.open(self.root / line["path"]) as picture:
            found = self.model.feature_extractor(picture.convert("RGB"), return_tensors="pt")
        scale = self.model.logit_scale
        return found.pixel_values.to(device=scale.device, dtype=scale.dtype)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model-dir", default="fromage_model")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--speakers", nargs=2, default=("Q:", "A:"), metavar=("USER", "SYSTEM"))
    arguments = parser.parse_args()

    from fromage import models

    fromage = models.load_fromage(arguments.model_dir)
    encoder = Encoder(fromage, arguments.root, tuple(arguments.speakers))
    lines, asked = read_lines(arguments.images), read_lines(arguments.queries)
    width = fromage.model.args.shared_emb_dim
    images = np.zeros((len(lines), width), np.float32)
    missing = np.zeros(len(lines), np.uint8)
    for row, line in enumerate(lines):
        try:
            images[row] = encoder.image(line)
        except OSError as error:  # not there, or no picture
            missing[row] = 1
            print(f"missing: {line['id']}: {error}")
    queries = np.zeros((len(asked), width), np.float32)
    for row, line in enumerate(asked):
        try:
            queries[row] = encoder.query(line)
        except OSError as error:  # `evaluate` leaves out queries that show a missing picture
            print(f"query {line['id']}: {error}")
    tensors = {"images": images, "queries": queries, "missing": missing}
    save_file(tensors, arguments.out, metadata={"metric": "cosine"})
    print(f"{len(images)} pictures, {int(missing.sum())} missing, {len(queries)} queries -> "
          f"{arguments.out}")  # fmt: skip


if __name__ == "__main__":
    main()
