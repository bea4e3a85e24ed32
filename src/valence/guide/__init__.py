"""Decoding: what a model writes, in which mode it is kept while it writes, and what steers it."""

from valence.guide.ask import Ask, Written, asks_for
from valence.guide.band import BandProcessor
from valence.guide.contrast import Contrast, ContrastProcessor
from valence.guide.guides import Ledger
from valence.guide.lookahead import Lookahead
from valence.guide.loop import generate
from valence.guide.measures import Measure, Scored, Verdict
from valence.guide.modes import modes_of
from valence.guide.protocol import Guide, Processed
from valence.guide.rectify import Rectify
from valence.guide.rollback import Rollback
from valence.guide.search import Search
from valence.guide.steer import Steer, steering

__all__ = [
    "Ask",
    "BandProcessor",
    "Contrast",
    "ContrastProcessor",
    "Guide",
    "Ledger",
    "Lookahead",
    "Measure",
    "Processed",
    "Rectify",
    "Rollback",
    "Scored",
    "Search",
    "Steer",
    "Verdict",
    "Written",
    "asks_for",
    "generate",
    "modes_of",
    "steering",
]
