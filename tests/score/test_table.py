"""Scorers by name, with options, from a module, from an entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from valence.errors import ScorerError
from valence.score import table
from valence.score.table import SCORERS, build_scorer, canonical

PLUGGED = EntryPoint(name="calm", value="valence.score.lexicon:Regex", group=table.GROUP)


@pytest.fixture(autouse=True)
def _plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "entry_points", lambda group: [PLUGGED] * (group == table.GROUP))


def test_an_entry_point_is_a_scorer_like_any_other() -> None:
    assert build_scorer({"calm": {"patterns": ["!"]}}).id.name == "regex"
    with pytest.raises(ScorerError, match=r"did you mean `calm`\?"):
        build_scorer("calmm")


def test_every_scorer_of_the_table_is_there() -> None:
    for place in SCORERS.values():
        module, _, name = place.partition(":")
        assert f"def {name}" in (source := _source(module)) or f"class {name}" in source


def _source(module: str) -> str:
    path = Path(table.__file__).parents[2].joinpath(*module.split("."))
    return path.with_suffix(".py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "does not name one scorer"),
        ({"pep8": {}, "regex": {}}, "does not name one scorer"),
        ({"regex": ["x"]}, "options of `regex`"),
        ({"regex": {"pattern": ["x"]}}, "did you mean `patterns`"),
        ({"label": {}}, "option `column` is missing"),
        ("no.such.module:Thing", "cannot load scorer"),
        ("math:pi", "did not make a scorer"),
    ],
)
def test_mistakes_are_told(spec: object, says: str) -> None:
    with pytest.raises(ScorerError, match=says):
        build_scorer(spec)  # type: ignore[arg-type]


def test_equal_specs_are_spelled_equally() -> None:
    one = {"regex": {"ignore_case": True, "patterns": ["a"]}}
    other = {"regex": {"patterns": ["a"], "ignore_case": True}}
    assert canonical(one) == canonical(other)
    assert canonical("pep8") == canonical({"pep8": None}) == canonical({"pep8": {}})
