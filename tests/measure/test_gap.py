"""The difference of abilities between two modes of one model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from valence.data import Items
from valence.measure.ability import ability_gap, estimate_of, findings, gap_table
from valence.measure.statistics import ratio


def items(
    values: list[float], metric: str = "bits_per_byte@x", below: float = 2.0, share: bool = False
) -> Items:
    return Items(
        metric=metric,
        names=tuple(str(n) for n in range(len(values))),
        tops=tuple(values),
        bottoms=(below,) * len(values),
        failures=1,
        share=share,
    )


def test_the_gap_is_paired_and_far_surer_than_two_modes_apart() -> None:
    rng = np.random.default_rng(0)
    documents = rng.normal(5, 2, 60)
    good = items((documents + rng.normal(0, 0.05, 60)).tolist())
    bad = items((documents + 0.2 + rng.normal(0, 0.05, 60)).tolist())
    (gap,) = ability_gap([good], [bad], model_name="m", seed=3, resamples=500).rows
    difference = np.subtract(good.tops, bad.tops)
    assert gap.value == pytest.approx(difference.sum() / sum(good.bottoms))
    expected = ratio(difference, good.bottoms, resamples=500, seed=3)
    assert (gap.low, gap.high) == (expected.low, expected.high)
    assert gap.high is not None and gap.low is not None and gap.high < 0
    apart = findings([good], model_name="m", mode="good", seed=3, resamples=500).rows[0]
    assert apart.high is not None and apart.low is not None
    assert gap.high - gap.low < (apart.high - apart.low) / 5
    assert (gap.mode, gap.metric, gap.failures) == ("good-bad", "bits_per_byte@x", 1)


def test_a_table_per_model_holds_both_modes_and_their_difference() -> None:
    good = items([1.0, 0.0, 1.0], "t/acc", 1.0, share=True)
    bad = items([0.0, 0.0, 1.0], "t/acc", 1.0, share=True)
    rows = [
        *findings([good], model_name="m", mode="good", seed=0, resamples=100).rows,
        *findings([bad], model_name="m", mode="bad", seed=0, resamples=100).rows,
        *ability_gap([good], [bad], model_name="m", seed=0, resamples=100).rows,
    ]
    ((key, (line,)),) = gap_table(rows).items()
    assert key == ("m", 0)
    assert (line.good.value, line.bad.value) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert line.gap.value == pytest.approx(1 / 3)
    # Two of three are right: the interval is the exact one, and never certain.
    assert line.good.low == pytest.approx(0.0943, abs=1e-4)


def test_metrics_that_one_mode_lacks_have_no_gap_and_other_items_are_refused() -> None:
    one, other = items([1.0, 2.0]), items([1.0, 2.0], metric="other")
    assert not ability_gap([one], [other], model_name="m", seed=0, resamples=100).rows
    with pytest.raises(ValueError, match="same items"):
        ability_gap([one], [items([1.0])], model_name="m", seed=0, resamples=100)


def test_items_of_one_cluster_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(0, 1, 12), 5)
    each = items(values.tolist(), below=1.0)
    rows = replace(each, clusters=tuple(str(n // 5) for n in range(60)))
    alone, together = (estimate_of(one, resamples=200, seed=0) for one in (each, rows))
    assert alone.value == together.value
    assert None not in (alone.low, alone.high, together.low, together.high)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)  # type: ignore[operator]


def test_nats_of_0_are_no_share_of_hits() -> None:
    none = estimate_of(items([0.0] * 50, below=1.0), resamples=100, seed=0)
    assert (none.value, none.low, none.high) == (0.0, None, None)
    hits = estimate_of(items([0.0] * 50, below=1.0, share=True), resamples=100, seed=0)
    assert hits.value == 0 and hits.high == pytest.approx(1 - 0.025 ** (1 / 50))
