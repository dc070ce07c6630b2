"""What of a dialogue becomes the query of a dual encoder, and how a spec says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args

from chatsearcher.dialogue import Dialogue, Text

Mode = Literal["text", "image", "both"]
TextChoice = Literal["last", "all", "user", "mean"]
PictureChoice = Literal["last", "mean"]


@dataclass(frozen=True)
class QueryOptions:
    """What of a dialogue becomes the query.

    Attributes:
        mode: its text, its pictures, or both.
        text: ``last`` (the last user's turn), ``all`` (every turn, joined), ``user`` (every user's
            turn, joined), ``mean`` (the mean of the turns' vectors).
        pictures: ``last`` or ``mean`` (of all pictures of the dialogue).
        weight: in ``both``, the share of the text in ``w·text + (1 − w)·pictures``, in [0, 1].
    """

    mode: Mode = "text"
    text: TextChoice = "all"
    pictures: PictureChoice = "last"
    weight: float = 0.5

    kind: ClassVar[str] = "dual encoder"  # the spec's first word, for messages
    choices: ClassVar[Mapping[str, Any]] = {
        "mode": Mode,
        "text": TextChoice,
        "pictures": PictureChoice,
    }

    def __post_init__(self) -> None:
        for name, literal in self.choices.items():
            value = getattr(self, name)
            if value not in get_args(literal):
                raise ValueError(
                    f"{self.kind}: {name}={value!r}; expected one of {', '.join(get_args(literal))}"
                )
        if not 0.0 <= self.weight <= 1.0:
            raise ValueError(f"{self.kind}: weight={self.weight}; a share of text in [0, 1]")


Options = TypeVar("Options", bound=QueryOptions)


def parse_spec(argument: str, options: type[Options]) -> tuple[str, Options]:
    """``MODEL[:mode][,option=value…]`` -> (MODEL, options).

    Raises:
        ValueError: an unknown mode or option, or a value of the wrong kind.
    """
    kind = options.kind
    known = {
        field.name: type(field.default)
        for field in fields(options)
        if field.name != "mode" and field.default is not MISSING
    }
    head, *settings = argument.split(",")
    values: dict[str, Any] = {}
    name, colon, mode = head.rpartition(":")
    if colon and mode in get_args(Mode):
        head, values["mode"] = name, mode
    elif colon and not Path(head).exists():
        raise ValueError(f"{kind}: unknown mode {mode!r}; expected {', '.join(get_args(Mode))}")
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in known or not value:
            expected = ", ".join(f"{name}=" for name in known)
            raise ValueError(f"{kind}: option {setting!r}; expected one of {expected}")
        try:
            values[key] = known[key](value)
        except ValueError as error:
            raise ValueError(
                f"{kind}: {setting!r}; expected a value of type {known[key].__name__}"
            ) from error
    return head, options(**values)


def turn_texts(dialogue: Dialogue, choice: TextChoice) -> list[str]:
    """The texts that count, turn by turn, empty ones left out.

    Where all that was written is empty, that is the one text: CIRR's test split and Fashion IQ have
    such queries, and each of them counts. Nothing: no turn that counts has a text at all.
    """
    if choice == "last":
        turn = dialogue.last("user")
        turns = [] if turn is None else [turn]
    else:
        turns = [t for t in dialogue.turns if choice in ("all", "mean") or t.role == "user"]
    written = any(isinstance(part, Text) for turn in turns for part in turn.content)
    return [turn.text for turn in turns if turn.text] or ([""] if written else [])
