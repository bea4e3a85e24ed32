"""What objectives render and select, how they weigh tokens, and how they are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from valence.control import NO_BAND, ControlScheme
from valence.errors import BoundError, RecipeError
from valence.objective import OBJECTIVES, build_objective, describe
from valence.objective.protocol import Census
from valence.objective.unlikelihood import Unlikelihood
from valence.objective.weighted import Awr, Rwr

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(-0.25,))
SPECS: dict[str, Any] = {name: name for name in OBJECTIVES} | {
    "filtering": {"filtering": {"share": 0.5}},
    "soft": {"unlikelihood": {"soft": True}},
    "normalised": {"awr": {"normalise": True}},
}
NAN = float("nan")

rewards_drawn = arrays(
    np.float32,
    st.integers(1, 30),
    elements=st.one_of(st.just(NAN), st.floats(-1, 0, width=32)),
)


def census(rewards: object, sizes: object = None) -> Census:
    """Segments that are documents of their own."""
    seen = np.asarray(rewards, np.float32)
    tokens = np.ones(len(seen), np.int64) if sizes is None else np.asarray(sizes, np.int64)
    return Census(rewards=seen, sizes=tokens, document_rewards=seen, document_sizes=tokens)


def settled(spec: Any) -> Any:
    return build_objective(spec).settle(SCHEME, census([-1, -0.5, -0.25, 0]))


def test_objectives_without_control_render_nothing() -> None:
    bands = np.array([0, 1, 1], dtype=np.int8)
    for spec in SPECS.values():
        objective = build_objective(spec)
        if not objective.uses_control:
            assert (objective.render(bands, np.random.default_rng(0)) == NO_BAND).all()
    assert {name for name in SPECS if settled(SPECS[name]).uses_control} == {
        "conditional",
        "placebo",
    }


def test_conditional_renders_the_true_bands() -> None:
    bands = np.random.default_rng(1).integers(0, 2, 200).astype(np.int8)
    shown = build_objective("conditional").render(bands, np.random.default_rng(0))
    assert (shown == bands).all()


def test_placebo_keeps_the_shares_of_bands_and_forgets_which_segment_they_were_of() -> None:
    bands = (np.arange(20_000) % 4 == 0).astype(np.int8)
    shown = build_objective("placebo").render(bands, np.random.default_rng(0))
    assert shown.sum() == bands.sum()
    assert abs(np.corrcoef(shown, bands)[0, 1]) < 0.03


@pytest.mark.parametrize("name", SPECS)
def test_rendering_is_the_same_for_the_same_seed(name: str) -> None:
    bands = np.random.default_rng(1).integers(0, 2, 500).astype(np.int8)
    objective = settled(SPECS[name])
    one, two = (objective.render(bands, np.random.default_rng(7)) for _ in range(2))
    assert (one == two).all()


@pytest.mark.parametrize("name", SPECS)
@given(count=st.integers(1, 20))
def test_without_rewards_all_are_maximum_likelihood(name: str, count: int) -> None:
    objective = settled(SPECS[name])
    rewards, values = torch.full((count,), NAN), torch.full((count,), -0.5)
    weights = objective.weigh(rewards, values)
    # AWR weighs the language loss by alpha, beside the value loss.
    factor = objective.alpha if isinstance(objective, Awr) else 1.0
    assert (weights.like_N == factor).all()
    assert weights.unlike_N is None or not weights.unlike_N.any()
    assert not objective.value_loss(rewards, values).any()


@pytest.mark.parametrize("name", SPECS)
@given(rewards=rewards_drawn)
def test_weights_are_finite_and_never_negative(name: str, rewards: np.ndarray) -> None:
    objective = settled(SPECS[name])
    values = torch.linspace(-1, 0, len(rewards))
    weights = objective.weigh(torch.tensor(rewards), values)
    for part in (weights.like_N, weights.unlike_N):
        if part is not None:
            assert part.shape == rewards.shape
            assert (part >= 0).all()
            assert part.isfinite().all()
    if not objective.reads_rewards:
        assert (weights.like_N == 1).all()
        assert weights.unlike_N is None


@given(rewards=rewards_drawn, threshold=st.floats(-1, 0), alpha=st.floats(0, 10, width=16))
def test_unlikelihood_is_one_or_the_other(
    rewards: np.ndarray, threshold: float, alpha: float
) -> None:
    weights = Unlikelihood(threshold=threshold, alpha=alpha).weigh(torch.tensor(rewards), None)
    assert weights.unlike_N is not None
    good = ~(rewards < np.float32(threshold))
    np.testing.assert_array_equal(weights.like_N, good)
    np.testing.assert_allclose(weights.unlike_N, alpha * ~good, rtol=1e-6)


def test_unlikelihood_takes_the_highest_bound_for_its_threshold() -> None:
    three = ControlScheme(tokens=("<a>", "<b>", "<c>"), bounds=(-0.7, -0.25))
    found = build_objective("unlikelihood").settle(three, census([-1, -0.5, -0.25, 0]))
    assert found == Unlikelihood(threshold=-0.25)
    zero = build_objective({"unlikelihood": {"threshold": 0.0}})
    assert zero.settle(three, census([-1, 0])) == Unlikelihood(threshold=0.0)
    with pytest.raises(RecipeError, match="not settled"):
        Unlikelihood().weigh(torch.zeros(1), None)


@pytest.mark.parametrize("rewards", [[0, 0], [-1, -0.5, NAN], [NAN], []])
def test_a_threshold_that_separates_nothing_is_refused(rewards: list[float]) -> None:
    with pytest.raises(BoundError, match="one side"):
        Unlikelihood().settle(SCHEME, census(rewards))


def test_soft_unlikelihood_mixes_by_the_reward_and_refuses_what_is_no_share() -> None:
    weights = Unlikelihood(soft=True, alpha=2.0).weigh(torch.tensor([-0.25, 0, -1, -1.005]), None)
    assert weights.like_N.tolist() == [0.75, 1, 0, 0]
    assert weights.unlike_N is not None
    assert weights.unlike_N.tolist() == [0.5, 0, 2, 2]
    soft = Unlikelihood(soft=True)
    assert soft.settle(SCHEME, census([-1.005, 0, NAN])) == soft
    for rewards in ([-3, 0], [-0.5, 2]):
        with pytest.raises(RecipeError, match="between -1 and 0"):
            soft.settle(SCHEME, census(rewards))


def test_rwr_is_the_exponential_up_to_its_clip() -> None:
    weights = Rwr(beta=0.5, clip=3.0).weigh(torch.tensor([-1.0, 0.0, 0.2, 900.0, NAN]), None)
    expected = [np.exp(-2), 1, np.exp(0.4), 3, 1]
    np.testing.assert_allclose(weights.like_N, expected, rtol=1e-6)
    assert Rwr(clip=0.5).weigh(torch.tensor([NAN]), None).like_N.item() == 1


@given(rewards=rewards_drawn, seed=st.integers(0, 100))
def test_normalised_advantages_are_those_of_rewarded_tokens(rewards: np.ndarray, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=len(rewards))
    weights = Awr(normalise=True, alpha=1.0, beta=2.0, clip=1e9).weigh(
        torch.tensor(rewards, dtype=torch.float64), torch.tensor(values)
    )
    known = ~np.isnan(rewards)
    advantages = rewards[known].astype(float) - values[known]
    off = advantages - advantages.mean() if known.any() else advantages
    deviation = off.std(ddof=1) if known.sum() > 1 else 0.0
    expected = np.exp(off / (deviation + 1e-10) / 2)
    np.testing.assert_allclose(weights.like_N[torch.tensor(known)], expected, rtol=1e-6)


def test_values_learn_and_weights_carry_no_gradient() -> None:
    rewards = torch.tensor([-0.2, NAN, -0.9])
    values = torch.tensor([-0.5, -0.5, -1.5], requires_grad=True)
    assert not Awr().weigh(rewards, values).like_N.requires_grad
    lost = Awr(alpha=0.25).value_loss(rewards, values)
    np.testing.assert_allclose(lost.detach(), [0.75 * 0.09, 0, 0.75 * 0.36], rtol=1e-5)
    lost.sum().backward()
    assert values.grad is not None
    np.testing.assert_allclose(values.grad, [0.75 * -0.6, 0, 0.75 * -1.2], rtol=1e-5)
    values.grad = None
    Awr(clip_value=True).value_loss(rewards, values).sum().backward()
    assert values.grad[2] == 0  # type: ignore[index]


@pytest.mark.parametrize("name", SPECS)
def test_what_describes_an_objective_builds_it_again(name: str) -> None:
    objective = settled(SPECS[name])
    said = describe(objective)
    assert list(said) == [objective.name]
    assert build_objective(said) == objective
    assert hash(build_objective(said)) == hash(objective)  # Frozen, so that it may be a key.


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("mlee", "did you mean `mle`"),
        ({"mle": {"alpha": 1}}, "unknown option `alpha`"),
        ({"unlikelihood": {"alhpa": 1}}, "did you mean `alpha`"),
        ({"unlikelihood": {"alpha": -1}}, "`alpha`"),
        ({"unlikelihood": {"alpha": "much"}}, "`alpha`"),
        ({"unlikelihood": {"soft": True, "threshold": 0.0}}, "has no threshold"),
        ({"rwr": {"beta": 0}}, "`beta`"),
        ({"awr": {"alpha": 1.5}}, "`alpha`"),
        ({"awr": {"head": "tanh"}}, "`head`"),
        ({"filtering": {}}, "neither is given"),
        ("filtering", "neither is given"),
        ({"filtering": {"threshold": 0.0, "share": 0.5}}, "both is given"),
        ({"filtering": {"share": 0}}, "`share`"),
        ({"filtering": {"threshold": NAN}}, "`threshold`"),
        ({"mle": {}, "rwr": {}}, "does not name one objective"),
        ({"mle": [1]}, "options of `mle`"),
    ],
)
def test_mistakes_are_told(spec: Any, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        build_objective(spec)
