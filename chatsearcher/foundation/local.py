"""A ``transformers`` language model on this machine, behind the same protocol as an endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from chatsearcher.foundation.language import Answer, Prompt, Unanswered


class TransformersModel:
    """One prompt at a time, in a thread of its own.

    Prompts are not batched: padding would make an answer depend on its neighbours, and a resumed
    run would write other bytes than an undisturbed one. For speed, serve the model (vLLM, SGLang)
    and give its endpoint.

    Args:
        name: a folder, or a name on the Hub; with a chat template.
        temperature: 0 takes the likeliest word each time.
        max_tokens: of an answer at most.
    """

    def __init__(
        self,
        name: str,
        *,
        temperature: float = 0.7,
        max_tokens: int = 800,
        device: str | None = None,
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from chatsearcher.device import pick_device, pick_dtype

        self.name = name
        self.temperature = temperature
        self.max_tokens = max_tokens
        self._device = pick_device(device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
        if not self._tokenizer.chat_template:
            raise ValueError(f"{name} has no chat template; take a model tuned for conversation")
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=pick_dtype(self._device))
        self._model = model.to(self._device).eval()
        self._thread = ThreadPoolExecutor(1, "language-model")

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "model": self.name,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }

    async def complete(self, prompt: Prompt, seed: int = 0) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answer, prompt, seed)

    async def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _answer(self, prompt: Prompt, seed: int) -> Answer:
        import torch

        messages = prompt.messages()
        if prompt.schema is not None:
            messages[0]["content"] += (
                f"\n\nAnswer with one JSON object of this schema:\n{prompt.schema}"
            )
        asked = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self._device)
        length = int(asked["input_ids"].shape[1])
        longest = getattr(self._model.config, "max_position_embeddings", None)
        if longest is not None and length >= longest:
            raise Unanswered(f"a prompt of {length} tokens; {self.name} reads {longest}")
        sampling: dict[str, Any] = {"do_sample": False}
        if self.temperature > 0:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_k": 0}
        # The seed alone decides: sampling draws from a state of its own, not the process's.
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            written = self._model.generate(
                **asked,
                **sampling,
                max_new_tokens=self.max_tokens,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
            )[0, length:]
        text = self._tokenizer.decode(written, skip_special_tokens=True)
        full = len(written) >= self.max_tokens
        return Answer(text, length, len(written), "length" if full else "stop")
