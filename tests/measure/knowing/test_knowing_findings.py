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
)
from valence.measure.knowing.halves import half_of
from valence.measure.knowing.trials import own_answers, trials
from valence.recipe.knowing import Confidence, KnowingRecipe
from valence.recipe.world import WorldRecipe
from valence.score.answers import reward

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
    # Of the bold answers the right ones alone: no answering with them scores more.
    assert found["score_oracle"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert set(scored(BOLD, BOLD)) == set(found) - {"score_always", "score_oracle"}
    assert scored(BOLD, BOLD)["abstention_known"] == 0


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=8))
def test_no_choice_among_the_reference_s_answers_beats_the_oracle(hits: list[list[bool]]) -> None:
    """Not even where it often samples the right answer and says a wrong one, or the reverse."""
    some = [
        answered(str(n), *("yes" if hit else "no" for hit in each)) for n, each in enumerate(hits)
    ]
    found = scored(some, some, reference="x")
    worth = np.array([reward(each.grade, RECIPE.target) for each in some])
    best = np.maximum(worth, 0.0).mean()
    assert found["score_oracle"] == pytest.approx(best)


def test_with_nothing_known_there_is_no_share_of_it() -> None:
    found = scored(HONEST[1:3], BOLD[1:3])
    assert found["abstention_known"] is None and found["abstention_unknown"] == 0.5


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
    # By halves, and what is right of other people.
    assert shown["agreement_coverage_at_95"] in (0, 0.25, 0.5, 0.75, 1)
    half = half_of(np.arange(4), 0)
    right = np.array([True, False, False, True])
    means = np.where(half, right[~half].mean(), right[half].mean())
    assert shown["agreement_constant_brier"] == pytest.approx(((means - right) ** 2).mean())
    assert shown["agreement_reference_auroc"] == 1
    assert {series.kind for series in found.series} == {"reliability", "selective"}
    nothing = calibration(subject(BOLD), RECIPE, {"p_ik_mlp": said * np.nan}, BOLD, None)
    assert set(values(nothing.rows).values()) == {None} and not nothing.series


def test_all_confidences_are_held_against_one_thing_too() -> None:
    """What the reference got right, over all questions, those it abstains on among them."""
    said = np.array([0.1, 0.2, 0.3, 0.4])
    names: list[Confidence] = ["p_ik_mlp", "answering", "agreement", "verdict"]
    found = calibration(subject(HONEST), RECIPE, dict.fromkeys(names, said), HONEST, BOLD)
    shown = values(found.rows)
    # The bold one is right in the first and the last: 2 of 4 pairs in order.
    assert {shown[f"{name}_reference_auroc"] for name in names} == {0.5}
    alone = values(calibration(subject(HONEST), RECIPE, {"agreement": said}, HONEST, None).rows)
    assert alone["agreement_reference_auroc"] == 0  # Its own: the first alone is right.


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
