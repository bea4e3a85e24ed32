"""Adapters: LoRA beside the model's matrices, and the new tokens' rows in full.

Source: Hu et al. 2021 (arXiv 2106.09685), by PEFT. Control tokens have no meaning before
training, so their rows of the input and output are trained themselves; all other rows stay.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from valence.errors import ModelError, missing_extra
from valence.recipe import AdapterRecipe


def add_adapter(
    model: PreTrainedModel, recipe: AdapterRecipe, new_token_ids: Sequence[int], *, seed: int
) -> PreTrainedModel:
    """Put an adapter into a model, in place; only it and the new tokens' rows then train.

    The model computes what it did before until a step is made. Raises `ModelError` for
    targets that the model does not have, and `MissingExtraError`.
    """
    if find_spec("peft") is None:
        raise missing_extra("peft, which trains adapters,", "peft")
    from peft import LoraConfig
    from peft.functional import inject_adapter_in_model

    _check_targets(model, recipe.targets)
    with warnings.catch_warnings(), torch.random.fork_rng():
        # PEFT warns of what it then sets right itself, like the layout of GPT-2's matrices.
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules="all-linear" if recipe.targets is None else list(recipe.targets),
            trainable_token_indices=_token_rows(model, new_token_ids),
        )
        adapted: PreTrainedModel = inject_adapter_in_model(config, model)
    return adapted


def merge_adapter(model: PreTrainedModel) -> PreTrainedModel:
    """Put what an adapter learned into the model's own matrices, in place.

    A plain model again: the same outputs, nothing of PEFT left, and all weights train.
    """
    merged: set[str] = set()
    for name, module in list(model.named_modules()):
        # What lies inside a layer of the adapter goes with it.
        if any(name.startswith(f"{outer}.") for outer in merged):
            continue
        if hasattr(module, "unload_and_optionally_merge_module"):
            plain = module.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
        elif hasattr(module, "merge") and hasattr(module, "get_base_layer"):
            module.merge()
            plain = module.get_base_layer()
        else:
            continue
        model.set_submodule(name, plain)
        merged.add(name)
    if hasattr(model, "peft_config"):
        del model.peft_config
    return model.requires_grad_(True)


def _token_rows(model: PreTrainedModel, ids: Sequence[int]) -> dict[str, list[int]] | None:
    """Which rows of which modules are trained in full; a tied head follows the input."""
    if not ids:
        return None
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise ModelError(
            "PEFT drops the bias of an output head of which it trains rows",
            where="model.adapter",
            fix="Train all weights of this model (no model.adapter), or take another model.",
        )
    modules = [embedding] if head.weight is embedding.weight else [embedding, head]
    return {_name_of(model, module): list(ids) for module in modules}


def _name_of(model: PreTrainedModel, wanted: nn.Module) -> str:
    found: str = next(name for name, module in model.named_modules() if module is wanted)
    return found


def _check_targets(model: PreTrainedModel, targets: Sequence[str] | None) -> None:
    head = model.get_output_embeddings()
    linear = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    last = sorted({name.rpartition(".")[2] for name in linear})
    for target in targets or ():
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            near = difflib.get_close_matches(target, last, n=3, cutoff=0.4) or last
            raise ModelError(
                f"the model has no linear layer `{target}` inside",
                where="model.adapter.targets",
                fix=f"Near it are: {', '.join(near)}."
                if near is not last
                else f"Its linear layers are: {', '.join(last)}.",
            )
