"""Optimisers: AdamW, or Muon for matrices with AdamW for the rest, as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer

from valence.recipe import TrainRecipe
from valence.train.learner import Learner


class Together(Optimizer):
    """Several optimisers over disjoint parameters, as one: Muon takes only matrices."""

    def __init__(self, parts: Iterable[Optimizer]) -> None:
        self.parts = list(parts)
        groups = [group for part in self.parts for group in part.param_groups]
        super().__init__(groups, {})
        # The very group objects of the parts, so that a scheduler's new rate reaches them.
        self.param_groups = groups

    def step(self, closure: Any = None) -> Any:
        """One step of each part."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups[:] = [group for part in self.parts for group in part.param_groups]


def build_optimizer(learner: Learner, recipe: TrainRecipe) -> Optimizer:
    """AdamW, or Muon for the matrices inside the layers and AdamW for everything else.

    Source of Muon: K. Jordan 2024; torch.optim.Muon. Embeddings and the output head are
    matrices by shape but tables by use, so they stay with AdamW; so do an adapter's small
    matrices, whose product is the update, and heads beside the model.
    """
    model = learner.model
    tables = {
        id(weight)
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
        if module is not None
        for weight in module.parameters()
    }
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    adapted = any(not weight.requires_grad for weight in model.parameters())
    inner = [
        weight
        for weight in model.parameters()
        if weight.requires_grad and weight.ndim == 2 and id(weight) not in tables
    ]

    def adam(chosen: list[torch.nn.Parameter]) -> AdamW:
        decay = recipe.weight_decay
        return AdamW(chosen, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=decay)

    if recipe.optimizer == "adamw" or adapted or not inner:
        return adam(weights)
    matrices = {id(weight) for weight in inner}
    others = [weight for weight in weights if id(weight) not in matrices]
    muon = Muon(inner, lr=recipe.matrix_learning_rate, weight_decay=recipe.weight_decay)
    return Together([muon, adam(others)])
