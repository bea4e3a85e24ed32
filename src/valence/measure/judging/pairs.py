"""Pairs: which of two documents is preferred, by the verdict at the end of each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from valence.corpus.pairs import CHOSEN, REJECTED, row_of
from valence.data import Findings
from valence.guide.verdict import Floats
from valence.measure.calibration import pairwise_accuracy
from valence.measure.judging.prefixes import Told
from valence.pack import Tokenised
from valence.pack.branches import JudgedUnits
from valence.pack.ragged import Offsets

PAIRWISE = "pairwise_accuracy"


def pairs_in(text: Tokenised, units: JudgedUnits) -> Offsets:
    """The last unit of the preferred and of the other document of each pair [P, 2].

    A pair of which a document is not there, or has no unit with a band at its end, is left out.
    """
    last: dict[str, int] = {}
    for unit in np.flatnonzero(units.ends == text.documents[units.documents + 1]):
        if text.names is not None:
            last[text.names[int(units.documents[unit])]] = int(unit)
    rows = [row_of(name) for name in last if name.endswith(CHOSEN)]
    both = [(last[row + CHOSEN], last[row + REJECTED]) for row in rows if row + REJECTED in last]
    return np.array(both, dtype=np.int64).reshape(-1, 2)


def pair_findings(told: Told, pairs: Offsets, said: Mapping[str, Floats]) -> Findings:
    """How often P(good) is higher for the preferred one; a tie counts a half.

    `said` [U] at the end of each unit. The two of a pair share how they begin, so that this is
    the verdict on what is different as well. Exact intervals. Pairs of which a document does not
    fit into a row are failures. Nothing where there are no pairs.
    """
    rows = []
    for judge, probabilities in said.items() if len(pairs) else ():
        one, other = probabilities[pairs].T
        read = ~(np.isnan(one) | np.isnan(other))
        estimate = pairwise_accuracy(one[read], other[read])
        rows.append(told.row(estimate, judge, PAIRWISE, int((~read).sum())))
    return Findings(rows=tuple(rows))
