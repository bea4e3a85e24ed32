"""Samples to measurements with uncertainty."""

from valence.measure.ability import text_loss
from valence.measure.rewards import measure_samples
from valence.measure.statistics import Estimate, mean, ratio, share

__all__ = ["Estimate", "mean", "measure_samples", "ratio", "share", "text_loss"]
