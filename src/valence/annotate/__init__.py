"""Rewards beside their text, once: scorers over corpora, with resume and a ledger."""

from valence.annotate.run import Annotated, annotate, write_documents

__all__ = ["Annotated", "annotate", "write_documents"]
