"""Training: determinism, interruption, kills, broken losses, parts of a step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_bench import Bench

from valence.errors import Interrupted, RecipeError, TrainingError
from valence.model import create_model
from valence.precision import choose_precision, measure_precision
from valence.recipe import Recipe
from valence.run import Result
from valence.train import Learner, training_flops

VOCABULARY = 302


def assert_equal(one: Learner, two: Learner) -> None:
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_continues_to_the_same_weights(
    bench: Bench, tmp_path: Path, name: signal.Signals
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            os.kill(os.getpid(), name)

    whole: list[dict[str, Any]] = []
    expected, _ = bench.fit(tmp_path / "whole", log=whole.append)
    first: list[dict[str, Any]] = []
    with pytest.raises(Interrupted, match="step 5"):
        bench.fit(tmp_path / "broken", log=first.append, progress=stop)
    second: list[dict[str, Any]] = []
    found, _ = bench.fit(tmp_path / "broken", log=second.append)
    assert second[0]["step"] == 6
    for key in ("loss", "nats_per_token"):
        assert [e[key] for e in first + second] == [e[key] for e in whole]
    assert_equal(expected, found)


KILLED = """
import os, signal, sys
from pathlib import Path
from training_bench import open_bench
from valence.recipe import load_recipe

run, folder = Path(sys.argv[1]), Path(sys.argv[2])
bench = open_bench(run, load_recipe(run / "recipe.yaml"))

def die(done, total):
    if done == 7:
        os.kill(os.getpid(), signal.SIGKILL)

bench.fit(folder, spec={"awr": {"beta": 0.1}}, progress=die, save_steps=3)
"""


def test_a_killed_training_continues_to_the_same_weights(
    bench: Bench, tiny_run: Result, tmp_path: Path
) -> None:
    spec = {"awr": {"beta": 0.1}}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tiny_run.path), str(tmp_path / "killed")],
        cwd=Path(__file__).parent,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    log: list[dict[str, Any]] = []
    found, trained = bench.fit(tmp_path / "killed", spec=spec, log=log.append, save_steps=3)
    assert trained.facts["resumed"] and log[0]["step"] == 7
    expected, _ = bench.fit(tmp_path / "whole", spec=spec, save_steps=3)
    assert_equal(expected, found)


def test_parts_of_a_step_and_workers_do_not_change_the_result(bench: Bench, tmp_path: Path) -> None:
    logs: dict[str, list[dict[str, Any]]] = {"whole": [], "parts": [], "ahead": []}
    bench.fit(tmp_path / "a", log=logs["whole"].append)
    bench.fit(tmp_path / "b", log=logs["parts"].append, accumulate=4)
    bench.fit(tmp_path / "c", log=logs["ahead"].append, workers=1)
    losses = {name: [entry["loss"] for entry in log] for name, log in logs.items()}
    assert losses["ahead"] == losses["whole"]
    # Sums in another order differ in their last bits, and training makes more of that.
    assert losses["parts"][:5] == pytest.approx(losses["whole"][:5], rel=1e-4)
    assert losses["parts"] == pytest.approx(losses["whole"], rel=5e-3)


def test_parts_must_divide_the_step(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="3 parts"):
        bench.fit(tmp_path, accumulate=3)


def test_a_loss_that_is_not_finite_stops_and_its_batch_is_saved(
    bench: Bench, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="the loss is") as caught:
        bench.fit(tmp_path, learning_rate=1e30, matrix_learning_rate=1e30, clip=1e30)
    (saved,) = tmp_path.glob("not-finite-step-*.safetensors")
    assert str(saved) in str(caught.value)
    batch = load_file(saved)
    assert batch["input_ids"].shape == batch["targets"].shape == (8, 32)


def test_precision_is_chosen_by_what_was_measured(tiny_recipe: Recipe) -> None:
    assert choose_precision({"fp32": 1.0, "bf16": 0.5}) == "bf16"
    assert choose_precision({"fp32": 1.0, "bf16": 0.95}) == "fp32"
    model = create_model(tiny_recipe.model, VOCABULARY, 0, 0)
    seconds = measure_precision(model, batch=2, block=8)
    assert set(seconds) == {"fp32", "bf16"} and min(seconds.values()) > 0
    assert all(weight.grad is None for weight in model.parameters())


def test_training_flops_are_six_per_weight_and_token_plus_attention(tiny_recipe: Recipe) -> None:
    model = create_model(tiny_recipe.model, VOCABULARY, 0, 0)
    head = VOCABULARY * 32
    inner = sum(w.numel() for w in model.parameters()) - head
    expected = 1000 * (6 * (inner + head) + 6 * 2 * 32 * 64)
    assert training_flops(model, 1000, 64) == expected
