"""Measure models that exist: what `valence measure MODEL` does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from valence.crew import Crew
from valence.display import Display, Silent
from valence.measure.conclude import conclude_evaluation
from valence.measure.scoring import scoring_pool
from valence.recipe import EvaluationRecipe
from valence.report.evaluation import write_evaluation_page
from valence.stages.context import Workspace
from valence.stages.evaluation import check_models, subjects, text_of
from valence.stages.found import Result, write_results
from valence.stages.measures import MeasureStages
from valence.store import RunDirectory, write_json


def evaluate(
    recipe: EvaluationRecipe,
    out: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    display: Display | None = None,
) -> Result:
    """Carry out an evaluation in `out` (measures/NAME by default): results.json and a page.

    Raises members of `ValenceError`, most of them before anything is written; whatever is
    finished is kept and a second call continues from it.
    """
    check_models(recipe)
    path = out or Path("measures") / recipe.name
    result = Result(path=path)
    with RunDirectory.open(
        path,
        recipe.to_yaml(),
        resume=resume,
        overwrite=overwrite,
        marker_name="evaluation.yaml",
        noun="evaluation",
    ) as place:
        space = Workspace(place=place, display=display or Silent(), crew=Crew(alone=True))
        with scoring_pool(recipe.measure.workers) as submit:
            stages = MeasureStages(
                space,
                recipe.sample,
                recipe.measure,
                seed=recipe.seed,
                precision=recipe.precision,
                submit=submit,
                text=lambda subject: text_of(recipe.measure, subject),
            )
            for subject in subjects(recipe):
                result.findings += stages.measure(subject)
        found = result.findings
        paired, known = stages.differences(found), stages.pairing(found)
        result.conclusions = conclude_evaluation(found.rows, paired, recipe, known)
        write_results(space, found, stages.names, paired, recipe.measure, known)
        write_json(path / "conclusions.json", asdict(result.conclusions))
        write_evaluation_page(path)
    return result
