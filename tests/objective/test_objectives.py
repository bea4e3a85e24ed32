"""Objectives against independent computations."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import log_softmax

from valence.control import NO_BAND
from valence.objective import OBJECTIVES, build_objective
from valence.objective.protocol import IGNORED


def test_next_token_loss_is_the_mean_negative_log_probability_of_labelled_positions() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 11, 17))
    labels = rng.integers(0, 17, (3, 11))
    labels[0, 3:6] = labels[2, 1] = IGNORED
    log_p = log_softmax(logits, axis=-1)
    expected = -np.mean(
        [
            log_p[b, t, labels[b, t + 1]]
            for b in range(3)
            for t in range(10)
            if labels[b, t + 1] != IGNORED
        ]
    )
    for name in OBJECTIVES:
        loss = build_objective(name).loss(torch.tensor(logits), torch.tensor(labels))
        assert abs(loss.item() - expected) < 1e-6


def test_mle_renders_nothing() -> None:
    bands = np.array([0, 1, 1], dtype=np.int8)
    shown = build_objective("mle").render(bands, np.random.default_rng(0))
    assert (shown == NO_BAND).all()
    assert not build_objective("mle").uses_control


def test_conditional_renders_the_true_bands() -> None:
    bands = np.random.default_rng(1).integers(0, 2, 200).astype(np.int8)
    shown = build_objective("conditional").render(bands, np.random.default_rng(0))
    assert (shown == bands).all()


def test_placebo_keeps_the_shares_of_bands_and_forgets_which_segment_they_were_of() -> None:
    bands = (np.arange(20_000) % 4 == 0).astype(np.int8)
    shown = build_objective("placebo").render(bands, np.random.default_rng(0))
    assert shown.sum() == bands.sum()
    assert abs(np.corrcoef(shown, bands)[0, 1]) < 0.03


def test_rendering_is_the_same_for_the_same_seed() -> None:
    bands = np.random.default_rng(1).integers(0, 2, 500).astype(np.int8)
    for name in OBJECTIVES:
        one, two = (build_objective(name).render(bands, np.random.default_rng(7)) for _ in range(2))
        assert (one == two).all()
