"""The page of a suite: links to its runs, and what they have in common in one table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from results_directory import write_suite
from test_page import Reader

from valence.errors import StoreError
from valence.report.directory import write_any_page
from valence.report.pivots import metric_table
from valence.report.suite import Suite, build_suite, write_suite_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "meaning"
    write_suite(path)
    return path


@pytest.fixture(scope="module")
def suite(folder: Path) -> Suite:
    return build_suite(folder)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return write_any_page(folder).read_text(encoding="utf-8")


def test_each_run_has_its_conclusions_under_a_link_to_its_page(page: str) -> None:
    said = page[page.index('id="conclusions"') : page.index("<nav")]
    assert '<a href="posts/report.html">posts</a>' in said
    assert said.count("Harm: conditional in good mode is lower.") == 2
    assert "This run is not finished." in said
    assert 'href="later/report.html"' not in page


def test_all_data_sets_and_models_stand_in_one_table(page: str) -> None:
    table = page[page.index(">Verdicts after EOS</h2>") : page.index(">Metric by metric</h2>")]
    assert table.count("<table") == 1
    assert re.findall(r'<th scope="rowgroup"[^>]*>([^<]*)', table) == ["posts", "pairs"]
    assert len(re.findall(r'<th scope="row">', table)) == 2 * 2 * 4
    for said in ("10%", "100%", "ECE", "Brier", "right order", "text before the flag", "after 200"):
        assert f">{said}</th>" in table


def test_a_metric_of_several_runs_has_a_row_for_each(suite: Suite) -> None:
    text = metric_table(suite.reports, "verdict_auroc", suite.look)
    assert re.findall(r'<th scope="row">([^<]*)</th>', text) == ["posts", "pairs"]
    assert re.findall(r'colspan="3">([^<]*)<', text) == ["pretrained", "preferred"]
    values = [re.findall(r"<b>([^<]*)</b>", line) for line in text.split("<tr>")[-2:]]
    assert values == [
        ["0.600", "0.620", "0.640", "0.700", "0.720", "0.740"],
        ["0.700", "0.720", "0.740", "0.800", "0.820", "0.840"],
    ]


def test_the_page_of_a_suite_loads_nothing_and_names_everything_once(page: str) -> None:
    reader = Reader(page)
    assert not [tag for tag, _ in reader.tags if tag in ("script", "link", "img", "iframe")]
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {str(attrs["href"]) for attrs in reader.all("a")}
    assert {t for t in targets if not t.startswith("#")} == {
        "posts/report.html", "pairs/report.html",
    }  # fmt: skip
    assert {t[1:] for t in targets if t.startswith("#")} <= set(ids)
    assert all("scope" in cell for cell in reader.all("th"))
    assert len(reader.all("caption")) == len(reader.all("table"))


def test_pictures_of_each_run_are_small(page: str) -> None:
    for name in ("posts", "pairs"):
        run = page[page.index(f">Run: {name}</h2>") :]
        assert run.index('<div class="small">') < run.index("AUROC by share of the text")


def test_a_directory_that_holds_another_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("name: x\nmodels: {a: dir}\n", encoding="utf-8")
    (tmp_path / "results.json").write_text("[]", encoding="utf-8")
    with pytest.raises(StoreError, match="does not hold a suite"):
        write_suite_page(tmp_path)
