"""P(IK): read-outs of the state before the answer, fitted on soft targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from valence.corpus.readers import is_held_out
from valence.measure.calibration import auroc_value
from valence.measure.knowing.head import _deciding, fit_knowing, knows
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


def asked(slope: float, seed: int, count: int = 800) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """States in 128 directions, alike within groups of 4, shares of 8 samples, and the truth."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(count, 128)) + np.repeat(rng.normal(size=(count // 4, 128)), 4, 0) / 2
    way = np.random.default_rng(0).normal(size=128) / 128**0.5
    truth = expit(slope * (found @ way) - 0.7)
    return torch.from_numpy(found).float(), rng.binomial(8, truth) / 8, truth


def squares(said: np.ndarray, truth: np.ndarray) -> float:  # type: ignore[type-arg]
    """The Brier score that is expected of what is said."""
    return float((truth * (1 - said) ** 2 + (1 - truth) * said**2).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_signal_it_is_as_good_as_the_constant(kind: Kind) -> None:
    found, shares, _ = asked(0.0, 1)
    fresh, _, truth = asked(0.0, 2)
    said = knows(fit_knowing(kind, found, shares, GROUPS, seed=0), fresh)
    assert squares(said, truth) < squares(np.full(len(truth), shares.mean()), truth) + 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_weak_signal_most_is_recovered(kind: Kind) -> None:
    found, shares, _ = asked(0.6, 1)
    fresh, _, truth = asked(0.6, 2, 4000)
    right = np.random.default_rng(3).random(len(truth)) < truth
    said = knows(fit_knowing(kind, found, shares, GROUPS, seed=0), fresh)
    ideal, reached = auroc_value(truth, right), auroc_value(said, right)
    assert ideal is not None and reached is not None and ideal < 0.7
    assert reached - 0.5 > (0.8 if kind == "linear" else 0.65) * (ideal - 0.5)
    assert squares(said, truth) < squares(np.full(len(truth), shares.mean()), truth) - 0.005


@pytest.mark.parametrize("kind", KINDS)
def test_states_that_are_not_finite_spoil_nothing(kind: Kind) -> None:
    found, shares, _ = asked(2.0, 1, 200)
    broken = torch.cat([found, torch.full((2, 128), torch.nan), torch.full((2, 128), torch.inf)])
    groups = [*GROUPS[:200], *"abcd"]
    said = knows(fit_knowing(kind, broken, np.append(shares, [1.0] * 4), groups, seed=0), broken)
    assert np.isfinite(said[:200]).all() and np.isnan(said[200:]).all()
    assert auroc_value(said[:200], shares > 0.4) > 0.6  # type: ignore[operator]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_all_answers_are_alike_it_says_so(share: float) -> None:
    found, shares, _ = asked(0.0, 1)
    said = knows(fit_knowing("linear", found, np.full_like(shares, share), GROUPS, seed=0), found)
    np.testing.assert_allclose(said, share, atol=0.01)


@pytest.mark.parametrize("seed", [0, 7])
def test_who_decides_is_not_who_is_held_out(seed: int) -> None:
    """Training holds people out, and questions are parted, by hashes of the same names."""
    names = [f"person {number}" for number in range(2000)]
    deciding = _deciding(names, seed).numpy()
    held = np.array([is_held_out(name, share=0.2, seed=seed) for name in names])
    assert deciding.mean() == 0.2
    assert deciding[held].mean() == pytest.approx(0.2, abs=0.06)
