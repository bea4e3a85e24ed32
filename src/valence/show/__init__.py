"""Looking at an annotation: how rewards lie, what they are of, where two scorers disagree."""

from valence.show.run import show

__all__ = ["show"]
