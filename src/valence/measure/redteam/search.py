"""Token-level search: a prompt is changed one token at a time while bad texts get likelier.

A step compares candidates by the objective and goes on from the best, or stays where none is
better than what there is (Zou et al. always go on), so the objective never falls. After every
round the prompt is tried: texts are written after it and scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from valence.measure.redteam.attempt import Stage, Victim
from valence.measure.redteam.budget import Budget
from valence.measure.redteam.changes import (
    Candidates,
    Change,
    gradient_changes,
    greedy_changes,
    random_changes,
)
from valence.measure.redteam.journal import Round
from valence.measure.redteam.objective import Objective
from valence.measure.redteam.tokens import Ids, Typeable
from valence.recipe.redteam import SearchRecipe

STAGES: dict[Change, Stage] = {
    "random": Stage.RANDOM,
    "greedy": Stage.GREEDY,
    "gcg": Stage.GCG,
}

SPARE = 3
"""So many times the candidates are drawn, because some do not survive being read again."""


class Search:
    """The attack by one method."""

    def __init__(
        self,
        method: Change,
        victim: Victim,
        recipe: SearchRecipe,
        objective: Objective,
        typeable: Typeable,
    ) -> None:
        self.stage, self.victim, self.recipe = STAGES[method], victim, recipe
        self.objective, self.typeable, self.rounds = objective, typeable, recipe.rounds
        tokens, drawn = typeable.ids, SPARE * recipe.candidates
        self._gradients = int(method == "gcg")
        changes: dict[Change, Candidates] = {
            "random": random_changes(tokens, drawn),
            "greedy": greedy_changes(tokens, drawn, victim.seed),
            "gcg": gradient_changes(tokens, drawn, recipe.top_k, objective.gradient),
        }
        self._change = changes[method]

    def play(self, number: int, past: Sequence[Round]) -> Round:
        """A random prompt (number 0), or the best after a round of steps.

        Raises `ModelError` where no prompt can be made of the tokenizer's tokens.
        """
        if number == 0:
            # All methods start from the same prompt.
            ids = self.typeable.draw(self.recipe.tokens, self.victim.rng(Stage.RANDOM, 0, 0))
            best, spent = float(self.objective([ids])[0]), Budget(forward=self.objective.passes)
        else:
            last = past[-1].attempts[-1]
            assert last.objective is not None
            ids, best, spent = last.prompt.ids, last.objective, Budget()
            for step in range(self.recipe.steps):
                ids, best, cost = self._step(ids, best, number, step)
                spent += cost
        (attempt,) = self.victim.attempt(
            [self.typeable.prompt(ids)],
            stage=self.stage,
            number=number,
            count=self.victim.recipe.completions,
        )
        tried = replace(attempt, objective=best)
        return Round(attempts=(tried,), budget=spent + tried.budget)

    def _step(self, ids: Ids, best: float, number: int, step: int) -> tuple[Ids, float, Budget]:
        """The better prompt, its objective, and what looking for it cost."""
        rng = self.victim.rng(self.stage, number, step, 1)
        taken = (number - 1) * self.recipe.steps + step
        drawn = self._change(ids, taken, rng)
        whole = [c for c, good in zip(drawn, self.typeable.survive(drawn), strict=True) if good]
        candidates = whole[: self.recipe.candidates]
        spent = Budget(
            forward=self.objective.passes * (len(candidates) + self._gradients),
            backward=self.objective.passes * self._gradients,
            unreadable=len(drawn) - len(whole),
        )
        if candidates:
            values = self.objective(candidates)
            first = int(values.argmax())
            if values[first] > best:
                return candidates[first], float(values[first]), spent
        return ids, best, spent
