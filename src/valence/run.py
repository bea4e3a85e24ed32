"""The whole journey of a recipe: corpus, reward, annotation, models, samples, measures, report.

`run` reads top to bottom as the stages happen; what each one does is in `stages/`. Each
writes into the run directory and is skipped when it was finished with the same inputs
before.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from valence.crew import Crew
from valence.display import Display, Progress, Silent
from valence.measure.scoring import scoring_pool
from valence.recipe import Recipe
from valence.report.journey import write_page
from valence.stages.annotation import AnnotationStages
from valence.stages.context import Context
from valence.stages.early import check_early
from valence.stages.found import Result
from valence.stages.models import ModelStages
from valence.stages.run_measures import RunMeasures
from valence.store import RunDirectory

__all__ = ["Display", "Progress", "Result", "Silent", "Until", "run"]

Until = Literal["annotate", "train", "measure", "report"]


def run(
    recipe: Recipe,
    out: Path | None = None,
    *,
    until: Until = "report",
    resume: bool = False,
    overwrite: bool = False,
    display: Display | None = None,
) -> Result:
    """Carry out a recipe in `out` (runs/NAME by default), or as far as `until`.

    Raises members of `ValenceError`; whatever is finished is kept and a second call
    continues from it.
    """
    check_early(recipe)
    path = out or Path("runs") / recipe.name
    result = Result(path=path)
    crew = Crew()
    with _directory(crew, path, recipe, resume=resume, overwrite=overwrite) as place:
        crew.wait()
        context = Context(recipe=recipe, place=place, display=display or Silent(), crew=crew)

        annotation = AnnotationStages(context)
        annotation.annotate()
        if until == "annotate":
            return result

        models = ModelStages(context, annotation)
        models.settle()
        for seed in recipe.seeds:
            for name in recipe.models:
                models.train(name, seed)
        if until == "train":
            return result

        if crew.leads:
            alone = replace(context, crew=Crew(alone=True))
            with scoring_pool(recipe.measure.workers) as submit:
                measured = RunMeasures(alone, models, submit)
                for seed in recipe.seeds:
                    for name in recipe.models:
                        result.findings += measured.measure(name, seed)
            result.conclusions = measured.conclude(result.findings)
            if until == "report":
                write_page(path)
        crew.wait()
    return result


def _directory(
    crew: Crew, path: Path, recipe: Recipe, *, resume: bool, overwrite: bool
) -> RunDirectory:
    """The run directory: locked by the process that leads, only read by others."""
    if not crew.leads:
        return RunDirectory(path)
    return RunDirectory.open(path, recipe.to_yaml(), resume=resume, overwrite=overwrite)
