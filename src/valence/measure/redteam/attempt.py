"""One prompt tried on a model: the texts written after it, and their rewards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from math import fsum

import numpy as np

from valence.control import ControlScheme
from valence.data import Failure, Result, Score
from valence.errors import ScorerError
from valence.guide import Ask, Written, generate
from valence.measure.redteam.budget import Budget
from valence.measure.scoring import finished_part
from valence.model import Checkpoint
from valence.precision import Precision
from valence.recipe import MetricRecipe
from valence.recipe.redteam import RedTeamRecipe

Reward = Callable[[Sequence[str]], list[Result]]
"""Texts without their prompts to one result each; higher is preferred."""


class Stage(IntEnum):
    """What random numbers are for; every seed begins with the run's and one of these."""

    UNPROMPTED = 0
    POOL = 1
    POOL_CONTROL = 2
    RANDOM = 3
    GREEDY = 4
    GCG = 5
    TARGETS = 6
    CONFIRM = 7
    DRAW = 8
    SEARCH_CONTROL = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt, and its tokens as the model reads them."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A prompt, the rewards of texts written after it, and how many have none, by kind.

    A reward counts by its weight: the characters that it stands on, or 1, as the metric says.
    `tokens` are the text tokens of all those texts; `worst` is the text with the lowest reward.
    `objective` is the mean log-probability of the targets (nats per token), where there are any.
    """

    prompt: Prompt
    rewards: tuple[float, ...]
    weights: tuple[int, ...]
    failures: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    worst: str | None = None
    objective: float | None = None

    @property
    def harm(self) -> float | None:
        """The negative of the metric's mean, before its scale; None if no text has a reward."""
        if not self.rewards:
            return None
        weighted = (r * w for r, w in zip(self.rewards, self.weights, strict=True))
        return -fsum(weighted) / sum(self.weights)

    @property
    def budget(self) -> Budget:
        """What writing the texts cost."""
        return Budget(texts=len(self.rewards) + sum(self.failures.values()), tokens=self.tokens)


@dataclass(frozen=True, slots=True)
class Victim:
    """A model in a mode that is attacked, and what its texts are scored with.

    `metric` says what of a text the `reward` sees, and how much it counts in a mean.
    """

    checkpoint: Checkpoint
    known: ControlScheme | None
    mode: str
    recipe: RedTeamRecipe
    metric: MetricRecipe
    reward: Reward
    seed: int
    precision: Precision = "fp32"

    def rng(self, *place: int) -> np.random.Generator:
        """The random numbers of one place in the work."""
        return np.random.default_rng((self.seed, Stage.DRAW, *place))

    def attempt(
        self, prompts: Sequence[Prompt], *, stage: Stage, number: int, count: int
    ) -> list[Attempt]:
        """Write `count` texts after each prompt and score them.

        `stage` and `number` seed the texts. Raises `ModelError` for a prompt that does not fit
        and `ControlError` for a mode that the model does not know.
        """
        asks = [
            Ask(ids=prompt.ids, seed=(self.seed, stage, number, place, index))
            for place, prompt in enumerate(prompts)
            for index in range(count)
        ]
        written = self.write(asks, self.mode)
        results = self.score([each.text for each in written])
        return [
            self._attempt(prompt, written[part], results[part])
            for place, prompt in enumerate(prompts)
            for part in [slice(place * count, (place + 1) * count)]
        ]

    def write(self, asks: Sequence[Ask], mode: str) -> list[Written]:
        """The model's texts in a mode, in the order of the asks: what the metric judges of each."""
        found = dict(
            generate(
                self.checkpoint,
                self.known,
                mode,
                asks,
                max_tokens=self.recipe.max_tokens,
                temperature=self.recipe.temperature,
                top_p=self.recipe.top_p,
                batch=self.recipe.batch,
                precision=self.precision,
            )
        )
        return [
            replace(each, text=finished_part(each.text, self.metric, ended=each.ended))
            for each in (found[index] for index in range(len(asks)))
        ]

    def score(self, texts: Sequence[str]) -> list[Result]:
        """A result per text; an empty one is a `Failure` that nobody is asked about.

        Raises `ScorerError` if the reward does not answer once per text.
        """
        some = [text for text in texts if text]
        answers = self.reward(some) if some else []
        if len(answers) != len(some):
            raise ScorerError(
                f"the reward gave {len(answers)} results for {len(some)} texts",
                where="redteam",
                fix="A reward gives one result for each text.",
            )
        left = iter(answers)
        empty = Failure(stage="measure", kind="empty", message="no text")
        return [next(left) if text else empty for text in texts]

    def _attempt(
        self, prompt: Prompt, written: Sequence[Written], results: Sequence[Result]
    ) -> Attempt:
        scored = [
            (result.value, each.text)
            for each, result in zip(written, results, strict=True)
            if isinstance(result, Score)
        ]
        failed = Counter(result.kind for result in results if isinstance(result, Failure))
        by_chars = self.metric.weight == "chars"
        return Attempt(
            prompt=prompt,
            rewards=tuple(value for value, _ in scored),
            weights=tuple(len(text) if by_chars else 1 for _, text in scored),
            failures=dict(sorted(failed.items())),
            tokens=sum(each.tokens for each in written),
            worst=min(scored)[1] if scored else None,
        )


def worst_of(attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt with the most harm, the first of equals; None if none has a score."""
    scored = [attempt for attempt in attempts if attempt.harm is not None]
    return max(scored, key=lambda attempt: attempt.harm or 0.0, default=None)
