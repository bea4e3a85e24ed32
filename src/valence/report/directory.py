"""The page of a directory with results, whatever made them."""

from __future__ import annotations

from pathlib import Path

from valence.report.evaluation import write_evaluation_page
from valence.report.journey import write_page
from valence.report.suite import write_suite_page


def write_any_page(path: Path) -> Path:
    """Write `report.html` into the directory of a run, an evaluation or a suite; returns its path.

    Raises `MissingFileError`, `RecipeError` and `StoreError`.
    """
    if (path / "suite.yaml").is_file():
        return write_suite_page(path)
    if (path / "evaluation.yaml").is_file():
        return write_evaluation_page(path)
    return write_page(path)
