"""Rows against packing one token at a time, and what the draws may and may not change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_by_one import slow_rows
from tiny_stores import (
    BAD,
    CONTROL_IDS,
    EOS,
    GOOD,
    MLE,
    SCHEME,
    Docs,
    Told,
    make_store,
    plan_and_data,
    rendered,
    settings_of,
    text_targets,
    verdict,
)

from valence.errors import BoundError
from valence.objective.protocol import IGNORED
from valence.pack import plan_pack

NAN = float("nan")
LABELLED = Told()

segments = st.tuples(st.integers(0, 9), st.sampled_from([0.0, 0.5, -0.25, -1.0, NAN]))
documents = st.lists(segments, min_size=1, max_size=6).filter(lambda doc: any(s for s, _ in doc))
corpora = st.lists(documents, min_size=1, max_size=6)
thorough = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@thorough
@given(data=st.data(), docs=corpora)
def test_rows_are_those_of_packing_one_token_at_a_time(
    folder: Path, data: st.DataObject, docs: Docs
) -> None:
    scheme = replace(
        SCHEME,
        level=data.draw(st.sampled_from(["segment", "document"])),
        placement=data.draw(st.sampled_from(["every", "change"])),
        mask_loss=data.draw(st.booleans()),
        cooldown=data.draw(st.sampled_from([0.0, 0.3])),
    )
    objective = Told(
        uses_control=data.draw(st.booleans()),
        least=data.draw(st.sampled_from([None, None, -0.5, 0.0])),
        selects_documents=data.draw(st.booleans()),
    )
    given = settings_of(
        data.draw(st.integers(1, 120)),
        data.draw(st.integers(2, 24)),
        seed=data.draw(st.integers(0, 3)),
        start_ids=data.draw(st.sampled_from([(EOS,), (7_000, 7_001)])),
        end_ids=data.draw(st.sampled_from([(), (EOS,), (EOS, 7_002)])),
        feedback_from=data.draw(st.sampled_from([0.0, 0.4])),
        verdict=data.draw(st.sampled_from([None, verdict(0.0), verdict(1.0)])),
        group_tokens=data.draw(st.sampled_from([8, 40, 10_000])),
    )
    store = make_store(folder, docs)
    try:
        plan = plan_pack(store, objective, scheme, given)
    except BoundError:
        return  # Nothing reaches what is asked for.
    for group, rows in zip(plan.groups, rendered(store, objective, plan, scheme), strict=True):
        slow = slow_rows(docs, objective, scheme, given, group)
        ids, targets, numbers, forks, rewards = (
            np.array(column)
            for column in zip(*(zip(*row, strict=True) for row in slow.rows), strict=True)
        )
        assert rows.ids.tolist() == ids.tolist()
        assert rows.targets.tolist() == targets.tolist()
        assert rows.documents.tolist() == numbers.tolist()
        assert (rows.forks is None) == (given.verdict is None)
        assert rows.forks is None or rows.forks.tolist() == forks.tolist()
        assert rows.rewards is not None
        assert np.array_equal(rows.rewards, rewards.astype(np.float32), equal_nan=True)
        text = [token for token in text_targets([rows]) if token < 3 + store.tokens]
        assert len(text) == group.text
        counted = (group.rows, group.control, group.forks, group.forks_left_out, group.padding)
        assert counted == (len(ids), slow.control, slow.forks, slow.left_out, slow.padding)


@thorough
@given(data=st.data(), docs=corpora)
def test_the_budget_is_exact_and_no_objective_changes_the_text_or_its_order(
    folder: Path, data: st.DataObject, docs: Docs
) -> None:
    budget = data.draw(st.integers(1, 300))
    block = data.draw(st.integers(2, 24))
    group_tokens = data.draw(st.sampled_from([8, 40, 10_000]))
    store = make_store(folder, docs)
    plain = settings_of(budget, block, group_tokens=group_tokens)
    expected = text_targets(rendered(store, MLE, plan_pack(store, MLE, SCHEME, plain)))
    scheme = replace(
        SCHEME,
        level=data.draw(st.sampled_from(["segment", "document"])),
        placement=data.draw(st.sampled_from(["every", "change", "random"])),
        share=0.5,
        dropout=data.draw(st.sampled_from([0.0, 0.4])),
        cooldown=data.draw(st.sampled_from([0.0, 0.3])),
    )
    varied = settings_of(
        budget,
        data.draw(st.integers(2, 24)),
        group_tokens=data.draw(st.sampled_from([8, 40, 10_000])),
        feedback_from=data.draw(st.sampled_from([0.0, 0.35])),
        verdict=data.draw(st.sampled_from([None, verdict(0.5)])),
        end_ids=data.draw(st.sampled_from([(), (EOS,)])),
    )
    objective = Told(shuffled=data.draw(st.booleans()))
    plan = plan_pack(store, objective, scheme, varied)
    groups = rendered(store, objective, plan, scheme)
    assert len(expected) == budget == plan.text_tokens
    assert text_targets(groups) == expected
    # Counting is rendering.
    control = sum(int(np.isin(rows.ids, CONTROL_IDS).sum()) for rows in groups)
    assert control == plan.control_tokens
    assert sum(len(rows.ids) for rows in groups) == plan.rows
    forks = [rows.forks for rows in groups if rows.forks is not None]
    assert sum(int(found.sum()) for found in forks) == plan.fork_tokens
    assert plan.epochs == pytest.approx(budget / store.tokens)
    assert plan.documents == store.documents


def big(folder: Path) -> tuple[Docs, Path]:
    rng = np.random.default_rng(5)
    rewards = [0.0, 0.0, -1.0, NAN]
    docs = [
        [(int(rng.integers(1, 12)), float(rng.choice(rewards))) for _ in range(20)]
        for _ in range(300)
    ]
    return docs, folder / "big"


def test_dropout_leaves_out_its_share_of_control_tokens_and_nothing_else(folder: Path) -> None:
    store = make_store(big(folder)[1], big(folder)[0])
    given = settings_of(store.tokens, 128)
    counts = [
        plan_pack(store, LABELLED, replace(SCHEME, dropout=share), given) for share in (0.0, 0.25)
    ]
    repeated = counts[0].control_tokens - sum(
        size > 0 and reward == reward for doc in big(folder)[0] for size, reward in doc
    )
    assert 0 < repeated <= counts[0].rows
    assert counts[1].control_tokens / counts[0].control_tokens == pytest.approx(0.75, abs=0.02)
    assert plan_pack(store, LABELLED, replace(SCHEME, dropout=1.0), given).control_tokens == 0


def test_random_placement_puts_the_units_own_token_before_its_share_of_text(folder: Path) -> None:
    store = make_store(big(folder)[1], big(folder)[0])
    scheme = replace(SCHEME, placement="random", share=0.2)
    plan = plan_pack(store, LABELLED, scheme, settings_of(store.tokens, 100))
    (rows,) = rendered(store, LABELLED, plan, scheme)
    rewards = np.repeat(store.census().rewards, store.census().sizes)
    controls = np.flatnonzero(np.isin(rows.ids, CONTROL_IDS))
    # A control token's target is the text token that it stands before.
    following = rows.targets.reshape(-1)[controls]
    assert (following > GOOD).all()
    expected = np.where(rewards[following - 3] >= 0, GOOD, BAD)
    assert np.array_equal(rows.ids.reshape(-1)[controls], expected)
    labelled = int((~np.isnan(rewards)).sum())
    assert len(controls) / labelled == pytest.approx(0.2, abs=0.01)
    assert plan.control_tokens == len(controls)


def test_a_share_of_inner_boundaries_and_all_ends_of_documents_are_judged(folder: Path) -> None:
    docs = big(folder)[0]
    store = make_store(big(folder)[1], docs)
    whole = sum(size > 0 and reward == reward for doc in docs for size, reward in doc)
    ends = sum(doc[-1][1] == doc[-1][1] for doc in docs)
    for share in (0.0, 0.3, 1.0):
        given = settings_of(store.tokens, 256, verdict=verdict(share))
        plan = plan_pack(store, MLE, SCHEME, given)
        made = plan.fork_tokens + plan.forks_left_out
        assert made == pytest.approx(ends + share * (whole - ends), rel=0.05 if share == 0.3 else 0)
        assert 0 < plan.forks_left_out <= 2 * plan.rows


def test_what_is_judged_has_no_control_token_that_would_tell(folder: Path) -> None:
    store = make_store(folder / "judged", [[(4, 0.0), (4, -1.0)]] * 400)
    given = settings_of(3200, 64, verdict=verdict(documents=0.25))
    plan = plan_pack(store, LABELLED, SCHEME, given)
    (rows,) = rendered(store, LABELLED, plan)
    assert rows.forks is not None
    judged, labelled = set(), set()
    for row in range(len(rows.ids)):
        control = np.isin(rows.ids[row], CONTROL_IDS)
        judged |= set(rows.documents[row][rows.forks[row]].tolist())
        labelled |= set(rows.documents[row][control].tolist())
    assert not judged & labelled
    assert len(judged) / 400 == pytest.approx(0.25, abs=0.06)
    assert len(judged | labelled) == 400


def test_a_placebo_judges_truly_what_it_labels_at_random(folder: Path) -> None:
    docs: Docs = [[(3, 0.0)], [(3, -1.0)]] * 20
    store = make_store(folder / "placebo", docs)
    placebo = Told(shuffled=True)
    given = settings_of(120, 64, verdict=verdict(documents=0.5))
    plan = plan_pack(store, placebo, SCHEME, given)
    (rows,) = rendered(store, placebo, plan)
    assert rows.forks is not None
    for row in range(len(rows.ids)):
        for at in np.flatnonzero(rows.forks[row]):
            text = rows.ids[row, at - 1] - 3
            assert rows.targets[row, at] == (GOOD if (text // 3) % 2 == 0 else BAD)
    shown: dict[int, set[int]] = {GOOD: set(), BAD: set()}
    for row in range(len(rows.ids)):
        for at in np.flatnonzero(np.isin(rows.ids[row], CONTROL_IDS)):
            true = GOOD if ((rows.targets[row, at] - 3) // 3) % 2 == 0 else BAD
            shown[true].add(int(rows.ids[row, at]))
    assert shown == {GOOD: {GOOD, BAD}, BAD: {GOOD, BAD}}


def test_a_token_is_in_sight_of_every_row_of_a_long_unit_but_none_of_a_dropped_one(
    folder: Path,
) -> None:
    store = make_store(folder / "long", [[(50, -1.0), (50, 0.0)]])
    plan = plan_pack(store, LABELLED, SCHEME, settings_of(100, 16))
    (rows,) = rendered(store, LABELLED, plan)
    assert [row[0] for row in rows.ids[1:4].tolist()] == [BAD] * 3
    assert [row[0] for row in rows.ids[4:].tolist()] == [GOOD] * (len(rows.ids) - 4)
    assert (rows.targets[1:, 0] == IGNORED).all()
    scheme = replace(SCHEME, dropout=1.0)
    plan = plan_pack(store, LABELLED, scheme, settings_of(100, 16))
    assert not np.isin(rendered(store, LABELLED, plan, scheme)[0].ids, CONTROL_IDS).any()


def test_with_change_a_dropped_token_is_not_carried_on_by_those_that_repeat_it(
    folder: Path,
) -> None:
    scheme = replace(SCHEME, placement="change", dropout=0.5)
    store = make_store(folder / "change", [[(30, 0.0), (30, 0.0), (30, -1.0)]] * 40)
    plan = plan_pack(store, LABELLED, scheme, settings_of(40 * 90, 10_000))
    (rows,) = rendered(store, LABELLED, plan, scheme)
    in_stream = set(rows.targets[np.isin(rows.targets, CONTROL_IDS)].tolist())
    assert in_stream == {BAD, GOOD}
    shown = {
        int(rows.targets.reshape(-1)[at] - 3) // 30: int(rows.ids.reshape(-1)[at])
        for at in np.flatnonzero(np.isin(rows.ids, CONTROL_IDS))
    }
    small = settings_of(40 * 90, 10)
    (rows,) = rendered(store, LABELLED, plan_pack(store, LABELLED, scheme, small), scheme)
    for row in range(1, len(rows.ids)):
        begin = rows.ids[row, 1 if rows.ids[row, 0] in CONTROL_IDS else 0]
        if begin > GOOD and rows.ids[row, 0] not in CONTROL_IDS:
            unit = (begin - 3) // 30
            head = unit - 1 if unit % 3 == 1 else unit
            assert head not in shown
        elif begin > GOOD and rows.targets[row, 0] == IGNORED:
            unit = (begin - 3) // 30
            head = unit - 1 if unit % 3 == 1 else unit
            assert shown[head] == rows.ids[row, 0]


def test_equal_seeds_give_equal_rows_and_other_seeds_others(folder: Path) -> None:
    store = make_store(big(folder)[1], big(folder)[0])
    scheme = replace(SCHEME, dropout=0.3)
    made = []
    for seed in (1, 1, 2):
        given = settings_of(5_000, 64, seed=seed, verdict=verdict(0.5), group_tokens=1_000)
        _, data = plan_and_data(store, LABELLED, given, scheme)
        made.append(np.stack([data[at]["input_ids"] for at in range(len(data))]).tolist())
    assert made[0] == made[1] != made[2]
