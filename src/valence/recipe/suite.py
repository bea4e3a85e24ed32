"""Suites: several runs in one directory, with what they share written once.

A later run may use what an earlier one made: `{suite}` in any of its strings stands for the
directory of the suite, in which each run has a directory of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import Field

from valence.recipe.part import Name, Options, Part

SUITE = "{suite}"
"""What stands for the directory of the suite."""


class SuiteRecipe(Part):
    """Runs that belong together, in order."""

    name: Name
    description: str = ""
    shared: Options = Field(default_factory=dict)
    """Keys of a recipe that hold for every run; a run's own come on top, key by key."""
    runs: Annotated[dict[Name, Options], Field(min_length=1)]
    """The recipe of each run, without its name."""

    def tree(self, name: str, directory: str) -> dict[str, Any]:
        """The recipe of one run as plain data, in a suite whose directory is this."""
        merged = merge(self.shared, self.runs[name])
        found: dict[str, Any] = _filled({"name": name, **merged}, directory)
        return found

    def to_yaml(self) -> str:
        """The suite as it was read, overrides applied."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def merge(plain: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data with some keys set differently; maps are merged key by key."""
    tree = dict(plain)
    for key, value in changes.items():
        old = tree.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        tree[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return tree


def _filled(value: Any, directory: str) -> Any:
    if isinstance(value, str):
        return value.replace(SUITE, directory)
    if isinstance(value, dict):
        return {key: _filled(inner, directory) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, directory) for inner in value]
    return value
