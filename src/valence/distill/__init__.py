"""A slow scorer's rewards learnt by a small and fast one, and how faithful that one is."""

from valence.distill.evaluate import evaluate
from valence.distill.fidelity import Fidelity
from valence.distill.run import distill

__all__ = ["Fidelity", "distill", "evaluate"]
