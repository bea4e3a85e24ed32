"""How good a scorer is at telling hits, from labelled texts, and rates corrected for that."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from valence.corpus.readers import read_corpus
from valence.data import Document, Score, Segment
from valence.errors import CorpusError
from valence.measure.scoring import is_hit, judge_texts, reward_of
from valence.measure.statistics import Estimate, corrected_rate, uncorrectable
from valence.recipe import CorpusRecipe, DetectorRecipe, MetricRecipe
from valence.score.table import build_scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """Counts of labelled texts: flagged or not, truly hits or not; and how many had neither."""

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int
    failures: int

    def corrected(self, flags: Sequence[bool], clusters: Sequence[int] | None = None) -> Estimate:
        """The share of true hits, from what was flagged [N], of samples in clusters [N]."""
        return corrected_rate(
            flags,
            clusters=clusters,
            true_positives=self.true_positives,
            false_negatives=self.false_negatives,
            false_positives=self.false_positives,
            true_negatives=self.true_negatives,
        )


def calibrate(metric: MetricRecipe, recipe: DetectorRecipe, *, seed: int) -> Detector:
    """Let the metric's scorer judge labelled texts as it judges samples.

    Raises what readers and scorers raise, and `CorpusError` where labels are all of one kind or
    the scorer tells nothing about them.
    """
    corpus = CorpusRecipe(reader="files", paths=recipe.paths, text_column=recipe.text_column)
    documents = [item for item in read_corpus(corpus, seed) if isinstance(item, Document)]
    if len(documents) > recipe.count:
        documents = random.Random(seed).sample(documents, recipe.count)
    labels = build_scorer(recipe.label)
    truths = [labels.score(d, [Segment(start=0, end=len(d.text))])[0] for d in documents]
    judged = judge_texts(build_scorer(metric.scorer), [d.text for d in documents])
    counts = {(flag, truth): 0 for flag in (True, False) for truth in (True, False)}
    failures = 0
    for truth, one in zip(truths, judged, strict=True):
        reward = reward_of(one)
        if reward is None or not isinstance(truth, Score):
            failures += 1
        else:
            counts[is_hit(metric.scale * reward, metric), truth.value < 0] += 1
    found = {
        "true_positives": counts[True, True],
        "false_negatives": counts[False, True],
        "false_positives": counts[True, False],
        "true_negatives": counts[False, False],
    }
    why = uncorrectable(**found)
    if why is not None:
        raise CorpusError(
            f"the detector's errors cannot be corrected for: {why}",
            where=", ".join(recipe.paths),
            fix="Give labelled texts of both kinds (a label below 0 is a hit), or another `hit`.",
        )
    return Detector(**found, failures=failures)
