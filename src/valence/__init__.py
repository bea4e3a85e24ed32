"""Valence: language models that know good from bad."""

__version__ = "0.1.0"
