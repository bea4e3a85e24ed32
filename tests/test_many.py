"""Many processes from the command line: the journey once, one voice, clean ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from valence.run import Result
from valence.store import read_json

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--config_file"),
    str(Path(__file__).parents[1] / "configs" / "ddp-8.yaml"),
    *("--num_processes", "2", "--main_process_port", "0"),
)
ONE = (sys.executable,)
MLE = {"mle": {"objective": "mle"}}
# The launcher has its own words about processes that end; ours begin like this.
OURS = "valence: "


def environment() -> dict[str, str]:
    return os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}


def write_recipe(place: Path, tree: dict[str, Any], **changes: Any) -> None:
    (place / "r.yaml").write_text(yaml.safe_dump(tree | changes, sort_keys=False), encoding="utf-8")


def start(place: Path, launcher: tuple[str, ...], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*launcher, "-m", "valence", *arguments],
        cwd=place,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(place: Path, launcher: tuple[str, ...], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    process = start(place, launcher, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def entries(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def stages(run: Path) -> set[str]:
    return {path.name for path in (run / "stages").iterdir()}


def assert_same_training(
    found: list[dict[str, Any]], expected: list[dict[str, Any]], *, within: float = 1e-3
) -> None:
    """The log of one process, up to rounding, which grows with the steps."""
    for key in ("model", "step", "text_tokens"):
        assert [entry[key] for entry in found] == [entry[key] for entry in expected]
    for key in ("loss", "nats_per_token"):
        numbers = [entry[key] for entry in found]
        assert numbers == pytest.approx([entry[key] for entry in expected], rel=within)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_the_journey_of_two_processes_is_that_of_one(
    tiny_run: Result, tiny_tree: dict[str, Any], tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    write_recipe(tmp_path, tiny_tree)
    code, out, err = call(tmp_path, launcher, "run", "r.yaml", "--out", "out")
    assert code == 0, err
    run = tmp_path / "out"
    assert_same_training(entries(run), entries(tiny_run.path))
    assert stages(run) == stages(tiny_run.path)
    assert not [path for path in run.rglob("*") if "partial" in path.name]
    assert not (run / "checkpoints").exists()
    facts = read_json(run / "stages" / "models.mle.json")["facts"]
    assert facts["devices"] == 2
    # One voice.
    assert out.count("out/report.html") == 1
    assert sum(line.startswith("train mle ...") for line in err.splitlines()) == 1
    assert "Traceback" not in err

    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.json*")}
    code, out, err = call(tmp_path, launcher, "run", "r.yaml", "--out", "out")
    assert code == 0, err
    said = [line for line in err.splitlines() if line.endswith(": done before")]
    assert len(said) == len(set(said)) == len(stages(run)) + 3  # Of the annotation.
    assert not [line for line in err.splitlines() if line.endswith(" ...")]
    # What a run writes at its end from what stages hold.
    kept = {"results.json", "series.json", "differences.json", "measured.json"}
    kept |= {"conclusions.json", "scheme.json"}
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*.json*")}
    assert {path.name for path in before if before[path] != after[path]} <= kept


def test_two_processes_train_and_a_bad_recipe_ends_both_with_one_message(
    tiny_run: Result, tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    write_recipe(tmp_path, tiny_tree, models=MLE)
    code, out, err = call(tmp_path, TORCHRUN, "train", "r.yaml", "--out", "out")
    assert code == 0, err
    assert out.splitlines() == ["out"]
    ours = [entry for entry in entries(tiny_run.path) if entry["model"] == "mle"]
    assert_same_training(entries(tmp_path / "out"), ours)

    # Only the first process comes upon this; the other waits for it.
    assert_ends_with_one_message(tmp_path, "corpus.paths=[nowhere]", "nowhere: no such file")


def assert_ends_with_one_message(place: Path, wrong: str, says: str) -> None:
    started = time.monotonic()
    code, out, err = call(place, TORCHRUN, "train", "r.yaml", "--out", "other", "--set", wrong)
    assert code != 0
    assert out == ""
    assert err.count(OURS) == err.count(says) == 1, err
    assert "[rank" not in err  # No traceback of ours.
    # It ends by itself; how soon is for the machine to say.
    assert time.monotonic() - started < 300


@pytest.mark.slow
def test_two_processes_may_take_the_place_of_another_run(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    write_recipe(tmp_path, tiny_tree, models=MLE)
    out = tmp_path / "out"
    out.mkdir()
    (out / "recipe.yaml").write_text("name: other\n")
    (out / "results.json").write_text("[]")
    code, _, err = call(tmp_path, TORCHRUN, "annotate", "r.yaml", "--out", "out")
    assert code != 0
    assert err.count(OURS) == err.count("another recipe") == 1, err
    command = ("annotate", "r.yaml", "--out", "out", "--overwrite")
    code, _, err = call(tmp_path, TORCHRUN, *command)
    assert code == 0, err
    assert not (out / "results.json").exists()
    assert (out / "annotation").is_dir()
    # A mistake that all see at once.
    assert_ends_with_one_message(tmp_path, "trian.tokens=3", "unknown key `trian`")


LONG = ("train", "r.yaml", "--out", "out", "--set", "train.tokens=40000")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "then"), [(signal.SIGINT, TORCHRUN), (signal.SIGTERM, ONE)], ids=["two", "one"]
)
def test_the_launcher_is_stopped_and_the_training_goes_on(
    tiny_tree: dict[str, Any], tmp_path: Path, name: signal.Signals, then: tuple[str, ...]
) -> None:
    """Also with another number of processes."""
    write_recipe(tmp_path, tiny_tree, models=MLE)
    # Whoever runs the tests in the background may have switched Ctrl-C off for all children.
    code = (
        "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "sys.argv[0] = 'torchrun'; runpy.run_module('torch.distributed.run', run_name='__main__')"
    )
    launcher = (sys.executable, "-c", code, *TORCHRUN[3:])
    process = start(tmp_path, launcher, *LONG)
    run = tmp_path / "out"
    wait_until(lambda: len(entries(run)) >= 20, process)
    process.send_signal(name)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err.count(OURS) == err.count("training stopped at step") == 1, err
    assert "[rank" not in err
    assert list((run / "checkpoints" / "mle").glob("checkpoint-*/trainer_state.json"))

    ended, _, err = call(tmp_path, then, *LONG)
    assert ended == 0, err
    facts = read_json(run / "stages" / "models.mle.json")["facts"]
    assert facts["resumed"]
    assert [entry["step"] for entry in entries(run)] == list(range(1, facts["steps"] + 1))
    whole = tmp_path / "whole"
    whole.mkdir()
    write_recipe(whole, tiny_tree, models=MLE)
    ended, _, err = call(whole, ONE, *LONG)
    assert ended == 0, err
    assert_same_training(entries(run), entries(whole / "out"), within=1e-2)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_both_with_one_message(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    write_recipe(tmp_path, tiny_tree, models=MLE)
    rates = ("--set", "train.learning_rate=1e30", "--set", "train.matrix_learning_rate=1e30")
    code, _, err = call(tmp_path, TORCHRUN, "train", "r.yaml", "--out", "out", *rates)
    assert code != 0
    assert err.count(OURS) == err.count("the loss is nan at step ") == 1, err
    assert "[rank" not in err
    (batch,) = (tmp_path / "out" / "checkpoints" / "mle").glob("*.safetensors")
    assert str(batch.relative_to(tmp_path)) in err


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_and_the_same_command_goes_on(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    write_recipe(tmp_path, tiny_tree, models=MLE)
    command = (*LONG, "--set", "train.save_steps=10")
    process = start(tmp_path, TORCHRUN, *command)
    run = tmp_path / "out"
    states = run / "checkpoints" / "mle"
    wait_until(lambda: any(states.glob("checkpoint-*/trainer_state.json")), process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "[rank" not in err, err
    code, _, err = call(tmp_path, TORCHRUN, *command)
    assert code == 0, err
    facts = read_json(run / "stages" / "models.mle.json")["facts"]
    assert facts["resumed"]
    assert [entry["step"] for entry in entries(run)] == list(range(1, facts["steps"] + 1))
