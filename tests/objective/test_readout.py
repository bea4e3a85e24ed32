"""Read-outs of states: what they can tell, that they are fitted, saved and loaded faithfully."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from valence.errors import ModelError
from valence.measure import verdict
from valence.measure.verdict import Verdicts, auroc, fit_readout, said_by
from valence.objective.readout import Kind, Readout, load_readout

KINDS: tuple[Kind, ...] = ("linear", "mlp")
SIZE = 12


def states_of(count: int, seed: int) -> torch.Tensor:
    """States [N, D] whose directions are far from 0 and of very different sizes."""
    made = torch.randn(count, SIZE, generator=torch.Generator().manual_seed(seed))
    return made * torch.logspace(-3, 3, SIZE) + 100


def labels_of(states: torch.Tensor, problem: str) -> Any:
    first, second = ((states[:, axis] - 100 > 0).numpy() for axis in (0, 7))
    return (first ^ second if problem == "xor" else first).astype(np.int64)


def verdicts_of(count: int, problem: str, seed: int) -> Verdicts:
    states = states_of(count, seed)
    return Verdicts(
        states=states,
        good=np.full(count, 0.5),
        bands=labels_of(states, problem),
        documents=np.arange(count) // 4,
    )


def area(readout: Readout, found: Verdicts) -> float:
    said = said_by(readout, found, 1)
    value = auroc(said, found.bands, found.documents, 1, resamples=2, seed=0).value
    assert value is not None
    return value


@pytest.mark.parametrize("problem", ["linear", "xor"])
def test_only_the_one_that_is_not_linear_tells_an_exclusive_or(problem: str) -> None:
    learned, found = verdicts_of(2_000, problem, 0), verdicts_of(1_000, problem, 1)
    linear, mlp = (area(fit_readout(kind, learned, 2, seed=0), found) for kind in KINDS)
    assert mlp > 0.9
    assert linear > 0.97 if problem == "linear" else abs(linear - 0.5) < 0.1


def test_a_fitted_linear_one_is_logistic_regression() -> None:
    states = states_of(1_500, 3)
    standard = (states - states.mean(0)) / states.std(0)
    noise = torch.randn(1_500, generator=torch.Generator().manual_seed(4))
    noisy = standard[:, :3].sum(1) + 2 * noise
    learned = Verdicts(
        states=states,
        good=np.zeros(1_500),
        bands=(noisy > 0).numpy().astype(np.int64),
        documents=np.arange(1_500),
    )
    found = fit_readout("linear", learned, 2, seed=0)
    expected = LogisticRegression(C=1e6).fit(standard.numpy(), learned.bands)
    probable = expected.predict_proba(standard.numpy())[:, 1]
    assert np.abs(said_by(found, learned, 1) - probable).max() < 0.05


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what must hold after any number of them."""
    monkeypatch.setattr(verdict, "FITTING_STEPS", 20)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fitted", [False, True])
def test_what_is_loaded_says_the_same(tmp_path: Path, kind: Kind, fitted: bool) -> None:
    learned = verdicts_of(300, "linear", 0)
    readout = fit_readout(kind, learned, 3, seed=0) if fitted else Readout(kind, SIZE, 3)
    path = tmp_path / "readout.safetensors"
    readout.save(path)
    loaded = load_readout(path)
    with torch.inference_mode():
        assert torch.equal(loaded(learned.states), readout(learned.states))
    assert (loaded.kind, loaded.training) == (kind, False)
    assert ("mean" in load_file(path)) == fitted


@pytest.mark.usefixtures("few_steps")
def test_a_read_out_is_the_layers_it_names() -> None:
    readout, states = fit_readout("mlp", verdicts_of(300, "linear", 0), 2, seed=0), states_of(9, 5)
    weights = {name: value.numpy() for name, value in readout.state_dict().items()}
    at = (states.numpy() - weights["mean"]) / weights["deviation"]
    at = (at - at.mean(1, keepdims=True)) / np.sqrt(at.var(1, keepdims=True) + 1e-5)
    at = at * weights["layers.0.weight"] + weights["layers.0.bias"]
    at = at @ weights["layers.1.weight"].T + weights["layers.1.bias"]
    at = functional.gelu(torch.from_numpy(at)).numpy()
    expected = at @ weights["layers.3.weight"].T + weights["layers.3.bias"]
    assert np.allclose(readout(states).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("few_steps")
def test_fitting_is_seeded_and_leaves_the_generator_as_it_was() -> None:
    learned = verdicts_of(200, "linear", 0)
    before = torch.random.get_rng_state()
    one, same, other = (fit_readout("linear", learned, 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one(learned.states), same(learned.states))
    assert not torch.equal(one(learned.states), other(learned.states))


@pytest.mark.usefixtures("few_steps")
def test_a_direction_without_spread_is_no_division_by_zero() -> None:
    learned = verdicts_of(1, "linear", 0)
    assert np.isfinite(said_by(fit_readout("linear", learned, 2, seed=0), learned, 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_was_fitted_on_nothing_has_no_number(kind: Kind) -> None:
    found = verdicts_of(40, "linear", 0)
    said = said_by(fit_readout(kind, verdicts_of(0, "linear", 0), 2, seed=0), found, 1)
    assert np.isnan(said).all()
    estimate = auroc(said, found.bands, found.documents, 1, resamples=50, seed=0)
    assert (estimate.value, estimate.low, estimate.high, estimate.count) == (None, None, None, 0)


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"weight": torch.zeros(2, 2)},
        {"layers.weight": torch.zeros(2, 2)},
        {"layers.weight": torch.zeros(2, 2), "layers.bias": torch.zeros(3)},
        {"layers.weight": torch.zeros(2), "layers.bias": torch.zeros(2)},
    ],
)
def test_what_is_no_read_out_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor] | None
) -> None:
    path = tmp_path / "readout.safetensors"
    if state is None:
        path.write_bytes(b"not safetensors")
    else:
        save_file(state, path)
    with pytest.raises(ModelError, match="not a read-out") as caught:
        load_readout(path)
    assert str(path) in str(caught.value)
