"""Every benchmark keeps the contract: --quick, --json, rows of one form, no import effects."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
BENCHMARKS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "timing")
KEYS = {"name", "value", "unit", "of", "against", "min", "max", "goal", "note"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_quick_run_writes_rows_of_the_agreed_form(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text(encoding="utf-8"))
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)) > 0
    for row in rows:
        assert row.keys() <= KEYS
        assert isinstance(row["unit"], str)
        assert math.isfinite(row["value"]), row
        assert row["name"] in done.stdout
        if row["unit"] == "x":
            assert row["of"] != row["against"]
        if "min" in row:
            assert row["min"] <= row["value"] <= row["max"]
    assert any(row["unit"] == "x" for row in rows)
    for text in (file.read_text(encoding="utf-8"), done.stdout):
        assert str(FOLDER.parent) not in text
        assert str(tmp_path) not in text
        assert sys.prefix not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_importing_a_benchmark_does_nothing(name: str, tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, sys.argv[1]); import {name}; {name}.main"
    done = subprocess.run(
        [sys.executable, "-c", program, str(FOLDER)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tmp_path.iterdir()) == []
