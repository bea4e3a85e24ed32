"""What attacks found, as rows of results and lines to draw.

The worst score by round is that of the worst of many prompts, so it is high by luck too; its
interval, over texts, does not know of the choice. The row of an attack is therefore the worst
prompt's score in fresh texts, and the chosen score stands beside it as `_selected`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from valence.data import Findings, Measurement, Series
from valence.measure.redteam.attempt import Attempt, worst_of
from valence.measure.redteam.budget import Budget
from valence.measure.redteam.journal import Journal
from valence.measure.statistics import Estimate, line, ratio

NOTHING = Estimate(value=None, low=None, high=None, count=0)


@dataclass(frozen=True, slots=True)
class Labels:
    """Whose numbers they are. `scale` times a reward is the metric's number."""

    model: str
    mode: str
    metric: str
    seed: int
    scale: float
    resamples: int

    def row(self, name: str, estimate: Estimate, failures: int) -> Measurement:
        """A row called redteam_NAME@METRIC."""
        return estimate.measurement(
            model=self.model,
            mode=self.mode,
            metric=f"redteam_{name}@{self.metric}",
            failures=failures,
            seed=self.seed,
        )

    def line(
        self, kind: str, name: str, x: Sequence[float], estimates: Sequence[Estimate]
    ) -> Series:
        """A line called NAME@METRIC."""
        return line(
            kind,
            f"{name}@{self.metric}",
            x,
            estimates,
            model=self.model,
            mode=self.mode,
            seed=self.seed,
        )

    def score(self, attempt: Attempt | None) -> Estimate:
        """The metric's mean of one prompt's texts, with an interval over them."""
        if attempt is None:
            return NOTHING
        return self._mean([attempt], None)

    def over_prompts(self, attempts: Sequence[Attempt]) -> Estimate:
        """The metric's mean of several prompts' texts, with an interval over the prompts."""
        return self._mean(attempts, [at for at, a in enumerate(attempts) for _ in a.rewards])

    def _mean(self, attempts: Sequence[Attempt], prompts: Sequence[int] | None) -> Estimate:
        """As the metric itself: a ratio of sums, of harm over characters or over texts."""
        counted = [each for a in attempts for each in zip(a.rewards, a.weights, strict=True)]
        return ratio(
            [self.scale * reward * weight for reward, weight in counted],
            [weight for _, weight in counted],
            clusters=prompts,
            resamples=self.resamples,
            seed=self.seed,
        )


def found_by(name: str, journal: Journal, labels: Labels, before: Budget) -> Findings:
    """Rows and lines of one attack; `before` is what was spent before its first round.

    The row `_prompts` counts those that were tried, the start among them, and as its failures
    those that could not be. Lines: `redteam` is the worst score so far by round, `redteam_calls`
    the same by calls of models, `redteam_objective` the search's objective by round.
    """
    chosen = worst_so_far(journal)
    curve = [labels.score(attempt) for attempt in chosen]
    fresh = journal.confirmed.attempts if journal.confirmed is not None else ()
    confirmed = fresh[0] if fresh else None
    spent = accumulate((each.budget for each in journal.rounds), initial=before)
    calls = [float(budget.calls) for budget in spent][1:]
    budget, tried = before + journal.budget, len(journal.attempts)
    refused = sum(budget.refused.values())
    rows = (
        labels.row(name, labels.score(confirmed), _failures([confirmed])),
        labels.row(f"{name}_selected", curve[-1], _failures([chosen[-1]])),
        labels.row(f"{name}_calls", exactly(float(budget.calls), budget.calls), 0),
        labels.row(f"{name}_prompts", exactly(float(tried), tried), refused),
    )
    rounds = [float(number) for number in range(len(curve))]
    lines = [
        labels.line("redteam", name, rounds, curve),
        labels.line("redteam_calls", name, calls, curve),
    ]
    objectives = [each.attempts[-1].objective for each in journal.rounds if each.attempts]
    if objectives and None not in objectives:
        reached = [exactly(value, 1) for value in objectives]
        lines.append(labels.line("redteam_objective", name, rounds, reached))
    return Findings(rows=rows, series=tuple(lines))


def without_attack(name: str, attempts: Sequence[Attempt], labels: Labels) -> Findings:
    """The mean over prompts that nobody searched for."""
    row = labels.row(name, labels.over_prompts(attempts), _failures(attempts))
    return Findings(rows=(row,))


def worst_so_far(journal: Journal) -> list[Attempt | None]:
    """After each round the prompt with the most harm until then; None if none has a score."""
    seen: list[Attempt] = []
    found = []
    for each in journal.rounds:
        seen += each.attempts
        found.append(worst_of(seen))
    return found


def facts(journals: Mapping[str, Journal]) -> dict[str, object]:
    """What each attack cost and the worst prompt that it found, for a reader."""
    told: dict[str, object] = {}
    for name, journal in journals.items():
        worst = worst_of(journal.attempts)
        budget = journal.budget
        told[name] = {
            "calls": budget.calls,
            "texts": budget.texts,
            "tokens": budget.tokens,
            "proposals": budget.proposals,
            "forward_passes": budget.forward,
            "backward_passes": budget.backward,
            "unreadable": budget.unreadable,
            "refused": dict(budget.refused),
            "prompts": len(journal.attempts),
            "without_score": sum(attempt.harm is None for attempt in journal.attempts),
            "worst_prompt": None if worst is None else worst.prompt.text,
            "worst_text": None if worst is None else worst.worst,
        }
    return told


def exactly(value: float | None, count: int) -> Estimate:
    """A number that was not estimated."""
    return Estimate(value=value, low=None, high=None, count=count)


def _failures(attempts: Sequence[Attempt | None]) -> int:
    return sum(sum(a.failures.values()) for a in attempts if a is not None)
