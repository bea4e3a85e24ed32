"""Bands and control tokens: the invariants that everything after them relies on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.control import NO_BAND, ControlScheme, band_shares, drop, resolve_bounds
from valence.errors import BoundError, ControlError

finite = st.floats(-1e6, 1e6, width=32)


def scheme(*bounds: float, **options: object) -> ControlScheme:
    tokens = tuple(f"<|b{i}|>" for i in range(len(bounds) + 1))
    return ControlScheme(tokens=tokens, bounds=bounds, **options)  # type: ignore[arg-type]


@given(st.lists(finite, min_size=1, max_size=5, unique=True), st.lists(finite, max_size=50))
def test_band_counts_the_bounds_a_reward_reaches(bounds: list[float], rewards: list[float]) -> None:
    ordered = sorted(bounds)
    found = scheme(*ordered).bands(np.array(rewards, dtype=np.float32))
    expected = [sum(reward >= bound for bound in ordered) for reward in rewards]
    assert found.tolist() == expected


def test_a_reward_at_the_bound_is_in_the_upper_band_and_no_reward_in_none() -> None:
    rewards = np.array([0.0, -0.0, -1e-9, np.nan], dtype=np.float32)
    assert scheme(0.0).bands(rewards).tolist() == [1, 1, 0, NO_BAND]


@given(st.lists(finite, min_size=2, max_size=200), st.floats(0.01, 0.99))
def test_a_quantile_bound_is_an_observed_reward_that_about_its_share_reaches(
    rewards: list[float], quantile: float
) -> None:
    values = np.array(rewards, dtype=np.float32)
    (bound,) = resolve_bounds([("quantile", quantile)], values)
    assert bound in values.tolist()
    below = (values < bound).mean()
    assert below <= quantile + 1 / len(values)


def test_a_reward_that_is_kept_in_32_bits_reaches_the_bound_it_was_given_for() -> None:
    scheme = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(-0.1,))
    assert scheme.bands(np.array([-0.1, -0.2], dtype=np.float32)).tolist() == [1, 0]


def test_zero_is_a_bound_and_not_unset() -> None:
    assert resolve_bounds([0.0], np.array([1.0], dtype=np.float32)) == [0.0]


def test_an_empty_band_is_refused_with_the_shares() -> None:
    pair = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(5.0,))
    bands = pair.bands(np.zeros(10, dtype=np.float32))
    with pytest.raises(BoundError, match=r"bad 100\.0%, good 0\.0%"):
        band_shares(pair, bands)


def test_shares_leave_out_segments_without_a_reward() -> None:
    pair = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
    rewards = np.array([0.0, -1.0, -1.0, np.nan], dtype=np.float32)
    assert band_shares(pair, pair.bands(rewards)) == {"bad": 2 / 3, "good": 1 / 3}


@pytest.mark.parametrize(
    ("tokens", "bounds"),
    [(("<|a|>",), ()), (("<|a|>", "<|b|>"), ()), (("a", "b", "c"), (1.0, 1.0))],
)
def test_tokens_and_bounds_must_make_bands(
    tokens: tuple[str, ...], bounds: tuple[float, ...]
) -> None:
    with pytest.raises(ControlError):
        ControlScheme(tokens=tokens, bounds=bounds)


def test_a_scheme_survives_json() -> None:
    before = scheme(-0.25, 0.0, placement="change", dropout=0.1, mask_loss=True)
    assert ControlScheme.from_json(before.to_json()) == before
    before = scheme(0.0, placement="random", share=0.2, cooldown=0.1)
    assert ControlScheme.from_json(before.to_json()) == before


def test_a_scheme_of_an_older_checkpoint_has_the_newer_keys_defaults() -> None:
    older = {
        "tokens": ["<|bad|>", "<|good|>"],
        "bounds": [0.0],
        "level": "segment",
        "placement": "every",
        "dropout": 0.1,
        "mask_loss": False,
    }
    loaded = ControlScheme.from_json(older)
    assert (loaded.share, loaded.cooldown) == (0.05, 0.0)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"placement": "often"}, "placement"),
        ({"level": "page"}, "level"),
        ({"dropout": 1.5}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"placement": "random", "share": 0.0}, "share"),
        ({"share": -0.1}, "share"),
        ({"cooldown": 1.0}, "cooldown"),
    ],
)
def test_placement_and_shares_that_cannot_be_are_refused(
    options: dict[str, object], key: str
) -> None:
    with pytest.raises(ControlError) as caught:
        scheme(0.0, **options)
    assert caught.value.where == f"control.{key}"


def test_where_tokens_are_not_random_a_share_of_none_is_no_mistake() -> None:
    assert scheme(0.0, share=0.0).share == 0.0


def test_modes_have_plain_names_and_unknown_ones_are_named() -> None:
    pair = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
    assert pair.modes == ("bad", "good")
    assert pair.band_of_mode("good") == pair.best == 1
    with pytest.raises(ControlError, match="no mode `god`"):
        pair.band_of_mode("god")


def test_dropout_leaves_out_its_share_and_changes_nothing_else() -> None:
    bands = np.random.default_rng(1).integers(0, 2, 20_000).astype(np.int8)
    shown = drop(bands, 0.25, np.random.default_rng(0))
    kept = shown != NO_BAND
    assert (shown[kept] == bands[kept]).all()
    assert abs((~kept).mean() - 0.25) < 0.02


@pytest.mark.parametrize(
    "tokens", [("<|good|>", "good"), ("<|banned|>", "<|ok|>"), ("<|none|>", "x"), ("<|a/b|>", "c")]
)
def test_mode_names_that_are_taken_or_alike_are_refused(tokens: tuple[str, str]) -> None:
    with pytest.raises(ControlError, match="mode names"):
        ControlScheme(tokens=tokens, bounds=(0.0,))
