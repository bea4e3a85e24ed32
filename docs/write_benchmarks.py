"""Write benchmark rows into docs/benchmarks.md: no number there is typed by hand.

python benchmarks/train.py --json train.json
python benchmarks/annotate.py --json annotate.json
python docs/write_benchmarks.py train.json annotate.json
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

DOCS = Path(__file__).parent


def line(row: dict[str, object]) -> str:
    name = str(row["name"])
    if row.get("of") and row.get("against"):
        name += f" ({row['of']} against {row['against']})"
    spread = f"{row['min']:.4g} to {row['max']:.4g}" if row.get("min") is not None else ""
    note = row.get("note") or ""
    value = f"{row['value']:.4g} {row['unit']}"
    return f"| {name} | {value} | {spread} | {row.get('goal') or ''} | {note} |"


def main(paths: list[str]) -> None:
    lines = [
        "# Benchmarks",
        "",
        "Written by `docs/write_benchmarks.py` from `benchmarks/*.py --json`; medians of"
        " interleaved rounds, two processor cores,"
        f" Python {platform.python_version()}, {platform.machine()}.",
    ]
    for path in paths:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        lines += ["", f"## {Path(path).stem}", "", "| what | median | range | goal | note |"]
        lines += ["|---|---|---|---|---|", *(line(row) for row in rows)]
    (DOCS / "benchmarks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
