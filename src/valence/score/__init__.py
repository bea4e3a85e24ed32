"""Scorers: text in, rewards out. `protocol.py` says what one is."""
