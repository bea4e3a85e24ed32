"""Verdict: plain text, and after EOS whether what was said is good.

No token follows EOS in ordinary pretraining, so the position after it is free to carry a
measure of what was said (Soatto et al. 2023, arXiv 2305.18449; they did not train it). The
side branches that teach it are put into the rows by packing, for this objective and for any
other whose entry asks for a verdict; the loss of text is plain.
"""

from __future__ import annotations

from dataclasses import dataclass

from valence.objective.mle import Mle


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Mle):
    """Maximum likelihood; control tokens are answers after EOS and never stand before text."""

    name = "verdict"
