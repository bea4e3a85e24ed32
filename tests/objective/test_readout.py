"""Read-outs of states: what they can tell, that they are fitted, saved and loaded faithfully."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from valence.errors import ModelError
from valence.guide.verdict import judge_by
from valence.measure.calibration import auroc
from valence.measure.judging import readouts
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


@dataclass(frozen=True)
class Labelled:
    """States [N, D] and their bands [N]."""

    states: torch.Tensor
    bands: npt.NDArray[np.int64]


def labelled(count: int, problem: str, seed: int) -> Labelled:
    states = states_of(count, seed)
    return Labelled(states=states, bands=labels_of(states, problem))


def fit_readout(kind: Kind, learned: Labelled, bands: int, *, seed: int) -> Readout:
    documents = np.arange(len(learned.bands), dtype=np.int64) // 2
    return readouts.fit_readout(kind, learned.states, learned.bands, documents, bands, seed=seed)


def area(readout: Readout, found: Labelled) -> float:
    value = auroc(judge_by(readout, 1)(found.states), found.bands == 1).value
    assert value is not None
    return value


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what must hold after any number of them."""
    monkeypatch.setattr(readouts, "FITTING_STEPS", 20)


@pytest.fixture
def fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what can be learnt in a moment."""
    monkeypatch.setattr(readouts, "FITTING_STEPS", 400)


@pytest.mark.usefixtures("fewer_steps")
@pytest.mark.parametrize("problem", ["linear", "xor"])
def test_only_the_one_that_is_not_linear_tells_an_exclusive_or(problem: str) -> None:
    learned, found = labelled(2_000, problem, 0), labelled(1_000, problem, 1)
    linear, mlp = (area(fit_readout(kind, learned, 2, seed=0), found) for kind in KINDS)
    assert mlp > 0.9
    assert linear > 0.97 if problem == "linear" else abs(linear - 0.5) < 0.1


def test_a_fitted_linear_one_is_logistic_regression() -> None:
    states = states_of(1_500, 3)
    standard = (states - states.mean(0)) / states.std(0)
    noise = torch.randn(1_500, generator=torch.Generator().manual_seed(4))
    noisy = standard[:, :3].sum(1) + 2 * noise
    learned = Labelled(states=states, bands=(noisy > 0).numpy().astype(np.int64))
    found = fit_readout("linear", learned, 2, seed=0)
    expected = LogisticRegression(C=1e6).fit(standard.numpy(), learned.bands)
    probable = expected.predict_proba(standard.numpy())[:, 1]
    assert np.abs(judge_by(found, 1)(learned.states) - probable).max() < 0.05


@torch.no_grad()
def shares(readout: Readout, found: Labelled) -> torch.Tensor:
    """Probabilities of the bands [N, C]."""
    return readout(found.states).softmax(-1)


def hard(count: int, seed: int, slope: float = 0.2) -> tuple[Labelled, npt.NDArray[np.float64]]:
    """States of 128 directions that say little, their bands, and how likely the second one is."""
    chance = torch.Generator().manual_seed(seed)
    states = torch.randn(count, 128, generator=chance) + 3
    likely = torch.sigmoid(slope * (states[:, :4] - 3).sum(1)).double()
    bands = (torch.rand(count, generator=chance) < likely).long()
    return Labelled(states=states, bands=bands.numpy()), likely.numpy()


@pytest.mark.usefixtures("fewer_steps")
@pytest.mark.parametrize("kind", KINDS)
def test_a_read_out_of_states_that_say_little_is_not_sure_of_chance(kind: Kind) -> None:
    """Learning to the end it would be: Brier scores of 0.28 and 0.39 where a constant has 0.25."""
    (learned, _), (found, likely) = hard(800, 0), hard(4_000, 1)
    said = judge_by(fit_readout(kind, learned, 2, seed=0), 1)(found.states)
    ideal = ((likely - found.bands) ** 2).mean()
    assert ideal < ((said - found.bands) ** 2).mean() < ideal + 0.015
    ranked = auroc(said, found.bands == 1)
    # Little is not nothing, and is told in order however weakly.
    assert ranked.low is not None and ranked.low > 0.5


@pytest.mark.usefixtures("fewer_steps")
@pytest.mark.parametrize("kind", KINDS)
def test_what_decides_is_no_document_that_was_fitted(kind: Kind) -> None:
    """States that give their document away, each of one band: in others they say nothing."""
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(200), 4)
    marks, new = (
        torch.randn(200, 128, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    bands = rng.integers(0, 2, 200)[documents]
    found = readouts.fit_readout(kind, marks[documents], bands, documents, 2, seed=0)
    assert np.abs(judge_by(found, 1)(new) - 0.5).mean() < 0.1
    # Where states decide that were fitted, it is sure of all of them.
    alone = np.arange(len(documents))
    sure = readouts.fit_readout(kind, marks[documents], bands, alone, 2, seed=0)
    assert np.abs(judge_by(sure, 1)(new) - 0.5).mean() > 0.2


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("kind", KINDS)
def test_a_band_that_is_not_there_is_hardly_expected(kind: Kind) -> None:
    learned = labelled(300, "linear", 0)
    of_three = Labelled(states=learned.states, bands=2 * learned.bands)
    said = shares(fit_readout(kind, of_three, 3, seed=0), learned)
    assert float(said[:, 1].max()) < 0.02
    one = Labelled(states=learned.states, bands=np.zeros_like(learned.bands))
    said = shares(fit_readout(kind, one, 3, seed=0), learned)
    assert float(said[:, 0].min()) > 0.98


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fitted", [False, True])
def test_what_is_loaded_says_the_same(tmp_path: Path, kind: Kind, fitted: bool) -> None:
    learned = labelled(300, "linear", 0)
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
    readout, states = fit_readout("mlp", labelled(300, "linear", 0), 2, seed=0), states_of(9, 5)
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
    learned = labelled(200, "linear", 0)
    before = torch.random.get_rng_state()
    one, same, other = (fit_readout("mlp", learned, 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one(learned.states), same(learned.states))
    assert not torch.equal(one(learned.states), other(learned.states))


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("kind", KINDS)
def test_a_direction_without_spread_is_no_division_by_zero(kind: Kind) -> None:
    learned = labelled(40, "linear", 0)
    learned.states[:, 3] = 7.0
    assert np.isfinite(judge_by(fit_readout(kind, learned, 2, seed=0), 1)(learned.states)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 2])
def test_one_that_was_fitted_on_nothing_or_one_document_has_no_number(
    kind: Kind, count: int
) -> None:
    found = labelled(40, "linear", 0)
    said = judge_by(fit_readout(kind, labelled(count, "linear", 0), 2, seed=0), 1)(found.states)
    assert np.isnan(said).all()
    estimate = auroc(said, found.bands == 1)
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
