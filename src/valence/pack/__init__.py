"""Packing: tokens on disk, their order, and the rows that an objective makes of them.

An annotation's text is tokenised once (`write_tokens`) and read by memory map (`TokenStore`).
A training is planned (`plan_pack`) and its rows are rendered as they are needed
(`PackedDataset`). All models see the same text tokens in the same order.
"""

from valence.pack.dataset import PackedDataset, collate
from valence.pack.encoding import align
from valence.pack.group import Group, PackSettings
from valence.pack.mask import positions_and_mask
from valence.pack.plan import PackPlan, plan_pack
from valence.pack.tokenised import Tokenised, tokenise
from valence.pack.tokens import TokenStore, write_tokens
from valence.pack.units import Units, label_units, place

__all__ = [
    "Group",
    "PackPlan",
    "PackSettings",
    "PackedDataset",
    "TokenStore",
    "Tokenised",
    "Units",
    "align",
    "collate",
    "label_units",
    "place",
    "plan_pack",
    "positions_and_mask",
    "tokenise",
    "write_tokens",
]
