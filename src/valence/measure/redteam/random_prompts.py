"""Prompts of random tokens: what a token-level search is held against.

A search writes texts after one prompt a round, and so does this control, so that both are the
worst of as many scores.
"""

from __future__ import annotations

from collections.abc import Sequence

from valence.measure.redteam.attempt import Stage, Victim
from valence.measure.redteam.budget import Budget
from valence.measure.redteam.journal import Round
from valence.measure.redteam.tokens import Typeable
from valence.recipe.redteam import SearchRecipe


class RandomPrompts:
    """The control of all searches: they try equally many prompts of the same length."""

    stage = Stage.SEARCH_CONTROL

    def __init__(self, victim: Victim, recipe: SearchRecipe, typeable: Typeable) -> None:
        self.victim, self.recipe, self.typeable = victim, recipe, typeable
        self.rounds = recipe.rounds

    def play(self, number: int, past: Sequence[Round]) -> Round:
        """A new random prompt, tried as a search tries its own; number 0 is the searches' start.

        Raises `ModelError` where no prompt can be made of the tokenizer's tokens.
        """
        place = (self.stage, number) if number else (Stage.RANDOM, 0, 0)
        ids = self.typeable.draw(self.recipe.tokens, self.victim.rng(*place))
        attempts = self.victim.attempt(
            [self.typeable.prompt(ids)],
            stage=self.stage,
            number=number,
            count=self.victim.recipe.completions,
        )
        spent = sum((attempt.budget for attempt in attempts), Budget())
        return Round(attempts=tuple(attempts), budget=spent)
