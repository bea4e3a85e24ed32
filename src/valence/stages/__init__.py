"""The stages of a run, in the order of the journey; `run.py` is their table of contents."""
