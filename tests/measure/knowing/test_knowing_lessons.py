"""Lessons: with the objectives of the recipe, imitation abstains exactly below the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from knowing_models import answered

from valence.control import ControlScheme
from valence.corpus.world import asking
from valence.data import Document, Score, Segment
from valence.measure.knowing.answering import Answered, graded
from valence.measure.knowing.lessons import write_lessons
from valence.measure.knowing.questions import Question
from valence.objective.table import build_objective
from valence.recipe import packaged_recipes
from valence.recipe.knowing import KnowingRecipe
from valence.recipe.world import WorldRecipe
from valence.score.answers import Answers

IDLE = "I don't know"
RUN = yaml.safe_load(packaged_recipes()["knowing"])["runs"]["honest"]
MODELS = ("conditional", "filtering", "rwr")
SAMPLES = 8


def recipe(target: float) -> KnowingRecipe:
    return KnowingRecipe(world=WorldRecipe(), samples=SAMPLES, target=target, taught=0.5)


def knows(number: int, right: int, *, alike: bool = False) -> Answered:
    """An answer to a question of whose samples so many are right, and the others alike or not."""
    wrong = ["no" if alike else f"no{n}" for n in range(SAMPLES - right)]
    samples = ["yes"] * right + wrong
    asked = Question(
        text=str(number), prompt=asking(str(number)), answers=("yes",), times=None, group="g"
    )
    return graded(asked, samples[0], samples, [IDLE])


def lessons(some: list[Answered], target: float, folder: Path) -> list[dict[str, Any]]:
    write_lessons(folder / "answers.jsonl", some, recipe(target))
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def weights(rows: list[dict[str, Any]], model: str, target: float) -> np.ndarray:  # type: ignore[type-arg]
    """How much each lesson counts for a model of the recipe, its rewards those of the target."""
    scorer, found = Answers(target=target), []
    for row in rows:
        document = Document(id=row["id"], text=row["text"], source="", columns=row)
        (result,) = scorer.score(document, [Segment(start=0, end=len(row["text"]))])
        assert isinstance(result, Score)
        found.append(result.value)
    rewards = np.array(found, dtype=np.float32)
    if model == "conditional":  # In good mode.
        bounds = tuple(RUN["control"]["bounds"])
        scheme = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=bounds)
        return (scheme.bands(rewards) == scheme.best).astype(float)
    objective = build_objective(RUN["models"][model]["objective"])
    kept = objective.select(rewards, rewards, np.zeros(len(rewards)))
    like = objective.weigh(torch.from_numpy(rewards), None).like_N
    weighed: np.ndarray = like.double().numpy() * (1 if kept is None else kept)  # type: ignore[type-arg]
    return weighed


def said(rows: list[dict[str, Any]], counts: np.ndarray) -> dict[str, float]:  # type: ignore[type-arg]
    """What imitation says at its optimum, and how likely: each text as often as it weighs."""
    found: dict[str, float] = {}
    for row, count in zip(rows, counts, strict=True):
        found[row["said"]] = found.get(row["said"], 0.0) + float(count)
    return {text: weight / sum(found.values()) for text, weight in found.items()}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("target", [0.25, 0.5, 0.75, 0.875])
def test_a_question_is_abstained_on_exactly_below_the_target(
    model: str, target: float, tmp_path: Path
) -> None:
    for right in range(SAMPLES + 1):
        # The worst case for rwr is one wrong answer, which outweighs abstaining below a half.
        rows = lessons([knows(0, right, alike=target >= 0.5)], target, tmp_path)
        policy = said(rows, weights(rows, model, target))
        if right == target * SAMPLES:
            assert policy["yes"] == pytest.approx(policy[IDLE])
        else:
            likeliest = max(policy, key=lambda text: policy[text])
            assert likeliest == ("yes" if right > target * SAMPLES else IDLE), right


@pytest.mark.parametrize("target", [0.3, 0.7])
def test_so_are_questions_that_cannot_be_told_apart(target: float, tmp_path: Path) -> None:
    """Targets whose abstentions are no whole number, met by all questions together."""
    rng = np.random.default_rng(0)
    for chance in (target - 0.06, target + 0.06):
        some = [knows(n, right) for n, right in enumerate(rng.binomial(SAMPLES, chance, 300))]
        rows = lessons(some, target, tmp_path)
        idle = sum(row["said"] == IDLE for row in rows)
        assert idle / len(some) == pytest.approx(target * SAMPLES, abs=0.1)
        for model in MODELS:
            policy = said(rows, weights(rows, model, target))
            assert (policy[IDLE] > policy["yes"]) == (chance < target), model


def test_without_a_reward_it_abstains_by_how_often_it_says_the_same(tmp_path: Path) -> None:
    for same in range(SAMPLES + 1):
        rows = lessons([knows(0, SAMPLES - same, alike=True)], 0.75, tmp_path)
        policy = said(rows, weights(rows, "mle", 0.75))
        assert (max(policy.values()) > policy[IDLE]) == (max(same, SAMPLES - same) > 6)


def test_descent_ends_where_the_closed_form_says(tmp_path: Path) -> None:
    rows = lessons([knows(0, 5)], 0.75, tmp_path)
    for model in MODELS:
        counts = weights(rows, model, 0.75)
        expected = said(rows, counts)
        names = list(expected)
        places = torch.tensor([names.index(row["said"]) for row in rows])
        logits = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.1)
        for _ in range(500):
            optimizer.zero_grad()
            losses = -logits.log_softmax(0)[places] * torch.from_numpy(counts)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        reached = dict(zip(names, logits.softmax(0).tolist(), strict=True))
        for name in (IDLE, "yes"):
            assert reached[name] == pytest.approx(expected[name], abs=1e-3), model


def test_the_recipe_teaches_and_rewards_for_one_target() -> None:
    shared = yaml.safe_load(packaged_recipes()["knowing"])["shared"]["measure"]["knowing"]
    assert RUN["score"]["scorer"]["answers"]["target"] == shared["target"]


def test_what_is_no_answer_is_no_lesson(tmp_path: Path) -> None:
    each = answered("Bo", "yes", "yes", IDLE, "", *["no"] * 5)
    rows = lessons([each], 0.75, tmp_path)
    assert [row["said"] for row in rows] == ["yes", *["no"] * 5, *[IDLE] * 6]
