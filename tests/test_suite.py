"""Suites: several runs in one directory, a later one going on from an earlier one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from valence.cli import app
from valence.control import read_known_scheme
from valence.errors import RecipeError, RunExistsError
from valence.model import load_checkpoint
from valence.recipe import SuiteRecipe, load_any, load_recipe
from valence.suite import SuiteResult, plan_suite, run_suite, suite_recipes

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def tree(tiny_tree: dict[str, Any]) -> dict[str, Any]:
    shared = {
        k: v for k, v in tiny_tree.items() if k not in ("name", "models", "model", "tokenizer")
    }
    base = {"model": {"base": "{suite}/first/models/mle"}}
    return {
        "name": "two",
        "description": "One run after the other.",
        "shared": {**shared, "sample": None, "measure": {"loss_chars": 2000, "resamples": 100}},
        "runs": {
            "first": {
                "model": tiny_tree["model"],
                "tokenizer": tiny_tree["tokenizer"],
                "models": {"mle": {"objective": "mle"}},
            },
            "second": {
                **base,
                "models": {
                    "pretrained": {"objective": "untrained"},
                    "conditional": {"objective": "conditional", "train": {"tokens": 500}},
                },
            },
        },
    }


@pytest.fixture(scope="module")
def path(tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("suite") / "two.yaml"
    made.write_text(yaml.safe_dump(tree))
    return made


@pytest.fixture(scope="module")
def suite(path: Path) -> SuiteRecipe:
    found = load_any(path)
    assert isinstance(found, SuiteRecipe)
    return found


@pytest.fixture(scope="module")
def result(suite: SuiteRecipe, tmp_path_factory: pytest.TempPathFactory) -> SuiteResult:
    return run_suite(suite, tmp_path_factory.mktemp("runs") / "two")


def test_shared_keys_hold_for_every_run_and_the_suite_has_a_place(suite: SuiteRecipe) -> None:
    first, second = (recipe for _, recipe in suite_recipes(suite, Path("somewhere")))
    assert first.measure.resamples == second.measure.resamples == 100
    assert second.model.base == "somewhere/first/models/mle"
    assert (first.name, second.name) == ("first", "second")


def test_a_later_run_goes_on_from_an_earlier_one(result: SuiteResult) -> None:
    base = load_file(result.path / "first/models/mle/model.safetensors")
    kept = load_file(result.path / "second/models/pretrained/model.safetensors")
    trained = load_file(result.path / "second/models/conditional/model.safetensors")
    checkpoint = load_checkpoint(result.path / "first/models/mle")
    scheme = read_known_scheme(result.path / "first/models/mle")
    assert scheme is not None and kept.keys() == base.keys()
    # The plain model never learned its control tokens; only they begin anew.
    unlearned = set(scheme.token_ids(checkpoint.tokenizer))
    for name, weight in base.items():
        rows = (kept[name] != weight).reshape(len(weight), -1).any(dim=1).nonzero().flatten()
        assert set(rows.tolist()) == (unlearned if "embed" in name else set())
    assert any((trained[name] != weight).any() for name, weight in base.items())


def test_results_of_all_runs_stand_together(result: SuiteResult) -> None:
    rows = json.loads((result.path / "results.json").read_text())
    assert {row["model"] for row in rows} == {
        "first/mle", "second/pretrained", "second/conditional",
    }  # fmt: skip
    assert all(row["metric"].startswith(("loss", "bits")) for row in rows)
    assert (result.path / "report.html").is_file()
    assert (result.path / "second" / "report.html").is_file()
    untrained = {r["mode"] for r in rows if r["model"] == "second/pretrained"}
    assert untrained == {"none"}


def test_a_second_time_nothing_is_done_again(suite: SuiteRecipe, result: SuiteResult) -> None:
    before = {p: p.stat().st_mtime_ns for p in result.path.rglob("*.safetensors")}
    again = run_suite(suite, result.path)
    assert again.findings == result.findings
    assert {p: p.stat().st_mtime_ns for p in result.path.rglob("*.safetensors")} == before


def test_another_suite_needs_leave(suite: SuiteRecipe, result: SuiteResult, path: Path) -> None:
    other = load_any(path, ["shared.measure.resamples=200"])
    assert isinstance(other, SuiteRecipe)
    with pytest.raises(RunExistsError, match="a suite of another recipe"):
        run_suite(other, result.path)


def test_the_plan_says_what_waits_for_what(suite: SuiteRecipe, tmp_path: Path) -> None:
    told = plan_suite(suite, tmp_path)
    rows = dict(told)
    assert "which is not there yet" in rows["second"]
    assert "first: parameters" in rows
    assert not list(tmp_path.iterdir())


def test_a_suite_is_not_a_recipe(path: Path) -> None:
    with pytest.raises(RecipeError, match="a suite of them"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"runs": {}}, "at least 1"),
        ({"runz": {"a": {}}, "runs": {"a": {}}}, "unknown key `runz`; did you mean `runs`?"),
        ({"runs": {"a": {"modles": {}}}}, "unknown key `modles`"),
        ({"runs": {"a b": {}}}, "runs"),
    ],
)
def test_a_wrong_suite_is_told_in_words(
    tree: dict[str, Any], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    made = tmp_path / "wrong.yaml"
    made.write_text(yaml.safe_dump({**tree, **change}))
    ended = RUNNER.invoke(app, ["run", str(made), "--out", str(tmp_path / "out")])
    assert ended.exit_code == 2
    assert told in ended.output
    assert "Traceback" not in ended.output
    assert not (tmp_path / "out").exists()


def test_the_command_runs_a_suite(path: Path, result: SuiteResult) -> None:
    ended = RUNNER.invoke(app, ["run", str(path), "--out", str(result.path)])
    assert ended.exit_code == 0, ended.output
    assert str(result.path / "report.html") in ended.output.replace("\n", "")
