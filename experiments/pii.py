"""How well the `pii` scorer finds identifiers: precision and recall by entity type.

    python experiments/pii.py [synth_dataset_v2.json] [--min-score 0.4]

Against presidio-research's synthetic sentences with typed spans. A find is right if it
overlaps a span of its type; a span is found if a find of its type overlaps it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from valence.score.pii import ENTITIES, Pii

DATA = Path("../shared/data/pii/synth_dataset_v2.json")
OTHER_NAMES = {"DOMAIN_NAME": "URL"}

Span = tuple[int, int]


def meets(one: Span, spans: list[Span]) -> bool:
    return any(one[0] < end and start < one[1] for start, end in spans)


def table(path: Path, min_score: float) -> None:
    scorer = Pii(entities=[*ENTITIES, "URL"], min_score=min_score)
    rows = json.loads(path.read_text(encoding="utf-8"))
    counts: dict[str, list[int]] = {}
    for row in rows:
        truth: dict[str, list[Span]] = {}
        found: dict[str, list[Span]] = {}
        for span in row["spans"]:
            entity = OTHER_NAMES.get(span["entity_type"], span["entity_type"])
            truth.setdefault(entity, []).append((span["start_position"], span["end_position"]))
        for mark in scorer.marks(row["full_text"]):
            found.setdefault(mark.code, []).append((mark.start, mark.end))
        for entity in {*truth, *found}:
            count = counts.setdefault(entity, [0, 0, 0, 0])
            spans, finds = truth.get(entity, []), found.get(entity, [])
            count[0] += len(spans)
            count[1] += sum(meets(span, finds) for span in spans)
            count[2] += len(finds)
            count[3] += sum(meets(find, spans) for find in finds)
    print(f"{len(rows)} sentences, min_score {min_score:g}, {scorer.id}")
    print(f"{'entity':20}{'spans':>7}{'recall':>8}{'finds':>7}{'precision':>11}")
    for entity, (marked, hit, named, right) in sorted(counts.items()):
        recall = f"{hit / marked:.3f}" if marked else "-"
        precision = f"{right / named:.3f}" if named else "-"
        print(f"{entity:20}{marked:7}{recall:>8}{named:7}{precision:>11}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=DATA)
    parser.add_argument("--min-score", type=float, default=0.4)
    given = parser.parse_args()
    if not given.path.is_file():
        sys.exit(f"{given.path} is not here: nothing is measured.")
    table(given.path, given.min_score)


if __name__ == "__main__":
    main()
