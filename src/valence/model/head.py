"""The two halves of a language model: what gives the last hidden state, and the output head.

A loss that never holds [tokens x vocabulary] needs them apart. Legend: B rows, T tokens,
V vocabulary, D hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from valence.errors import ModelError


def backbone(model: PreTrainedModel) -> nn.Module:
    """All of a model but its head, with an adapter if it has one.

    Takes `input_ids`, `attention_mask` and `position_ids`; its `last_hidden_state` [B, T, D]
    is what the head sees.
    """
    body: nn.Module = model.base_model
    return body


def head_weight(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The output weight [V, D] and bias [V] or None that are in effect now.

    logits = h Wᵀ + b. Gradients flow to what is trained: the matrix itself, or the new
    tokens' rows of an adapter. Ask anew at each step.
    """
    head = model.get_output_embeddings()
    weight: torch.Tensor = head.weight
    # An adapter's wrapper around the head gives its weight but hides its bias.
    bias: torch.Tensor | None = getattr(getattr(head, "original_module", head), "bias", None)
    return weight, bias


def check_plain_head(model: PreTrainedModel) -> None:
    """Raise `ModelError` unless logits are the last hidden state times the output weight.

    Some models scale or cap their logits (Gemma 2, Cohere, Granite); the loss would be that
    of another model. Caps are hard to see where logits are small, so the head's answer is
    replaced by large numbers for one pass.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise _not_plain(model, "it has no output matrix")
    seen: dict[str, torch.Tensor] = {}

    def replace(_: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> Any:
        seen["hidden"], seen["head"] = args[0], output
        seen["answer"] = torch.linspace(-1e3, 1e3, output.numel()).view_as(output).to(output)
        return seen["answer"]

    device = model.get_input_embeddings().weight.device
    inputs = {
        "input_ids": torch.arange(3, device=device)[None],
        "attention_mask": torch.ones(1, 3, dtype=torch.long, device=device),
        "position_ids": torch.arange(3, device=device)[None],
    }
    training = model.training
    model.eval()
    hook = head.register_forward_hook(replace)
    try:
        with torch.no_grad():
            logits = model(**inputs, use_cache=False).logits
            hidden = backbone(model)(**inputs, use_cache=False).last_hidden_state
            weight, bias = head_weight(model)
            expected = nn.functional.linear(hidden, weight, bias)
    except (TypeError, AttributeError) as error:
        raise _not_plain(model, f"{type(error).__name__}: {error}") from None
    finally:
        hook.remove()
        model.train(training)
    if "head" not in seen or not torch.equal(logits, seen["answer"]):
        raise _not_plain(model, "it changes its logits, for instance scales or caps them")
    if not torch.allclose(hidden, seen["hidden"], rtol=1e-4, atol=1e-5):
        raise _not_plain(model, "it changes its last hidden state before the head")
    if not torch.allclose(expected, seen["head"], rtol=1e-4, atol=1e-4):
        raise _not_plain(model, "its head is more than one matrix")


def _not_plain(model: PreTrainedModel, why: str) -> ModelError:
    return ModelError(
        f"logits of {type(model).__name__} are not hidden state times output weight ({why})",
        where="model",
        fix="Train a model with a plain head, for instance Qwen 3, Llama or GPT-2.",
    )
