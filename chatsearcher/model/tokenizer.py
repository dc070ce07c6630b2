"""Tokenizers: the three tokens that pictures need, and a small tokenizer made from scratch."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

IMAGE_START, IMAGE_TOKEN, IMAGE_END = "[IMG]", "<image>", "[/IMG]"
BOS, EOS, PAD = "<s>", "</s>", "<pad>"


def add_image_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """Add ``[IMG]``, ``<image>`` and ``[/IMG]`` where they are absent, and a padding token.

    Returns how many tokens were added; the model's rows must then grow with
    ``ChatSearcherModel.resize_tokens(len(tokenizer))``.
    """
    vocabulary = tokenizer.get_vocab()
    new = [t for t in (IMAGE_START, IMAGE_TOKEN, IMAGE_END) if t not in vocabulary]
    added = tokenizer.add_tokens(new, special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return added


def nano_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a small lower-casing tokenizer: byte-level BPE, so that any text can be written.

    Words carry the space before them, and the first word of a text gets one too: a word is the
    same token wherever it stands. ``decode(encode(text))`` gives ``" " + text.lower()``. Equal
    texts give equal tokenizers.

    Args:
        texts: what to learn from.
        vocab_size: ids in all: the 256 bytes, 6 special tokens, and the merges.

    Raises:
        ValueError: too few ids for the bytes and the special tokens.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [PAD, BOS, EOS, IMAGE_START, IMAGE_TOKEN, IMAGE_END]
    if vocab_size < len(alphabet) + len(special):
        raise ValueError(
            f"vocab_size is {vocab_size}; expected at least {len(alphabet) + len(special)} "
            "(256 bytes and the special tokens)"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Prepend(" "),
            normalizers.Replace(Regex("\\A  "), " "),  # of a text that had one already
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )
