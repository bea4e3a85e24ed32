"""The page of a run with many models and seeds, from a directory made by hand."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from run_directory import METRIC, tree, write_run

from valence.report.budget import budget_lines
from valence.report.comparison import comparison, markdown_table
from valence.report.content import Report
from valence.report.journey import build_report, write_page
from valence.report.page import render

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "budgets"
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    return build_report(run)


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return write_page(run).read_text(encoding="utf-8")


def plain_run(folder: Path, **changes: Any) -> Path:
    """A run without a sweep."""
    made = tree(**changes)
    del made["sweep"]
    write_run(folder, made)
    return folder


# --- comparison ---------------------------------------------------------------------------


def test_all_models_stand_beside_each_other_grouped_by_base(report: Report) -> None:
    shown = comparison(report, METRIC)
    bases = [row.base for row in shown.rows]
    assert len(shown.rows) == 16
    assert list(dict.fromkeys(bases)) == sorted(set(bases), key=bases.index)
    assert shown.axes == ("tokens", "alpha", "learning rate")
    assert shown.modes == ("none", "good", "bad", "banned")
    settings = {row.model: row.settings for row in shown.rows}
    assert settings["mle.tokens-250000"] == ("250,000", "", "0.003")
    assert settings["unlikelihood.alpha-0.1.learning_rate-0.001"] == ("1,000,000", "0.1", "0.001")
    assert settings["filtering"] == ("1,000,000", "", "0.003")


def test_a_value_is_the_mean_over_seeds_with_both_variances(run: Path, report: Report) -> None:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    values = [r["value"] for r in results if (r["model"], r["metric"]) == ("filtering", METRIC)]
    (row,) = (row for row in comparison(report, METRIC).rows if row.model == "filtering")
    cell = row.cells["none"]
    assert len(values) == cell.seeds == 3
    assert cell.value == pytest.approx(sum(values) / 3)
    assert cell.sample == pytest.approx(0.9)
    line = next(one for one in markdown_table(comparison(report, METRIC)) if "filtering" in one)
    assert re.search(r"\| 7\.\d\d \[.*\] \(SD .*; ±0\.900\) \|", line)


def test_many_settings_share_one_column(tmp_path: Path) -> None:
    over = {"train.tokens": [5, 6], "train.batch": [8, 16], "objective.a": [1], "objective.b": [2]}
    sweep = [{"models": ["unlikelihood"], "over": over}]
    write_run(tmp_path / "run", tree(sweep=sweep, seeds=[0]))
    shown = comparison(build_report(tmp_path / "run"), METRIC)
    assert shown.axes == ("settings",)
    assert ("a 1, b 2" in shown.rows[-1].settings[0]) or ("tokens 6" in shown.rows[-1].settings[0])


def test_without_a_sweep_or_seeds_there_are_no_settings_and_the_sample_interval(
    tmp_path: Path,
) -> None:
    report = build_report(plain_run(tmp_path / "run", seeds=[0]))
    shown = comparison(report, METRIC)
    assert shown.axes == () and shown.seeds == 1
    assert not report.variants and not report.budgets and not report.shown
    text = render(report)
    assert "of one training each" in text
    assert "<details open><summary>Every number</summary>" in text
    assert "The other metrics, compared" not in text
    assert "the intervals hold no variance between trainings" in text


# --- budgets ------------------------------------------------------------------------------


def test_a_budget_is_drawn_by_base_and_mode(report: Report) -> None:
    (budget,) = report.budgets
    lines = budget_lines(report, budget, METRIC)
    assert budget.name == "tokens"
    assert [(line.name, line.mode, len(line.points)) for line in lines] == [
        ("mle", "none", 3),
        ("conditional", "good", 3),
        ("conditional", "bad", 3),
        ("placebo", "good", 3),
        ("placebo", "bad", 3),
        ("filtering", "none", 1),
    ]
    assert [amount for amount, _ in lines[0].points] == [250_000, 500_000, 1_000_000]
    assert [line.dashed for line in lines] == [line.mode == "bad" for line in lines]


def test_sizes_of_models_are_a_budget_too(tmp_path: Path) -> None:
    over = {"model.num_hidden_layers": [1, 2, 4], "train.learning_rate": [1e-3, 2e-3]}
    sweep = [{"models": ["mle"], "over": over}]
    write_run(tmp_path / "run", tree(sweep=sweep, seeds=[0]))
    report = build_report(tmp_path / "run")
    (budget,) = report.budgets
    lines = [line for line in budget_lines(report, budget, METRIC) if line.name.startswith("mle")]
    assert [line.name for line in lines] == ["mle learning rate 0.001", "mle learning rate 0.002"]
    assert [amount for amount, _ in lines[0].points] == [650_000, 1_300_000, 2_600_000]
    assert "parameters without embeddings" in render(report)


# --- the page -----------------------------------------------------------------------------


def test_the_page_has_the_comparison_and_the_budget(page: str) -> None:
    for heading in ("Results", "More tokens", "Ability and misalignment"):
        assert f">{heading}</h2>" in page
    assert page.count('<table class="results comparison">') == 2
    assert "<details><summary>Every number</summary>" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and not any(" " in one for one in ids)


def test_of_many_models_the_best_setting_of_each_shows_its_samples(
    report: Report, page: str
) -> None:
    assert len(report.shown) == 5
    assert "conditional.tokens-1000000" in report.shown
    assert "11 others are not shown here" in page
    assert "conditional.tokens-250000 · good <small>sample" not in page


def test_the_page_says_how_often_a_filtering_model_saw_its_text(page: str) -> None:
    assert "filtering was trained on 25.0% of the text, 4.00 times over" in page
    assert "mle was trained on" not in page


def test_many_trainings_are_put_together_in_the_ledger(report: Report, tmp_path: Path) -> None:
    ledger = dict(report.ledger)
    assert ledger["training, unlikelihood (18)"].startswith("1800 s")
    assert "extra tokens, conditional (9)" in ledger
    few = dict(build_report(plain_run(tmp_path / "run", seeds=[0])).ledger)
    assert {"training, mle", "extra tokens, placebo"} <= few.keys()


def test_an_annotation_made_before_is_named_and_may_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = plain_run(tmp_path / "run", seeds=[0], annotation="posts")
    lines = dict(build_report(folder).steps)
    assert lines["corpus"] == (
        "The annotation posts, made before; what it holds is not recorded here."
    )
    assert "reward" not in lines
    shutil.move(folder / "annotation", tmp_path / "posts")
    lines = dict(build_report(folder).steps)
    assert "300 documents" in lines["corpus"] and "Minus the violations" in lines["reward"]


# --- the docs -----------------------------------------------------------------------------


@pytest.fixture
def writer(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_results", DOCS / "write_results.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.DOCS = tmp_path / "docs"  # type: ignore[attr-defined]
    (tmp_path / "docs").mkdir()
    return module


def test_sections_of_given_runs_are_written_and_others_stay(
    writer: ModuleType, run: Path, tmp_path: Path
) -> None:
    other = plain_run(tmp_path / "other", name="other", seeds=[0])
    writer.main([run, other])
    results = tmp_path / "docs" / "results.md"
    text = results.read_text(encoding="utf-8")
    assert text.index("<!-- results: budgets -->") < text.index("<!-- results: other -->")
    for said in ("## budgets", "- Harm: conditional in good mode is lower.", "(SD ", "25.0% of"):
        assert said in text
    for name in re.findall(r"\]\(([^)]+\.svg)\)", text):
        assert (tmp_path / "docs" / name).read_text(encoding="utf-8").startswith("<svg ")
    assert set(re.findall(r"results-[\w-]+\.svg", text)) == {
        "results-budgets-tokens.svg",
        "results-other.svg",
    }
    results.write_text(text.replace("## other", "## By hand"), encoding="utf-8")
    writer.main([run])
    assert results.read_text(encoding="utf-8") == text.replace("## other", "## By hand")
