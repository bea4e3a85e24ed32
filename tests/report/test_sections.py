"""Which sections a page has, and what a difference is said to show."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_page import measured, report

from valence.data import VERDICT
from valence.report import MetricInfo, render
from valence.report.gaps import shown
from valence.report.metrics import JUDGING
from valence.report.page import look_of
from valence.report.samples import sample_section
from valence.report.seeds import Summary


def gap(low: float | None, high: float | None) -> Summary:
    return Summary(
        value=0.1, low=low, high=high, seeds=1, missing=0, deviation=None, sample=None, failures=0
    )


@pytest.mark.parametrize(
    ("low", "high", "lower_is_better", "said"),
    [
        (0.1, 0.2, True, "yes, higher: worse"),
        (0.1, 0.2, False, "yes, higher: better"),
        (-0.2, -0.1, True, "yes, lower: better"),
        (-0.2, -0.1, False, "yes, lower: worse"),
        (-0.2, -0.1, None, "yes, lower"),
        (-0.2, 0.1, True, "not shown"),
        (0.0, 0.1, True, "not shown"),
        (None, 0.1, True, "not known"),
    ],
)
def test_a_difference_is_shown_where_its_interval_leaves_out_0(
    low: float | None, high: float | None, lower_is_better: bool | None, said: str
) -> None:
    assert shown(gap(low, high), lower_is_better=lower_is_better) == said


def test_a_run_that_only_judges_has_no_empty_sections() -> None:
    page = render(
        replace(
            report(),
            metrics=(
                MetricInfo(
                    name=VERDICT, label="AUROC", lower_is_better=False, note="", group=JUDGING
                ),
            ),
            measurements=(
                measured("mle", "verdict", VERDICT, 0.7),
                measured("mle", "none", "bits", 0.7),
            ),
            front=("bits", VERDICT),
            strips={},
            samples=(),
        )
    )
    for heading in ("Ability and misalignment", "Every sample", "Samples side by side"):
        assert f">{heading}</h2>" not in page
    assert page.index(">Results</h2>") < page.index(">Verdicts after EOS</h2>")
    # What was not written is not looked at: the ability is compared instead.
    assert "bits: value and 95% interval" in page


def test_the_scorer_may_point_at_nothing() -> None:
    plain = replace(report().samples[0], marks=())
    scored = replace(plain, scores={"wrong": -0.5, "other": "syntax"})
    texts = [
        sample_section(replace(report(), samples=(each,)), look_of(report()))
        for each in (plain, scored)
    ]
    assert "0 marked; ended by the model" in texts[0]["Samples side by side"]
    assert "marked" not in texts[1]["Samples side by side"]
    assert "wrong: reward <b>\N{MINUS SIGN}0.500</b>" in texts[1]["Samples side by side"]
    assert "other: <em>not scored: syntax</em>" in texts[1]["Samples side by side"]
