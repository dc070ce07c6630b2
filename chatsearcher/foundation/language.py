"""What a language model is to this project: a prompt goes in, an answer with its tokens comes out.

``open_model`` reads a short text:

- ``https://host/v1#MODEL``: any OpenAI-compatible endpoint;
- ``local:PATH_OR_NAME``: a ``transformers`` model on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Finish = Literal["stop", "length", "refusal"]


@dataclass(frozen=True)
class Prompt:
    """What is asked.

    Attributes:
        name: what the answer is, as an identifier: ``text_dialogue``.
        schema: the JSON schema that the answer must fit, as JSON; None where any text will do.
    """

    name: str
    system: str
    user: str
    schema: str | None = None

    def messages(self) -> list[dict[str, str]]:
        """The chat format of OpenAI's and of ``transformers``."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.user},
        ]


@dataclass(frozen=True)
class Answer:
    """What came back, with the number of tokens that it cost."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: Finish = "stop"


@runtime_checkable
class LanguageModel(Protocol):
    """A model that is asked from many tasks at once."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides its answers: model, temperature, longest answer… Goes into cache keys
        and into what is written of a run."""
        ...

    async def complete(self, prompt: Prompt, seed: int = 0) -> Answer:
        """Answer.

        Raises:
            Unanswered: this prompt gets no answer, for a reason of its own.
            EndpointDown: nobody answers any more; stop, and go on later.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...


class Unanswered(ValueError):
    """One prompt stays without an answer; the record behind it is rejected with this reason."""


class EndpointDown(ConnectionError):
    """The service as a whole does not answer, or refuses us: no record is to blame."""


def open_model(spec: str, **options: Any) -> LanguageModel:
    """The model that a spec names (see the module's text).

    Args:
        options: fields of ``EndpointSettings``, or arguments of ``TransformersModel``.

    Raises:
        ValueError: not such a spec.
    """
    if spec.startswith("local:"):
        from chatsearcher.foundation.local import TransformersModel

        return TransformersModel(spec.removeprefix("local:"), **options)
    url, mark, model = spec.rpartition("#")
    if not mark or not model or not url.startswith(("http://", "https://")):
        raise ValueError(
            f"language model {spec!r}; expected URL#MODEL (http://127.0.0.1:8000/v1#name) "
            "or local:PATH_OR_NAME"
        )
    from chatsearcher.foundation.endpoint import EndpointModel, EndpointSettings

    return EndpointModel(EndpointSettings(url=url, model=model, **options))
