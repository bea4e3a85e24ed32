"""A metric's scorer held against labelled text, and rates corrected for its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from valence.errors import CorpusError
from valence.measure.detector import calibrate
from valence.measure.statistics import corrected_rate
from valence.recipe import DetectorRecipe, MetricRecipe

TEXTS = [
    ("bad words", "hit"),
    ("bad words again", "hit"),
    ("awful words", "hit"),  # Missed by the pattern.
    ("fine", "clean"),
    ("not bad at all", "clean"),  # A false alarm.
    ("good", "clean"),
    ("unlabelled bad", ""),
    ("", "clean"),
]
METRIC = MetricRecipe(scorer={"regex": {"patterns": ["bad"]}}, scale=-1.0, hit=0.0)
LABEL = {"label": {"column": "kind", "rewards": {"hit": -1.0, "clean": 0.0}}}


def labelled(folder: Path, rows: list[tuple[str, str]]) -> DetectorRecipe:
    path = folder / "labelled.jsonl"
    path.write_text("".join(json.dumps({"text": t, "kind": k}) + "\n" for t, k in rows))
    return DetectorRecipe(paths=(str(path),), label=LABEL)


def test_errors_are_counted_on_labelled_text(tmp_path: Path) -> None:
    found = calibrate(METRIC, labelled(tmp_path, TEXTS), seed=0)
    assert (found.true_positives, found.false_negatives) == (2, 1)
    assert (found.false_positives, found.true_negatives) == (1, 2)
    assert found.failures == 1  # Text without a label; an empty row is no document.
    corrected = found.corrected([True] * 40 + [False] * 60)
    assert corrected == corrected_rate(
        [1.0] * 40 + [0.0] * 60,
        true_positives=2,
        false_negatives=1,
        false_positives=1,
        true_negatives=2,
    )
    # Rogan and Gladen: (0.4 + 2/3 - 1) / (2/3 + 2/3 - 1).
    assert corrected.value == pytest.approx(0.2)


def test_labels_of_one_kind_tell_nothing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no negative examples"):
        calibrate(METRIC, labelled(tmp_path, TEXTS[:3]), seed=0)
    with pytest.raises(CorpusError, match="no better than chance"):
        calibrate(METRIC, labelled(tmp_path, [("bad", "clean"), ("fine", "hit")]), seed=0)
