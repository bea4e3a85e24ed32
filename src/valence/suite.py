"""Several runs in one directory, one after the other, and their results together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from valence.crew import Crew
from valence.data import Conclusions, Findings
from valence.display import Display
from valence.plan import plan
from valence.recipe import Recipe, SuiteRecipe, build_recipe
from valence.report.suite import write_suite_page
from valence.run import Result, Until, run
from valence.store import RunDirectory, write_json


@dataclass(slots=True)
class SuiteResult:
    """What a suite left: its directory, and the result of each run."""

    path: Path
    runs: dict[str, Result] = field(default_factory=dict)

    @property
    def findings(self) -> Findings:
        """Everything measured, the models called RUN/MODEL."""
        found = Findings()
        for name, result in self.runs.items():
            found += Findings(
                rows=tuple(replace(r, model=f"{name}/{r.model}") for r in result.findings.rows),
                series=tuple(replace(s, model=f"{name}/{s.model}") for s in result.findings.series),
            )
        return found

    @property
    def conclusions(self) -> Conclusions:
        """What each run concludes, its name before it."""
        return Conclusions(
            overall=tuple(
                f"{name}: {sentence}"
                for name, result in self.runs.items()
                for sentence in result.conclusions.overall or result.conclusions.pairs
            )
        )


def suite_recipes(suite: SuiteRecipe, path: Path) -> Iterator[tuple[str, Recipe]]:
    """The recipe of each run of a suite in a directory; raises `RecipeError`."""
    for name in suite.runs:
        tree = suite.tree(name, str(path))
        yield name, build_recipe(tree, where=f"{suite.name}: runs.{name}")


def run_suite(
    suite: SuiteRecipe,
    out: Path | None = None,
    *,
    until: Until = "report",
    resume: bool = False,
    overwrite: bool = False,
    display: Display | None = None,
) -> SuiteResult:
    """Carry out every run of a suite in `out` (runs/NAME by default), or as far as `until`.

    Each is a run directory of its own and resumes as one. Raises members of `ValenceError`; all
    recipes are read before the first one starts.
    """
    path = out or Path("runs") / suite.name
    recipes = dict(suite_recipes(suite, path))
    result = SuiteResult(path=path)
    crew = Crew()
    if crew.leads:
        RunDirectory.open(
            path,
            suite.to_yaml(),
            resume=resume,
            overwrite=overwrite,
            marker_name="suite.yaml",
            noun="suite",
        ).close()
    crew.wait()
    for name, recipe in recipes.items():
        result.runs[name] = run(
            recipe, path / name, until=until, resume=resume, overwrite=overwrite, display=display
        )
    if crew.leads and until in ("measure", "report"):
        found = result.findings
        write_json(path / "results.json", [asdict(row) for row in found.rows])
        write_json(path / "series.json", [asdict(series) for series in found.series])
        write_json(path / "conclusions.json", asdict(result.conclusions))
        if until == "report":
            write_suite_page(path)
    return result


def plan_suite(suite: SuiteRecipe, out: Path | None = None) -> Iterator[tuple[str, str]]:
    """What the runs of a suite would do; of one that waits for another's model, only that."""
    path = out or Path("runs") / suite.name
    for name, recipe in suite_recipes(suite, path):
        waits = _waits_for(recipe, path)
        if waits is not None:
            yield name, f"goes on from {waits}, which is not there yet"
            continue
        for label, value in plan(recipe):
            yield f"{name}: {label}", value


def _waits_for(recipe: Recipe, path: Path) -> str | None:
    """What a run of this recipe takes from another run of the suite, if it is not there."""
    bases = [recipe.settings(name).model.base for name in recipe.models]
    wanted = [base for base in [*bases, recipe.annotation] if base is not None]
    if recipe.annotation is None:
        wanted += recipe.corpus.paths
    if recipe.measure.redteam is not None:
        pool = recipe.measure.redteam.pool
        wanted += [one for one in (pool.prompts, pool.proposer) if one is not None]
    missing = [one for one in wanted if one.startswith(str(path)) and not Path(one).exists()]
    return missing[0] if missing else None
