"""Recipes: what a run does, in full. Strict: an unknown key is refused, with the nearest one.

A recipe is a YAML file. `load_recipe` reads it, applies overrides such as
`train.tokens=200000`, and returns a frozen `Recipe` in which every value is explicit.
"""

from valence.recipe.corpus import CorpusRecipe, Pretraining, ScoreRecipe, SegmentRecipe, Unformat
from valence.recipe.load import (
    build_part,
    build_recipe,
    load_recipe,
    override,
    packaged_recipes,
    read_value,
)
from valence.recipe.models import (
    AdapterRecipe,
    ControlRecipe,
    ModelEntry,
    ModelRecipe,
    Quantile,
    TokenizerRecipe,
    TrainRecipe,
    VerdictRecipe,
)
from valence.recipe.part import Part
from valence.recipe.parts import MeasureRecipe, MetricRecipe, Recipe, SampleRecipe
from valence.recipe.settings import Settings
from valence.recipe.sweep import SweepRecipe

__all__ = [
    "AdapterRecipe",
    "ControlRecipe",
    "CorpusRecipe",
    "MeasureRecipe",
    "MetricRecipe",
    "ModelEntry",
    "ModelRecipe",
    "Part",
    "Pretraining",
    "Quantile",
    "Recipe",
    "SampleRecipe",
    "ScoreRecipe",
    "SegmentRecipe",
    "Settings",
    "SweepRecipe",
    "TokenizerRecipe",
    "TrainRecipe",
    "Unformat",
    "VerdictRecipe",
    "build_part",
    "build_recipe",
    "load_recipe",
    "override",
    "packaged_recipes",
    "read_value",
]
