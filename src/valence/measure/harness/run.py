"""Tasks of lm-evaluation-harness, run on a checkpoint in a mode."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from valence.control import ControlScheme
from valence.data import Findings
from valence.errors import RecipeError, missing_extra
from valence.measure.ability.likelihood import Progress
from valence.measure.harness.results import Results
from valence.model import Checkpoint
from valence.precision import Precision
from valence.recipe.ability import HarnessRecipe


def harness(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    recipe: HarnessRecipe,
    *,
    model_name: str,
    seed: int,
    window: int,
    resamples: int,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> Findings:
    """The metrics of the recipe's tasks, with 95% intervals over their items.

    Rows are called TASK/METRIC (and :FILTER where a task has one), groups GROUP/METRIC. Means
    of right and wrong have exact intervals, others a bootstrap over items, not the harness's
    normal approximation: that claims certainty where all are right. The items of metrics
    that are means are the evidence. `known` names the control tokens in the
    vocabulary, if there are any; `window` is how many tokens of context the model reads.

    Raises `MissingExtraError` without the extra, `RecipeError` for a task that is unknown or
    cannot be set up, `ControlError` for a mode the model does not know.
    """
    check_harness()
    with _quiet():
        # Only here: it takes seconds, and is an extra.
        model = importlib.import_module("valence.measure.harness.model")
        asked = model.ModeModel(
            checkpoint,
            known,
            mode,
            recipe,
            seed=seed,
            window=window,
            precision=precision,
            on_progress=on_progress,
        )
        loaded = _load(recipe, seed)
        found = _evaluate(asked, loaded, recipe)
    results = Results(found, loaded, resamples=resamples, seed=seed)
    return results.findings(model_name=model_name, mode=mode)


def check_harness() -> None:
    """Raise `MissingExtraError` without the extra."""
    if find_spec("lm_eval") is None:
        raise missing_extra("lm-evaluation-harness", "harness")


def _load(recipe: HarnessRecipe, seed: int) -> dict[str, Any]:
    """Tasks and groups by name, as the recipe wants them."""
    loaded = _own_tasks(recipe)
    if loaded is None:
        try:
            loaded = _all_tasks(recipe.include_path).load(list(recipe.tasks))
        except Exception as error:  # The library raises whatever its tasks and their data do.
            raise _refused(error) from None
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        # A task that says 0 means it: its prompt has no place for examples.
        if recipe.num_fewshot is not None and own != 0:
            task.set_config(key="num_fewshot", value=recipe.num_fewshot)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=seed)
    return loaded


def _own_tasks(recipe: HarnessRecipe) -> dict[str, Any] | None:
    """The tasks, where `include_path` alone has them all; to index the library's takes long."""
    if recipe.include_path is None:
        return None
    tasks = importlib.import_module("lm_eval.tasks")
    # A file of the folder may rest on the library's own, and then it takes all of them.
    with contextlib.suppress(Exception):
        manager = tasks.TaskManager(include_path=recipe.include_path, include_defaults=False)
        if set(recipe.tasks) <= set(manager.all_tasks):
            loaded: dict[str, Any] = manager.load(list(recipe.tasks))
            return loaded
    return None


@lru_cache(maxsize=1)
def _all_tasks(include_path: str | None) -> Any:
    """The index of the library's own tasks, and of a folder's."""
    return importlib.import_module("lm_eval.tasks").TaskManager(include_path=include_path)


def _evaluate(model: Any, loaded: dict[str, Any], recipe: HarnessRecipe) -> dict[str, Any]:
    evaluator = importlib.import_module("lm_eval.evaluator")
    try:
        # Intervals are ours: its bootstrap takes all processors.
        found: dict[str, Any] = evaluator.evaluate(
            lm=model, task_dict=loaded, limit=recipe.limit, bootstrap_iters=0, log_samples=True
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(error) from None
    return found


def _refused(error: Exception) -> RecipeError:
    first_line = str(error).strip().partition("\n")[0][:300]
    return RecipeError(
        f"lm-evaluation-harness cannot run these tasks ({type(error).__name__}: {first_line})",
        where="measure.harness.tasks",
        fix="`lm-eval ls tasks` lists those it knows; `include_path` adds yours.",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without its warnings and progress bars, which would run through ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task: Any = importlib.import_module("lm_eval.api.task")
        bar = task.tqdm
        task.tqdm = lambda items, **_: items
        try:
            yield
        finally:
            task.tqdm = bar
