"""Tokenizers: train one, and use any fast one so that text is text and nothing else.

Text never becomes a special token, whatever it spells. What holds for any tokenizer: no id
of `special_ids` comes out of `encode_texts` and `text_ids`, and our own control tokens are
among them. What cannot be promised for a foreign one:

- that text comes back byte for byte: it may normalise blanks and Unicode, or know no token
  for a character;
- that it reads such text as in its own training: where a special token is an ordinary piece
  as well ("</s>" in XLM-R), the text is spelt in characters instead;
- that plain transformers keeps that promise: there `split_special_tokens`, which is saved
  with the tokenizer, is all there is, and it does not know of ordinary pieces;
- anything about added tokens that are not special (`<think>` of some models): for their
  tokenizer they are words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import (
    Encoding,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme

EOS = "<|endoftext|>"
"""What the tokenizers that we train end a document with."""

# A line break ends its token, with the blanks before it, so that a token never reaches
# from one line into the next and a reward per line falls between tokens.
PIECES = (
    r"[^\S\r\n]*(?:\r\n|\r|\n)"
    r"| ?[\p{L}_]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}_]+"
    r"|[^\S\r\n]+(?!\S)|[^\S\r\n]+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedText:
    """A text as token ids [N] and where each lies in it, in characters [N, 2]."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, scheme: ControlScheme, *, max_length: int
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with `vocab_size` tokens, EOS among them, and control tokens.

    Lossless: decoding gives back the text byte for byte. Text that spells a special
    token is split like any other text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        bos_token=EOS,
        pad_token=EOS,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        padding_side="left",
    )
    scheme.add_to(wrapped)
    return wrapped


def start_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """What stands before a document: BOS where the tokenizer has one, else EOS."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return (eos if bos is None else bos,)


def end_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """What stands after a document: EOS, or nothing where EOS stands before each.

    The EOS before the next document then ends this one.
    """
    eos = tokenizer.eos_token_id
    return () if start_ids(tokenizer) == (eos,) else (eos,)


def special_ids(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Ids that text never has: all special tokens but the one for what is unknown."""
    added = tokenizer.added_tokens_decoder.items()
    marked = {index for index, token in added if token.special}
    return frozenset({*marked, *tokenizer.all_special_ids} - {tokenizer.unk_token_id})


def encode_texts(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    specials: frozenset[int] = frozenset(),
) -> list[EncodedText]:
    """Texts alone as tokens: nothing is put before them and no special token comes of them.

    `specials` spares many calls the making of `special_ids`.
    """
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    # A call of the tokenizer itself may have left these on.
    backend.no_padding()
    backend.no_truncation()
    barred = np.fromiter(specials or special_ids(tokenizer), dtype=np.int32)
    return [
        _as_text(tokenizer, encoding, barred)
        for encoding in backend.encode_batch(list(texts), add_special_tokens=False)
    ]


def text_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Token ids of a text alone: nothing is put before it and no special token comes of it."""
    ids: list[int] = encode_texts(tokenizer, [text])[0].ids.tolist()
    return ids


def continuation(
    tokenizer: PreTrainedTokenizerFast, before: Sequence[int], after: Sequence[int]
) -> str:
    """The text of the tokens `after`, as it follows the text of the tokens `before`.

    Alone they might read otherwise: many decoders take the blank from the first word.
    """
    head = tokenizer.decode(list(before), clean_up_tokenization_spaces=False)
    whole = tokenizer.decode([*before, *after], clean_up_tokenization_spaces=False)
    if whole.startswith(head):
        return str(whole[len(head) :])
    return str(tokenizer.decode(list(after), clean_up_tokenization_spaces=False))


def set_prefix(tokenizer: PreTrainedTokenizerFast, scheme: ControlScheme | None) -> None:
    """Make the tokenizer put before a text what starts a document, and for a conditional
    model the good token.
    """
    prefix = list(start_ids(tokenizer))
    if scheme is not None:
        prefix.append(scheme.token_ids(tokenizer)[scheme.best])
    # By an alias, because a token's own name may hold signs that templates give a meaning.
    start = {"id": "start", "ids": prefix, "tokens": tokenizer.convert_ids_to_tokens(prefix)}
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="start $A", pair="start $A $B:1", special_tokens=[start]
    )


def _as_text(
    tokenizer: PreTrainedTokenizerFast, encoding: Encoding, barred: npt.NDArray[np.int32]
) -> EncodedText:
    ids = np.asarray(encoding.ids, dtype=np.int32)
    offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    special = np.flatnonzero(np.isin(ids, barred))
    for place in special[::-1]:
        spelt = _spell(tokenizer, encoding.tokens[place], frozenset(barred.tolist()))
        begin, end = offsets[place]
        steps = np.minimum(begin + np.arange(len(spelt)), max(begin, end - 1))
        places = np.stack([steps, np.minimum(steps + 1, end)], axis=1)
        ids = np.concatenate([ids[:place], np.array(spelt, dtype=np.int32), ids[place + 1 :]])
        offsets = np.concatenate([offsets[:place], places, offsets[place + 1 :]])
    return EncodedText(ids=ids, offsets=offsets)


def _spell(tokenizer: PreTrainedTokenizerFast, token: str, barred: frozenset[int]) -> list[int]:
    """A token's text in tokens of one character or byte, or else as unknown."""
    spelt: list[int] = []
    for character in token:
        options = [[character], [f"<0x{byte:02X}>" for byte in character.encode()]]
        found = (
            [tokenizer.backend_tokenizer.token_to_id(piece) for piece in pieces]
            for pieces in options
        )
        known = (ids for ids in found if None not in ids and not barred & set(ids))
        spelt.extend(
            next(known, [] if tokenizer.unk_token_id is None else [tokenizer.unk_token_id])
        )
    return spelt
