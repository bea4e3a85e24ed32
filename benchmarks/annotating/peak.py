"""Annotate one file of JSON lines with a student, in this process; prints peak memory.

python benchmarks/annotating/peak.py FILE STUDENT OUT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from valence.annotate import annotate
from valence.recipe import CorpusRecipe, ScoreRecipe, SegmentRecipe


def main(path: str, student: str, out: str) -> None:
    """Read, cut by line and score; everything in one process."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from timing import peak_memory

    started = time.perf_counter()
    score = ScoreRecipe(scorer={"student": {"path": student}}, workers=1)
    corpus = CorpusRecipe(reader="files", paths=(path,), segmenter=SegmentRecipe(kind="line"))
    found = annotate(Path(out), score, corpus)
    seconds = time.perf_counter() - started
    print(json.dumps({"peak": peak_memory(), "seconds": seconds, **found.documents["failures"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
