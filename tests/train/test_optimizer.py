"""The optimiser pair: what each takes, that a scheduler moves both, that its state survives."""

from __future__ import annotations

import torch
from training_bench import Bench

from valence.train import build_optimizer
from valence.train.optimizer import Together


def test_muon_takes_the_inner_matrices_and_adamw_the_rest(bench: Bench) -> None:
    learner, _ = bench.pair("awr")
    optimizer = build_optimizer(learner, bench.recipe.train)
    assert isinstance(optimizer, Together)
    muon, adam = (part.param_groups[0]["params"] for part in optimizer.parts)
    assert all(weight.ndim == 2 for weight in muon)
    assert any(weight is learner.model.get_input_embeddings().weight for weight in adam)
    assert any(weight is next(learner.value_head.parameters()) for weight in adam)
    assert len(muon) + len(adam) == len(list(learner.parameters()))


def test_a_scheduler_moves_the_rates_of_all_parts(bench: Bench) -> None:
    learner, _ = bench.pair("mle")
    recipe = bench.recipe.train
    optimizer = build_optimizer(learner, recipe)
    assert isinstance(optimizer, Together)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    rates = [part.param_groups[0]["lr"] for part in optimizer.parts]
    assert rates == [recipe.matrix_learning_rate / 2, recipe.learning_rate / 2]
    optimizer.step()
    schedule.step()


def test_the_pair_steps_like_its_parts_alone_and_its_state_survives(bench: Bench) -> None:
    learners = [bench.pair("mle")[0] for _ in range(2)]
    optimizers = [build_optimizer(learner, bench.recipe.train) for learner in learners]
    ids = torch.arange(64).view(2, 32)
    for step in range(3):
        for learner, optimizer in zip(learners, optimizers, strict=True):
            optimizer.zero_grad()
            learner.model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
        if step == 0:  # The second goes on with a restored state.
            state = optimizers[1].state_dict()
            optimizers[1] = build_optimizer(learners[1], bench.recipe.train)
            optimizers[1].load_state_dict(state)
    for one, two in zip(learners[0].parameters(), learners[1].parameters(), strict=True):
        assert torch.equal(one, two)
