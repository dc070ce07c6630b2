"""ChatSearcher as a model of ``lmms-eval``: its tasks' questions, answered in words.

    python -m lmms_eval --model chatsearcher --model_args pretrained=nano --tasks mme
    python -m lmms_eval --model chatsearcher --model_args pretrained=nano --tasks seedbench_ppl \\
        --force_simple

``ChatModel`` reads messages; ``SimpleModel`` reads a text and pictures. Only for the latter does
``lmms-eval`` make requests of likelihood.

Trap: ``lmms-eval`` documents ``loglikelihood`` as the log-probability, but its multiple-choice
tasks take the *smallest* value, since its models return a loss. So does this one: the negative
log-likelihood, summed over the answer's tokens and ``</s>`` (theirs is the mean over the tokens).

Trap: the evaluator of 0.7 turns the pair of a loss and a truth value into the text of one, on which
every multiple-choice task ends in an error. A ``GenerationResult`` carries the pair past it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from lmms_eval.api.instance import GenerationResult, unwrap_generation_output
from lmms_eval.api.model import lmms
from tqdm import tqdm

from chatsearcher.adapters.content import dialogue_of, question, shown
from chatsearcher.device import pick_device
from chatsearcher.dialogue import Dialogue
from chatsearcher.retrievers import load_retriever

DEFAULT_TOKENS = 64  # of an answer, where a task names no limit


@runtime_checkable
class Speaker(Protocol):
    """A system that answers in words and says how likely an answer is."""

    max_new_tokens: int

    def answer(self, dialogues: Sequence[Dialogue]) -> Sequence[str]: ...

    def log_likelihoods(
        self, dialogues: Sequence[Dialogue], answers: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float]]: ...


class ChatModel(lmms):  # type: ignore[misc]
    """A system behind the interface of ``lmms-eval``, for tasks of messages.

    Args:
        pretrained: what ``load_retriever`` reads, or a system already loaded.
        device: a torch device's name; with several processes, each takes the GPU of its rank.
        batch_size, max_batch_size: accepted and not used: one question is answered at a time.

    Raises:
        ValueError: a system that does not speak.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str | Speaker = "nano",
        device: str | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
    ) -> None:
        from accelerate import Accelerator

        super().__init__()
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        if self._world_size > 1 and torch.cuda.is_available():
            device = f"cuda:{self.accelerator.local_process_index}"
        self.device = pick_device(device)
        system = pretrained
        if isinstance(pretrained, str):
            system = load_retriever(pretrained, str(self.device))  # type: ignore[assignment]
        if not isinstance(system, Speaker):
            raise ValueError(
                f"{pretrained} does not answer in words; expected a ChatSearcher, such as nano or "
                "the folder of a run"
            )
        self.system = system

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """An answer to each request."""
        return [self._answer(*self._asked(request)) for request in self._each(requests)]

    def _asked(self, request: Any) -> tuple[Dialogue, Mapping[str, Any], str]:
        """The dialogue, the settings of the answer, and what to call it in errors."""
        _, to_messages, settings, row, task, split = request.args
        where = f"{task}, {split}, row {row}"
        return dialogue_of(to_messages(self._doc(task, split, row)), where), settings, where

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[list[str]]:
        """The answers of each request's rounds; the task puts the earlier ones into the next
        question, or says that there is none."""
        found = []
        for request in self._each(requests):
            _, to_messages, settings, row, task, split = request.args
            where, doc = f"{task}, {split}, row {row}", self._doc(task, split, row)
            messages, said, info = to_messages(doc), list[str](), None
            while True:
                said.append(self._answer(dialogue_of(messages, where), settings, where))
                next_round = to_messages(
                    doc,
                    round_idx=len(said),
                    previous_output=list(said),
                    previous_round_info=info,
                )
                if not isinstance(next_round, tuple):  # a task of one round
                    break
                messages, over, _, info = next_round
                if over:
                    break
            found.append(said)
        return found

    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """For each request ``losses``, in the wrapping that this ``lmms-eval`` needs."""
        pairs = self.losses(requests)
        whole = (0.0, False)
        if unwrap_generation_output(whole)[0] == whole:
            return pairs
        return [GenerationResult(pair) for pair in pairs]

    def losses(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """For each request the loss of its answer, and whether the system would give that answer.

        Requests are ``(text, answer, pictures, row, task, split)``, or ``(text, answer)``.
        """
        found = []
        asked: tuple[Any, ...] | None = None
        for request in self._each(requests):
            text, answer, *rest = request.args
            pictures: list[Any] = []
            if rest:
                to_visual, row, task, split = rest
                doc = self._doc(task, split, row)
                answer = answer(doc) if callable(answer) else answer
            if asked != (text, *rest[1:]):  # the choices of one question follow one another
                asked = (text, *rest[1:])
                if rest:
                    pictures = self._pictures(to_visual, doc, f"{task}, {split}, row {row}")
                dialogue = question(text, pictures)
                with self._limited(DEFAULT_TOKENS):
                    greedy = self.system.answer([dialogue])[0].strip()
            ((likelihood,),) = self.system.log_likelihoods([dialogue], [[answer.strip()]])
            found.append((-float(likelihood), greedy == answer.strip()))
        return found

    def _answer(self, dialogue: Dialogue, settings: Mapping[str, Any], where: str) -> str:
        if settings.get("do_sample") or (settings.get("temperature") or 0) > 0 or (
            settings.get("num_beams") or 1
        ) > 1:  # fmt: skip
            raise ValueError(
                f"{where}: the task asks for sampling or beams, {dict(settings)}; ChatSearcher "
                "takes the likeliest word. Say so: --gen_kwargs temperature=0,do_sample=False,"
                "num_beams=1"
            )
        with self._limited(int(settings.get("max_new_tokens") or DEFAULT_TOKENS)):
            text = self.system.answer([dialogue])[0]
        stops = settings.get("until") or []
        for stop in [stops] if isinstance(stops, str) else stops:
            if stop:
                text = text.partition(stop)[0]
        return text

    @contextmanager
    def _limited(self, tokens: int) -> Iterator[None]:
        before, self.system.max_new_tokens = self.system.max_new_tokens, tokens
        try:
            yield
        finally:
            self.system.max_new_tokens = before

    def _doc(self, task: str, split: str, row: int) -> Any:
        return self.task_dict[task][split][row]

    def _pictures(self, to_visual: Callable[[Any], Any], doc: Any, where: str) -> list[Any]:
        return [shown(picture, where) for picture in to_visual(doc) or []]

    def _each(self, requests: Sequence[Any]) -> Iterator[Any]:
        yield from tqdm(requests, disable=self.rank != 0, desc="ChatSearcher")


class SimpleModel(ChatModel):
    """The same for tasks that hand over a text and pictures, and for those of likelihood."""

    is_simple = True

    def _asked(self, request: Any) -> tuple[Dialogue, Mapping[str, Any], str]:
        text, settings, to_visual, row, task, split = request.args
        where = f"{task}, {split}, row {row}"
        pictures = self._pictures(to_visual, self._doc(task, split, row), where)
        return question(text, pictures), settings, where

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[list[str]]:
        """Rounds are read as messages."""
        raise ValueError("a task of several rounds: run it without --force_simple")
