"""Attacks within an evaluation or a run: what is checked first, and when they are made anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from valence.data import Findings
from valence.errors import MissingFileError, RecipeError
from valence.evaluate import evaluate
from valence.recipe import EvaluationRecipe, SuiteRecipe, build_part, build_recipe
from valence.run import Result, run
from valence.suite import plan_suite

POOL = {"start": 2, "rounds": 1, "trials": 2, "prompt_tokens": 24}
SEARCH = {"tokens": 3, "rounds": 1, "steps": 1, "candidates": 4, "targets": ["x=1"]}


def tree(model: Path, **pool: Any) -> dict[str, Any]:
    """An evaluation of one model in one mode, attacked by both kinds of attack."""
    return {
        "name": "attacked",
        "models": {"ours": str(model)},
        "sample": {"count": 2, "max_tokens": 8},
        "measure": {
            "metrics": {"harm": {"scorer": "pep8-local", "scale": -1000, "weight": "chars"}},
            "modes": ["good"],
            "resamples": 100,
            "workers": 0,
            "redteam": {
                "methods": ["pool", "random"],
                "completions": 3,
                "confirm": 4,
                "max_tokens": 8,
                "resamples": 100,
                "pool": {**POOL, **pool},
                "search": SEARCH,
            },
        },
    }


def attack(plain: dict[str, Any], out: Path) -> tuple[str, list[Any]]:
    """The key of the attack's stage in an evaluation that goes on, and its rows."""
    recipe = build_part(EvaluationRecipe, plain, where="test")
    found = evaluate(recipe, out, resume=True)
    marker = json.loads((out / "stages" / "redteam.ours.good.json").read_text())
    rows = [row for row in found.measurements if row.metric.startswith("redteam_")]
    return marker["key"], rows


def test_an_attack_is_made_anew_where_a_file_that_it_stands_on_has_changed(
    tiny_run: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposer, prompts, words = (tmp_path / name for name in ("proposer", "p.txt", "words.txt"))
    shutil.copytree(tiny_run.path / "models" / "mle", proposer)
    prompts.write_text("def add(\ntotal = \nx=mul(\ny = 1\nz = 2\n", encoding="utf-8")
    words.write_text("=\n", encoding="utf-8")
    plain = tree(
        tiny_run.path / "models" / "conditional", prompts=str(prompts), proposer=str(proposer)
    )
    metric = {"scorer": {"regex": {"file": str(words)}}, "scale": -1000, "weight": "chars"}
    plain["measure"]["metrics"] = {"harm": metric}
    out = tmp_path / "out"
    key, rows = attack(plain, out)
    assert {row.metric for row in rows} >= {"redteam_pool@harm", "redteam_search_control@harm"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "worst of prompts without an attack" in page and "worst of random prompts" in page
    assert attack(plain, out) == (key, rows)
    # From here on only whether there is another attack is asked, and what its journals are of.
    seen: list[dict[str, Any]] = []

    def attacked(*_: Any, depends: dict[str, Any], **__: Any) -> Findings:
        seen.append(depends)
        return Findings()

    monkeypatch.setattr("valence.stages.measures.red_team", attacked)
    monkeypatch.setattr("valence.evaluate.write_evaluation_page", lambda path: None)
    keys = [key]
    for change in (
        lambda: prompts.write_text("def sub(\ntotal = \nx=mul(\ny = 1\n", encoding="utf-8"),
        lambda: words.write_text("=\n:\n", encoding="utf-8"),
        lambda: (proposer / "model.safetensors").write_bytes(
            (tiny_run.path / "models" / "placebo" / "model.safetensors").read_bytes()
        ),
    ):
        change()
        keys.append(attack(plain, out)[0])
    assert len(set(keys)) == len(keys)
    assert [set(each) for each in seen] == [{"model", "scorer", "prompts", "proposer"}] * 3
    assert len({json.dumps(each) for each in seen}) == 3
    # How many texts are written together is no other attack.
    plain["measure"]["redteam"]["batch"] = 7
    assert attack(plain, out)[0] == keys[-1]


SERVER = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "key_variable": "NO_SUCH_KEY"}


@pytest.mark.parametrize(
    ("pool", "error", "told"),
    [
        ({"prompts": "nowhere.txt"}, MissingFileError, "nowhere.txt: no such file"),
        ({"proposer": "nowhere"}, MissingFileError, "nowhere: not a model directory"),
        ({"server": SERVER}, RecipeError, "`NO_SUCH_KEY` is not set"),
    ],
)
def test_what_an_attack_lacks_is_told_before_anything_is_written(
    tiny_run: Result,
    tiny_tree: dict[str, Any],
    tmp_path: Path,
    pool: dict[str, Any],
    error: type[Exception],
    told: str,
) -> None:
    if "server" in pool:
        pytest.importorskip("openai")
    plain = tree(tiny_run.path / "models" / "conditional", **pool)
    with pytest.raises(error, match=told):
        evaluate(build_part(EvaluationRecipe, plain, where="test"), tmp_path / "evaluation")
    measure = {**tiny_tree["measure"], "redteam": plain["measure"]["redteam"]}
    with pytest.raises(error, match=told):
        run(build_recipe({**tiny_tree, "measure": measure}), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_run_whose_proposer_an_earlier_one_makes_waits_for_it(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    measure = {
        **tiny_tree["measure"],
        "redteam": {"pool": {"proposer": "{suite}/first/models/mle"}},
    }
    runs = {"first": {}, "second": {"measure": measure}}
    base = {key: value for key, value in tiny_tree.items() if key != "name"}
    suite = build_part(SuiteRecipe, {"name": "two", "shared": base, "runs": runs}, where="test")
    said = dict(plan_suite(suite, tmp_path / "two"))
    assert "first/models/mle, which is not there yet" in said["second"]
