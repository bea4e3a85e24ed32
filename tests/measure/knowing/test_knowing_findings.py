"""From answers to numbers, on cases small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from knowing_models import answered, question

from valence.data import Measurement
from valence.measure.knowing.abstention import abstentions
from valence.measure.knowing.answering import Answered, first_line, graded
from valence.measure.knowing.findings import (
    Subject,
    accuracies,
    calibration,
    coverage_at,
    own_answers,
    trials,
)
from valence.recipe.knowing import KnowingRecipe
from valence.recipe.world import WorldRecipe

IDLE = "I don't know"
RECIPE = KnowingRecipe(world=WorldRecipe(), samples=4, shown=2)
HONEST = [
    answered("a", "yes", "yes", "yes", "yes", "yes", times=4),
    answered("b", IDLE, "no", IDLE, IDLE, IDLE, times=0),
    answered("c", "no", "no", "no", "yes", "no", times=0),
    answered("d", IDLE, "yes", IDLE, IDLE, "yes", times=4),
]
BOLD = [
    answered("a", "yes", "yes", "yes", "yes", "yes", times=4),
    answered("b", "no", "no", "no", "no", "no", times=0),
    answered("c", "no", "no", "no", "yes", "no", times=0),
    answered("d", "yes", "yes", "yes", "yes", "yes", times=4),
]


def subject(some: list[Answered]) -> Subject:
    places = np.arange(len(some))
    return Subject(model="m", mode="none", seed=0, resamples=100, clusters=places)


def values(rows: tuple[Measurement, ...]) -> dict[str, float | None]:
    return {row.metric.removesuffix("@world"): row.value for row in rows}


def scored(some: list[Answered], by: list[Answered], **options: object) -> dict[str, object]:
    recipe = RECIPE.model_copy(update=options)
    places = np.arange(len(some))
    found = abstentions(some, by, places, recipe, resamples=100, seed=0)
    return {name: each.value for name, each in found.items()}


def test_shares_of_right_answers_and_by_times() -> None:
    found = accuracies(subject(HONEST), HONEST, RECIPE)
    assert values(found.rows) == {"accuracy": 0.25, "sampled_accuracy": (4 + 0 + 1 + 2) / 16}
    lines = {series.name: (series.x, series.y, series.count) for series in found.series}
    assert lines == {
        "accuracy@world": ((0, 4), (0, 0.5), (2, 2)),
        "abstention@world": ((0, 4), (0.5, 0.5), (2, 2)),
    }


def test_what_has_no_answer_counts_for_no_accuracy() -> None:
    some = [*HONEST[:1], graded(question("x"), "no", ["no"] * 4, [IDLE])]
    found = accuracies(subject(some), some, RECIPE)
    assert values(found.rows)["accuracy"] == 1
    assert [row.failures for row in found.rows] == [1, 1]


def test_abstentions_against_what_the_reference_knew() -> None:
    """The bold model knew a and d; the honest one abstains on b and d."""
    found = scored(HONEST, BOLD, reference="x", target=0.75)
    assert found["abstention"] == 0.5
    assert found["abstention_known"] == 0.5 and found["abstention_unknown"] == 0.5
    assert found["score"] == pytest.approx((1 + 0 - 3 + 0) / 4)
    assert found["score_always"] == pytest.approx((1 - 3 - 3 + 1) / 4)
    assert found["score_oracle"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert set(scored(BOLD, BOLD)) == set(found) - {"score_always", "score_oracle"}
    assert scored(BOLD, BOLD)["abstention_known"] == 0


def test_with_nothing_known_there_is_no_share_of_it() -> None:
    found = scored(HONEST[1:3], BOLD[1:3])
    assert found["abstention_known"] is None and found["abstention_unknown"] == 0.5


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12),
    st.sampled_from([0.5, 0.8, 0.95, 1.0]),
)
def test_coverage_is_the_largest_share_that_is_so_right(
    pairs: list[tuple[int, bool]], accuracy: float
) -> None:
    said = np.array([float(value) for value, _ in pairs])
    right = np.array([hit for _, hit in pairs])
    shares = [(said >= cut).mean() for cut in said if right[said >= cut].mean() >= accuracy - 1e-12]
    assert coverage_at(said, right, accuracy) == pytest.approx(max(shares, default=0.0))


def test_coverage_of_nothing_is_none() -> None:
    assert coverage_at(np.zeros(0), np.zeros(0, bool), 0.95) is None
    assert coverage_at(np.array([np.nan]), np.ones(1, bool), 0.95) is None


def test_what_each_confidence_is_held_against() -> None:
    said, places = np.array([0.9, 0.1, 0.4, 0.2]), np.arange(4)
    own = own_answers(said, HONEST, places)
    # It gave no answer to b and d: there is nothing to be sure of.
    assert own.said.tolist() == [0.9, 0.4] and own.right.tolist() == [True, False]
    assert own.failures == 2
    heads = trials("p_ik_mlp", said, HONEST, BOLD, places)
    assert heads.said.tolist() == np.repeat(said, 4).tolist() and heads.right.sum() == 7
    assert heads.clusters.tolist() == np.repeat(places, 4).tolist()
    idle = trials("answering", said, HONEST, BOLD, places)
    assert idle.right.tolist() == [True, False, False, True] and idle.failures == 0
    assert trials("verdict", said, HONEST, BOLD, places).right.tolist() == own.right.tolist()


def test_rows_and_lines_of_a_confidence() -> None:
    said = np.array([0.9, 0.2, 0.4, 0.8])
    found = calibration(subject(BOLD), RECIPE, {"agreement": said}, BOLD, None)
    shown = values(found.rows)
    assert shown["agreement_auroc"] == 1
    assert shown["agreement_brier"] == pytest.approx((0.01 + 0.04 + 0.16 + 0.04) / 4)
    # Right, right, wrong, wrong in order of confidence: mean of 0, 0, 1/3, 2/4.
    assert shown["agreement_aurc"] == pytest.approx((1 / 3 + 2 / 4) / 4)
    assert shown["agreement_coverage_at_95"] == 0.5
    assert {series.kind for series in found.series} == {"reliability", "selective"}
    nothing = calibration(subject(BOLD), RECIPE, {"p_ik_mlp": said * np.nan}, BOLD, None)
    assert set(values(nothing.rows).values()) == {None} and not nothing.series


def test_questions_without_an_answer_are_told_apart() -> None:
    open_, closed = question("x"), question("y", "yes")
    some = [
        graded(open_, IDLE, [IDLE] * 4, [IDLE]),
        graded(open_, "yes", ["yes"] * 4, [IDLE]),
        graded(closed, "yes", ["yes"] * 4, [IDLE]),
    ]
    found = scored(some, some)
    assert found["abstention_unanswerable"] == 0.5 and found["abstention_answerable"] == 0
    assert found["score"] == pytest.approx((0 - 3 + 1) / 3)
    said = {"answering": np.array([0.1, 0.9, 0.8])}
    shown = values(calibration(subject(some), RECIPE, said, some, None).rows)
    assert shown["answering_answerable_auroc"] == 0.5
    assert "abstention_answerable" not in scored(HONEST, BOLD)


def test_an_answer_is_its_first_line() -> None:
    assert first_line(" Karsen\nQ: Who") == first_line("\n Karsen ") == "Karsen"
    assert first_line(" \n") == ""
