"""The loss of a batch, for every objective, against one that keeps all logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training_bench import SPECS, Bench

from valence.errors import ModelError
from valence.model import create_model
from valence.objective import build_objective
from valence.objective.protocol import IGNORED
from valence.pack.dataset import collate
from valence.pack.mask import positions_and_mask
from valence.recipe import VerdictRecipe
from valence.train import Learner


def batch_of(data: Any, rows: int = 4) -> dict[str, torch.Tensor]:
    return collate([data[index] for index in range(rows)])


def naive_loss(learner: Learner, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same loss from whole logits and torch's own functions."""
    forks = batch.get("forks")
    positions, mask = positions_and_mask(batch["documents"], forks)
    out = learner.model(
        input_ids=batch["input_ids"],
        position_ids=positions,
        attention_mask=mask,
        output_hidden_states=True,
    )
    targets = batch["targets"].flatten()
    known = targets != IGNORED
    logp = out.logits.flatten(0, 1)[known].log_softmax(-1)
    logp = logp.gather(1, targets[known, None])[:, 0]
    rewards = batch.get("rewards", torch.full(batch["targets"].shape, float("nan"))).flatten()
    hidden = out.hidden_states[-1].flatten(0, 1)
    values = None if learner.value_head is None else learner.value_head(hidden)
    weights = learner.objective.weigh(rewards, values)
    like = weights.like_N[known]
    unlike = torch.zeros_like(like) if weights.unlike_N is None else weights.unlike_N[known]
    total = torch.zeros(())
    if forks is not None:
        fork = forks.flatten()[known]
        assert learner.verdict is not None
        like = torch.where(fork, learner.verdict.weight, like)
        unlike = torch.where(fork, 0.0, unlike)
        if learner.readout is not None:
            bands = (targets[known][fork][:, None] == learner.control_ids).int().argmax(1)
            logits = learner.readout(hidden[known][fork])
            loss = torch.nn.functional.cross_entropy(logits, bands, reduction="sum")
            total = total + learner.verdict.weight * loss
    total = total + (-like * logp - unlike * torch.log1p(-logp.exp())).sum()
    if values is not None:
        total = total + learner.objective.value_loss(rewards, values)[known].sum()
    return total / known.sum()


@pytest.mark.parametrize("name", SPECS)
def test_the_loss_and_its_gradients_are_those_of_whole_logits(bench: Bench, name: str) -> None:
    learner, data = bench.pair(SPECS[name])
    batch = batch_of(data)
    learner.double()
    count = (batch["targets"] != IGNORED).sum()
    found = learner(**batch, count=count)["loss"]
    found.backward()
    gradients = {key: w.grad.clone() for key, w in learner.named_parameters() if w.grad is not None}
    learner.zero_grad()
    expected = naive_loss(learner, batch)
    expected.backward()
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-8)
    for key, weight in learner.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(gradients[key], weight.grad, atol=1e-7, rtol=1e-4)


def test_text_tokens_and_their_nats_are_counted_without_control_tokens(bench: Bench) -> None:
    learner, data = bench.pair("conditional")
    batch = batch_of(data)
    found = learner(**batch, count=1.0)
    targets = batch["targets"]
    text = (targets != IGNORED) & ~torch.isin(targets, learner.control_ids)
    assert found["texts"] == text.sum()
    plain, rows = bench.pair("mle")
    batch = batch_of(rows)
    found = plain(**batch, count=(batch["targets"] != IGNORED).sum())
    torch.testing.assert_close(found["nats"] / found["texts"], found["loss"])


def test_what_is_saved_has_no_tensor_twice_and_loads_again(bench: Bench) -> None:
    learner, _ = bench.pair("conditional", verdict=VerdictRecipe(readout="mlp"))
    state = learner.state_dict()
    assert "model.lm_head.weight" not in state
    assert any(name.startswith("readout.") for name in state)
    other, _ = bench.pair("conditional", verdict=VerdictRecipe(readout="mlp"), seed=5)
    other.load_state_dict(state, strict=False)
    for one, two in zip(learner.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_sliding_window_is_refused(bench: Bench) -> None:
    model = create_model(bench.recipe.model, 300, 0, 0)
    model.config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(ModelError, match="sliding_attention"):
        Learner(model, build_objective("mle"))
