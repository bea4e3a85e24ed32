"""Whether what is asked fits: into the model's context, and into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from valence.errors import ModelError
from valence.guide.ask import Ask
from valence.model import Checkpoint

SPARE = 0.9
"""Share of the free memory that the cache may take."""
ROOMY = 2
"""A cache grows by doubling."""


def context_of(
    checkpoint: Checkpoint, asks: Sequence[Ask], prompts: Sequence[Sequence[int]], new: int
) -> int:
    """How many tokens the model can hold; raises `ModelError` if some prompt's do not fit.

    `prompts` are what the asks start from, with all that stands before.
    A model without position embeddings has no limit: then twice what is asked.
    """
    at = max(range(len(prompts)), key=lambda number: len(prompts[number]), default=None)
    prompt, longest = ((), 0) if at is None else (asks[at].ids, len(prompts[at]))
    config = checkpoint.model.config.get_text_config()
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if limit is None:
        return longest + 2 * new
    if longest + new > limit:
        begins = checkpoint.tokenizer.decode(list(prompt[:12]))
        raise ModelError(
            f"{longest} prompt tokens and {new} new ones do not fit the model's context of {limit}",
            where=f"prompt {begins + ' ...'!r}" if prompt else None,
            fix="Shorten the prompt or lower max_tokens.",
        )
    return limit


def check_memory(model: PreTrainedModel, *, rows: int, each: int, tokens: int) -> None:
    """Raise `ModelError` where the keys and values of so many rows cannot fit into memory.

    `each` rows belong to one text (continuations, contexts); `tokens` is how long they may get.
    """
    free = free_bytes(model.device)
    needed = ROOMY * tokens * bytes_per_token(model)
    if free is None or rows * needed <= SPARE * free:
        return
    fits = int(SPARE * free / needed) // each
    told = f"a batch of {fits} would fit" if fits else "not even one would fit"
    raise ModelError(
        f"{rows} rows of up to {tokens} tokens take about {rows * needed / 2**30:.1f} GiB, and"
        f" {free / 2**30:.1f} are free",
        where="batch",
        fix=f"With {each} row{'s' if each > 1 else ''} for each text {told}: lower the batch, the"
        " number of continuations, or max_tokens.",
    )


def bytes_per_token(model: PreTrainedModel) -> int:
    """Bytes of keys and values that a model keeps for a token."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    values: int = int(config.num_hidden_layers) * int(heads) * int(size)
    return 2 * values * int(model.dtype.itemsize)


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free there; None where nobody can tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    told = Path("/proc/meminfo")
    if device.type != "cpu" or not told.is_file():
        return None
    for line in told.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None
