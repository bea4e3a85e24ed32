"""The page of an evaluation: every kind of number and line that a measure gives."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from results_directory import HOSTILE, evaluation_tree, write_evaluation
from run_directory import METRIC, row, tree, write, write_run
from test_page import Reader

from valence.data import Measurement
from valence.errors import MissingFileError, StoreError
from valence.recipe import EvaluationRecipe, MeasureRecipe, build_part
from valence.report.content import Report
from valence.report.directory import write_any_page
from valence.report.drawing import Look
from valence.report.evaluation import build_evaluation_report
from valence.report.front import front_metrics
from valence.report.gaps import difference_section, gap_section
from valence.report.journey import build_report
from valence.report.metrics import GROUPS, metric_info, metric_infos
from valence.report.page import look_of
from valence.report.pivots import verdict_table
from valence.report.reading import gap_modes, parted, read_conclusions, read_lines
from valence.report.results import results_section

MEASURE = build_part(EvaluationRecipe, evaluation_tree(), where="test").measure


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measures") / "toxic"
    write_evaluation(path)
    return path


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return build_evaluation_report(folder)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return write_any_page(folder).read_text(encoding="utf-8")


# --- the page -----------------------------------------------------------------------------


def test_every_kind_of_result_has_its_section_in_order(page: str) -> None:
    at = [
        page.index(f">{heading}</h2>")
        for heading in (
            "Conclusions", "Results", "Ability and misalignment", "Good mode against bad mode",
            "Paired differences", "Verdicts after EOS", "Red team", "Knowing what it knows",
            "Other lines", "Every sample", "Samples side by side", "What was done", "Ledger",
        )
    ]  # fmt: skip
    assert at == sorted(at)
    assert ">Training</h2>" not in page
    for heading in ("AUROC by share of the text", "Reliability", "Reliability, world", "Novel"):
        assert f"<h3>{heading}</h3>" in page


def test_the_page_is_one_file_that_runs_and_loads_nothing(page: str) -> None:
    reader = Reader(page)
    assert not [tag for tag, _ in reader.tags if tag in ("script", "link", "img", "iframe")]
    assert not any("onload" in attrs for _, attrs in reader.tags)
    assert "default-src 'none'" in page
    assert reader.text.count(HOSTILE) >= 6
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_tables_and_figures_can_be_heard(page: str) -> None:
    reader = Reader(page)
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in reader.all("svg"))
    assert all("scope" in cell for cell in reader.all("th"))
    assert len(reader.all("caption")) == len(reader.all("table"))
    said = next(str(s["aria-label"]) for s in reader.all("svg") if "AUROC by" in str(s))
    assert "plain: verdict: 0.100: 0.563" in said


def test_many_metrics_are_folded_by_group(page: str) -> None:
    for said in ("Every number: samples (8)", "Every number: red team (23)"):
        assert f"<details><summary>{said}</summary>" in page
    assert "Every number</summary>" not in page


def test_the_headline_is_compared_in_every_scenario(report: Report) -> None:
    text = results_section(report, look_of(report))
    first, _, rest = text.partition("</table>")
    assert "harm / 1,000 chars <small>" in first
    assert "harm / 1,000 chars, prompts" in rest.partition("<details>")[0]


def test_the_front_is_drawn_for_each_scenario_by_bytes(page: str, report: Report) -> None:
    assert report.front == ("bits_per_byte@wikitext2", METRIC)
    assert "bits / byte, wikitext2 against harm / 1,000 chars, prompts." in page
    assert page.count('<div class="wide"><svg') == page.count('<div class="narrow"><svg')


def test_samples_show_their_prompt_apart_and_their_reward_or_failure(page: str) -> None:
    reader = Reader(page)
    assert f"Say {HOSTILE} 0" in reader.codes
    assert 'class="prompt"' in page
    assert "reward <b>\N{MINUS SIGN}0.0125</b>" in page
    assert "<em>not scored: syntax</em>" in page
    assert "After prompts: prompts" in page
    assert "Written from nothing" in page


# --- differences --------------------------------------------------------------------------


def test_the_gap_between_modes_is_no_mode(report: Report) -> None:
    assert "good-bad" not in report.modes()
    assert len(report.gaps) == 2
    text = gap_section(report, look_of(report))["Good mode against bad mode"]
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", text)
    assert ["yes, lower: better" in one for one in rows] == [True, False]
    assert ["not shown" in one for one in rows] == [False, True]
    assert "[1.55, 1.59]" in rows[0] and "[1.73, 1.77]" in rows[0]


def test_a_gap_over_seeds_has_both_intervals(report: Report) -> None:
    rows = [
        Measurement(**row("steered", mode, "arc/acc", value + seed / 100, 0.02, seed))
        for seed in range(3)
        for mode, value in (("good", 0.5), ("bad", 0.4), ("good-bad", 0.1))
    ]
    own, gaps = parted(tuple(rows))
    text = gap_section(replace(report, measurements=own, gaps=gaps), look_of(report))
    assert "SD 0.0100; ±0.0200" in text["Good mode against bad mode"]
    assert ">yes, higher: better<" in text["Good mode against bad mode"]


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        ("good-bad", ("good", "bad")),
        ("very-good-bad", ("very-good", "bad")),
        ("linear-share", None),
        ("good", None),
    ],
)
def test_a_gap_is_between_two_modes_of_the_model(mode: str, found: tuple[str, str] | None) -> None:
    assert gap_modes(mode, {"good", "bad", "very-good", "linear", mode}) == found


def test_paired_differences_say_against_what(report: Report) -> None:
    text = difference_section(report, look_of(report))["Paired differences"]
    assert "steered in bad mode" in text
    assert text.count(">yes, lower: better<") == 2
    assert difference_section(replace(report, differences=()), look_of(report)) == {}


# --- metrics ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label", "lower", "group"),
    [
        (METRIC, "harm / 1,000 chars", True, "samples"),
        (f"{METRIC}@prompts", "harm / 1,000 chars, prompts", True, "samples"),
        (f"{METRIC}_worst_of_25@prompts", "harm / 1,000 chars, worst of 25, prompts", True,
         "samples"),
        (f"{METRIC}_hits", "harm / 1,000 chars, hits", True, "samples"),
        (f"{METRIC}_hits_corrected@p", "harm / 1,000 chars, hits corrected, p", True, "samples"),
        ("bits_per_byte@wikitext2", "bits / byte, wikitext2", True, "abilities"),
        ("kl_per_token@own", "KL from the reference / token, own", True, "abilities"),
        ("arc/acc_norm:none", "arc: acc_norm:none", False, "abilities"),
        ("self_bleu_5@prompts", "self-BLEU-5, prompts", None, "diversity"),
        ("verdict_auroc@25%", "AUROC of the verdict, after 25% of the text", False, "verdict"),
        ("verdict_auroc@200tokens-gain",
         "AUROC of the verdict, after 200 tokens: what the rest adds", False, "verdict"),
        ("verdict_auroc@world", "AUROC of verdict, world", False, "knowing"),
        ("p_ik_linear_ece@world", "calibration error of p ik linear, world", True, "knowing"),
        ("p_true_constant_brier@world", "Brier score (constant) of p true, world", None, "knowing"),
        ("p_true_reference_auroc@world", "AUROC (reference) of p true, world", False,
         "knowing"),
        ("p_true_accuracy_at_95@world", "accuracy at that cut of p true, world", None, "knowing"),
        ("abstention_known@world", "abstentions, known, world", True, "knowing"),
        (f"redteam_gcg_selected@{METRIC}", "red team: gcg, as chosen, harm / 1,000 chars", True,
         "red team"),
        (f"redteam_pool_calls@{METRIC}", "red team: pool, calls of models, harm / 1,000 chars",
         None, "red team"),
        (f"redteam_gcg_prompts@{METRIC}", "red team: gcg, prompts tried, harm / 1,000 chars", None,
         "red team"),
        (f"redteam_search_control@{METRIC}",
         "red team: worst of random prompts, harm / 1,000 chars", True, "red team"),
        (f"redteam_pool_control_mean@{METRIC}",
         "red team: prompts without an attack, mean, harm / 1,000 chars", True, "red team"),
        ("something_new", "something new", None, "other"),
    ],
)  # fmt: skip
def test_metrics_have_readable_names(name: str, label: str, lower: bool | None, group: str) -> None:
    info = metric_info(name, MEASURE)
    assert (info.name, info.label, info.lower_is_better) == (name, label, lower)
    assert info.group == group and group in GROUPS


def test_notes_tell_exact_from_corrected_and_expected() -> None:
    notes = {
        name: metric_info(f"{METRIC}_{name}", MEASURE).note
        for name in ("worst_of_25", "hits", "hits_corrected")
    }
    assert "expected worst of 25" in notes["worst_of_25"]
    assert "above 10; exact binomial" in notes["hits"]
    assert "corrected for the detector's errors" in notes["hits_corrected"]


def test_groups_of_metrics_stand_together(report: Report) -> None:
    infos = metric_infos((r.metric for r in report.measurements), MEASURE)
    places = [GROUPS.index(info.group) for info in infos]
    assert places == sorted(places)
    assert infos[0].name == METRIC


def test_ability_is_what_was_measured() -> None:
    def rows(*names: str) -> list[Measurement]:
        return [Measurement(**row("m", "none", name, 1.0, 0.1, 0)) for name in names]

    metric = {"scorer": "pep8"}
    measure = MeasureRecipe.model_validate({"metrics": {"harm": metric}})
    both = rows("bits_per_byte@a", "loss_per_text_token@a", "harm@p")
    assert front_metrics(both, measure) == ("loss_per_text_token@a", "harm@p")
    own = [*both, *rows("bits_per_byte", "harm")]
    assert front_metrics(own, measure) == ("bits_per_byte", "harm")
    assert front_metrics(rows("harm"), measure) == ("loss_per_text_token", "harm")
    assert front_metrics(both, MeasureRecipe())[1] == "verdict_auroc"
    told = MeasureRecipe.model_validate(
        {"metrics": {"harm": metric, "loss_of_it": metric}, "fluency": "loss_of_it"}
    )
    assert front_metrics([*own, *rows("loss_of_it")], told) == ("loss_of_it", "harm")


def test_one_table_has_what_each_read_out_says(report: Report) -> None:
    text = verdict_table({"": report}, look_of(report))
    heads = re.findall(r'<th scope="col">([^<]*)</th>', text)
    assert heads == [
        "10%", "25%", "50%", "75%", "100%", "ECE", "Brier", "right order", "bad flagged",
        "text before the flag", "after 200", "at the end", "difference",
    ]  # fmt: skip
    assert len(re.findall(r'<th scope="row">', text)) == 8


# --- directories --------------------------------------------------------------------------


def test_a_run_from_before_there_were_lines_has_a_page(tmp_path: Path) -> None:
    made = tree(seeds=[0], models={"mle": {"objective": "mle"}})
    del made["sweep"]
    write_run(tmp_path / "run", made)
    write(tmp_path / "run" / "conclusions.json", ["One.", "Two."])
    found = build_report(tmp_path / "run")
    assert found.series == () and found.gaps == () and found.differences == ()
    assert found.conclusions.pairs == ("One.", "Two.")
    assert found.samples[0].scores == {} and found.samples[0].prompt == ""
    assert write_any_page(tmp_path / "run").is_file()


def test_lines_that_are_none_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "series.json", [{"kind": "prefix"}])
    with pytest.raises(StoreError, match="does not hold series"):
        read_lines(tmp_path)
    write(tmp_path / "conclusions.json", {"pairs": 3})
    with pytest.raises(StoreError, match="does not hold conclusions"):
        read_conclusions(tmp_path)


@pytest.mark.parametrize("marker", ["recipe.yaml", "evaluation.yaml", "suite.yaml"])
def test_a_directory_without_results_is_an_error_that_says_so(tmp_path: Path, marker: str) -> None:
    (tmp_path / marker).write_text("name: x\n", encoding="utf-8")
    with pytest.raises(MissingFileError, match=r"no results\.json"):
        write_any_page(tmp_path)


def test_what_an_earlier_recipe_left_is_not_shown(folder: Path, report: Report) -> None:
    names = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    assert {(s.model, s.mode, s.scenario) for s in report.samples} == {
        (name.split("/")[1].split(".")[0], name.split(".")[1].split("@")[0], name.partition("@")[2])
        for name in names
        if name.startswith("measures/")
    }


def test_colours_of_models_are_the_same_everywhere(report: Report) -> None:
    look = look_of(report)
    assert isinstance(look, Look)
    assert look.models[:2] == ("plain", "steered")
