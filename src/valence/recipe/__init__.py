"""Recipes: what a run does, in full. Strict: an unknown key is refused, with the nearest one.

A recipe is a YAML file. `load_recipe` reads it, applies overrides such as
`train.tokens=200000`, and returns a frozen `Recipe` in which every value is explicit.
"""

from valence.recipe.load import (
    build_part,
    build_recipe,
    load_recipe,
    override,
    packaged_recipes,
    read_value,
)
from valence.recipe.parts import (
    AdapterRecipe,
    ControlRecipe,
    CorpusRecipe,
    MeasureRecipe,
    MetricRecipe,
    ModelEntry,
    ModelRecipe,
    Part,
    Pretraining,
    Quantile,
    Recipe,
    SampleRecipe,
    ScoreRecipe,
    SegmentRecipe,
    Settings,
    SweepRecipe,
    TokenizerRecipe,
    TrainRecipe,
    Unformat,
    VerdictRecipe,
)

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
