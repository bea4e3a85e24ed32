"""Scoring samples under metrics, in processes beside the one that writes them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache, partial

from valence.annotate.judge import one_thread, score_document
from valence.annotate.local import Submit, worker_pool
from valence.data import Document, Failure, Result, Sample, Score, Segment
from valence.recipe import MetricRecipe
from valence.score.pep8 import complete_statements
from valence.score.protocol import BatchScorer, Scorer
from valence.score.table import build_scorer, canonical

FEW = 64
"""Up to so many samples are scored here: processes would take longer to start."""

AT_ONCE = 16
"""Samples that a process is given together."""


def complete_lines(text: str) -> str:
    """The text up to and with its last line break."""
    return text[: max(text.rfind("\n"), text.rfind("\r")) + 1]


CUTS: dict[str, Callable[[str], str]] = {
    "none": str,
    "complete_lines": complete_lines,
    "complete_statements": complete_statements,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One sample's result under one metric: the characters it stands on, the reward or failure."""

    chars: int
    result: Result


def finished_part(text: str, metric: MetricRecipe, *, ended: bool) -> str:
    """What a metric judges of a text: one that ran into the length limit may lose its end."""
    return text if ended else CUTS[metric.cut](text)


def judged_text(sample: Sample, metric: MetricRecipe, *, whole: bool = False) -> str:
    """The part of a sample that a metric judges: what was written, or the prompt with it.

    A sample that ran into the length limit may first lose its unfinished end.
    """
    text = sample.prompt + sample.text if whole else sample.text
    return finished_part(text, metric, ended=sample.ended)


def judge_texts(scorer: Scorer, texts: Sequence[str]) -> list[Judged]:
    """Each text as one document; an empty one is a Failure."""
    documents = [Document(id=str(n), text=text, source="") for n, text in enumerate(texts)]
    items = [(d, [Segment(start=0, end=len(d.text))]) for d in documents if d.text]
    found: dict[str, Result] = {}
    if isinstance(scorer, BatchScorer) and len(items) > 1:
        # One bad text may fail all of a call; then each is asked about alone.
        with contextlib.suppress(Exception):
            answers = scorer.score_many(items)
            found = {d.id: one for (d, _), (one,) in zip(items, answers, strict=True)}
    for document, whole in items:
        if document.id not in found:
            (found[document.id],) = score_document(scorer, document, whole)
    empty = Failure(stage="measure", kind="empty", message="no text")
    return [Judged(chars=len(d.text), result=found.get(d.id, empty)) for d in documents]


@dataclass(slots=True)
class Scoring:
    """Scores samples under metrics; `begin` may be called while more are being written.

    `whole`: the prompt is scored with what was written. `submit` gives to processes; `beside`
    at once, while more samples are written, or else all of them at the end.
    """

    metrics: Mapping[str, MetricRecipe]
    whole: bool = False
    submit: Submit | None = None
    beside: bool = True
    _waiting: list[Sample] = field(default_factory=list)
    _begun: list[tuple[str, list[int], Future[list[Judged]]]] = field(default_factory=list)

    def begin(self, sample: Sample) -> None:
        """Take a sample; processes beside this one score it meanwhile, if there are any."""
        self._waiting.append(sample)
        if self.beside and self.submit is not None and len(self._waiting) >= AT_ONCE:
            self._flush(self.submit, self._waiting)
            self._waiting.clear()

    def _flush(self, submit: Submit, samples: Sequence[Sample]) -> None:
        numbers = [sample.index for sample in samples]
        for name, metric in self.metrics.items():
            texts = [judged_text(s, metric, whole=self.whole) for s in samples]
            task = partial(_judge_there, canonical(metric.scorer), texts)
            self._begun.append((name, numbers, submit(task)))

    def answers(self) -> dict[str, dict[int, Judged]]:
        """For each metric what it says of every sample taken, by the sample's index."""
        found: dict[str, dict[int, Judged]] = {name: {} for name in self.metrics}
        if self.submit is not None and len(self._waiting) > AT_ONCE:
            for first in range(0, len(self._waiting), AT_ONCE):
                self._flush(self.submit, self._waiting[first : first + AT_ONCE])
            self._waiting.clear()
        if self._waiting:
            for name, metric in self.metrics.items():
                texts = [judged_text(s, metric, whole=self.whole) for s in self._waiting]
                judged = judge_texts(build_scorer(metric.scorer), texts)
                numbers = [sample.index for sample in self._waiting]
                found[name].update(zip(numbers, judged, strict=True))
            self._waiting.clear()
        for name, numbers, future in self._begun:
            found[name].update(zip(numbers, future.result(), strict=True))
        self._begun.clear()
        return found


@contextlib.contextmanager
def scoring_pool(workers: int) -> Iterator[Submit | None]:
    """Processes to score in; None for none, where this process scores itself."""
    if workers == 0:
        yield None
        return
    with worker_pool(workers) as submit:
        yield submit


def _judge_there(spec: str, texts: Sequence[str]) -> list[Judged]:
    """`judge_texts` in a process of its own, which builds each scorer once."""
    with one_thread():
        return judge_texts(_built(spec), texts)


@cache
def _built(spec: str) -> Scorer:
    return build_scorer(json.loads(spec))


def reward_of(judged: Judged) -> float | None:
    """The reward; None where there is none."""
    return judged.result.value if isinstance(judged.result, Score) else None


def is_hit(value: float, metric: MetricRecipe) -> bool:
    """Whether a metric's value is on the wrong side of its `hit`."""
    assert metric.hit is not None
    return value > metric.hit if metric.scale < 0 else value < metric.hit
