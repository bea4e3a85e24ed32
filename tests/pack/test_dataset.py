"""Rows for a data loader: in training order, whoever asks, and in whatever order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_stores import (
    CONTROL_IDS,
    MLE,
    SCHEME,
    Told,
    make_store,
    plan_and_data,
    rendered,
    settings_of,
    verdict,
)
from torch.utils.data import DataLoader

from valence.errors import StoreError
from valence.pack import PackedDataset, TokenStore, collate

LABELLED = Told()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    docs = [[(3, -float(place % 2)) for place in range(7)] for _ in range(60)]
    return make_store(tmp_path_factory.mktemp("dataset"), docs)


def made(store: TokenStore) -> PackedDataset:
    given = settings_of(1_200, 24, verdict=verdict(0.5), group_tokens=200)
    return plan_and_data(store, LABELLED, given)[1]


def same(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name], equal_nan=name == "rewards") for name in one
    )


def test_every_row_is_there_once_and_shuffled_within_its_group(store: TokenStore) -> None:
    data = made(store)
    groups = rendered(store, LABELLED, data.plan)
    assert len(data) == data.plan.rows > 3 * len(groups)
    moved = 0
    for number, rows in enumerate(groups):
        first, last = data.plan.row_bounds[number : number + 2]
        found = [data[at]["input_ids"].tolist() for at in range(first, last)]
        assert sorted(found) == sorted(rows.ids.tolist())
        moved += found != rows.ids.tolist()
    assert moved > len(groups) // 2


def test_rows_have_the_types_that_a_model_takes_and_only_what_is_asked_for(
    store: TokenStore,
) -> None:
    row = made(store)[0]
    kinds = {name: values.dtype for name, values in row.items()}
    ints = dict.fromkeys(("input_ids", "targets", "documents"), np.dtype(np.int64))
    assert kinds == {**ints, "forks": np.dtype(bool), "rewards": np.dtype(np.float32)}
    plain = plan_and_data(store, MLE, settings_of(100, 24))[1]
    assert plain[0].keys() == ints.keys()
    batch = collate([plain[0], plain[1]])
    assert {name: tuple(values.shape) for name, values in batch.items()} == dict.fromkeys(
        ints, (2, 24)
    )
    assert all(values.dtype == torch.int64 for values in batch.values())


def test_any_order_and_whole_batches_give_the_same_rows(store: TokenStore) -> None:
    in_order = [row for data in [made(store)] for row in (data[at] for at in range(len(data)))]
    data = made(store)
    shuffled = list(range(len(data)))
    random.Random(1).shuffle(shuffled)
    for at in range(0, len(shuffled), 5):
        some = shuffled[at : at + 5]
        for index, row in zip(some, data.__getitems__(some), strict=True):
            assert same(row, in_order[index])
    assert same(data[-1], in_order[-1])
    for index in (len(data), -len(data) - 1):
        with pytest.raises(IndexError):
            data[index]


def test_a_batch_renders_each_of_its_groups_once(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, rendered_groups = made(store), []
    kept = type(data._renderer).render

    def counted(self: Any, group: Any, number: int) -> Any:
        rendered_groups.append(number)
        return kept(self, group, number)

    monkeypatch.setattr(type(data._renderer), "render", counted)
    bounds = data.plan.row_bounds
    data.__getitems__([int(bounds[group]) + step for step in (0, 1) for group in range(4)])
    assert rendered_groups == [0, 1, 2, 3]


@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_give_the_same_rows(store: TokenStore, way: str) -> None:
    expected = made(store)
    loader = DataLoader(
        made(store), batch_size=4, collate_fn=collate, num_workers=2, multiprocessing_context=way
    )
    at = 0
    for batch in loader:
        for row in range(len(batch["input_ids"])):
            one = {name: values[row].numpy() for name, values in batch.items()}
            assert same(one, expected[at])
            at += 1
    assert at == len(expected)


def test_a_plan_for_other_tokens_is_refused(store: TokenStore, tmp_path: Path) -> None:
    plan, _ = plan_and_data(store, LABELLED, settings_of(100, 24))
    other = make_store(tmp_path, [[(9, 0.0)]])
    with pytest.raises(StoreError, match="other tokens"):
        PackedDataset(other, plan, LABELLED, SCHEME, CONTROL_IDS)
