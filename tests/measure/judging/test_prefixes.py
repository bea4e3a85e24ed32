"""Verdicts on prefixes and on pairs, against scikit-learn and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score
from test_earliness import told_of, units_of

from valence.measure.judging.pairs import pair_findings, pairs_in
from valence.measure.judging.prefixes import cut_findings, prefix_findings, tokens_at
from valence.pack import Tokenised

NAN = float("nan")


@given(percent=st.integers(1, 100), size=st.integers(1, 10_000))
def test_the_tokens_of_a_share_are_rounded_down_and_never_none(percent: int, size: int) -> None:
    found = int(tokens_at(percent / 100, np.array([size]))[0])
    assert found == max(percent * size // 100, 1)


def test_each_share_has_the_scores_of_scikit_learn_on_the_same_units() -> None:
    rng = np.random.default_rng(0)
    units = units_of([3] * 80, rng.integers(0, 2, 80).astype(bool).tolist(), list(range(80)))
    told = told_of(units)
    early, whole = rng.random(80), np.clip(told.good * 0.4 + rng.random(80) * 0.6, 0, 1)
    whole[5] = NAN  # Not read to its end: left out at every share.
    found = prefix_findings(told, {"verdict": [early, whole]}, (0.25, 1.0), 0.7)
    kept = np.arange(80) != 5
    rows = {(row.mode, row.metric): row for row in found.rows}
    for suffix, said in {"@25%": early, "": whole}.items():
        area, square = (rows["verdict", f"verdict_{name}{suffix}"] for name in ("auroc", "brier"))
        assert area.value == pytest.approx(roc_auc_score(told.good[kept], said[kept]))
        assert square.value == pytest.approx(brier_score_loss(told.good[kept], said[kept]))
        assert (area.count, area.failures) == (79, 1)
        assert f"verdict_ece{suffix}" in {metric for _, metric in rows}
    constant = rows["constant", "verdict_brier"]
    assert constant.value == pytest.approx(((0.7 - told.good[kept]) ** 2).mean())
    prefix = next(line for line in found.series if line.kind == "prefix")
    assert prefix.x == (0.25, 1.0) and prefix.name == "verdict"
    assert prefix.y[1] == rows["verdict", "verdict_auroc"].value
    assert [line.kind for line in found.series] == ["prefix", "reliability"]


def test_the_gain_after_a_cut_is_the_difference_on_the_same_units() -> None:
    rng = np.random.default_rng(1)
    units = units_of([300] * 60, [True, False] * 30, list(range(60)))
    told = told_of(units)
    early, whole = rng.random(60), told.good + rng.random(60) * 1.5
    early[3] = NAN
    found = cut_findings(told, 200, {"linear": (early, whole)})
    values = {row.metric: row.value for row in found.rows}
    kept = np.arange(60) != 3
    areas = [roc_auc_score(told.good[kept], each[kept]) for each in (early, whole)]
    assert values == pytest.approx(
        {
            "verdict_auroc@200tokens": areas[0],
            "verdict_auroc@200tokens-whole": areas[1],
            "verdict_auroc@200tokens-gain": areas[1] - areas[0],
        }
    )
    gain = found.rows[-1]
    assert gain.low is not None and gain.high is not None and gain.value is not None
    assert 0 < gain.low < gain.value < gain.high and gain.failures == 1


@pytest.mark.parametrize("few", [True, False])
def test_an_area_of_a_handful_of_documents_is_no_number(few: bool) -> None:
    """One pair of units would be an area of 0 or 1, and of nothing between."""
    rng = np.random.default_rng(1)
    good = [number < 9 for number in range(30)]
    # Nine good documents say too little, however many units they have.
    units = units_of([300] * 60, good * 2, [*range(30), *(range(30) if few else range(30, 60))])
    found = cut_findings(told_of(units), 200, {"linear": (rng.random(60), rng.random(60))})
    assert len(found.rows) == 3
    for row in found.rows:
        assert row.count == 60
        assert (row.value is None, row.low is None, row.high is None) == (few, few, few)


def test_a_pair_is_won_by_the_preferred_one_and_a_tie_counts_a_half() -> None:
    names = ("a#chosen", "x", "a#rejected", "b#rejected", "b#chosen", "c#chosen", "d#chosen",
             "d#rejected")  # fmt: skip
    ends = np.arange(len(names) + 1, dtype=np.int64) * 4
    text = Tokenised(
        ids=np.zeros(32, dtype=np.int32), documents=ends, segments=ends[:-1],
        rewards=np.zeros(8, dtype=np.float32), segment_documents=np.arange(8),
        chars=np.ones(8, dtype=np.int64), bytes=np.ones(8, dtype=np.int64), names=names,
    )  # fmt: skip
    units = units_of([4] * 8, [True] * 8, list(range(8)))
    pairs = pairs_in(text, units)
    assert pairs.tolist() == [[0, 2], [4, 3], [6, 7]]
    said = np.array([0.9, 0.0, 0.2, 0.5, 0.5, 1.0, NAN, 0.1])
    (row,) = pair_findings(told_of(units), pairs, {"verdict": said}).rows
    assert (row.metric, row.mode) == ("pairwise_accuracy", "verdict")
    assert (row.value, row.count, row.failures) == (0.75, 2, 1)
    assert pairs_in(replace(text, names=None), units).shape == (0, 2)
    assert pair_findings(told_of(units), pairs[:0], {"verdict": said}).rows == ()


def test_the_end_of_a_document_is_the_end_of_its_last_unit() -> None:
    text = Tokenised(
        ids=np.zeros(8, dtype=np.int32), documents=np.array([0, 4, 8]),
        segments=np.array([0, 2, 4, 6]), rewards=np.zeros(4, dtype=np.float32),
        segment_documents=np.array([0, 0, 1, 1]), chars=np.ones(2, dtype=np.int64),
        bytes=np.ones(2, dtype=np.int64), names=("a#chosen", "a#rejected"),
    )  # fmt: skip
    units = units_of([2, 2, 2, 2], [True] * 4, [0, 0, 1, 1])
    assert pairs_in(text, units).tolist() == [[1, 3]]
    assert pairs_in(text, units.take(np.array([0, 1, 2]))).tolist() == []  # The last has no band.
