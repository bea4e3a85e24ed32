"""Samples to measurements with uncertainty."""

from valence.measure.ability import held_out_loss
from valence.measure.rewards import measure_samples
from valence.measure.statistics import Estimate, mean, ratio, share

__all__ = ["Estimate", "held_out_loss", "mean", "measure_samples", "ratio", "share"]
