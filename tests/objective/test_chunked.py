"""The chunked loss against whole logits, NumPy, and what it promises about types and memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from valence.objective import chunked
from valence.objective.chunked import chunk_rows, weighted_loss
from valence.objective.protocol import IGNORED, Weights

Parts = dict[str, Any]


def parts(
    tokens: int,
    size: int,
    vocabulary: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    spread: float = 1.0,
    device: str = "cpu",
) -> Parts:
    """Seeded arguments, a fifth of the targets ignored and a fifth of the weights 0."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, vocabulary, tokens)
    targets[rng.random(tokens) < 0.2] = IGNORED
    weights = rng.random((2, tokens)) * (rng.random((2, tokens)) > 0.2)

    def number(*shape: int) -> torch.Tensor:
        drawn = torch.tensor(spread * rng.normal(size=shape), dtype=dtype, device=device)
        return drawn.requires_grad_()

    return {
        "hidden_ND": number(tokens, size),
        "weight_VD": number(vocabulary, size),
        "bias_V": number(vocabulary),
        "targets_N": torch.tensor(targets, device=device),
        "weights": Weights(
            like_N=torch.tensor(weights[0], dtype=dtype, device=device),
            unlike_N=torch.tensor(weights[1], dtype=dtype, device=device),
        ),
    }


def naive(given_parts: Parts) -> torch.Tensor:
    """The same sum from whole logits, by torch's own operations and automatic gradients."""
    targets, weights = given_parts["targets_N"], given_parts["weights"]
    logits = given_parts["hidden_ND"] @ given_parts["weight_VD"].T
    if given_parts.get("bias_V") is not None:
        logits = logits + given_parts["bias_V"]
    counted = targets != IGNORED
    log_p = logits[counted].log_softmax(dim=1).gather(1, targets[counted, None])[:, 0]
    lost = -weights.like_N[counted] * log_p
    if weights.unlike_N is not None:
        rest = (-log_p.expm1()).clamp(min=1e-20)
        lost = lost - weights.unlike_N[counted] * rest.log()
    return lost.sum()


def gradients(loss: torch.Tensor, given_parts: Parts) -> list[torch.Tensor]:
    wanted = [given_parts[key] for key in ("hidden_ND", "weight_VD", "bias_V")]
    return list(torch.autograd.grad(loss, [w for w in wanted if w is not None]))


def assert_same(given_parts: Parts, tolerance: float, **options: Any) -> None:
    found, _ = weighted_loss(**given_parts, **options)
    expected = naive(given_parts)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for one, two in zip(
        gradients(found, given_parts), gradients(expected, given_parts), strict=True
    ):
        assert one.dtype == two.dtype
        torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance)


@settings(deadline=None, max_examples=60)
@given(
    tokens=st.integers(1, 40),
    size=st.integers(1, 9),
    vocabulary=st.integers(2, 30),
    chunk=st.one_of(st.none(), st.integers(1, 50)),
    seed=st.integers(0, 1000),
    biased=st.booleans(),
    unlike=st.booleans(),
)
def test_loss_and_gradients_are_those_of_whole_logits(
    tokens: int,
    size: int,
    vocabulary: int,
    chunk: int | None,
    seed: int,
    biased: bool,
    unlike: bool,
) -> None:
    made = parts(tokens, size, vocabulary, seed)
    if not biased:
        made["bias_V"] = None
    if not unlike:
        made["weights"] = Weights(like_N=made["weights"].like_N)
    assert_same(made, 1e-10, chunk=chunk)


def test_gradients_are_those_of_small_changes() -> None:
    made = parts(13, 4, 7)

    def loss(*given_parts: torch.Tensor) -> torch.Tensor:
        hidden, weight, bias = given_parts
        rest = {"targets_N": made["targets_N"], "weights": made["weights"]}
        return weighted_loss(hidden, weight, bias_V=bias, chunk=5, **rest)[0]

    inputs = (made["hidden_ND"], made["weight_VD"], made["bias_V"])
    assert torch.autograd.gradcheck(loss, inputs)


def test_log_probabilities_are_those_of_numpy() -> None:
    made = parts(50, 6, 20)
    loss, found = weighted_loss(**made, chunk=8)
    hidden, weight, bias = (made[k].detach().numpy() for k in ("hidden_ND", "weight_VD", "bias_V"))
    targets, weights = made["targets_N"].numpy(), made["weights"]
    log_p = log_softmax(hidden @ weight.T + bias, axis=1)[np.arange(50), targets.clip(0)]
    counted = targets != IGNORED
    assert not counted.all()
    assert not found.requires_grad
    np.testing.assert_allclose(found, np.where(counted, log_p, 0.0), atol=1e-12)
    each = -weights.like_N.numpy() * log_p - weights.unlike_N.numpy() * np.log1p(-np.exp(log_p))
    np.testing.assert_allclose(loss.item(), each[counted].sum(), rtol=1e-12)


def test_strips_of_a_chunk_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    made = parts(41, 5, 30)
    whole = gradients(weighted_loss(**made)[0], made)
    monkeypatch.setattr(chunked, "STRIP_BYTES", 3 * 30 * 8)
    for one, two in zip(gradients(weighted_loss(**made, chunk=20)[0], made), whole, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_nothing_counts_where_nothing_is_predicted_or_the_weight_is_zero() -> None:
    made = parts(60, 5, 11)
    off = (made["targets_N"] == IGNORED) | (
        (made["weights"].like_N == 0) & (made["weights"].unlike_N == 0)
    )
    gradient = gradients(weighted_loss(**made)[0], made)[0]
    assert off.any()
    assert not gradient[off].any()
    assert gradient[~off].any(dim=1).all()
    none = {**made, "targets_N": torch.full((60,), IGNORED)}
    loss, log_p = weighted_loss(**none)
    assert loss == 0 and not log_p.any()
    assert not any(gradient.any() for gradient in gradients(loss, none))


def test_no_tokens_are_no_loss() -> None:
    made = parts(0, 5, 11)
    loss, log_p = weighted_loss(**made)
    assert loss == 0 and log_p.shape == (0,)
    assert not any(gradient.any() for gradient in gradients(loss, made))


def test_probabilities_near_zero_and_one_stay_finite_and_precise() -> None:
    # Rows: target surely right, surely wrong, right but for 1e-6, 1e-30 (the clamp acts).
    logits = torch.tensor(
        [[900.0, 0.0], [-900.0, 0.0], [13.8155, 0.0], [69.0776, 0.0]], requires_grad=True
    )
    head, targets = torch.eye(2), torch.zeros(4, dtype=torch.long)
    ones = torch.ones(4)
    loss, log_p = weighted_loss(logits, head, targets, Weights(like_N=ones, unlike_N=ones))
    torch.testing.assert_close(log_p, torch.tensor([0.0, -900.0, -1e-6, 0.0]), rtol=0.1, atol=1e-9)
    expected = 2 * 46.0517 + 900.0 + 13.8155
    torch.testing.assert_close(loss.item(), expected, rtol=1e-3, atol=0)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    # Likelihood pulls by p - 1, unlikelihood by p: together 1e-6 less than 1; cut off: 0.
    torch.testing.assert_close(logits.grad[:, 0], torch.tensor([0.0, -1.0, 1.0, 0.0]), atol=0.1,
                               rtol=0)  # fmt: skip


def test_float32_loses_nothing_where_the_target_is_nearly_certain() -> None:
    logits = torch.tensor([[11.5, 0.0]], requires_grad=True)
    weighted_loss(logits, torch.eye(2), torch.zeros(1, dtype=torch.long),
                  Weights(like_N=torch.ones(1)))[0].backward()  # fmt: skip
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad[0, 0], -1 / (1 + np.exp(11.5)), rtol=5e-3)


def test_autocast_multiplies_in_bfloat16_and_sums_in_float32() -> None:
    made = parts(300, 32, 500, dtype=torch.float32, spread=0.3)
    with torch.autocast("cpu", torch.bfloat16):
        loss, log_p = weighted_loss(**made, chunk=64)
        logits = torch.nn.functional.linear(made["hidden_ND"], made["weight_VD"], made["bias_V"])
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == log_p.dtype == torch.float32
    counted = made["targets_N"] != IGNORED
    exact = logits.float().log_softmax(1).gather(1, made["targets_N"].clamp(0)[:, None])[:, 0]
    torch.testing.assert_close(log_p, exact.where(counted, 0.0), rtol=0, atol=1e-5)
    for one, two in zip(gradients(loss, made), gradients(naive(made), made), strict=True):
        assert one.dtype == torch.float32
        assert (one - two).norm() < 0.01 * two.norm()


def test_autocast_leaves_float64_alone() -> None:
    made = parts(20, 5, 11)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = weighted_loss(**made)
    torch.testing.assert_close(found, naive(made), rtol=1e-12, atol=1e-12)


def test_models_that_are_bfloat16_themselves_get_their_own_types_back() -> None:
    made = parts(100, 16, 50, dtype=torch.bfloat16, spread=0.3)
    exact = {
        key: value.detach().float().requires_grad_() if key[-2:] in ("ND", "VD", "_V") else value
        for key, value in made.items()
    }
    loss, _ = weighted_loss(**made, chunk=30)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, naive(exact), rtol=1e-2, atol=0)
    for one, two in zip(gradients(loss, made), gradients(naive(exact), exact), strict=True):
        assert one.dtype == torch.bfloat16
        assert (one.float() - two).norm() < 0.02 * two.norm()


def test_without_gradients_there_are_none() -> None:
    made = parts(20, 5, 11)
    with torch.no_grad():
        found, _ = weighted_loss(**made)
    assert not found.requires_grad
    torch.testing.assert_close(found, naive(made).detach())


def test_a_frozen_head_gets_no_gradient_and_changes_no_other() -> None:
    made = parts(20, 5, 11)
    expected = gradients(naive(made), made)[0]
    frozen = {**made, "weight_VD": made["weight_VD"].detach(), "bias_V": made["bias_V"].detach()}
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        loss, _ = weighted_loss(**frozen)
    assert [tensor.shape for tensor in kept] == [(20, 5)]
    torch.testing.assert_close(torch.autograd.grad(loss, made["hidden_ND"])[0], expected)


def test_nothing_of_size_tokens_times_vocabulary_is_kept() -> None:
    made = parts(64, 5, 200)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        loss, _ = weighted_loss(**made)
    assert {tensor.shape for tensor in kept} == {(64, 5), (200, 5), (200,)}
    loss.backward()


def test_the_graph_can_be_gone_through_again_and_scaled() -> None:
    made = parts(20, 5, 11)
    loss, _ = weighted_loss(**made)
    inputs = [made["hidden_ND"], made["weight_VD"]]
    once = torch.autograd.grad(loss, inputs, retain_graph=True)
    scaled = torch.autograd.grad(3 * loss, inputs)
    for one, three in zip(once, scaled, strict=True):
        torch.testing.assert_close(3 * one, three)


def test_chunks_are_even_and_small_enough() -> None:
    cpu, other = torch.device("cpu"), torch.device("meta")
    assert chunk_rows(4096, 4096, torch.float32, cpu) == 2048
    assert chunk_rows(4096, 50_257, torch.float32, cpu) == 1024
    assert chunk_rows(1025, 50_257, torch.float32, cpu) == 513
    assert chunk_rows(0, 4096, torch.float32, cpu) == 1
    assert chunk_rows(4096, 262_144, torch.float32, cpu) == 256
    assert chunk_rows(100, 10**8, torch.float32, cpu) <= 64
    assert chunk_rows(4096, 4096, torch.float32, other) == 4096


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_accelerator_computes_the_same(dtype: torch.dtype) -> None:
    made = parts(3000, 64, 2000, dtype=torch.float32, spread=0.3, device="cuda")
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        loss, _ = weighted_loss(**made, chunk=700)
    for one, two in zip(gradients(loss, made), gradients(naive(made), made), strict=True):
        assert (one - two).norm() < 0.01 * two.norm()
