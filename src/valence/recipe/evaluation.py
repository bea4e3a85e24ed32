"""Evaluations: measures of models that exist, wherever they were made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from valence.recipe.measure import MeasureRecipe, SampleRecipe, check_samples
from valence.recipe.part import Name, Part, Seed

Paths = str | Annotated[tuple[str, ...], Field(min_length=1)]


class EvaluationRecipe(Part):
    """Which models are measured, and how."""

    name: Name = "evaluation"
    description: str = ""
    seed: Seed = 0
    """Seeds samples, searches and resamples."""
    models: Annotated[dict[Name, Paths], Field(min_length=1)]
    """Checkpoint directories by the name that results give them; a list of them where one model
    was trained with several seeds."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` is faster on most devices; its samples depend on what is computed together."""
    sample: SampleRecipe | None = SampleRecipe()
    """What models write of themselves; null for nothing."""
    measure: MeasureRecipe = MeasureRecipe()

    def checkpoints(self) -> Iterator[tuple[str, int, Path]]:
        """Every checkpoint: its model's name, its seed in the results, its directory."""
        for name, paths in self.models.items():
            for number, path in enumerate((paths,) if isinstance(paths, str) else paths):
                yield name, self.seed + number, Path(path)

    @model_validator(mode="after")
    def _metrics_have_samples(self) -> EvaluationRecipe:
        check_samples(self.sample, self.measure)
        return self

    def to_yaml(self) -> str:
        """The resolved recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
