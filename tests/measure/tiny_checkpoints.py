"""Tiny checkpoints with and without control tokens, made in a moment and never trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from valence.control import ControlScheme
from valence.model import Checkpoint, create_model, set_prefix, train_tokenizer
from valence.recipe import ModelRecipe

TEXT = "The cat sat.\nA dog ran far.\n\nIs 12 = 3 * 4?\nYes, it is: x = 12.\n"
SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}


def tiny_checkpoint(
    scheme: ControlScheme | None = None, *, segmenter: str = "line", seed: int = 0
) -> Checkpoint:
    """A model with uneven predictions; its vocabulary has SCHEME's tokens in any case."""
    tokenizer = train_tokenizer([TEXT] * 3, 300, scheme or SCHEME, max_length=128)
    set_prefix(tokenizer, scheme)
    model = create_model(ModelRecipe(**SHAPE), len(tokenizer), tokenizer.eos_token_id, seed)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # What pads begins as zeros, and here it begins every document.
        row = model.get_input_embeddings().weight[tokenizer.eos_token_id]
        row.copy_(torch.randn(row.shape, generator=chance) * 0.02)
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= 4
    return Checkpoint(model=model.eval(), tokenizer=tokenizer, scheme=scheme, segmenter=segmenter)


def banned_by_hand(
    logits_V: torch.Tensor, banned: Sequence[int], eos_id: int
) -> npt.NDArray[np.float64]:
    """log p [V] where what is banned goes to the text, and EOS keeps what the model gives it."""
    odds = np.exp(logits_V.double().numpy() - float(logits_V.max()))
    before = odds / odds.sum()
    words = np.setdiff1d(np.arange(len(before)), [*banned, eos_id])
    found = np.zeros_like(before)
    found[words] = before[words] / before[words].sum() * (1 - before[eos_id])
    found[eos_id] = before[eos_id]
    with np.errstate(divide="ignore"):
        logs: npt.NDArray[np.float64] = np.log(found)
    return logs
