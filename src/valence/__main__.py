"""`python -m valence`: the command line, for launchers that start modules."""

from valence.cli import main

if __name__ == "__main__":
    main()
