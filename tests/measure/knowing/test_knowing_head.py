"""P(IK): read-outs of the state before the answer, fitted on soft targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from valence.measure.calibration import auroc_value
from valence.measure.knowing.head import fit_knowing, knows
from valence.objective.readout import Kind

GROUPS = [str(number // 4) for number in range(800)]
KINDS: list[Kind] = ["linear", "mlp"]


def states() -> torch.Tensor:
    return torch.randn(len(GROUPS), 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_a_probability_that_is_there(kind: Kind) -> None:
    found = states()
    truth = expit(2 * found[:, 0].double().numpy() - 1)
    drawn = np.random.default_rng(0).binomial(10, truth) / 10
    said = knows(fit_knowing(kind, found, drawn, GROUPS, seed=0), found)
    assert np.abs(said - truth).mean() < 0.08


def test_a_curved_signal_is_for_the_other_read_out() -> None:
    found = states()
    truth = (found[:, 0].abs() > 0.67).numpy().astype(np.float64)
    told = {
        kind: auroc_value(knows(fit_knowing(kind, found, truth, GROUPS, seed=0), found), truth > 0)
        for kind in KINDS
    }
    assert told["mlp"] is not None and told["mlp"] > 0.8
    assert told["linear"] is not None and told["linear"] < 0.65


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_signal_it_says_the_mean(kind: Kind) -> None:
    """Closed form: cross-entropy with soft targets is least at their mean."""
    drawn = np.random.default_rng(1).choice([0.0, 0.1, 0.8], len(GROUPS))
    said = knows(
        fit_knowing(kind, torch.ones(len(GROUPS), 3), drawn, GROUPS, seed=0), torch.ones(2, 3)
    )
    np.testing.assert_allclose(said, drawn.mean(), atol=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_fits_the_same_and_disturbs_nobody(kind: Kind) -> None:
    found, shares = states()[:80], np.linspace(0, 1, 80)
    before = torch.random.get_rng_state()
    first = knows(fit_knowing(kind, found, shares, GROUPS[:80], seed=3), found)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(
        first, knows(fit_knowing(kind, found, shares, GROUPS[:80], seed=3), found)
    )


def test_with_nothing_to_fit_on_it_says_nothing() -> None:
    empty = fit_knowing("linear", torch.zeros(0, 3), np.zeros(0), [], seed=0)
    assert np.isnan(knows(empty, torch.ones(2, 3))).all()
    alone = fit_knowing("linear", torch.ones(2, 3), np.ones(2), ["a", "a"], seed=0)
    assert np.isnan(knows(alone, torch.ones(2, 3))).all()
