"""The plan of a training: budgets, epochs, phases, and what comes back from disk."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_stores import (
    CONTROL_IDS,
    MLE,
    SCHEME,
    Docs,
    Told,
    make_store,
    rendered,
    settings_of,
    text_targets,
    verdict,
)

from valence.errors import BoundError, RecipeError, StoreError
from valence.pack import PackPlan, PackSettings, TokenStore, plan_pack

LABELLED = Told()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """200 documents of 8 segments; a quarter of documents, and of segments, is good."""
    rng = np.random.default_rng(2)
    docs: Docs = [
        [(4, 0.0 if (number + place) % 4 == 0 else -1.0) for place in range(8)]
        if number % 4
        else [(4, 0.0)] * 2 + [(4, -float(rng.integers(0, 2)))] * 6
        for number in range(200)
    ]
    return make_store(tmp_path_factory.mktemp("plan"), docs)


def test_a_pass_predicts_every_text_token_exactly_once_and_two_passes_twice(
    store: TokenStore,
) -> None:
    for passes in (1, 2):
        given = settings_of(passes * store.tokens, 48, group_tokens=900, verdict=verdict(0.5))
        plan = plan_pack(store, LABELLED, SCHEME, given)
        found = Counter(text_targets(rendered(store, LABELLED, plan)))
        assert found == {token + 3: passes for token in range(store.tokens)}
        assert plan.epochs == passes
        assert len(plan.groups) > passes


def test_of_a_quarter_of_the_text_there_are_four_times_as_many_epochs(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path, [[(5, 0.0 if number % 4 == 0 else -1.0)] for number in range(400)])
    best = Told(uses_control=False, least=0.0, selects_documents=True)
    whole = plan_pack(store, MLE, SCHEME, settings_of(store.tokens, 64))
    plan = plan_pack(store, best, SCHEME, settings_of(store.tokens, 64))
    assert (whole.epochs, whole.documents, whole.selected_share) == (1.0, 400, 1.0)
    assert (plan.epochs, plan.documents, plan.selected_share) == (4.0, 100, 0.25)
    found = Counter(text_targets(rendered(store, best, plan)))
    assert set(found.values()) == {4}
    assert all(((token - 3) // 5) % 4 == 0 for token in found)


@pytest.mark.parametrize("whole", [False, True])
def test_a_share_by_lots_is_the_same_text_in_every_epoch(store: TokenStore, whole: bool) -> None:
    some = Told(uses_control=False, share=0.3, selects_documents=whole)
    plan = plan_pack(store, some, SCHEME, settings_of(2 * store.tokens, 64, group_tokens=500))
    assert plan.selected_share == pytest.approx(0.3, abs=0.08)
    tokens = np.array(text_targets(rendered(store, some, plan))) - 3
    once = round(plan.selected_share * store.tokens)
    assert len(set(tokens.tolist())) == once
    assert set(tokens[:once].tolist()) == set(tokens[once : 2 * once].tolist())
    if whole:  # 32 tokens each, and whole.
        assert set(Counter((token // 32) for token in set(tokens.tolist())).values()) == {32}


def test_segments_are_chosen_and_what_is_left_of_a_document_stays_together(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path, [[(2, 0.0), (3, -1.0), (2, 0.0)], [(4, -1.0)], [(1, 0.0)]])
    best = Told(uses_control=False, least=0.0)
    plan = plan_pack(store, best, SCHEME, settings_of(10, 32))
    (rows,) = rendered(store, best, plan)
    used = rows.ids[0][: 32 - plan.padding].tolist()
    assert plan.epochs == 2.0 and plan.documents == 2
    assert Counter(tuple(part) for part in _split(used)).keys() == {(3, 4, 8, 9), (14,)}


def _split(stream: list[int]) -> list[list[int]]:
    parts: list[list[int]] = []
    for token in stream:
        if token == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def test_phases_have_their_shares_and_their_ways(store: TokenStore) -> None:
    scheme = replace(SCHEME, cooldown=0.25)
    given = settings_of(
        4_001, 64, feedback_from=0.5, verdict=verdict(documents=0.5), group_tokens=700
    )
    plan = plan_pack(store, LABELLED, scheme, given)
    tokens: Counter[str] = Counter()
    for group, rows in zip(plan.groups, rendered(store, LABELLED, plan, scheme), strict=True):
        tokens[group.phase] += group.text
        assert rows.rewards is not None and rows.forks is not None
        assert np.isin(rows.ids, CONTROL_IDS).any() == (group.phase == "feedback")
        assert np.isnan(rows.rewards).all() == (group.phase == "plain")
        assert rows.forks.any() == (group.phase != "plain")
    assert tokens == {"plain": 2_000, "feedback": 1_001, "cooldown": 1_000}


def test_a_filter_begins_with_the_feedback(store: TokenStore) -> None:
    best = Told(uses_control=False, least=0.0)
    plan = plan_pack(store, best, SCHEME, settings_of(2_000, 64, feedback_from=0.5))
    found = np.array(text_targets(rendered(store, best, plan))) - 3
    rewards = np.repeat(store.census().rewards, store.census().sizes)[found]
    assert (rewards[:1_000] < 0).any()
    assert (rewards[1_000:] == 0).all()
    # A document that was cut has another text now; without a filter the rest of it follows.
    whole = plan_pack(store, LABELLED, SCHEME, settings_of(2_000, 64, feedback_from=0.5))
    starts = [(p.groups[1].position, p.groups[1].skip) for p in (plan, whole)]
    assert starts == [(32, 0), (31, 1_000 % 32)]
    kept = plan.selected_share * store.tokens
    assert plan.epochs == pytest.approx(1_000 / store.tokens + 1_000 / kept)


@settings(deadline=None, max_examples=30)
@given(
    budget=st.integers(1, 20_000),
    group=st.integers(1, 9_000),
    start=st.sampled_from([0.0, 0.1, 0.999, 1.0]),
    cooldown=st.sampled_from([0.0, 0.001, 0.5]),
)
def test_groups_add_up_to_the_budget_and_have_about_their_size(
    store: TokenStore, budget: int, group: int, start: float, cooldown: float
) -> None:
    given = settings_of(budget, 64, feedback_from=start, group_tokens=group)
    scheme = replace(SCHEME, cooldown=cooldown)
    if start + cooldown > 1:
        with pytest.raises(RecipeError, match="without control tokens"):
            plan_pack(store, LABELLED, scheme, given)
        return
    plan = plan_pack(store, LABELLED, scheme, given)
    assert plan.text_tokens == budget
    assert all(0 < part.text < group + 32 for part in plan.groups)
    assert plan.facts()["tokens"] + plan.padding == plan.rows * 64


def test_a_plan_survives_json_and_starting_is_reading_it(store: TokenStore) -> None:
    given = settings_of(
        9_000, 64, end_ids=(5,), feedback_from=0.2, verdict=verdict(0.3), group_tokens=1_000
    )
    plan = plan_pack(store, LABELLED, SCHEME, given)
    written = json.dumps(plan.to_json(), allow_nan=False)
    assert PackPlan.from_json(json.loads(written)) == plan
    assert PackSettings.from_json(json.loads(json.dumps(given.to_json()))) == given
    assert len(written) < 60 * len(plan.groups) + 1_000
    for broken in ({}, {"settings": None}, {**plan.to_json(), "groups": [[1, 2]]}):
        with pytest.raises(StoreError, match="not the plan"):
            PackPlan.from_json(broken)


def test_what_leaves_no_text_and_what_cannot_be_packed_is_refused(store: TokenStore) -> None:
    with pytest.raises(BoundError, match="no text"):
        plan_pack(store, Told(least=5.0), SCHEME, settings_of(10, 8))
    for options in ({"start_ids": ()}, {"feedback_from": 1.5}, {"feedback_from": float("nan")}):
        with pytest.raises(RecipeError):
            settings_of(10, 8, **options)
    for text_tokens, block in ((0, 8), (10, 1)):
        with pytest.raises(RecipeError):
            settings_of(text_tokens, block)


def test_progress_counts_text_tokens(store: TokenStore) -> None:
    told: list[tuple[int, int]] = []
    given = settings_of(2_000, 64, group_tokens=900)
    plan_pack(store, MLE, SCHEME, given, on_progress=lambda *now: told.append(now))
    assert told[-1] == (2_000, 2_000)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
