"""Attacks on a model in a mode: the evolving prompt pool, and token-level search.

How much harm can a prompt do? A mean over texts says nothing of the worst case, so prompts
are looked for after which the texts are worst. Each attack starts from prompts that nobody
searched for, goes on by rounds, and its worst prompt is scored again with fresh texts,
because the worst of many scores is high by luck too. Harm is the negative reward, and its mean
is the metric's own: over characters or over texts, of what the metric judges of them.
"""

from valence.measure.redteam.attack import red_team
from valence.measure.redteam.early import check_attacks
from valence.measure.redteam.proposer import Proposer

__all__ = ["Proposer", "check_attacks", "red_team"]
