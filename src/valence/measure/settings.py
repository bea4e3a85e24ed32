"""What makes models of a sweep comparable: their budget, and what was set for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from valence.recipe import Recipe
from valence.report.comparison import column_names, spelled


def budget_keys(recipe: Recipe) -> list[str]:
    """Keys of training size and model size that a sweep set for some model."""
    keys = dict.fromkeys(key for entry in recipe.models.values() for key in entry.axes)
    return [key for key in keys if key == "train.tokens" or key.startswith("model.")]


def comparable(recipe: Recipe, one: str, other: str) -> bool:
    """Whether two models have the same budget, and the same of all that a sweep set for both."""
    first, second = recipe.models[one].axes, recipe.models[other].axes
    same = all(first[key] == second[key] for key in first.keys() & second.keys())
    sizes, other_sizes = recipe.settings(one), recipe.settings(other)
    return same and all(sizes.value(key) == other_sizes.value(key) for key in budget_keys(recipe))


def setting(recipe: Recipe, *models: str) -> str:
    """What a sweep set for one of these models, in words."""
    axes = {key: value for model in models for key, value in recipe.models[model].axes.items()}
    return in_words(axes)


def budget_of(recipe: Recipe, model: str, keys: Sequence[str]) -> str:
    """A model's budget, in words."""
    settings = recipe.settings(model)
    return in_words({key: settings.value(key) for key in keys})


def in_words(axes: dict[str, Any]) -> str:
    """Settings by dotted key as `tokens 250,000, alpha 0.1`."""
    names = column_names(list(axes))
    return ", ".join(f"{names[key]} {spelled(value)}" for key, value in axes.items())
