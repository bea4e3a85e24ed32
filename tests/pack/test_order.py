"""The order of documents: a permutation, the same when it is asked for again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from valence.pack.draws import lots
from valence.pack.order import Order

counts = st.integers(1, 60)


@given(count=counts, runs=st.integers(1, 60), epoch=st.integers(0, 3), seed=st.integers(0, 9))
def test_an_epoch_is_a_permutation_and_runs_stay_together(
    count: int, runs: int, epoch: int, seed: int
) -> None:
    order = Order(count, seed, runs=runs)
    found = order.documents(epoch, 0, count)
    assert sorted(found.tolist()) == list(range(count))
    breaks = np.flatnonzero(np.diff(found) != 1) + 1
    assert len(breaks) < runs
    assert all(found[at] % order.length == 0 for at in [0, *breaks])


@given(count=counts, runs=st.integers(1, 60), data=st.data())
def test_a_part_is_that_part_of_the_whole_and_a_span_goes_through_epochs(
    count: int, runs: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    order = Order(count, 4, runs=runs)
    whole = [order.documents(epoch, 0, count).tolist() for epoch in range(4)]
    assert Order(count, 4, runs=runs).documents(1, start, stop).tolist() == whole[1][start:stop]
    length = data.draw(st.integers(0, 2 * count))
    after = [number for epoch in whole[1:] for number in epoch]
    assert order.span(1, start, length).tolist() == after[start : start + length]


def test_epochs_and_seeds_differ() -> None:
    found = {tuple(Order(30, seed).documents(epoch, 0, 30)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(found) == 4


def test_lots_are_uniform_the_same_wherever_they_are_asked_for_and_no_two_alike() -> None:
    whole = lots(3, np.arange(20_000))
    assert np.array_equal(lots(3, np.array([7, 19_999, 7])), whole[[7, 19_999, 7]])
    assert len(set(whole.tolist())) == 20_000
    assert whole.min() >= 0 and whole.max() < 1
    assert np.abs(np.histogram(whole, 20, (0, 1))[0] / 1000 - 1).max() < 0.15
    assert abs(np.corrcoef(whole[:-1], whole[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(whole, lots(4, np.arange(20_000)))[0, 1]) < 0.03
