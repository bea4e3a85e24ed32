"""What a scorer is: text in, rewards out. Read this file, then write yours beside it.

A scorer sees the whole document, because many rewards need context (an indentation is
only wrong relative to the lines above), and answers once per segment. It never raises
for one bad document and never returns a number for one: it returns `Failure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from valence.data import Document, Mark, Result, ScorerId, Segment


class Scorer(Protocol):
    """Text to reward; higher is preferred.

    `id` changes whenever the numbers could; `meaning` says in one sentence what the
    numbers are, unit included.
    """

    @property
    def id(self) -> ScorerId: ...

    @property
    def meaning(self) -> str: ...

    def score(self, document: Document, segments: Sequence[Segment]) -> list[Result]:
        """One result per segment, in order."""
        ...


class Marker(Protocol):
    """A scorer that can also point at what it objects to."""

    def marks(self, text: str) -> list[Mark]:
        """The ranges that lowered the reward, in text order."""
        ...
