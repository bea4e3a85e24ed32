"""Objectives: what a model is trained on and towards. One file each."""

from valence.objective.protocol import Objective
from valence.objective.table import OBJECTIVES, build_objective, describe

__all__ = ["OBJECTIVES", "Objective", "build_objective", "describe"]
