"""Models with fresh weights, from transformers' own classes."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from valence.errors import ModelError
from valence.recipe import ModelRecipe

NO_SHAPE = ("base", "revision", "adapter")
"""Keys of a model recipe that are not fields of a config."""


def create_model(recipe: ModelRecipe, vocabulary: int, eos_id: int, seed: int) -> PreTrainedModel:
    """A model with fresh, seeded weights; raises `ModelError` for an unknown class or shape."""
    fields = {key: value for key, value in recipe.model_dump().items() if key not in NO_SHAPE}
    try:
        config = AutoConfig.for_model(
            fields.pop("model_type"),
            vocab_size=vocabulary,
            bos_token_id=eos_id,
            eos_token_id=eos_id,
            pad_token_id=eos_id,
            **fields,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    except Exception as error:  # The library raises whatever its configs do.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            f"transformers cannot build this model ({' '.join(lines)[:200]})",
            where="model",
            fix="Check model.model_type and the sizes (heads, head_dim, hidden_size).",
        ) from None
    made: PreTrainedModel = model
    return made


def best_device() -> torch.device:
    """The accelerator of this machine, or its processor."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def parameter_counts(model: PreTrainedModel) -> tuple[int, int]:
    """All parameters, and those without the embedding and output matrices."""
    total = sum(weight.numel() for weight in model.parameters())
    embeddings = {id(w): w for e in _embeddings(model) for w in e.parameters()}
    return total, total - sum(weight.numel() for weight in embeddings.values())


def _embeddings(model: PreTrainedModel) -> list[torch.nn.Module]:
    pair = (model.get_input_embeddings(), model.get_output_embeddings())
    return [module for module in pair if module is not None]
