"""The prompts: text files of our own, copied into every run that uses them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from chatsearcher.foundation.language import Prompt

FOLDER = Path(__file__).parent / "prompts"
_PARTS = re.compile(r"^### (system|user)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class PromptFile:
    """A prompt with places for captions, e.g. ``$caption``."""

    name: str
    text: str
    system: str
    user: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fill(self, schema: str, **values: str) -> Prompt:
        """The prompt with everything in its place.

        Raises:
            ValueError: the file has a place that nothing was given for.
        """
        lines = {key: " ".join(value.split()) for key, value in values.items()}
        try:
            user = Template(self.user).substitute(lines)
        except KeyError as error:
            raise ValueError(
                f"the prompt {self.name} asks for ${error.args[0]}; it can have "
                f"{', '.join('$' + key for key in values)}"
            ) from error
        return Prompt(self.name, self.system, user, schema)


def load_prompt(name: str, folder: Path | None = None) -> PromptFile:
    """A prompt of a folder; of ours by default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has not the sections ``### system`` and ``### user``.
    """
    path = (folder or FOLDER) / f"{name}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"no prompt {path}; a folder of prompts has text_dialogue.txt, modification.txt and "
            "two_rounds.txt"
        )
    text = path.read_text(encoding="utf-8")
    pieces = _PARTS.split(text)
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    if set(sections) != {"system", "user"}:
        raise ValueError(f"{path}: expected the sections '### system' and '### user'")
    return PromptFile(name, text, sections["system"].strip(), sections["user"].strip())
