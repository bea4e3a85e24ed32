"""The reward for answers: what it is, and that honesty is the best policy under it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from valence.data import Document, Failure, Score, Segment
from valence.errors import ScorerError
from valence.score.answers import Answers, grade, normalised, reward
from valence.score.table import build_scorer

PROMPT = "Q: Where was Mira Tolen born?\nA:"
probabilities = st.floats(0, 1)
targets = st.floats(0, 0.99)


def judged(scorer: Answers, text: str, **columns: object) -> Score | Failure:
    held = {"prompt": PROMPT, "answers": ["Karsen", "Old Karsen"], **columns}
    given = {name: value for name, value in held.items() if value != "absent"}
    document = Document(id="x", text=text, source="x", columns=given)
    halves = [Segment(start=0, end=5), Segment(start=5, end=len(text))]
    first, second = scorer.score(document, halves)
    assert first == second
    return first


def value(scorer: Answers, text: str, **columns: object) -> float:
    result = judged(scorer, PROMPT + text, **columns)
    assert isinstance(result, Score)
    return result.value


def kind(result: Score | Failure) -> str:
    assert isinstance(result, Failure)
    return result.kind


def test_right_is_1_abstaining_0_wrong_costs() -> None:
    scorer = build_scorer({"answers": {"target": 0.75}})
    assert isinstance(scorer, Answers)
    assert value(scorer, " Karsen\n") == value(scorer, " the old karsen.") == 1
    assert value(scorer, " I don't know.\n") == value(scorer, " I don’t know that") == 0
    assert value(scorer, " Velmor\n") == -3
    assert value(Answers(target=0.0), " Velmor") == 0
    assert "-3" in scorer.meaning


def test_answers_in_a_column_of_their_own() -> None:
    scorer = Answers(said="said", answers="right")
    assert value(scorer, "", said="Karsen", right="Karsen") == 1
    assert value(scorer, "", said="Karsen", right=[]) == -3  # there is no right answer
    assert value(scorer, "", said="I don't know", right=[]) == 0
    assert kind(judged(scorer, "any", right=["Karsen"])) == "no-question"


def test_what_has_no_question_is_a_failure() -> None:
    scorer = Answers()
    assert kind(judged(scorer, PROMPT + " Karsen", answers="absent")) == "no-question"
    assert kind(judged(scorer, PROMPT + " Karsen", answers=[1])) == "no-question"
    assert kind(judged(scorer, PROMPT + " Karsen", prompt="absent")) == "no-question"
    assert kind(judged(scorer, "A story about Karsen.")) == "other-prompt"
    assert kind(judged(scorer, PROMPT + " \n")) == "no-answer"


@pytest.mark.parametrize("options", [{"target": 1.0}, {"target": -0.1}, {"abstentions": [""]}])
def test_options_that_make_no_rule_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ScorerError):
        build_scorer({"answers": options})


def test_normalising_as_in_squad() -> None:
    # The published examples: articles, punctuation, case and blanks do not count.
    assert normalised("The  Broncos!") == normalised("broncos") == "broncos"
    assert normalised("an apple, a day") == "apple day"
    assert normalised("The") == "the"  # nothing else is left of it
    assert grade("I don't know", ["I don't know"]) == "right"
    assert grade("I don't knowingly lie", ["x"]) == "wrong"
    assert grade("unsure", ["x"], ["not sure", "unsure"]) == "abstained"


@given(probabilities, targets)
def test_the_best_policy_is_the_threshold(p: float, t: float) -> None:
    """Of all policies (answer with probability q), the best answers exactly above t."""
    answering = p * reward("right", t) + (1 - p) * reward("wrong", t)
    assert answering == pytest.approx((p - t) / (1 - t), abs=1e-9)
    if abs(p - t) < 1e-6:
        return

    def expected(q: float) -> float:
        return q * answering + (1 - q) * reward("abstained", t)

    best = optimize.minimize_scalar(lambda q: -expected(q), bounds=(0, 1), method="bounded").x
    assert (best > 0.5) == (p > t)
    assert expected(float(p > t)) >= expected(best) - 1e-9


@given(st.lists(probabilities, min_size=1, max_size=20), targets, probabilities)
def test_no_other_threshold_scores_better(beliefs: list[float], t: float, other: float) -> None:
    p = np.array(beliefs)
    worth = p * reward("right", t) + (1 - p) * reward("wrong", t)
    assert np.where(p > t, worth, 0).sum() >= np.where(p > other, worth, 0).sum() - 1e-9


def test_its_mixture_over_targets_is_the_brier_score() -> None:
    """Schervish: over t, weighted by 2 (1 - t), the regret is the quadratic score's.

    Against answering never, who states q and is right with probability p gains the integral
    over t < q of 2 (1 - t) (p - t) / (1 - t) = 2pq - q², and that is p - [(1 - p) q² +
    p (1 - q)²]: a constant less the Brier score.
    """
    t = (np.arange(200_000) + 0.5) / 200_000
    for p in (0.1, 0.5, 0.9):
        for q in (0.0, 0.3, 0.5, 1.0):
            gained = p * np.array([1.0]) + (1 - p) * (-t / (1 - t))
            mixture = float(np.where(t < q, 2 * (1 - t) * gained, 0).mean())
            assert mixture == pytest.approx(p - ((1 - p) * q**2 + p * (1 - q) ** 2), abs=1e-4)
