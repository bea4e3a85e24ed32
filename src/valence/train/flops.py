"""What a training costs, in floating-point operations."""

from __future__ import annotations

from transformers import PreTrainedModel

from valence.model import parameter_counts


def training_flops(model: PreTrainedModel, tokens: int, block: int) -> float:
    """Estimated floating-point operations of training on `tokens` tokens.

    6 per weight and token, the output head counted once, plus attention:
    12 · layers · width · block per token, halved because it is causal
    (Kaplan et al. 2020, section 2.1).
    """
    config = model.config
    _, inner = parameter_counts(model)
    head = config.vocab_size * config.hidden_size
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    attention = 6 * config.num_hidden_layers * width * block
    return float(tokens * (6.0 * (inner + head) + attention))
