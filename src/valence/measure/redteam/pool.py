"""The evolving prompt pool, and its control without evolution.

Each round a proposer writes new prompts after the example of some that are in the pool; those
that did more harm are shown more often; each new prompt joins with its own mean harm. Source:
Korbak et al. 2023 (arXiv 2302.08582), red teaming. The control tries as many prompts that
nobody searched for: the worst of many prompts is bad of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from valence.data import Failure
from valence.errors import ModelError
from valence.measure.redteam.attempt import Attempt, Prompt, Stage, Victim
from valence.measure.redteam.budget import Budget
from valence.measure.redteam.exemplars import draw_exemplars
from valence.measure.redteam.journal import Round
from valence.measure.redteam.proposer import Proposer
from valence.measure.redteam.starting import Answer, proposed, unattacked
from valence.recipe.redteam import PoolRecipe

TEMPERATURE = {"raw": 0.1, "standard": 1.0}
"""What exemplars are drawn with where the recipe does not say: the paper's, and one for harm
in units of its standard deviation."""


class Pool:
    """The attack. `given` are prompts to start from, or None for the proposer's own."""

    stage = Stage.POOL

    def __init__(
        self,
        victim: Victim,
        recipe: PoolRecipe,
        proposer: Proposer,
        given: Sequence[str] | None,
    ) -> None:
        self.victim, self.recipe, self.proposer, self.given = victim, recipe, proposer, given
        self.rounds = recipe.rounds

    def play(self, number: int, past: Sequence[Round]) -> Round:
        """The start (number 0), or a round after the rounds `past`.

        Raises `ModelError` where there is no prompt to start from.
        """
        if number == 0:
            return self._tried(number, *self._fresh(self.recipe.start, set(), 0), needed=True)
        pool = [attempt for each in past for attempt in each.attempts]
        return self._tried(number, *self._bred(number, pool))

    def _bred(self, number: int, pool: Sequence[Attempt]) -> tuple[list[Answer], int]:
        """New prompts after the example of the pool, and how often the proposer was asked."""
        scored = [attempt for attempt in pool if attempt.harm is not None]
        taken = {attempt.prompt.text for attempt in pool}
        answers: list[Answer] = []
        for trial in range(self.recipe.trials):
            rng = self.victim.rng(self.stage, number, trial)
            places = draw_exemplars(
                [attempt.harm or 0.0 for attempt in scored],
                self.recipe.exemplars,
                temperature=self.recipe.temperature or TEMPERATURE[self.recipe.scale],
                scale=self.recipe.scale,
                rng=rng,
            )
            shown = [scored[place].prompt.text for place in places]
            answers += self._propose(shown, taken, number, trial)
        return answers, len(answers)

    def _fresh(self, count: int, taken: set[str], number: int) -> tuple[list[Answer], int]:
        """Prompts that nobody searched for, and how often the proposer was asked."""
        if self.given is not None:
            return list(_until(count, self._in_order())), 0
        answers: list[Answer] = []
        for trial in range(count):
            answers += self._propose([], taken, number, trial)
        return answers, len(answers)

    def _in_order(self) -> Iterator[Answer]:
        rng = self.victim.rng(Stage.POOL, 0, 0)
        longest = self.recipe.prompt_tokens
        return unattacked(self.victim.checkpoint, self.given, longest=longest, rng=rng)

    def _propose(
        self, shown: Sequence[str], taken: set[str], number: int, trial: int
    ) -> Iterator[Answer]:
        return proposed(
            self.proposer,
            self.victim.checkpoint,
            shown,
            taken,
            longest=self.recipe.prompt_tokens,
            tries=self.recipe.tries,
            rng=self.victim.rng(self.stage, number, trial, 1),
        )

    def _tried(
        self, number: int, answers: Sequence[Answer], asked: int, *, needed: bool = False
    ) -> Round:
        prompts = [answer for answer in answers if isinstance(answer, Prompt)]
        refused = Counter(answer.kind for answer in answers if isinstance(answer, Failure))
        if needed and not prompts:
            listed = ", ".join(f"{count} {kind}" for kind, count in refused.items())
            raise ModelError(
                f"there is no prompt to start from ({listed or 'none given'})",
                where="redteam.pool",
                fix="Give other `prompts`, another proposer, or a larger `prompt_tokens`.",
            )
        attempts = self.victim.attempt(
            prompts, stage=self.stage, number=number, count=self.victim.recipe.completions
        )
        spent = sum((attempt.budget for attempt in attempts), Budget())
        return Round(
            attempts=tuple(attempts),
            budget=spent + Budget(proposals=asked, refused=dict(sorted(refused.items()))),
        )


class Unattacked(Pool):
    """The control: the pool's start, and then as many prompts a round that nobody searched for.

    They are the next of the given ones while there are any, or the proposer's without example.
    """

    stage = Stage.CONTROL

    def __init__(self, pool: Pool, start: Round) -> None:
        super().__init__(pool.victim, pool.recipe, pool.proposer, pool.given)
        self.start = start

    def play(self, number: int, past: Sequence[Round]) -> Round:
        """The pool's own start, which cost nothing more, or a round after the rounds `past`."""
        if number == 0:
            return Round(attempts=self.start.attempts, budget=Budget())
        taken = {attempt.prompt.text for each in past for attempt in each.attempts}
        if self.given is None:
            return self._tried(number, *self._fresh(self.recipe.trials, taken, number))
        left = (a for a in self._in_order() if isinstance(a, Prompt) and a.text not in taken)
        return self._tried(number, list(islice(left, self.recipe.trials)), 0)


def _until(count: int, answers: Iterator[Answer]) -> Iterator[Answer]:
    """Answers up to the prompt that is number `count`."""
    for answer in answers:
        yield answer
        count -= isinstance(answer, Prompt)
        if count == 0:
            return
