"""From dialogues and pictures to token ids and pixels, and the template of a conversation.

The paper's template is ``USER: <question> ASSISTANT: <answer></s>``, with ``[image]`` where the
text speaks of a picture. Every piece carries the space before it, so that a conversation encoded
turn by turn has the same ids as one encoded at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL.Image import Image as PILImage
from torch import Tensor
from transformers import BatchFeature, CLIPImageProcessor, PreTrainedTokenizerBase, ProcessorMixin

from chatsearcher.dialogue import Dialogue, Image, Part, Text, Turn
from chatsearcher.model.batch import IGNORE, Batch, Features, image_id_hash
from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.tokenizer import IMAGE_END, IMAGE_START, IMAGE_TOKEN, add_image_tokens

PLACEHOLDER = "[image]"
"""How a picture is written in text (paper, section 4.3)."""

USER, ASSISTANT = "USER:", " ASSISTANT:"

CHAT_TEMPLATE = """\
{%- set state = namespace(start=true) -%}
{%- macro words(content) -%}
{%- if content is string -%}{{ ' ' + content if content else '' }}
{%- else -%}
{%- for part in content -%}
{%- if part['type'] == 'image' -%}{{ ' [image]' }}
{%- elif part['text'] -%}{{ ' ' + part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{ 'USER:' if state.start else ' USER:' }}{{ words(message['content']) }}
{%- set state.start = false -%}
{%- elif message['role'] == 'assistant' -%}
{{ ' ASSISTANT:' }}{{ words(message['content']) }}{{ eos_token }}{% set state.start = true %}
{%- else -%}
{{ words(message['content']) }}{% set state.start = false %}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ ' ASSISTANT:' }}{%- endif -%}
"""


@dataclass(frozen=True)
class Segment:
    """A piece of a sequence: text or a picture, and whether the model learns to produce it.

    ``special`` text is one special token by name (``</s>``); other text never becomes a special
    token, whatever it says.
    """

    part: Part
    loss: bool
    special: bool = False


@dataclass
class EncodedImage:
    """A picture of an encoded sample: its ``[IMG]`` stands at ``input_ids[start]``.

    Where a cache of tower features is in use, ``key`` is the picture's there, and its features may
    stand in the pixels' place.
    """

    start: int
    id: str
    target: bool
    pixels: PILImage | Tensor | Features
    key: int | None = None


@dataclass
class EncodedSample:
    """Token ids, aligned labels (-100: no loss) and pictures of one sample."""

    input_ids: list[int]
    labels: list[int]
    images: list[EncodedImage] = field(default_factory=list)
    key: str = ""


class ChatSearcherProcessor(ProcessorMixin):
    """Tokenizer, image preprocessing and chat template.

    Args:
        image_processor: any image processor of ``transformers`` that gives ``pixel_values``.
        tokenizer: any fast tokenizer with an end-of-sequence token; ``[IMG]``, ``<image>`` and
            ``[/IMG]`` are added where absent.
        num_query_tokens: N, the Q-former tokens of a picture.
        chat_template: the paper's by default.

    Raises:
        ValueError: a tokenizer without an end-of-sequence token.
    """

    def __init__(
        self,
        image_processor: Any,
        tokenizer: PreTrainedTokenizerBase,
        num_query_tokens: int = 32,
        chat_template: str | None = None,
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError(
                'the tokenizer has no end-of-sequence token; set tokenizer.eos_token = "</s>" first'
            )
        add_image_tokens(tokenizer)
        self.num_query_tokens = num_query_tokens
        self.image_token = PLACEHOLDER
        chat_template = chat_template or CHAT_TEMPLATE
        tokenizer.chat_template = chat_template
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def from_config(
        cls, config: ChatSearcherConfig, tokenizer: PreTrainedTokenizerBase
    ) -> ChatSearcherProcessor:
        """The processor that fits a model: its picture size, mean, deviation and N."""
        square = {"height": config.image_size, "width": config.image_size}
        squash = config.image_resize == "squash"
        images = CLIPImageProcessor(
            size=square if squash else {"shortest_edge": config.image_size},
            crop_size=square,
            do_center_crop=not squash,
            image_mean=config.image_mean,
            image_std=config.image_std,
        )
        return cls(images, tokenizer, num_query_tokens=config.num_query_tokens)

    @property
    def token_ids(self) -> dict[str, int]:
        """The three ids as keyword arguments of :class:`ChatSearcherConfig`."""
        ids = self.tokenizer.convert_tokens_to_ids([IMAGE_START, IMAGE_END, IMAGE_TOKEN])
        return dict(
            zip(("image_start_token_id", "image_end_token_id", "image_token_id"), ids, strict=True)
        )

    def dialogue_segments(
        self,
        dialogue: Dialogue,
        loss: Literal["assistant", "all", "none"] = "assistant",
        generation_prompt: bool = False,
    ) -> list[Segment]:
        """A dialogue in the paper's template.

        Args:
            dialogue: pictures must be decoded if the segments are to be encoded.
            loss: which turns are learned: the assistant's (with their ``</s>``), all, or none.
            generation_prompt: end with ``ASSISTANT:``, for the model to go on.
        """
        segments: list[Segment] = []
        opening = True
        for turn in dialogue.turns:
            learned = loss == "all" or (loss == "assistant" and turn.role == "assistant")
            segments += self.turn_segments(turn, opening, learned, loss == "all")
            opening = turn.role == "assistant"
        if generation_prompt:
            segments.append(Segment(Text(ASSISTANT), loss == "all"))
        return segments

    def turn_segments(
        self, turn: Turn, opening: bool, loss: bool = False, prefix_loss: bool = False
    ) -> list[Segment]:
        """One turn of the template.

        Args:
            turn: what is said, and by whom.
            opening: whether the turn begins the sequence or follows ``</s>``.
            loss, prefix_loss: whether what is said, and ``USER:`` or ``ASSISTANT:``, is learned.
        """
        segments: list[Segment] = []
        if turn.role != "system":
            prefix = ASSISTANT if turn.role == "assistant" else USER if opening else " " + USER
            segments.append(Segment(Text(prefix), prefix_loss))
        for part in turn.content:
            if isinstance(part, Image):
                segments.append(Segment(part, loss))
            elif part.text:
                segments.append(Segment(Text(" " + part.text), loss))
        if turn.role == "assistant":
            segments.append(Segment(Text(self.tokenizer.eos_token), loss, special=True))
        return segments

    def encode_segments(
        self, segments: Sequence[Segment], key: str = "", bos: bool = True, eos: bool = True
    ) -> EncodedSample:
        """Token ids and labels of a sequence of pieces.

        A picture is to be retrieved where it is learned and something stands before it: nothing
        tells which picture a sample begins with.

        Args:
            segments: text and decoded pictures.
            key: the sample's name, for error messages.
            bos: begin with the tokenizer's beginning-of-sequence token, if it has one.
            eos: end with the end-of-sequence token (learned as the last piece is), unless it is
                there already.

        Raises:
            ValueError: a picture without pixels.
        """
        tokenizer = self.tokenizer
        texts = [s.part.text for s in segments if isinstance(s.part, Text) and not s.special]
        # split_special_tokens: a user who types "[IMG]" or "</s>" has typed those letters
        encoded = iter(
            tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            if texts
            else ()
        )
        start_id, image_id, end_id = tokenizer.convert_tokens_to_ids(
            [IMAGE_START, IMAGE_TOKEN, IMAGE_END]
        )
        input_ids: list[int] = []
        labels: list[int] = []
        images: list[EncodedImage] = []
        if bos and tokenizer.bos_token_id is not None:
            input_ids.append(tokenizer.bos_token_id)
            labels.append(IGNORE)
        begin = len(input_ids)
        for segment in segments:
            part = segment.part
            if isinstance(part, Image):
                if part.pixels is None:
                    raise ValueError(
                        f"sample {key!r}: picture {part.id!r} has no pixels; decode it first "
                        "(dialogue.map_images with the picture set in Image.pixels)"
                    )
                target = segment.loss and len(input_ids) > begin
                images.append(EncodedImage(len(input_ids), part.id, target, part.pixels))
                visual = self.num_query_tokens + 1
                ids = [start_id, *[image_id] * visual, end_id]
                learned = [start_id, *[IGNORE] * visual, end_id]
            else:
                ids = (
                    [tokenizer.convert_tokens_to_ids(part.text)]
                    if segment.special
                    else next(encoded)
                )
                learned = ids
            input_ids.extend(ids)
            labels.extend(learned if segment.loss else [IGNORE] * len(ids))
        if eos and (not input_ids or input_ids[-1] != tokenizer.eos_token_id):
            input_ids.append(tokenizer.eos_token_id)
            labels.append(tokenizer.eos_token_id if segments and segments[-1].loss else IGNORE)
        return EncodedSample(input_ids, labels, images, key)

    def encode_query(self, dialogue: Dialogue, key: str = "") -> EncodedSample:
        """A dialogue with ``ASSISTANT: [IMG]`` after it: what ``encode_queries`` reads."""
        segments = self.dialogue_segments(dialogue, loss="none", generation_prompt=True)
        sample = self.encode_segments(segments, key, eos=False)
        sample.input_ids.append(self.token_ids["image_start_token_id"])
        sample.labels.append(IGNORE)
        return sample

    def pixel_values(self, images: Sequence[PILImage]) -> Tensor:
        """RGB pictures of any size -> [I, 3, height, width], resized, cropped and normalised."""
        if not images:
            size = self.image_processor.crop_size
            return torch.zeros(0, 3, size["height"], size["width"])
        return self.image_processor(list(images), return_tensors="pt")["pixel_values"]

    def stack_pixels(self, pixels: Sequence[PILImage | Tensor | Features]) -> Tensor:
        """Pictures, or pixels made before, all of one kind -> [I, 3, height, width]."""
        if pixels and isinstance(pixels[0], Tensor):
            return torch.stack(list(pixels))  # type: ignore[arg-type]
        return self.pixel_values(pixels)  # type: ignore[arg-type]

    def batch(self, samples: Sequence[EncodedSample]) -> Batch:
        """One sample a row, padded at the right: the plain batch of evaluation and inference."""
        length = max((len(sample.input_ids) for sample in samples), default=0)
        pad = self.tokenizer.pad_token_id

        def rows(values: Sequence[Sequence[int]], fill: int) -> Tensor:
            return torch.tensor([[*v, *[fill] * (length - len(v))] for v in values]).long()

        images = [(row, image) for row, sample in enumerate(samples) for image in sample.images]
        return Batch(
            input_ids=rows([s.input_ids for s in samples], pad),
            position_ids=torch.arange(length).expand(len(samples), length).contiguous(),
            segment_ids=rows([[1] * len(s.input_ids) for s in samples], 0),
            labels=rows([s.labels for s in samples], IGNORE),
            pixel_values=self.stack_pixels([image.pixels for _, image in images]),
            image_positions=torch.tensor([[row, i.start] for row, i in images]).long().view(-1, 2),
            image_ids=torch.tensor([image_id_hash(i.id) for _, i in images]).long(),
            image_targets=torch.tensor([i.target for _, i in images]).bool(),
            keys=[sample.key for sample in samples],
        )

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Text with ``[image]`` placeholders, and as many pictures -> the fields of a ``Batch``.

        What ``apply_chat_template(messages, tokenize=True, return_dict=True)`` calls; the result
        goes to the model as ``model(**inputs)``.

        Raises:
            ValueError: the placeholders are not as many as the pictures.
        """
        texts = [text] if isinstance(text, str) else list(text or ())
        pictures = _flatten(images)
        wanted = sum(t.count(PLACEHOLDER) for t in texts)
        if wanted != len(pictures):
            raise ValueError(
                f"the text has {wanted} {PLACEHOLDER} placeholders, but {len(pictures)} pictures "
                "were given; write one placeholder for each picture"
            )
        supply = iter(pictures)
        eos = self.tokenizer.eos_token
        pieces = re.compile(rf"\s?({re.escape(PLACEHOLDER)})|({re.escape(eos)})")
        samples = []
        for number, each in enumerate(texts):
            segments: list[Segment] = []
            for piece in pieces.split(each):
                if piece == PLACEHOLDER:
                    picture = Image(f"{number}.{len(segments)}", pixels=next(supply))
                    segments.append(Segment(picture, False))
                elif piece:
                    segments.append(Segment(Text(piece), False, special=piece == eos))
            samples.append(self.encode_segments(segments, key=str(number), eos=False))
        return BatchFeature(dict(self.batch(samples).tensors()))

    @property
    def model_input_names(self) -> list[str]:
        """The tensor fields of a ``Batch``."""
        return [name for name in Batch.__dataclass_fields__ if name != "keys"]


def _flatten(images: Any) -> list[PILImage]:
    if images is None:
        return []
    if isinstance(images, (list, tuple)):
        return [picture for group in images for picture in _flatten(group)]
    return [images]
