"""Loggers besides metrics.jsonl, and samples while a model trains."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from valence.errors import MissingExtraError, RecipeError
from valence.recipe import build_recipe
from valence.run import run
from valence.stages.early import check_early
from valence.train.loggers import check_loggers

MLE = {"mle": {"objective": "mle"}}

# A connection to anywhere but this machine is an error.
WITHOUT_NETWORK = """
import socket
connect = socket.socket.connect

def local(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"the network is used: {address}")
    return connect(self, address)

socket.socket.connect = socket.socket.connect_ex = local
from valence.cli import main
main()
"""


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def with_samples(tree: dict[str, Any], **train: Any) -> dict[str, Any]:
    more = {"sample_every": 0.25, "sample_count": 2, **train}
    models = {"conditional": {"objective": "conditional"}}
    return tree | {"train": tree["train"] | more, "models": models}


def test_samples_while_training_are_in_the_log_and_leave_no_trace(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    tree = with_samples(tiny_tree)
    run(build_recipe(tree), tmp_path / "sampled", until="train")
    plain = tree | {"train": tiny_tree["train"]}
    run(build_recipe(plain), tmp_path / "plain", until="train")
    weights = [
        (tmp_path / name / "models" / "conditional" / "model.safetensors").read_bytes()
        for name in ("sampled", "plain")
    ]
    assert weights[0] == weights[1]
    log = entries(tmp_path / "sampled")
    losses = [entry for entry in log if "loss" in entry]
    samples = [entry for entry in log if "loss" not in entry]
    assert [entry["loss"] for entry in losses] == [e["loss"] for e in entries(tmp_path / "plain")]
    steps = losses[-1]["step"]
    assert [entry["step"] for entry in samples] == [-(-steps * part // 4) for part in (1, 2, 3, 4)]
    for entry in samples:
        assert {"distinct_2/good", "distinct_2/bad", "distinct_2/banned"} <= set(entry)
        assert {"model", "seed", "step", "text_tokens"} <= set(entry)


def test_samples_of_a_model_that_is_spread_over_devices_are_refused(
    tiny_tree: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = build_recipe(with_samples(tiny_tree))
    check_early(recipe)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RecipeError, match="one process samples"):
        check_early(recipe)


def test_steps_that_the_processes_cannot_share_are_refused_early(
    tiny_tree: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(RecipeError, match="8 sequences per step cannot be shared by 3 processes"):
        check_early(build_recipe(tiny_tree))


def test_a_logger_is_known_and_there() -> None:
    check_loggers(())
    with pytest.raises(RecipeError, match=r"there is no logger `wanbd`; did you mean `wandb`\?"):
        check_loggers(["wanbd"])
    with pytest.raises(MissingExtraError, match="pip install comet_ml"):
        check_loggers(["comet_ml"])


@pytest.mark.slow
def test_trackio_keeps_the_log_on_this_machine(tiny_tree: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    tree = with_samples(tiny_tree, report_to=["trackio"])
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK, "train", "r.yaml", "--out", "out"],
        cwd=tmp_path,
        env=os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the network is used" not in done.stdout + done.stderr
    with sqlite3.connect(tmp_path / "trackio" / "tiny.db") as database:
        rows = database.execute("select run_name, metrics from metrics order by id").fetchall()
    database.close()
    assert {name for name, _ in rows} == {"conditional"}
    kept = [json.loads(metrics) for _, metrics in rows]
    log = entries(tmp_path / "out")
    for key in ("loss", "distinct_2/good"):
        found = [entry[f"train/{key}"] for entry in kept if f"train/{key}" in entry]
        assert found == pytest.approx([entry[key] for entry in log if key in entry])
        assert found
