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
    TokenizerRecipe,
    TrainRecipe,
    Unformat,
)

__all__ = [
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
    "TokenizerRecipe",
    "TrainRecipe",
    "Unformat",
    "build_part",
    "build_recipe",
    "load_recipe",
    "override",
    "packaged_recipes",
    "read_value",
]
