"""The picking of tokens: against transformers' own warpers, and against its probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from valence.guide.pick import Picker, arrivals, stream

IDS = torch.zeros(1, 1, dtype=torch.long)
CPU = torch.device("cpu")


def some_scores(seed: int, spread: float, rows: int, tokens: int) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(size=(rows, tokens))
    scores = torch.from_numpy(spread * noise)
    scores[:, 7] = -torch.inf
    return scores


def warped(scores: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Probabilities as transformers' warpers leave them."""
    scores = TemperatureLogitsWarper(temperature)(IDS, scores)
    return TopPLogitsWarper(top_p)(IDS, scores).softmax(-1)


@given(
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.01, 1.0, 5.0]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
)
def test_the_first_to_arrive_of_the_nucleus_is_picked(
    seed: int, spread: float, top_p: float, temperature: float
) -> None:
    scores = some_scores(seed, spread, 20, 50)
    times = arrivals([stream((seed, row), CPU) for row in range(20)], 1, 50)[:, 0]
    found = Picker(temperature=temperature, top_p=top_p).pick(scores, times)
    kept = warped(scores, temperature, top_p)
    expected = (kept / times).argmax(-1)
    # Where a sum meets top_p but for rounding, a token more or less may be in the nucleus.
    falling = (scores / temperature).softmax(-1).sort(-1, descending=True).values.cumsum(-1)
    met = (falling - top_p).abs().amin(-1) < 1e-9
    if top_p == 1:
        met[:] = False
    assert ((found == expected) | met).all()


@pytest.mark.parametrize("top_p", [0.7, 0.95, 1.0])
def test_the_frequencies_are_those_of_transformers_warpers(top_p: float) -> None:
    scores = some_scores(3, 0.8, 1, 30).float()
    expected = warped(scores, 0.8, top_p)[0].double().numpy()
    draws = 20_000
    times = arrivals([stream((1, 2), CPU)], draws, 30)[0]
    found = Picker(temperature=0.8, top_p=top_p).pick(scores.expand(draws, -1), times)
    counts = np.bincount(found.numpy(), minlength=30)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert (expected[possible] * draws).min() >= 5
    seen = expected[possible] / expected.sum() * draws
    assert chisquare(counts[possible], seen).pvalue > 1e-3


def test_equal_tokens_are_in_the_nucleus_together() -> None:
    scores = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).expand(2000, -1)
    times = arrivals([stream((5,), CPU)], 2000, 4)[0]
    found = Picker(temperature=1.0, top_p=0.1).pick(scores, times)
    assert set(found.tolist()) == {0, 1, 2}


def test_temperature_0_takes_the_first_of_the_likeliest() -> None:
    greedy = Picker(temperature=0.0, top_p=1.0)
    assert not greedy.random
    assert greedy.pick(torch.tensor([[0.0, 2.0, 2.0], [1.0, 0.0, 0.0]]), None).tolist() == [1, 0]


def test_arrivals_are_exponential_and_never_0() -> None:
    (times,) = arrivals([stream((1, 2), CPU)], 1, 3_000_000)[0]
    assert times.min() > 0
    assert kstest(times[:10_000].numpy(), "expon").pvalue > 1e-3


def test_a_stream_is_the_same_in_pieces_and_among_others_and_differs_by_seed() -> None:
    (whole,) = arrivals([stream((1, 2), CPU)], 5, 3)
    one, two = stream((1, 2), CPU), stream((1, 3), CPU)
    pieces = torch.cat([arrivals([two, one], 2, 3)[1], arrivals([one, two], 3, 3)[0]])
    assert (pieces == whole).all()
    (other,) = arrivals([stream((1, 3), CPU)], 5, 3)
    assert (whole != other).all()


def test_the_chances_of_an_accelerator_are_seeded_too() -> None:
    # Its generators are torch's; here on the processor, where there are such too.
    def drawn(seed: int) -> torch.Tensor:
        return arrivals([torch.Generator().manual_seed(seed)], 2, 5000)

    assert (drawn(1) == drawn(1)).all()
    assert (drawn(1) != drawn(2)).all()
    assert kstest(drawn(1).flatten().numpy(), "expon").pvalue > 1e-3
