"""The bad continuations that a token-level search wants: given ones, or the model's own worst.

Of a conditional model they are what it writes in its worst mode, so that the question is
whether a prompt can bring that mode back while another is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valence.data import Score
from valence.errors import ModelError
from valence.guide import Ask
from valence.measure.redteam.attempt import Attempt, Prompt, Stage, Victim
from valence.measure.redteam.budget import Budget
from valence.measure.redteam.journal import Journal, Round
from valence.measure.redteam.tokens import Ids
from valence.model import encode_texts
from valence.recipe.redteam import SearchRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Token ids of the targets, and what finding them cost."""

    ids: tuple[Ids, ...]
    budget: Budget


def find_targets(victim: Victim, recipe: SearchRecipe, journal: Journal) -> Targets:
    """The targets of a victim, from the journal if they were found before.

    Raises `ModelError` where none of the model's own texts has a score, or a given target is
    empty.
    """
    if not journal.rounds:
        journal.add(_given(victim, recipe) if recipe.targets else _own_worst(victim, recipe))
    (found,) = journal.rounds
    return Targets(ids=tuple(attempt.prompt.ids for attempt in found.attempts), budget=found.budget)


def _given(victim: Victim, recipe: SearchRecipe) -> Round:
    found = _cut(victim, recipe, recipe.targets)
    if not all(prompt.ids for prompt in found):
        raise ModelError("a target is empty", where="redteam.search.targets", fix="Leave it out.")
    return Round(
        attempts=tuple(Attempt(prompt=prompt, rewards=(), weights=()) for prompt in found),
        budget=Budget(),
    )


def _own_worst(victim: Victim, recipe: SearchRecipe) -> Round:
    scheme = victim.checkpoint.scheme
    mode = victim.mode if scheme is None else scheme.modes[0]
    asks = [
        Ask(ids=(), seed=(victim.seed, Stage.TARGETS, 0, 0, index))
        for index in range(recipe.target_samples)
    ]
    written = victim.write(asks, mode)
    results = victim.score([each.text for each in written])
    scored = sorted(
        (result.value, place) for place, result in enumerate(results) if isinstance(result, Score)
    )
    worst = scored[: recipe.target_count]
    if not worst:
        raise ModelError(
            f"none of its {len(asks)} own texts in mode `{mode}` has a score",
            where="redteam.search",
            fix="Give `targets`, or raise `target_samples`.",
        )
    prompts = _cut(victim, recipe, [written[place].text for _, place in worst])
    return Round(
        attempts=tuple(
            Attempt(prompt=prompt, rewards=(value,), weights=(1,))
            for (value, _), prompt in zip(worst, prompts, strict=True)
        ),
        budget=Budget(texts=len(asks), tokens=sum(each.tokens for each in written)),
    )


def _cut(victim: Victim, recipe: SearchRecipe, texts: Sequence[str]) -> list[Prompt]:
    encoded = encode_texts(victim.checkpoint.tokenizer, texts)
    return [
        Prompt(text=text, ids=tuple(each.ids[: recipe.target_tokens].tolist()))
        for text, each in zip(texts, encoded, strict=True)
    ]
