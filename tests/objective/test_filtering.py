"""What filtering keeps: the share that was asked for, and nothing that has no reward."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from valence.control import ControlScheme
from valence.errors import BoundError, RecipeError
from valence.objective.filtering import Filtering
from valence.objective.protocol import Census

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
By = Literal["document", "segment"]
NAN = float("nan")


def census(rewards: object, sizes: object) -> Census:
    """Segments that are documents of their own."""
    seen, tokens = np.asarray(rewards, np.float32), np.asarray(sizes, np.int64)
    return Census(rewards=seen, sizes=tokens, document_rewards=seen, document_sizes=tokens)


def kept(filtering: Filtering, seen: Census, lots: np.ndarray) -> np.ndarray:
    settled = filtering.settle(SCHEME, seen)
    flags = settled.select(seen.rewards, seen.document_rewards, lots)
    assert flags is not None
    return flags


@given(
    by=st.sampled_from(["document", "segment"]),
    share=st.floats(0.001, 1),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    seed=st.integers(0, 1000),
)
def test_a_share_of_different_rewards_is_kept_to_within_one_size(
    by: By, share: float, sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rewards = rng.permutation(len(sizes)).astype(np.float32)
    unscored = rng.random(len(sizes)) < 0.2
    assume(not unscored.all())
    rewards[unscored] = NAN
    tokens = np.asarray(sizes)
    flags = kept(Filtering(by=by, share=share), census(rewards, sizes), rng.random(len(sizes)))
    assert abs(tokens[flags].sum() - share * tokens[~unscored].sum()) <= tokens.max()
    assert not flags[unscored].any()
    if flags.any():  # The best, and no other.
        assert rewards[flags].min() > rewards[~flags & ~unscored].max(initial=-1)


@given(
    share=st.floats(0.01, 1),
    values=st.lists(st.sampled_from([0.0, -0.5, -1.0]), min_size=2, max_size=300),
    size=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_lots_decide_between_equal_rewards_so_that_the_share_is_exact(
    share: float, values: list[float], size: int, seed: int
) -> None:
    # Lots at equal distances within each reward: what uniform ones are on average.
    rewards, rng = np.asarray(values, np.float32), np.random.default_rng(seed)
    lots = np.empty(len(rewards))
    for value in np.unique(rewards):
        at = np.flatnonzero(rewards == value)
        lots[rng.permutation(at)] = (np.arange(len(at)) + 0.5) / len(at)
    seen = census(rewards, np.full(len(rewards), size))
    flags = kept(Filtering(by="segment", share=share), seen, lots)
    assert abs(flags.sum() - share * len(rewards)) <= 0.5 + 1e-6


def test_most_texts_having_the_best_reward_is_no_reason_to_keep_all_of_them() -> None:
    seen = census(np.r_[np.zeros(9000), -np.ones(1000)], np.full(10_000, 7))
    settled = Filtering(share=0.25).settle(SCHEME, seen)
    assert settled == Filtering(threshold=0.0, tie=0.25 / 0.9)
    flags = kept(Filtering(share=0.25), seen, np.random.default_rng(0).random(10_000))
    assert abs(flags.mean() - 0.25) < 0.02


def test_a_threshold_keeps_what_reaches_it() -> None:
    seen = census([0.3, -0.1, -0.2, NAN], [1, 1, 1, 1])
    # -0.1 is not the same number in float32, in which rewards are kept.
    flags = kept(Filtering(threshold=-0.1), seen, np.full(4, 0.999))
    assert flags.tolist() == [True, True, False, False]
    assert kept(Filtering(threshold=-0.1, tie=0.0), seen, np.zeros(4)).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_documents_are_chosen_whole_and_segments_alone() -> None:
    rewards = np.array([0, -1, -1, 0], np.float32)
    documents = np.array([-0.4, -0.4, -0.6, -0.6], np.float32)
    for by, expected in (("document", [1, 1, 0, 0]), ("segment", [1, 0, 0, 1])):
        flags = Filtering(by=by, threshold=-0.5).select(rewards, documents, np.zeros(4))  # type: ignore[arg-type]
        assert flags is not None
        assert flags.tolist() == expected


@pytest.mark.parametrize(
    ("filtering", "rewards"),
    [
        (Filtering(threshold=0.5), [0.0, -1.0]),
        (Filtering(threshold=0.0, tie=0.0), [0.0, -1.0]),
        (Filtering(threshold=0.0), [NAN, NAN]),
        (Filtering(share=0.5), [NAN, NAN]),
        (Filtering(share=0.5), []),
    ],
)
@pytest.mark.parametrize("by", ["document", "segment"])
def test_keeping_nothing_is_refused(filtering: Filtering, rewards: list[float], by: By) -> None:
    own = Filtering(by=by, threshold=filtering.threshold, share=filtering.share, tie=filtering.tie)
    with pytest.raises(BoundError):
        own.settle(SCHEME, census(rewards, [3] * len(rewards)))


def test_a_share_must_be_settled_first() -> None:
    with pytest.raises(RecipeError, match="not settled"):
        Filtering(share=0.5).select(np.zeros(1, np.float32), np.zeros(1, np.float32), np.zeros(1))
