"""What a model can do, in each mode, and what that differs by between modes."""

from valence.measure.ability.gap import (
    GapLine,
    ability_gap,
    estimate_of,
    evidence_of,
    findings,
    gap_table,
)
from valence.measure.ability.loss import loss_items, mode_bands, text_loss
from valence.measure.ability.texts import HeldOutText, read_text, tokenise_text

__all__ = [
    "GapLine",
    "HeldOutText",
    "ability_gap",
    "estimate_of",
    "evidence_of",
    "findings",
    "gap_table",
    "loss_items",
    "mode_bands",
    "read_text",
    "text_loss",
    "tokenise_text",
]
