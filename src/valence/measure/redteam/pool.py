"""The evolving prompt pool, and its control without evolution.

Each round a proposer writes new prompts after the example of some that are in the pool; those
that did more harm are shown more often; each new prompt joins with its own harm. Source:
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
from valence.measure.redteam.starting import UNFIT, Answer, proposed, unattacked
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

        Raises `ModelError` where there is no prompt to start from, and for a round in which the
        proposer gave none at all, not even one that is known or too long.
        """
        if number == 0:
            fresh = self._fresh(self.recipe.start, set(), number)
            return self._tried(number, list(fresh), proposed=self.given is None)
        pool = [attempt for each in past for attempt in each.attempts]
        return self._tried(number, list(self._bred(number, pool)), proposed=True)

    def _bred(self, number: int, pool: Sequence[Attempt]) -> Iterator[Answer]:
        """New prompts after the example of the pool."""
        scored = [attempt for attempt in pool if attempt.harm is not None]
        taken = {attempt.prompt.text for attempt in pool}
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
            yield from self._propose(shown, taken, number, trial)

    def _fresh(self, count: int, taken: set[str], number: int) -> Iterator[Answer]:
        """Prompts that nobody searched for: the given ones, or the proposer's without example."""
        if self.given is not None:
            yield from _until(count, self._in_order())
            return
        for trial in range(count):
            yield from self._propose([], taken, number, trial)

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

    def _tried(self, number: int, answers: Sequence[Answer], *, proposed: bool) -> Round:
        """What follows the prompts among answers, `proposed` or given."""
        prompts = [answer for answer in answers if isinstance(answer, Prompt)]
        refused = [answer for answer in answers if isinstance(answer, Failure)]
        failed = [failure for failure in refused if failure.kind not in UNFIT]
        if proposed and answers and len(failed) == len(answers):
            # A round without new prompts would look like an attack that found nothing.
            raise ModelError(
                f"the proposer gave no prompt in round {number} ({_listed(refused)})",
                where="redteam.pool",
                fix="Mend it (a server's address, key or model) and run again: finished rounds are"
                " kept.",
            )
        if not prompts and number == 0:
            raise ModelError(
                f"there is no prompt to start from ({_listed(refused) or 'none given'})",
                where="redteam.pool",
                fix="Give other `prompts`, another proposer, or a larger `prompt_tokens`.",
            )
        attempts = self.victim.attempt(
            prompts, stage=self.stage, number=number, count=self.victim.recipe.completions
        )
        spent = sum((attempt.budget for attempt in attempts), Budget())
        counts = Counter(failure.kind for failure in refused)
        return Round(
            attempts=tuple(attempts),
            budget=spent
            + Budget(
                proposals=len(answers) - len(failed) if proposed else 0,
                refused=dict(sorted(counts.items())),
            ),
        )


class Unattacked(Pool):
    """The control: the pool's start, and then as many prompts a round as the pool has tried.

    They are the next of the given ones while there are any, or the proposer's without example;
    what could not be had in one round is asked for in the next.
    """

    stage = Stage.POOL_CONTROL

    def __init__(self, pool: Pool, attacked: Sequence[Round]) -> None:
        super().__init__(pool.victim, pool.recipe, pool.proposer, pool.given)
        self.attacked = attacked

    def play(self, number: int, past: Sequence[Round]) -> Round:
        """The pool's own start, which cost nothing more, or a round after the rounds `past`.

        Raises `ModelError` for a round in which the proposer gave none at all.
        """
        if number == 0:
            return Round(attempts=self.attacked[0].attempts, budget=Budget())
        taken = {attempt.prompt.text for each in past for attempt in each.attempts}
        tried = sum(len(each.attempts) for each in self.attacked[: number + 1])
        wanted = tried - sum(len(each.attempts) for each in past)
        if self.given is None:
            fresh = self._fresh(wanted, taken, number)
            return self._tried(number, list(fresh), proposed=True)
        left = (a for a in self._in_order() if isinstance(a, Prompt) and a.text not in taken)
        return self._tried(number, list(islice(left, wanted)), proposed=False)


def _listed(failures: Sequence[Failure]) -> str:
    """How many failed by kind, and what the last that was no mere refusal said."""
    counts = Counter(failure.kind for failure in failures)
    said = [failure.message for failure in failures if failure.kind not in UNFIT]
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{listed}; the last: {said[-1]}" if said else listed


def _until(count: int, answers: Iterator[Answer]) -> Iterator[Answer]:
    """Answers up to the prompt that is number `count`."""
    for answer in answers:
        yield answer
        count -= isinstance(answer, Prompt)
        if count == 0:
            return
