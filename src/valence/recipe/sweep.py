"""Sweeps: settings to try in all combinations, written out as plain entries of `models`."""

from __future__ import annotations

import copy
import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from valence.errors import RecipeError
from valence.recipe.models import AdapterRecipe, ModelEntry, VerdictRecipe
from valence.recipe.part import Name, Part

LONGEST_NAME = 80
"""Characters that the name of a swept model has at most."""

_HOW = "For example: over: {train.tokens: [250_000, 500_000], objective.alpha: [0.1, 1.0]}"


class SweepRecipe(Part):
    """Settings to try for some models: every combination replaces the model by one more."""

    models: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Entries of `models`; all of them if not given."""
    over: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)]
    """Values by dotted key: `objective.*` (its options), `control.*`, `model.*`, `train.*`,
    `verdict.*` or `feedback_from`."""


def expand_sweep(
    models: Mapping[str, Any], blocks: Sequence[SweepRecipe], *, where: str
) -> dict[str, Any]:
    """Plain entries of `models` in which each swept one is replaced by its combinations.

    A new name says what was set, `conditional.tokens-250000`; the entry keeps the name that
    it came from (`base_name`) and what was set (`axes`). Raises `RecipeError` for unknown
    models and keys, for a model in two blocks, and where two names would be the same.
    """
    block_of: dict[str, SweepRecipe] = {}
    for number, block in enumerate(blocks):
        place = f"{where}: sweep.{number}"
        _check_keys(block, place)
        for name in block.models or tuple(models):
            if name not in models:
                raise RecipeError(
                    f"there is no model `{name}`{_near(name, models)}",
                    where=f"{place}.models",
                    fix=f"Models of this recipe: {', '.join(models)}.",
                )
            if name in block_of:
                raise RecipeError(
                    f"model `{name}` stands in a sweep already",
                    where=f"{place}.models",
                    fix="Put all its axes into one block, or leave it out of one.",
                )
            block_of[name] = block
    expanded: dict[str, Any] = {}
    for name, entry in models.items():
        made = _variants(name, entry, block_of[name]) if name in block_of else [(name, entry)]
        for new, variant in made:
            if new in expanded or (new != name and new in models):
                raise RecipeError(
                    f"two models would be called `{new}`",
                    where=f"{where}: sweep",
                    fix="Give each value once, or write these models out under `models`.",
                )
            expanded[new] = variant
    return expanded


def _variants(name: str, entry: Any, block: SweepRecipe) -> Iterator[tuple[str, Any]]:
    titles = _titles(list(block.over))
    for values in itertools.product(*block.over.values()):
        axes = dict(zip(block.over, values, strict=True))
        variant = copy.deepcopy(dict(entry))
        for key, value in axes.items():
            _set(variant, key, value)
        variant["base_name"] = entry.get("base_name") or name
        variant["axes"] = {**entry.get("axes", {}), **axes}
        parts = [f"{titles[key]}-{_spelled(value)}" for key, value in axes.items()]
        yield _shortened(".".join([name, *parts])), variant


def _set(entry: dict[str, Any], key: str, value: Any) -> None:
    first, *steps = key.split(".")
    if first == "objective":
        spec = entry.get("objective")
        named = {spec: {}} if isinstance(spec, str) else spec
        if not isinstance(named, dict) or len(named) != 1:
            return  # The recipe refuses what is no objective, by its own name.
        ((objective, options),) = named.items()
        entry["objective"] = {objective: {**(options or {}), steps[0]: value}}
        return
    for step in steps:
        inner = entry.get(first)
        entry[first] = entry = dict(inner) if isinstance(inner, dict) else {}
        first = step
    entry[first] = value


def _check_keys(block: SweepRecipe, place: str) -> None:
    known = _known_keys()
    for key in block.over:
        if key in known or re.fullmatch(r"objective\.[^.]+", key):
            continue
        raise RecipeError(
            f"unknown key `{key}`{_near(key, known)}", where=f"{place}.over", fix=_HOW
        )


def _known_keys() -> list[str]:
    parts: dict[str, type[Part]] = {
        **ModelEntry.overrides,
        "verdict": VerdictRecipe,
        "model.adapter": AdapterRecipe,
    }
    keys = [f"{part}.{key}" for part, kind in parts.items() for key in kind.model_fields]
    keys.remove("control.tokens")
    return [*keys, "feedback_from"]


def _near(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _titles(keys: Sequence[str]) -> dict[str, str]:
    """What each key is called in names: its last step, or all where that is not enough."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: end if last.count(end) == 1 else key for key, end in zip(keys, last, strict=True)}


def _spelled(value: Any) -> str:
    """A value as a part of a name."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.1f}"
    if isinstance(value, (int, float)):
        return json.dumps(value).replace("+", "")
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-") or "empty"


def _shortened(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9]}-{mark}"
