"""Ray: a local one that the tests start; the same bytes as without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from valence.annotate import Annotation

pytest.importorskip("ray")

SCORERS = """
import os
from valence.data import Score, ScorerId

class Length:
    id = ScorerId(name="length", version="1", digest="0" * 64)
    meaning = "minus the number of characters"

    def score(self, document, segments):
        if document.text.startswith("raise"):
            raise ValueError("no")
        while document.text.startswith("sleep"):
            pass
        return [Score(value=float(s.start - s.end)) for s in segments]

class Deadly(Length):
    def score(self, document, segments):
        if document.text.startswith("raise"):
            os._exit(1)
        return super().score(document, segments)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "scorers.py").write_text(SCORERS)
    texts = [f"text {at}\nsecond line é\n" for at in range(40)]
    texts[7], texts[20] = "raise\n", "sleep\n"
    for name, part in (("a", texts[:25]), ("b", texts[25:])):
        rows = "".join(json.dumps({"text": text}) + "\n" for text in part)
        (tmp_path / f"{name}.jsonl").write_text(rows)
    return tmp_path


def run(place: Path, out: str, scorer: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-W", "error::UserWarning", "-m", "valence.cli", "annotate"),
            *("a.jsonl", "b.jsonl", "--scorer", scorer, "--out", out, "--timeout", "0.5"),
            *("--set", "corpus.shard_chars=300", *more),
        ],
        cwd=place,
        capture_output=True,
        text=True,
    )


def test_ray_writes_the_bytes_that_processes_write(place: Path) -> None:
    for out, more in (("local", []), ("ray", ["--engine", "ray"])):
        done = run(place, out, "scorers:Length", *more)
        assert done.returncode == 0, done.stderr
    found = [Annotation(place / out) for out in ("local", "ray")]
    assert found[0].documents["digest"] == found[1].documents["digest"]
    rewards = [annotation.rewards("scorers_Length") for annotation in found]
    assert rewards[0]["digest"] == rewards[1]["digest"]
    assert rewards[1]["failures"] == {"ValueError": 1, "time-out": 1}
    for path in (place / "local").rglob("*.parquet"):
        twin = place / "ray" / path.relative_to(place / "local")
        assert twin.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_a_worker_that_dies_on_ray_is_told_and_the_rest_can_be_resumed(place: Path) -> None:
    done = run(place, "out", "scorers:Deadly", "--engine", "ray")
    assert done.returncode == 2, done.stderr
    assert "a scoring process died" in done.stderr
    assert "Traceback" not in done.stderr
    (place / "scorers.py").write_text(SCORERS.replace("os._exit(1)", "raise ValueError('no')"))
    done = run(place, "out", "scorers:Deadly", "--engine", "ray")
    assert done.returncode == 0, done.stderr
    rewards = Annotation(place / "out").rewards("scorers_Deadly")
    assert rewards["documents"] == 40


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_told(place: Path) -> None:
    done = run(place, "out", "scorers:Length", "--engine", "ray", "--address", "127.0.0.1:1")
    assert done.returncode == 2
    assert "cannot reach a Ray cluster" in done.stderr
