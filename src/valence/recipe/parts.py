"""What a recipe says as a whole: its parts, samples and measures. Strict: no key is unknown."""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from valence.recipe.corpus import (
    CorpusRecipe,
    ScoreRecipe,
)
from valence.recipe.measure import MeasureRecipe, SampleRecipe, check_samples
from valence.recipe.models import (
    ControlRecipe,
    ModelEntry,
    ModelRecipe,
    TokenizerRecipe,
    TrainRecipe,
)
from valence.recipe.part import Name, Part, Seed
from valence.recipe.settings import Settings, check_settings, settings_of
from valence.recipe.sweep import SweepRecipe


class Recipe(Part):
    """One run: corpus, score, control, tokenizer, models, training, samples, measures."""

    name: Name
    description: str = ""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """One full set of models per seed; the first also seeds corpus order and tokenizer."""
    annotation: str | None = None
    """An annotation directory that exists, relative to the working directory, in place of
    `corpus` and `score`."""
    rewards: Name | None = None
    """`annotation`: which of its rewards; not needed where it has one."""
    corpus: CorpusRecipe = CorpusRecipe()
    score: ScoreRecipe = ScoreRecipe()
    control: ControlRecipe = ControlRecipe()
    tokenizer: TokenizerRecipe = TokenizerRecipe()
    model: ModelRecipe = ModelRecipe()
    train: TrainRecipe = TrainRecipe()
    models: Annotated[dict[Name, ModelEntry], Field(min_length=1)]
    sweep: Annotated[tuple[SweepRecipe, ...], Field(exclude=True)] = ()
    """Settings to try in all combinations; written out as `models` when a recipe is read."""
    sample: SampleRecipe | None = SampleRecipe()
    """What models write of themselves; null for nothing."""
    measure: MeasureRecipe

    @model_validator(mode="after")
    def _text_comes_from_one_place(self) -> Recipe:
        given = sorted(self.model_fields_set & {"corpus", "score"})
        if self.annotation is not None and given:
            raise ValueError(f"annotation brings its own text; leave out {', '.join(given)}")
        if self.annotation is None and self.rewards is not None:
            raise ValueError("`rewards` goes with `annotation`; `score.name` names new rewards")
        return self

    @model_validator(mode="after")
    def _metrics_have_samples(self) -> Recipe:
        check_samples(self.sample, self.measure)
        return self

    @model_validator(mode="after")
    def _models_can_be_set(self) -> Recipe:
        if self.sweep:
            raise ValueError("a sweep is written out by `build_recipe` and `load_recipe`")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must be distinct")
        check_settings(self)
        return self

    @model_serializer(mode="wrap")
    def _without_what_annotation_brings(
        self, dump: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        plain: dict[str, Any] = dump(self)
        left_out = () if self.annotation is None else ("corpus", "score")
        return {key: value for key, value in plain.items() if key not in left_out}

    def settings(self, name: str) -> Settings:
        """What holds for the model `name`: the shared parts with its entry's overrides."""
        return settings_of(self, name)

    @property
    def seed(self) -> int:
        """The seed of everything that all models share."""
        return self.seeds[0]

    def label(self, model: str, seed: int) -> str:
        """The name that a model of a seed has in the run directory.

        The first seed's is the model's own, so that seeds can be added to a finished run.
        """
        return model if seed == self.seed else f"{model}-seed{seed}"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all trained models, in order."""
        return tuple(self.label(model, seed) for seed in self.seeds for model in self.models)

    def to_yaml(self) -> str:
        """The resolved recipe; `load_recipe` reads it back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
