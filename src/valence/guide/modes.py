"""The modes of a model: what is put before a text, and what holds generation in the mode."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.errors import ControlError
from valence.guide.band import BandProcessor, line_end_tokens
from valence.model import Checkpoint, special_ids

UNGUIDED = ("none", "banned")
"""Modes without a forced token: for a model without a scheme, and for one with."""


def modes_of(scheme: ControlScheme | None) -> tuple[str, ...]:
    """The modes a model can be sampled in, the preferred one first."""
    if scheme is None:
        return ("none",)
    return (*reversed(scheme.modes), "banned")


def hold(
    checkpoint: Checkpoint, control_ids: Sequence[int], mode: str, *, ends: Sequence[int] = ()
) -> tuple[tuple[int, ...], BandProcessor]:
    """Tokens to put after the start of a document, and the processor, for a mode.

    `control_ids` are the control tokens in the vocabulary, learned or not; `ends` are special
    tokens that end a text here, beside those that always do. Raises `ControlError` for a mode that
    the model does not know.
    """
    scheme, tokenizer = checkpoint.scheme, checkpoint.tokenizer
    eos_id, size = tokenizer.eos_token_id, _rows(checkpoint)
    if mode == "none" and scheme is not None:
        raise ControlError(
            "the model was trained with control tokens",
            fix=f"Its modes are: {', '.join(modes_of(scheme))}.",
        )
    ends = _ends(checkpoint, control_ids, ends, size)
    banned = _never_text(tokenizer, size, ends)
    if mode in UNGUIDED:
        return (), BandProcessor(banned, eos_id, ends=ends)
    if scheme is None:
        raise ControlError(
            f"the model has no control tokens, so it has no mode `{mode}`", fix="Use mode `none`."
        )
    forced = control_ids[scheme.band_of_mode(mode)]
    every = scheme.level == "segment" and scheme.placement == "every"
    if every and checkpoint.segmenter == "line":
        lines = line_end_tokens(tokenizer, size)
        processor = BandProcessor(banned, eos_id, forced, lines, ends=ends)
    elif every and not scheme.mask_loss:
        # Where a sentence ends is not for a single token to tell, but the model has learned it.
        processor = BandProcessor(banned, eos_id, forced, bands=control_ids, ends=ends)
    else:
        processor = BandProcessor(banned, eos_id, ends=ends)
    return (forced,), processor


def _rows(checkpoint: Checkpoint) -> int:
    weight: torch.Tensor = checkpoint.model.get_output_embeddings().weight
    return weight.shape[0]


def _ends(
    checkpoint: Checkpoint, control_ids: Sequence[int], more: Sequence[int], size: int
) -> tuple[int, ...]:
    """What ends a text: EOS, `more`, and the special tokens that `generate()` would stop at.

    A model whose vocabulary has control tokens is one of ours and was taught EOS alone; a base that
    it comes from may say more. A control token is never an end.
    """
    config = getattr(checkpoint.model, "generation_config", None)
    told = None if control_ids or config is None else config.eos_token_id
    stops = [told] if isinstance(told, int) else list(told or ())
    special = special_ids(checkpoint.tokenizer) - set(control_ids)
    others = {token for token in (*stops, *more) if token in special and token < size}
    eos_id = checkpoint.tokenizer.eos_token_id
    return (eos_id, *sorted(others - {eos_id}))


def _never_text(tokenizer: PreTrainedTokenizerFast, size: int, ends: Sequence[int]) -> list[int]:
    """Special tokens but what ends a text, and rows of the model that are no token at all."""
    spare = set(range(size)) - set(tokenizer.get_vocab().values())
    return sorted((special_ids(tokenizer) | spare) - set(ends))
