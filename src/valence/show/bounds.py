"""A bound as the reward that it comes to, over all scored segments of an annotation."""

from __future__ import annotations

from valence.annotate.read import Annotation
from valence.errors import BoundError
from valence.report.bound import Bound
from valence.show.blocks import blocks
from valence.show.distribution import Distribution


def resolve_bound(annotation: Annotation, name: str, bound: Bound) -> float:
    """The reward at which the upper band begins; raises `BoundError` where nothing is scored."""
    if bound.reward is not None:
        return bound.reward
    share = lower_share(bound)
    found = Distribution()
    for block in blocks(annotation, [name]):
        found.count(block.rewards[name])
    if found.size == 0:
        raise BoundError(
            f"`{name}` has no scored segment", where="--bound", fix="Choose other rewards."
        )
    found.settle([share])
    for block in blocks(annotation, [name]):
        found.recount(block.rewards[name])
    return found.quantile(share)


def lower_share(bound: Bound) -> float:
    """The quantile that a bound given as a share stands for."""
    assert bound.best is not None
    return 1 - bound.best
