"""Killed, crowded out, out of room: a rerun finishes, with the bytes of a run in peace."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from valence.annotate import Annotation, annotate
from valence.errors import RunExistsError
from valence.recipe import CorpusRecipe, ScoreRecipe
from valence.store import RunDirectory, read_json

SLOW_SCORER = """
import time
from valence.data import Score, ScorerId

class Slow:
    id = ScorerId(name="slow", version="1", digest="0" * 64)
    meaning = "minus the number of characters, slowly"

    def score(self, document, segments):
        time.sleep(0.002)
        return [Score(value=float(s.start - s.end)) for s in segments]
"""

POISONOUS = """
import os, time
from valence.data import Score, ScorerId

class Poisoned:
    id = ScorerId(name="poisoned", version="1", digest="0" * 64)
    meaning = "for tests"

    def score(self, document, segments):
        if "raise" in document.text:
            raise ValueError("no")
        if "nan" in document.text:
            return [Score(value=float("nan"))]
        if "sleep" in document.text:
            time.sleep(60)
        if "die" in document.text:
            os._exit(1)
        return [Score(value=0.0) for _ in segments]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with scorers and a corpus of 400 documents in three files."""
    (tmp_path / "slow.py").write_text(SLOW_SCORER)
    (tmp_path / "poison.py").write_text(POISONOUS)
    for name in ("a", "b", "c"):
        rows = [{"text": f"{name}{at}\nsecond line é\n"} for at in range(130)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def command(*more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "valence.cli", "annotate"),
        *("a.jsonl", "b.jsonl", "c.jsonl", "--scorer", "slow:Slow", "--out", "out"),
        *("--set", "corpus.shard_chars=300", *more),
    ]


def digests(out: Path) -> tuple[str, str, int]:
    found = Annotation(out)
    rewards = found.rewards("slow_Slow")
    return found.documents["digest"], rewards["digest"], rewards["documents"]


def peaceful(out: Path) -> tuple[str, str, int]:
    recipe = CorpusRecipe(reader="files", paths=("a.jsonl", "b.jsonl", "c.jsonl"), shard_chars=300)
    annotate(out, ScoreRecipe(scorer="slow:Slow", workers=1), recipe)
    return digests(out)


def kill_once(place: Path, seconds: float, workers: int) -> bool:
    """Start, and kill the whole group after a while; whether it was still at work."""
    process = subprocess.Popen(
        command("--workers", str(workers)),
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    working = process.poll() is None
    if working:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return working


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_points_a_rerun_finishes_with_the_same_digests(
    place: Path, workers: int
) -> None:
    expected = peaceful(place / "peaceful")
    chance = random.Random(workers)
    kills = 0
    while kills < 12:
        kills += kill_once(place, chance.uniform(0.3, 2.2), workers)
        if (place / "out" / "rewards" / "slow_Slow" / "manifest.json").is_file():
            assert digests(place / "out") == expected
            subprocess.run(["rm", "-rf", "out"], cwd=place, check=True)
    subprocess.run(command(), cwd=place, check=True, capture_output=True)
    assert digests(place / "out") == expected


def test_killed_in_the_middle_a_rerun_goes_on_from_there(place: Path) -> None:
    expected = peaceful(place / "peaceful")
    process = subprocess.Popen(
        command("--workers", "1"), cwd=place, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    work = place / "out" / "rewards" / ".slow_Slow.partial"
    until(lambda: work.is_dir() and len(list(work.glob("*.parquet"))) >= 3)
    process.kill()
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in work.glob("*.json")}
    assert finished
    assert Annotation(place / "out").scorers == []
    annotate(place / "out", ScoreRecipe(scorer="slow:Slow", workers=1))
    assert digests(place / "out") == expected
    done = place / "out" / "rewards" / "slow_Slow"
    assert {path: (done / path.name).stat().st_mtime_ns for path in finished} == finished


def until(ready: Callable[[], bool]) -> None:
    for _ in range(600):
        if ready():
            return
        time.sleep(0.02)
    raise AssertionError("it never came to that")


def test_killed_between_its_last_two_steps_a_stage_is_not_made_again(place: Path) -> None:
    expected = peaceful(place / "out")
    marker = place / "out" / "stages" / "rewards.slow_Slow.json"
    key = read_json(marker)["key"]
    marker.unlink()
    rewards = place / "out" / "rewards" / "slow_Slow"
    (rewards / ".inputs").write_text(key)
    before = {path.name: path.stat().st_mtime_ns for path in rewards.glob("*.parquet")}
    annotate(place / "out", ScoreRecipe(scorer="slow:Slow", workers=1))
    assert digests(place / "out") == expected
    assert {path.name: path.stat().st_mtime_ns for path in rewards.glob("*.parquet")} == before
    assert not (rewards / ".inputs").exists()


def test_the_second_of_two_writers_is_refused(place: Path) -> None:
    peaceful(place / "out")
    with (
        RunDirectory.open(place / "out", None, marker_name="corpus.yaml", noun="annotation"),
        pytest.raises(RunExistsError, match="another process is working"),
    ):
        annotate(place / "out", ScoreRecipe(scorer="pep8-local"))
    assert Annotation(place / "out").scorers == ["slow_Slow"]


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(place: Path) -> None:
    """A real refusal of the system: no file may grow beyond a size."""

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2200, resource.RLIM_INFINITY))

    full = subprocess.run(
        command("--workers", "1"), cwd=place, preexec_fn=small_files, capture_output=True, text=True
    )
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert os.strerror(errno.EFBIG) in full.stderr
    assert not list((place / "out").rglob("*.parquet.*"))
    subprocess.run(command("--workers", "1"), cwd=place, check=True, capture_output=True)
    assert digests(place / "out") == peaceful(place / "peaceful")


# --- poison -------------------------------------------------------------------------------


def poisoned(place: Path) -> None:
    rows: list[object] = [
        {"text": "fine 1"},
        {"text": "raise"},
        {"text": "nan"},
        {"text": "sleep"},
        {"text": {"nested": "json"}},
        {"text": None},
        {"text": ["x"]},
        {"nothing": "here"},
        {"text": ""},
        {"text": "fine 2"},
    ]
    with (place / "poison.jsonl").open("wb") as out:
        for row in rows:
            out.write(json.dumps(row).encode() + b"\n")
        out.write(b'{"text": "not utf-8 \xff"}\n')
        out.write(b'{"text": "' + b"x" * 50_000_000 + b'"}\n')
        out.write(b'{"text": "fine 3"}\n')


def annotate_poison(place: Path, *more: str) -> subprocess.CompletedProcess[str]:
    if not (place / "poison.jsonl").exists():
        poisoned(place)
    return subprocess.run(
        [
            *(sys.executable, "-m", "valence.cli", "annotate", "poison.jsonl", "--out", "out"),
            *("--scorer", "poison:Poisoned", "--timeout", "0.5", *more),
        ],
        cwd=place,
        capture_output=True,
        text=True,
    )


FAILED = 10


def test_poisoned_documents_become_failures_with_reasons(place: Path) -> None:
    done = annotate_poison(place)
    assert done.returncode == 0, done.stderr
    found = Annotation(place / "out")
    rewards = found.rewards("poison_Poisoned")
    assert found.documents["unread"] == 7
    assert sum(found.documents["failures"].values()) == 7
    assert rewards["failures"] == {"ValueError": 1, "not-finite": 1, "time-out": 1}
    for kind in [*found.documents["failures"], *rewards["failures"]]:
        assert f"{kind}: " in done.stdout
    ((texts, scored),) = found.tables("poison_Poisoned")
    for row, reward in zip(texts.to_pylist(), scored.to_pylist(), strict=True):
        if row["failure"] is not None:
            assert row["failure"]["message"]
            assert (row["text"], reward["rewards"]) == (None, [])
        else:
            missing = reward["rewards"] == [None]
            assert missing == bool(reward["failures"])
            assert missing == (not row["text"].startswith("fine"))


@pytest.mark.parametrize(("allowed", "code"), [("9", 3), ("10", 0), ("0.5", 3), ("0.8", 0)])
def test_more_failures_than_allowed_end_with_code_3(place: Path, allowed: str, code: int) -> None:
    done = annotate_poison(place, "--max-failures", allowed, "--workers", "1")
    assert done.returncode == code, done.stderr
    assert Annotation(place / "out").rewards("poison_Poisoned")["documents"] == 6
    if code:
        assert f"{FAILED} of 13 documents failed" in done.stderr
        again = annotate_poison(place, "--max-failures", allowed, "--workers", "1")
        assert again.returncode == code  # Also when there is nothing left to do.
