"""The settings of one model: the parts that all models share, with its own differences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from valence.recipe.models import OF_BASE, ControlRecipe, ModelEntry, ModelRecipe, TrainRecipe
from valence.recipe.part import Options, Part
from valence.recipe.suite import merge

if TYPE_CHECKING:
    from valence.recipe.parts import Recipe

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for one model of a run."""

    model: ModelRecipe
    train: TrainRecipe
    control: ControlRecipe

    def value(self, key: str) -> Any:
        """The value under a dotted key, such as `train.tokens`; None where there is none."""
        found: Any = self
        for step in key.split("."):
            found = getattr(found, step, None)
        return found


def settings_of(recipe: Recipe, name: str) -> Settings:
    """The shared parts with the overrides of the entry `name`.

    Raises pydantic's `ValidationError`, which a recipe that was built never does.
    """
    entry = recipe.models[name]
    return Settings(
        model=_with(recipe.model, entry.model),
        train=_with(recipe.train, entry.train),
        control=_with(recipe.control, entry.control),
    )


def check_settings(recipe: Recipe) -> None:
    """Raise pydantic's `ValidationError` with every wrong override, placed in its entry."""
    wrong: list[InitErrorDetails] = []
    for name, entry in recipe.models.items():
        found = list(_wrong_overrides(recipe, name, entry))
        wrong += found or _too_long(recipe, name, entry)
    if wrong:
        raise ValidationError.from_exception_data("Recipe", wrong)


def _with(shared: P, changes: Options) -> P:
    """A part with some keys set differently; maps are merged key by key."""
    if not changes:
        return shared
    plain = shared.model_dump(mode="json")
    if isinstance(shared, ModelRecipe) and changes.get("base") is not None:
        plain = {key: plain[key] for key in OF_BASE}  # The sizes are those of the base.
    tree = merge(plain, changes)
    return type(shared).model_validate_json(json.dumps(tree))


def _wrong_overrides(recipe: Recipe, name: str, entry: ModelEntry) -> Iterator[InitErrorDetails]:
    for key in entry.overrides:
        changes: Options = getattr(entry, key)
        if key == "control" and "tokens" in changes:
            problem = "all models have the same control tokens"
            yield _problem(problem, ("models", name, key, "tokens"), changes["tokens"])
            continue
        try:
            _with(getattr(recipe, key), changes)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                place = ("models", name, key, *item["loc"])
                if item["type"] == "extra_forbidden":
                    yield {"type": "extra_forbidden", "loc": place, "input": item["input"]}
                else:
                    yield _problem(item["msg"].removeprefix("Value error, "), place, item["input"])


def _too_long(recipe: Recipe, name: str, entry: ModelEntry) -> list[InitErrorDetails]:
    settings = settings_of(recipe, name)
    longest = max(settings.train.block, recipe.sample.max_tokens if recipe.sample else 0)
    context = settings.model.max_position_embeddings
    if settings.model.base is not None or longest <= context:
        return []  # How long a text a base can take is known once it is loaded.
    problem = (
        "train.block and sample.max_tokens may not exceed"
        f" model.max_position_embeddings ({context})"
    )
    differs = bool(entry.train or entry.model)
    return [_problem(problem, ("models", name) if differs else (), longest)]


def _problem(what: str, place: tuple[str | int, ...], given: object) -> InitErrorDetails:
    # A custom error takes its message as a template.
    kind = PydanticCustomError("setting", "{what}", {"what": what})
    return {"type": kind, "loc": place, "input": given}
