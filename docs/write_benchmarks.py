"""Write benchmark rows into docs/benchmarks.md: no number there is typed by hand.

Sections of benchmarks that are not given stay as they are.

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


def section(path: Path) -> str:
    rows = json.loads(path.read_text(encoding="utf-8"))
    head = ["| what | median | range | goal | note |", "|---|---|---|---|---|"]
    return "\n".join([f"## {path.stem}", "", *head, *(line(row) for row in rows)]) + "\n"


def main(paths: list[str]) -> None:
    page = DOCS / "benchmarks.md"
    known = page.read_text(encoding="utf-8").split("\n## ")[1:] if page.is_file() else []
    sections = {text.split("\n")[0]: f"## {text.rstrip()}\n" for text in known}
    sections |= {Path(path).stem: section(Path(path)) for path in paths}
    head = (
        "# Benchmarks\n\nWritten by `docs/write_benchmarks.py` from `benchmarks/*.py --json`;"
        " medians of interleaved rounds, two processor cores,"
        f" Python {platform.python_version()}, {platform.machine()}.\n"
    )
    page.write_text("\n".join([head, *sections.values()]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
