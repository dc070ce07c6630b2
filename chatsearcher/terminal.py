"""The conversation in a terminal: a person's lines in, answers and numbered candidates out."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from chatsearcher.conversation import Candidate, Conversation
from chatsearcher.conversation.script import Action, perform

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

HELP = """\
Say what you look for, in words; then go on: "the same, but at night", "what is on the left?".

  pick 2 (or 2)   take candidate 2 as the answer; what you say next builds on it
  more            show the next candidates
  none of these   turn all shown candidates down, for good, and show others
  attach PATH     put a picture of your own in front of your next message
  undo            take back the last step
  save PATH       keep the conversation: PATH.jsonl to go on later, PATH.html to look at
  help, quit      this text; leave (so do Ctrl-D and Ctrl-C)

Typing on without a pick takes candidate 1."""

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NONE = {"none", "none of these", "none of them", "none of those"}
_PLAIN = {"more": "more", "show more": "more", "next": "more", "undo": "undo"}
_PICTURE_SIDE = 16  # characters; two pixels in each, one above the other


class Terminal:
    """One person at one terminal.

    Args:
        conversation: what the lines act on.
        out: where to print.
        read: shows the prompt and returns a line; raises EOFError at the end.
        pictures: draw candidates as coloured half blocks; None asks the terminal whether it can.
        export: what ``save X.html`` calls with the path.
    """

    def __init__(
        self,
        conversation: Conversation,
        out: TextIO | None = None,
        read: Callable[[str], str] = input,
        pictures: bool | None = None,
        export: Callable[[Conversation, Path], None] | None = None,
    ) -> None:
        self.conversation = conversation
        self.out = out or sys.stdout
        self.read = read
        self.colour = has_colour(self.out)
        self.pictures = draws_pictures(self.out) if pictures is None else pictures
        self.export = export
        self._streamed = ""

    def run(self) -> int:
        """Converse until the person leaves; returns the exit status, 0."""
        count = len(self.conversation.gallery.ids)
        self._print(f"{count:,} pictures. Say what you look for, or `help`.\n")
        if self.conversation.rounds:
            self._stand()
        # Readline must be told which characters of a prompt take no room.
        prompt = "\x01\x1b[1m\x02you ›\x01\x1b[0m\x02 " if self.colour else "you › "
        while True:
            try:
                self._print("\n")
                line = self.read(prompt).strip()
            except (EOFError, KeyboardInterrupt):
                self._print("\nGoodbye.\n")
                return 0
            if line.lower().lstrip("/") in ("quit", "exit", "bye"):
                self._print("Goodbye.\n")
                return 0
            try:
                self.handle(line)
            except KeyboardInterrupt:
                self._print("\nStopped. (`quit` leaves.)\n")
            except (ValueError, FileNotFoundError, OSError) as error:
                self._print(f"{self._dim('!')} {error}\n")

    def handle(self, line: str) -> None:
        """Do what one line says.

        Raises:
            ValueError, OSError: it cannot be done; the text says why.
        """
        if not line:
            return
        command, _, rest = line.lstrip("/").partition(" ")
        if line.lower().lstrip("/") in ("help", "?", "h"):
            self._print(HELP + "\n")
        elif command.lower() == "attach":
            picture = self.conversation.attach(one_path(rest, "attach"))
            assert picture.pixels is not None
            width, height = picture.pixels.size
            self._print(f"{picture.path} ({width} × {height}) goes with your next message.\n")
        elif command.lower() == "save":
            self._save(Path(one_path(rest, "save")).expanduser())
        else:
            action = parse_line(line, can_pick=bool(self.conversation.candidates))
            self.act(action)

    def echo(self, action: Action) -> None:
        """Print what a script's action says, as if a person had typed it."""
        words = {"say": str(action.value), "none": "none of these"}.get(action.verb, action.verb)
        if action.verb in ("pick", "save"):
            words = f"{action.verb} {action.value}"
        for path in action.images:
            self._print(f"\n{self._bold('you ›')} attach {path}")
        self._print(f"\n{self._bold('you ›')} {words}\n")

    def act(self, action: Action) -> None:
        """Make the action's move and print the answer, its words as they come.

        Raises:
            ValueError, OSError: the move cannot be made; nothing has changed then.
        """
        candidates = self.conversation.candidates
        if action.verb == "pick" and 1 <= action.value <= len(candidates):
            picked = candidates[action.value - 1]
            self._print(f"Picked {picked.number}: {_short(picked.id)}\n")
        self._streamed = ""
        answer = perform(self.conversation, action, self._stream)
        if action.verb == "undo":
            self._print("Taken back. ")
            self._stand()
        if rest := answer.text.removeprefix(self._streamed).strip():
            self._print(f" {rest}" if self._streamed else rest)
        if answer.text:
            self._print("\n")
        if answer.candidates:
            self._candidates(answer.candidates)
        elif not answer.fits and action.verb == "say":
            self._print(self._dim("`more` shows the nearest pictures all the same.") + "\n")

    # ------------------------------------------------------------------ inside

    def _save(self, path: Path) -> None:
        if path.suffix.lower() in (".html", ".htm"):
            if self.export is None:
                raise ValueError("no page can be written here; save to a .jsonl file")
            self.export(self.conversation, path)
        else:
            self.conversation.save(path)
        self._print(f"Saved to {path}\n")

    def _stand(self) -> None:
        """Print where the conversation stands."""
        rounds = self.conversation.rounds
        if not rounds:
            self._print("The conversation is empty.\n")
            return
        last = rounds[-1]
        self._print(f"You had said: {last.user.text or 'a picture'}\n")
        if last.text:
            self._print(f"The answer: {last.text}\n")
        self._candidates(last.shown)
        if last.picked:
            self._print(f"You picked {last.picked}.\n")

    def _candidates(self, candidates: Sequence[Candidate]) -> None:
        if self.pictures:
            self._draw(candidates)
        for one in candidates:
            number = self._bold(f"{one.number:>3}")
            caption = f"  {one.caption}" if one.caption else ""
            name = self._dim(_short(one.id, 32)) if caption else _short(one.id)
            self._print(f"{number}  {round(one.score, 3) + 0.0:6.3f} {caption}  {name}\n")

    def _draw(self, candidates: Sequence[Candidate]) -> None:
        """Pictures side by side, as many in a row as fit."""
        across = max(1, (_columns(self.out) - 1) // (_PICTURE_SIDE + 2))
        for start in range(0, len(candidates), across):
            row = candidates[start : start + across]
            blocks = [half_blocks(self.conversation.gallery.thumbnail(one.id)) for one in row]
            for lines in zip(*blocks, strict=True):
                self._print("  ".join(lines) + "\n")
            labels = (f"{one.number}".center(_PICTURE_SIDE) for one in row)
            self._print(self._bold("  ".join(labels).rstrip()) + "\n")

    def _stream(self, words: str) -> None:
        self._streamed += words
        self._print(words)

    def _print(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.colour else text

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.colour else text


def parse_line(line: str, can_pick: bool) -> Action:
    """A command, or words to say. A bare number is a pick where there is something to pick.

    >>> parse_line("pick 2", True), parse_line("the second one, but at night", True)
    """
    words = " ".join(line.lower().lstrip("/").rstrip(".!").split())
    if words in _PLAIN:
        return Action("more" if _PLAIN[words] == "more" else "undo")
    if words in _NONE:
        return Action("none")
    match = re.fullmatch(r"pick(?: number| #)?\s*(.*)", words)
    if match:
        return Action("pick", _number(match[1]))
    if can_pick and re.fullmatch(r"#?\d+", words):
        return Action("pick", _number(words))
    if line.startswith("/"):
        raise ValueError(f"unknown command {line.split()[0]!r}; `help` lists them")
    return Action("say", line)


def _number(text: str) -> int:
    text = text.lstrip("#")
    if text in _NUMBERS:
        return _NUMBERS.index(text) + 1
    if not text.isdecimal():
        raise ValueError(f"pick which one? Write `pick 2`; got {text!r}")
    return int(text)


def one_path(text: str, command: str) -> str:
    """The path after a command; quoted or escaped as in a shell, or bare with its spaces."""
    text = text.strip()
    if not text:
        raise ValueError(f"{command} what? Write `{command} PATH`")
    try:
        parts = shlex.split(text)
    except ValueError:  # an apostrophe in a bare path
        return text
    return os.path.expanduser(parts[0] if len(parts) == 1 else text)


def has_colour(out: TextIO) -> bool:
    """Whether escape sequences are welcome: a terminal, and nobody said no (no-color.org)."""
    return out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def draws_pictures(out: TextIO) -> bool:
    """Whether half blocks look right: 24-bit colour, and room for three side by side."""
    true_colour = os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
    return has_colour(out) and true_colour and _columns(out) >= 3 * (_PICTURE_SIDE + 2)


def half_blocks(picture: PILImage, side: int = _PICTURE_SIDE) -> list[str]:
    """``side`` characters wide, ``side / 2`` lines high: each ``▀`` shows two pixels."""
    small = picture.convert("RGB").resize((side, side))
    lines = []
    for y in range(0, side - side % 2, 2):
        cells = []
        for x in range(side):
            above, below = small.getpixel((x, y)), small.getpixel((x, y + 1))
            front, back = (";".join(map(str, pixel)) for pixel in (above, below))  # type: ignore
            cells.append(f"\x1b[38;2;{front}m\x1b[48;2;{back}m▀")
        lines.append("".join(cells) + "\x1b[0m")
    return lines


def _columns(out: TextIO) -> int:
    return shutil.get_terminal_size().columns


def _short(id: str, room: int = 60) -> str:
    return id if len(id) <= room else f"{id[: room // 2 - 1]}…{id[-room // 2 :]}"
