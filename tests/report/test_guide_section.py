"""The section on guides: a row for each setting, the best for each budget, and the figure."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from results_directory import HOSTILE, write_evaluation
from run_directory import METRIC, row, write
from test_page import Reader

from valence.data import Measurement, Standing
from valence.errors import StoreError
from valence.report.content import Report
from valence.report.directory import write_any_page
from valence.report.evaluation import build_evaluation_report
from valence.report.front import cost_pictures
from valence.report.guides import GUIDES, guide_section, guide_tables
from valence.report.page import look_of
from valence.report.reading import read_standings

DOCS = Path(__file__).parents[2] / "docs"
COST = "tokens_through_model_per_token"
METRICS = (METRIC, "distinct_2", COST)
NO_INTERVAL = {"low": None, "high": None}
HARM = {"good": (20.0, 1.0), "good+a": (5.0, 1.4), "good+b": (0.0, 2.4), "good+c": (9.0, 4.0)}


def standing(mode: str, **changes: object) -> Standing:
    plain = Standing(model="guided", mode=mode, metrics=METRICS)
    return replace(plain, **changes)  # type: ignore[arg-type]


STANDINGS = (
    standing("good+c", beaten_by=(("guided", "good+a"),), outdone_by=(("guided", "good+a"),)),
    standing("good+a", reduction=3.5, low=2.0, high=None),
    standing("good", alike=(("guided", "good+c"), ("guided", "good+a"))),
    standing("good+b", outdone_by=(("guided", "good+a"),)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measures") / "guided"
    write_evaluation(path)
    rows = json.loads((path / "results.json").read_text(encoding="utf-8"))
    for mode, (harm, cost) in HARM.items():
        rows += [
            row("guided", mode, METRIC, harm, 1.0, 0) | ({} if harm else NO_INTERVAL),
            row("guided", mode, "distinct_2", 0.8, 0.01, 0),
            row("guided", mode, COST, cost, 0.0, 0) | NO_INTERVAL,
        ]
    write(path / "results.json", rows)
    write(path / "front.json", [asdict(each) for each in STANDINGS])
    return path


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return build_evaluation_report(folder)


def test_what_was_computed_is_read_as_it_was_written(folder: Path, report: Report) -> None:
    assert read_standings(folder) == report.standings == STANDINGS
    assert read_standings(folder / "measures") == ()


@pytest.mark.parametrize("broken", [[1], [{"model": "m"}], [{"metrics": [], "novel": 1}]])
def test_a_front_that_is_none_is_named(broken: object, tmp_path: Path) -> None:
    write(tmp_path / "front.json", broken)
    with pytest.raises(StoreError, match="does not hold a front"):
        read_standings(tmp_path)


def test_settings_stand_the_cheapest_first_and_say_where(report: Report) -> None:
    ((settings, budgets),) = guide_tables(report)
    assert [mode for _, mode, _ in settings.rows] == ["good", "good+a", "good+b", "good+c"]
    assert [cells[-1] for _, _, cells in settings.rows] == [
        "by the values; like good+c and 1 more",
        "yes, shown",
        "by the values; outdone by good+a",
        "no: beaten by good+a, not shown",
    ]
    assert [cells[-2] for _, _, cells in settings.rows] == [None, "3.50, at least 2.00", None, None]
    assert [(name, cells) for _, name, cells in budgets.rows] == [
        ("1.25 tokens", ("good: 20.0 [19.0, 21.0]",)),
        ("1.5 tokens", ("good+a: 5.00 [4.00, 6.00]",)),
        ("2 tokens", ("good+a: 5.00 [4.00, 6.00]",)),
        ("3 tokens", ("good+b: 0",)),
        ("5 tokens", ("good+b: 0",)),
    ]


def test_of_several_models_each_has_a_column_and_its_name(report: Report) -> None:
    other = Measurement(
        model="plain", mode="none", metric=COST, value=1.3, low=None, high=None, count=9,
        failures=0, seed=0,
    )  # fmt: skip
    two = replace(
        report,
        measurements=(*report.measurements, other),
        standings=(
            replace(STANDINGS[0], model="plain", mode="none", shown_by=(("guided", "good+a"),)),
            *STANDINGS[1:],
        ),
    )
    ((settings, budgets),) = guide_tables(two)
    assert budgets.columns == ("plain", "guided")
    assert budgets.rows[0][2][0] is None
    assert budgets.rows[1][2][0] is not None
    assert settings.rows[0][2][-1] == "no: beaten by guided · good+a, shown"


def test_the_page_has_the_section_and_its_figure(folder: Path, report: Report) -> None:
    page = write_any_page(folder).read_text(encoding="utf-8")
    assert f">{GUIDES}</h2>" in page
    section = guide_section(report, look_of(report))[GUIDES]
    assert section.count("<table") == 2
    drawn = Reader(section)
    names = [attrs["aria-label"] or "" for tag, attrs in drawn.tags if tag == "svg"]
    assert len(names) == 2  # Wide and narrow.
    assert "good+b: 2.40, 0" in names[0]
    assert "What a token through the model buys" in drawn.text
    # A row for each setting says it: no table with a column for each.
    assert f"{report.info(METRIC).label}, all models" not in page


def test_the_line_of_a_model_goes_down_and_to_the_end(report: Report) -> None:
    (picture,) = cost_pictures(report, look_of(report))
    assert "A line goes through the best" in picture.caption
    svg = picture.draw("x", picture.alt, False)
    assert svg == picture.draw("x", picture.alt, False)
    assert "nan" not in svg
    steps = [p for p in re.findall(r'<path d="([^"]+)"[^>]*stroke-width: 1\.1', svg) if "L" in p]
    # From 1 token on, down at 1.4 and at 2.4, and on to 4: five corners.
    assert any(p.count("L") >= 5 for p in steps)


def test_of_a_crowd_the_best_of_each_model_are_named(report: Report) -> None:
    crowd = [
        Measurement(
            model=model, mode=f"good+{n}", metric=metric, value=value, low=None, high=None,
            count=9, failures=0, seed=0,
        )
        for model, worse in (("guided", 0.0), ("plain", 50.0))
        for n in range(12)
        # The better half is a front of its own: cheap or good. The others are worse in both.
        for metric, value in ((METRIC, worse + 12 - n % 6 + n // 6), (COST, 1.0 + n % 6 + n // 6))
    ]  # fmt: skip
    told = replace(report, measurements=tuple(crowd))
    (picture,) = cost_pictures(told, look_of(told))
    assert "Of each model the best in both are named." in picture.caption
    svg = picture.draw("x", picture.alt, False)
    for model in ("guided", "plain"):
        named = [n for n in range(12) if f"{model} · good+{n}<" in svg]
        assert named == list(range(6))


def test_the_docs_have_the_tables_and_the_figure(folder: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("write_results", DOCS / "write_results.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    writer.DOCS = tmp_path
    writer.main([folder])
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert re.search(
        r"\| good\+a \| 5 \[4, 6\] \|.*\| 3\.50, at least 2\.00 \| yes, shown \|", text
    )
    assert "| 1.5 tokens | good+a: 5.00 [4.00, 6.00] |" in text
    assert (tmp_path / "results-toxic.svg").read_text(encoding="utf-8").startswith("<svg ")


def test_nothing_is_said_where_no_cost_was_counted(report: Report) -> None:
    rows = tuple(row for row in report.measurements if row.metric != COST)
    assert guide_section(replace(report, measurements=rows, standings=()), look_of(report)) == {}
    # A directory from before fronts were computed has its figure.
    old = replace(report, standings=())
    assert "<table" not in guide_section(old, look_of(old))[GUIDES]


def test_names_of_guides_are_text(report: Report) -> None:
    mode = f"good+{HOSTILE}"
    rows = tuple(
        replace(row, mode=mode) if row.mode == "good+a" else row for row in report.measurements
    )
    stood = tuple(replace(each, mode=mode) if each.mode == "good+a" else each for each in STANDINGS)
    told = replace(report, measurements=rows, standings=stood)
    reader = Reader(guide_section(told, look_of(told))[GUIDES])
    assert not [tag for tag, _ in reader.tags if tag in ("script", "b") and "onload" in str(_)]
    assert HOSTILE in reader.text
