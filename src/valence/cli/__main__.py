"""`python -m valence.cli`."""

from valence.cli import main

main()
