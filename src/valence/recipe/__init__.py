"""Recipes: what a run does, in full. Strict: an unknown key is refused, with the nearest one.

A recipe is a YAML file. `load_recipe` reads it, applies overrides such as
`train.tokens=200000`, and returns a frozen `Recipe` in which every value is explicit.
"""

from valence.recipe.ability import AbilityRecipe, HarnessRecipe, ReferenceRecipe, TextRecipe
from valence.recipe.corpus import CorpusRecipe, Pretraining, ScoreRecipe, SegmentRecipe, Unformat
from valence.recipe.evaluation import EvaluationRecipe
from valence.recipe.judging import JudgingRecipe
from valence.recipe.knowing import KnowingRecipe
from valence.recipe.load import (
    AnyRecipe,
    build_part,
    build_recipe,
    load_any,
    load_recipe,
    override,
    packaged_recipes,
    read_tree,
    read_value,
)
from valence.recipe.measure import (
    CertifyRecipe,
    DetectorRecipe,
    LabelledRecipe,
    MeasureRecipe,
    MetricRecipe,
    SampleRecipe,
    ScenarioRecipe,
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
from valence.recipe.parts import Recipe
from valence.recipe.redteam import RedTeamRecipe
from valence.recipe.settings import Settings
from valence.recipe.suite import SuiteRecipe
from valence.recipe.sweep import SweepRecipe

__all__ = [
    "AbilityRecipe",
    "AdapterRecipe",
    "AnyRecipe",
    "CertifyRecipe",
    "ControlRecipe",
    "CorpusRecipe",
    "DetectorRecipe",
    "EvaluationRecipe",
    "HarnessRecipe",
    "JudgingRecipe",
    "KnowingRecipe",
    "LabelledRecipe",
    "MeasureRecipe",
    "MetricRecipe",
    "ModelEntry",
    "ModelRecipe",
    "Part",
    "Pretraining",
    "Quantile",
    "Recipe",
    "RedTeamRecipe",
    "ReferenceRecipe",
    "SampleRecipe",
    "ScenarioRecipe",
    "ScoreRecipe",
    "SegmentRecipe",
    "Settings",
    "SuiteRecipe",
    "SweepRecipe",
    "TextRecipe",
    "TokenizerRecipe",
    "TrainRecipe",
    "Unformat",
    "VerdictRecipe",
    "build_part",
    "build_recipe",
    "load_any",
    "load_recipe",
    "override",
    "packaged_recipes",
    "read_tree",
    "read_value",
]
