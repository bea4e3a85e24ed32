"""Fitting the linear student: below which of several thresholds is the teacher's reward?

One number b for each segment (`score.student.linear`, less its sign) serves every threshold:
P(reward < threshold k) = logistic(b + c_k), the proportional odds of McCullagh 1980. The
bound is one of the thresholds and counts as much as all others together. Where the teacher
marks what lowered its reward, each token's z also learns whether the token is in a mark.

Legend: [N] segments, [T] tokens, [U] distinct tokens, [F] buckets, [A] buckets that occur,
[K] thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from valence.display import Progress, unseen
from valence.distill.design import Design, design
from valence.distill.examples import Examples
from valence.score.student import TOKEN_OFFSET
from valence.show.ranking import Ranking

Floats = npt.NDArray[np.float64]

STRENGTHS = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.12, 0.06)
"""L2 penalties on the weights of the worst token, in segments, strongest first."""

WHOLE = 10.0
"""How much stronger the weights for the text as a whole are held down."""

POINTED = (0.3, 0.0)
"""What a token's own loss counts beside a segment's, where the teacher marks what it means."""

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
STEPS = 120


@dataclass(frozen=True, slots=True)
class Targets:
    """`below` [N, K]: is the reward below the threshold; `share` [K] of the loss; `weights` [N]."""

    below: Floats
    share: Floats
    weights: Floats


def targets(examples: Examples, bound: float) -> Targets:
    """Thresholds at quantiles of the rewards, and the bound, each partition once."""
    quantiles = np.quantile(examples.rewards, THRESHOLDS, method="higher")
    found: dict[bytes, tuple[npt.NDArray[np.bool_], float]] = {}
    for threshold in (bound, *quantiles.tolist()):
        below = examples.rewards < threshold
        if below.any() and not below.all():
            found.setdefault(below.tobytes(), (below, float(threshold == bound)))
    others = len(found) - 1
    share = np.array([0.5 if own else 0.5 / max(others, 1) for _, own in found.values()])
    return Targets(
        np.stack([below for below, _ in found.values()], axis=1).astype(np.float64),
        share / share.sum(),
        examples.weights / examples.weights.mean(),
    )


@dataclass(frozen=True, slots=True)
class Fit:
    """The table [F, 2], and what was tried: weight of the marks, penalty, and AUROC on the
    calibration split.
    """

    table: npt.NDArray[np.float32]
    tried: tuple[tuple[float, float, float], ...]


def fit_linear(
    train: Examples,
    calibration: Examples,
    bound: float,
    bits: int,
    on_progress: Progress = unseen,
) -> Fit:
    """The student with the penalty that does best at the bound on the calibration split."""
    made = _Problem(design(train.texts, bits, train.marks), targets(train, bound))
    judged = _Scored(design(calibration.texts, bits))
    lower = calibration.rewards < bound
    best: tuple[float, Floats] | None = None
    tried: list[tuple[float, float, float]] = []
    ways = POINTED if made.pointed.any() else (0.0,)
    for way, pointed in enumerate(ways):
        start = made.start()
        ahead = 0.0
        for number, strength in enumerate(STRENGTHS):
            on_progress(way * len(STRENGTHS) + number, len(ways) * len(STRENGTHS))
            start = made.solve(start, strength, pointed)
            table = made.table(start)
            found = Ranking(-judged.badness(table), lower).measure(calibration.weights)
            auroc = 0.5 if found.auroc is None else found.auroc
            tried.append((pointed, strength, round(auroc, 6)))
            if best is None or auroc > best[0]:
                best = auroc, table
            if auroc < ahead:
                break
            ahead = auroc
    assert best is not None
    return Fit(best[1].astype(np.float32), tuple(tried))


class _Scored:
    """Badness [N] of fixed segments under a table [F, 2]."""

    def __init__(self, made: Design) -> None:
        self.made = made
        self.roots = np.sqrt(made.lengths)

    def badness(self, table: Floats) -> Floats:
        by_token = (self.made.tokens @ table)[self.made.kinds] + table[self.made.pairs]
        whole = np.add.reduceat(by_token[:, 0], self.made.first) / self.roots
        odds = np.add.reduceat(_odds(by_token[:, 1]), self.made.first)
        return np.asarray(whole + np.log(odds), dtype=np.float64)


def _odds(z: Floats) -> Floats:
    return np.asarray(np.exp(np.clip(z + TOKEN_OFFSET, -60, 60)), dtype=np.float64)


class _Problem:
    """The loss over one training set and its gradient, with only the buckets that occur."""

    def __init__(self, made: Design, aims: Targets) -> None:
        self.aims, self.first, self.kinds = aims, made.first, made.kinds
        self.buckets = made.tokens.shape[1]
        used = np.zeros(self.buckets, dtype=np.bool_)
        used[made.tokens.indices] = used[made.pairs] = True
        used[0] = True  # Bucket 0 stands for no feature, and keeps the weight 0.
        self.used = np.flatnonzero(used)
        small = np.cumsum(used) - 1
        self.pairs = small[made.pairs]
        self.tokens = made.tokens[:, self.used].astype(np.float64)
        self.turned = self.tokens.T.tocsr()
        self.segments, self.roots = made.segments, np.sqrt(made.lengths)
        self.known, self.pointed = made.marked >= 0, made.marked > 0

    def start(self) -> Floats:
        """All weights 0, and each threshold where its share of the segments puts it."""
        shares = np.average(self.aims.below, axis=0, weights=self.aims.weights)
        level = np.log(np.mean(self.roots**2)) + float(TOKEN_OFFSET)
        levels = np.log(shares / (1 - shares)) - level
        return np.concatenate([np.zeros(2 * len(self.used)), levels, [0.0]])

    def table(self, point: Floats) -> Floats:
        """The weights of a point as a table [F, 2]."""
        whole = np.zeros((self.buckets, 2))
        whole[self.used] = point[: 2 * len(self.used)].reshape(-1, 2)
        whole[0] = 0
        return whole

    def solve(self, start: Floats, strength: float, pointed: float) -> Floats:
        """The minimum from `start` under the penalty `strength`, marks weighed by `pointed`."""
        found = minimize(
            self._loss,
            start,
            args=(strength / len(self.first) * np.array([WHOLE, 1.0]), pointed),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": STEPS, "maxcor": 8},
        )
        return np.asarray(found.x, dtype=np.float64)

    def _loss(self, point: Floats, penalty: Floats, pointed: float) -> tuple[float, Floats]:
        size = len(self.used)
        table, levels = point[: 2 * size].reshape(size, 2), point[2 * size : -1]
        by_token = (self.tokens @ table)[self.kinds] + table[self.pairs]
        odds_T = _odds(by_token[:, 1])
        odds_N = np.add.reduceat(odds_T, self.first)
        whole_N = np.add.reduceat(by_token[:, 0], self.first) / self.roots
        logits = (whole_N + np.log(odds_N))[:, None] + levels
        aims, count = self.aims, len(self.first)
        losses = np.logaddexp(0, logits) - aims.below * logits
        value = float(aims.weights @ (losses @ aims.share)) / count
        value += 0.5 * float((penalty * table**2).sum())
        slopes = (expit(logits) - aims.below) * aims.share * (aims.weights / count)[:, None]
        slope_N = slopes.sum(axis=1)
        own, slopes_T = self._own(by_token[:, 1] + point[-1], pointed / count)
        by_token[:, 0] = (slope_N / self.roots)[self.segments]
        by_token[:, 1] = (slope_N / odds_N)[self.segments] * odds_T + slopes_T
        parts = self._back(by_token, penalty * table).ravel(), slopes.sum(axis=0)
        return value + own, np.concatenate([*parts, [slopes_T.sum()]])

    def _own(self, logits_T: Floats, weight: float) -> tuple[float, Floats]:
        """The loss of the tokens whose marks are known, and its slopes [T]."""
        slopes = np.zeros(len(logits_T))
        if weight == 0:
            return 0.0, slopes
        logits, marked = logits_T[self.known] + float(TOKEN_OFFSET), self.pointed[self.known]
        slopes[self.known] = weight * (expit(logits) - marked)
        return weight * float((np.logaddexp(0, logits) - marked * logits).sum()), slopes

    def _back(self, by_token: Floats, total: Floats) -> Floats:
        """The slopes of tokens [T, 2] carried over to the weights, added to `total` [A, 2]."""
        count = self.tokens.shape[0]
        kinds = [np.bincount(self.kinds, by_token[:, at], minlength=count) for at in (0, 1)]
        total += self.turned @ np.stack(kinds, axis=1)
        for at in (0, 1):
            total[:, at] += np.bincount(self.pairs, by_token[:, at], minlength=len(total))
        total[0] = 0
        return total
