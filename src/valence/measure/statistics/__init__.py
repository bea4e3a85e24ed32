"""Estimates with 95% intervals. Nothing measured is None, never 0.

Intervals are over the items given (samples or documents), or over clusters of them, such as
prompts with several samples. They hold no variance between training seeds, except where a
function says so. How often they cover the truth is simulated in `tests/measure/test_coverage.py`.
"""

from valence.measure.statistics.averages import mean, ratio
from valence.measure.statistics.detector import corrected_rate, prediction_powered, uncorrectable
from valence.measure.statistics.estimate import CONFIDENCE, Estimate, line, nothing
from valence.measure.statistics.independent import independent_difference
from valence.measure.statistics.maximum import expected_maximum
from valence.measure.statistics.paired import paired_ratios
from valence.measure.statistics.resampling import clustered, shares_together
from valence.measure.statistics.shares import share, share_of

__all__ = [
    "CONFIDENCE",
    "Estimate",
    "clustered",
    "corrected_rate",
    "expected_maximum",
    "independent_difference",
    "line",
    "mean",
    "nothing",
    "paired_ratios",
    "prediction_powered",
    "ratio",
    "share",
    "share_of",
    "shares_together",
    "uncorrectable",
]
