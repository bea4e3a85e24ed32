"""Decoding: what a model writes, and in which mode it is kept while it writes."""

from valence.guide.band import BandProcessor
from valence.guide.loop import generate

__all__ = ["BandProcessor", "generate"]
