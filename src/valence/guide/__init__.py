"""Decoding: what a model writes, and in which mode it is kept while it writes."""

from valence.guide.ask import Ask, Written, asks_for
from valence.guide.band import BandProcessor
from valence.guide.loop import generate
from valence.guide.modes import modes_of

__all__ = ["Ask", "BandProcessor", "Written", "asks_for", "generate", "modes_of"]
