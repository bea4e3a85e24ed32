"""What a recipe asks for that cannot work, found before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from valence.annotate import Annotation
from valence.control import ControlScheme
from valence.crew import Crew
from valence.errors import RecipeError
from valence.guide.modes import modes_of
from valence.guide.table import check_guides
from valence.measure.redteam import check_attacks
from valence.model import add_adapter, create_model
from valence.model.existing import base_shape, check_same_tokenizer
from valence.objective import build_objective
from valence.pack.plan import check_phases
from valence.recipe import ControlRecipe, Recipe, Settings, TrainRecipe
from valence.score.table import build_scorer
from valence.stages.annotation import used_rewards
from valence.stages.asked import check_asked
from valence.train.fit import sequences_per_device
from valence.train.loggers import check_loggers


def check_early(recipe: Recipe) -> None:
    """Whatever cannot work fails now, not after an hour of scoring.

    Raises the members of `ValenceError` that the run itself would raise later. Looks at
    scorers, rewards that were made before, objectives, models and base models without their
    weights, lengths, loggers, attacks, how steps are shared by devices, and what is asked of
    measures.
    """
    scorers = [metric.scorer for metric in recipe.measure.metrics.values()]
    for scorer in scorers if recipe.annotation is not None else [recipe.score.scorer, *scorers]:
        build_scorer(scorer)
    if recipe.annotation is not None:
        used_rewards(Annotation(Path(recipe.annotation)), recipe.rewards)
    for guide in recipe.measure.guides.values():
        check_guides(guide)
    if recipe.measure.redteam is not None:
        check_attacks(recipe.measure.redteam)
    modes: list[str] = []
    for name, entry in recipe.models.items():
        settings = recipe.settings(name)
        learns = build_objective(entry.objective).uses_control
        modes += modes_of(_named(settings.control) if learns else None)
        check_phases(entry.feedback_from, settings.control.cooldown)
        _check_training(settings.train)
        if settings.train.sample_every is not None and recipe.sample is None:
            raise RecipeError(
                "there is no `sample` that says how", where="train.sample_every", fix="Give one."
            )
        if settings.model.base is None:
            with torch.device("meta"):
                create_model(settings.model, recipe.tokenizer.vocab_size, 0, recipe.seed)
        else:
            _check_base(recipe, settings)
    others = (*modes_of(None), *modes_of(_named(recipe.control)))
    check_asked(recipe.measure, modes, others=others)


def _named(control: ControlRecipe) -> ControlScheme:
    """A scheme with the recipe's tokens, whatever its bounds will be."""
    bounds = tuple(float(band) for band in range(len(control.tokens) - 1))
    return ControlScheme(tokens=control.tokens, bounds=bounds)


def _check_training(train: TrainRecipe) -> None:
    sequences_per_device(train, Crew.size())
    check_loggers(train.report_to)
    if train.sample_every is not None and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        raise RecipeError(
            "one process samples, and with FSDP none has the whole model",
            where="train.sample_every",
            fix="Leave it out, or train with a whole model on each device (configs/ddp-8.yaml).",
        )


def _check_base(recipe: Recipe, settings: Settings) -> None:
    """A base model by its config: its class, its tokenizer, its context, its adapter."""
    model = settings.model
    with torch.device("meta"):
        shape = base_shape(model)
    check_same_tokenizer(recipe.model, model)
    context = getattr(shape.config.get_text_config(), "max_position_embeddings", None)
    asked_for = {"train.block": settings.train.block}
    if recipe.sample is not None:
        asked_for["sample.max_tokens"] = recipe.sample.max_tokens
    for key, asked in asked_for.items():
        if context is not None and asked > context:
            raise RecipeError(
                f"is {asked}, and {model.base} has a context of {context} tokens",
                where=key,
                fix=f"Give at most {context}, or another model.base.",
            )
    if model.adapter is not None:
        add_adapter(shape, model.adapter, [], seed=recipe.seed)
