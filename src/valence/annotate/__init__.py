"""Rewards beside their text, once: scorers over corpora, with resume and a ledger."""

from valence.annotate.read import Annotated, Annotation
from valence.annotate.run import annotate

__all__ = ["Annotated", "Annotation", "annotate"]
