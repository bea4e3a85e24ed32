"""What a model can do, in each mode, and what that differs by between modes."""

from valence.measure.ability.items import GapLine, Items, ability_gap, findings, gap_table
from valence.measure.ability.loss import LABELLED, loss_items, mode_bands, text_loss
from valence.measure.ability.texts import HeldOutText, read_text, tokenise_text

__all__ = [
    "LABELLED",
    "GapLine",
    "HeldOutText",
    "Items",
    "ability_gap",
    "findings",
    "gap_table",
    "loss_items",
    "mode_bands",
    "read_text",
    "text_loss",
    "tokenise_text",
]
