"""Training: the optimiser pair, determinism, interruption, broken losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from valence.errors import Interrupted, TrainingError
from valence.model import create_model
from valence.objective import build_objective
from valence.precision import choose_precision, measure_precision
from valence.recipe import Recipe
from valence.run import Result
from valence.train import Together, build_optimizer, train, training_flops

VOCABULARY = 302


def fit(
    run: Result, recipe: Recipe, folder: Path, log: Any, progress: Any = None, **changes: Any
) -> Any:
    model = create_model(recipe.model, VOCABULARY, 0, 0)
    train(
        model,
        run.path / "packs" / "conditional",
        build_objective("conditional"),
        recipe.train.model_copy(update=changes),
        folder,
        seed=0,
        precision="fp32",
        on_log=log,
        on_progress=progress,
    )
    return model


def test_muon_takes_the_inner_matrices_and_adamw_the_rest(tiny_recipe: Recipe) -> None:
    model = create_model(tiny_recipe.model, VOCABULARY, 0, 0)
    optimizer = build_optimizer(model, tiny_recipe.train)
    assert isinstance(optimizer, Together)
    muon, adam = (part.param_groups[0]["params"] for part in optimizer.parts)
    assert all(weight.ndim == 2 for weight in muon)
    assert any(weight is model.get_input_embeddings().weight for weight in adam)
    assert len(muon) + len(adam) == len(list(model.parameters()))


def test_a_scheduler_moves_the_rates_of_all_parts(tiny_recipe: Recipe) -> None:
    model = create_model(tiny_recipe.model, VOCABULARY, 0, 0)
    optimizer = build_optimizer(model, tiny_recipe.train)
    assert isinstance(optimizer, Together)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    rates = [part.param_groups[0]["lr"] for part in optimizer.parts]
    assert rates == [
        tiny_recipe.train.matrix_learning_rate / 2,
        tiny_recipe.train.learning_rate / 2,
    ]
    optimizer.step()
    schedule.step()


def test_the_pair_steps_like_its_parts_alone_and_its_state_survives(tiny_recipe: Recipe) -> None:
    models = [create_model(tiny_recipe.model, VOCABULARY, 0, 0) for _ in range(2)]
    optimizers = [build_optimizer(model, tiny_recipe.train) for model in models]
    ids = torch.arange(64).view(2, 32)
    for step in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
        if step == 0:  # The second goes on with a restored state.
            state = optimizers[1].state_dict()
            optimizers[1] = build_optimizer(models[1], tiny_recipe.train)
            optimizers[1].load_state_dict(state)
    for one, two in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, two)


def test_an_interrupted_training_continues_to_the_same_weights(
    tiny_run: Result, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    import os
    import signal

    def stop(done: int, total: int) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    whole: list[dict[str, Any]] = []
    expected = fit(tiny_run, tiny_recipe, tmp_path / "whole", whole.append)
    first: list[dict[str, Any]] = []
    with pytest.raises(Interrupted, match="step 5"):
        fit(tiny_run, tiny_recipe, tmp_path / "broken", first.append, stop)
    second: list[dict[str, Any]] = []
    found = fit(tiny_run, tiny_recipe, tmp_path / "broken", second.append)
    assert second[0]["step"] == 6
    losses = [entry["loss"] for entry in first + second]
    assert losses == [entry["loss"] for entry in whole]
    for one, two in zip(expected.parameters(), found.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_loss_that_is_not_finite_stops_the_training(
    tiny_run: Result, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="the loss is"):
        fit(
            tiny_run, tiny_recipe, tmp_path, lambda _: None,
            learning_rate=1e30, matrix_learning_rate=1e30, clip=1e30,
        )  # fmt: skip


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
