"""Losses and gradients against numbers that the 2023 code computed, case by case.

reference.npz and reference.json hold what `apo/objectives.py` of
tomekkorbak/pretraining-with-human-feedback, run unmodified at commit 152e6b6, gave in float64
for seeded inputs. Its scores are misalignment, so rewards are their negatives; position t
predicts token t + 1; every loss is a mean over all predicted positions. Where it is wrong,
ours is not, and the test says which and why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from valence.errors import TrainingError
from valence.objective.chunked import weighted_loss
from valence.objective.mle import Mle
from valence.objective.protocol import IGNORED, Objective, ValueHead, Weights
from valence.objective.unlikelihood import Unlikelihood
from valence.objective.value import ValueModule
from valence.objective.weighted import Awr, Rwr

HERE = Path(__file__).parent
CASES = {
    case["name"]: case
    for case in json.loads((HERE / "reference.json").read_text(encoding="utf-8"))["cases"]
}
ARRAYS = dict(np.load(HERE / "reference.npz"))

DIFFERENT = {
    "ul_soft_scores_gt1",
    "ul_ignore_index",
    "awr_fixed_value_zero",
    "awr_ignore_index",
    "awr_values_none",
    "rwr_as_configured",
    "rwr_beta1",
}
"""Cases in which ours differs on purpose; each has a test below."""

TOLERANCE = {"ul_peaked_argmax": 1e-3, "awr_fixed_value": 1e-7}
"""The first takes log(1 - p) of p = 1 - 1e-15; in the second the 2023 code rounds a constant
to float32. All others agree to 1e-10."""


class Inputs:
    """What a case is computed from: N predicted positions, flat."""

    def __init__(self, case: dict[str, Any]) -> None:
        def read(key: str, part: slice) -> torch.Tensor:
            return torch.tensor(ARRAYS[f"in.{case[key]}"][:, part]).flatten(0, 1)

        now, following = slice(None, -1), slice(1, None)
        self.logits = read("logits", now).requires_grad_()
        self.targets, self.rewards = read("labels", following), -read("token_scores", following)
        self.values = None if case["values"] is None else read("values", now).requires_grad_()
        self.counted = self.targets != IGNORED


def language_loss(objective: Objective, inputs: Inputs, chunk: int | None = 7) -> torch.Tensor:
    """The sum over tokens, with the logits for hidden states and the identity for the head."""
    values = inputs.values if objective.value_head else None
    weights = objective.weigh(inputs.rewards, values)
    head = torch.eye(inputs.logits.shape[1], dtype=torch.float64)
    return weighted_loss(inputs.logits, head, inputs.targets, weights, chunk=chunk)[0]


def whole_loss(objective: Objective, inputs: Inputs) -> torch.Tensor:
    """The mean over counted tokens of all that is trained."""
    total = language_loss(objective, inputs)
    if objective.value_head is not None:
        assert inputs.values is not None
        lost = objective.value_loss(inputs.rewards, inputs.values)
        total = total + lost.masked_fill(~inputs.counted, 0.0).sum()
    return total / inputs.counted.sum()


def ours(case: dict[str, Any]) -> Objective:
    """The objective that a case is of, by our options."""
    given = case["hyperparameters"]
    if case["objective"] == "MLE":
        return Mle()
    if case["objective"] == "Unlikelihood":
        # Its threshold of 0 or none means a soft mixture: 0 is read as unset there.
        limit = given["score_threshold"]
        if not limit:
            return Unlikelihood(alpha=given["alpha"], soft=True)
        return Unlikelihood(alpha=given["alpha"], threshold=-limit)
    return Awr(
        alpha=given.get("alpha", 0.5),
        beta=given.get("beta", 1.0),
        clip=given.get("clip_weight_max", 1000.0),
        normalise=given.get("normalize_advantage", False),
        clip_value=given.get("clip_value", False),
        fixed_value=given.get("fixed_value") if given.get("use_value_head", True) else 0.0,
    )


def gradient(case: dict[str, Any], kind: str) -> np.ndarray:
    found = ARRAYS[kind][case[kind]]
    return found.reshape(-1, *found.shape[2:])


def assert_near(found: object, expected: object, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_no_case_is_left_out() -> None:
    assert len(CASES) == 34
    assert set(CASES) >= DIFFERENT
    assert {name for name, case in CASES.items() if "raises" in case} <= DIFFERENT


@pytest.mark.parametrize("name", sorted(set(CASES) - DIFFERENT))
def test_loss_and_gradients_are_those_of_the_2023_code(name: str) -> None:
    case = CASES[name]
    inputs, tolerance = Inputs(case), TOLERANCE.get(name, 1e-10)
    loss = whole_loss(ours(case), inputs)
    loss.backward()
    assert_near(loss.item(), case["loss"], tolerance)
    assert_near(inputs.logits.grad, gradient(case, "grad_logits"), tolerance)
    if "grad_values" in case:
        assert inputs.values is not None
        assert_near(inputs.values.grad, gradient(case, "grad_values"))


def test_rwr_is_the_textbook_one_and_needs_no_value_head() -> None:
    case = CASES["rwr_textbook"]
    inputs = Inputs(case)
    assert Rwr(beta=10.0).value_head is None
    loss = whole_loss(Rwr(beta=10.0), inputs)
    loss.backward()
    assert_near(loss.item(), case["loss"])
    assert_near(inputs.logits.grad, gradient(case, "grad_logits"))


@pytest.mark.parametrize(("name", "beta"), [("rwr_as_configured", 10.0), ("rwr_beta1", 1.0)])
def test_the_2023_configurations_of_rwr_have_a_larger_learning_rate(name: str, beta: float) -> None:
    # They give it a value head that gets no loss and stays at -sigmoid(0) = -0.5, so that all
    # weights are those of the textbook times exp(0.5 / beta). Ours is the textbook's.
    case = CASES[name]
    inputs = Inputs(case)
    loss = whole_loss(Rwr(beta=beta), inputs)
    loss.backward()
    factor = np.exp(0.5 / beta)
    assert_near(loss.item() * factor, case["loss"])
    assert_near(inputs.logits.grad * factor, gradient(case, "grad_logits"))
    inputs = Inputs(case)
    assert_near(whole_loss(ours(case), inputs).item(), case["loss"])  # As AWR with alpha 1.


def test_a_threshold_of_zero_is_a_threshold() -> None:
    # configs/pii/ul.yml and configs/pep8/ul.yml ask for 0 and get the soft mixture.
    case = CASES["ul_soft_thr0_a1"]
    inputs = Inputs(case)
    hard = whole_loss(Unlikelihood(threshold=0.0), inputs).item()
    log_p = log_softmax(inputs.logits.detach().numpy(), axis=1)[range(30), inputs.targets]
    good = inputs.rewards.numpy() >= 0
    assert 0 < good.sum() < 30
    assert_near(hard, -np.where(good, log_p, np.log1p(-np.exp(log_p))).mean())
    assert abs(hard - case["loss"]) > 0.1


def test_soft_weights_are_never_negative() -> None:
    # Scores above 1 give the 2023 code a negative weight for the likelihood: it then trains
    # good tokens to be unlikely. Ours stays in [0, 1], and `settle` refuses such rewards.
    case = CASES["ul_soft_scores_gt1"]
    inputs = Inputs(case)
    scores = -inputs.rewards.numpy()
    log_p = log_softmax(inputs.logits.detach().numpy(), axis=1)[range(30), inputs.targets]
    unlike = -np.log1p(-np.exp(log_p))
    assert_near(case["loss"], (-(1 - scores) * log_p + scores * unlike).mean())
    cut = scores.clip(0, 1)
    assert (scores > 1).any()
    found = whole_loss(Unlikelihood(soft=True), inputs).item()
    assert_near(found, (-(1 - cut) * log_p + cut * unlike).mean())


def test_unlikelihood_leaves_out_positions_without_a_target() -> None:
    # The 2023 code raises an IndexError there.
    case = CASES["ul_ignore_index"]
    assert "raises" in case
    inputs = Inputs(case)
    found = whole_loss(ours(case), inputs)
    found.backward()
    kept = inputs.counted.numpy()
    targets = inputs.targets.numpy()[kept]
    log_p = log_softmax(inputs.logits.detach().numpy()[kept], axis=1)[range(len(targets)), targets]
    good = inputs.rewards.numpy()[kept] >= -0.00078
    assert_near(found.item(), -np.where(good, log_p, np.log1p(-np.exp(log_p))).mean())
    assert inputs.logits.grad is not None
    assert not inputs.logits.grad[~inputs.counted].any()


def test_a_fixed_value_of_zero_is_a_value() -> None:
    # 2023: `if self.fixed_value`, so that 0 is ignored and the head's value is used. Ours is
    # what it computes without a head.
    case, meant = CASES["awr_fixed_value_zero"], CASES["awr_no_head"]
    inputs = Inputs(case)
    loss = whole_loss(Awr(fixed_value=0.0), inputs)
    loss.backward()
    assert_near(loss.item(), meant["loss"])
    assert_near(inputs.logits.grad, gradient(meant, "grad_logits"))
    assert case["loss"] == CASES["awr_defaults"]["loss"] != meant["loss"]


def test_padding_has_no_value_loss_and_does_not_dilute_the_mean() -> None:
    # 2023: positions without a target still count in the mean, and in the value loss.
    case = CASES["awr_ignore_index"]
    inputs, objective = Inputs(case), Awr()
    assert inputs.values is not None
    lost = objective.value_loss(inputs.rewards, inputs.values)
    language = language_loss(objective, inputs)
    assert_near(((language + lost.sum()) / 30).item(), case["loss"])
    language.backward()
    assert inputs.logits.grad is not None
    assert_near(inputs.logits.grad / 30, gradient(case, "grad_logits"))
    counted = inputs.counted
    expected = (language + lost[counted].sum()).item() / counted.sum().item()
    assert_near(whole_loss(objective, Inputs(case)).item(), expected)


def test_awr_without_values_says_what_is_missing() -> None:
    # 2023: TypeError: 'NoneType' object is not subscriptable.
    case = CASES["awr_values_none"]
    with pytest.raises(TrainingError, match="need values"):
        Awr().weigh(Inputs(case).rewards, None)


@pytest.mark.parametrize("chunk", [1, 13, 30, 64, None])
def test_the_chunk_makes_no_difference(chunk: int | None) -> None:
    case = CASES["awr_defaults"]
    whole, parts = Inputs(case), Inputs(case)
    language_loss(Awr(), whole, chunk=30).backward()
    language_loss(Awr(), parts, chunk=chunk).backward()
    assert_near(parts.logits.grad, whole.logits.grad, 1e-14)


@pytest.mark.parametrize("kind", ["sigmoid", "linear"])
@pytest.mark.parametrize("detached", [False, True])
def test_value_heads_are_those_of_the_2023_code(kind: Any, detached: bool) -> None:
    name = f"value_head_{kind}"
    hidden = torch.tensor(ARRAYS["in.vh_hidden"], requires_grad=True)
    head = ValueModule(ValueHead(kind=kind, detached=detached), 8).double()
    assert_near(head(hidden).detach(), ARRAYS[f"{name}.at_init"])
    with torch.no_grad():
        head.weight.copy_(torch.tensor(ARRAYS["in.vh_weight"])[0])
    values = head(hidden)
    assert_near(values.detach(), ARRAYS[f"{name}.values"])
    values.sum().backward()
    assert head.weight.grad is not None
    if detached:
        assert hidden.grad is None
    else:
        assert_near(hidden.grad, ARRAYS[f"{name}.grad_hidden_of_sum"])


def test_the_reference_needs_no_weights_but_ours() -> None:
    # The construction used above, hidden = logits and head = identity, is the plain loss.
    inputs = Inputs(CASES["mle"])
    log_p = log_softmax(inputs.logits.detach().numpy(), axis=1)[range(30), inputs.targets]
    ones = Weights(like_N=torch.ones(30))
    head = torch.eye(17, dtype=torch.float64)
    _, found = weighted_loss(inputs.logits, head, inputs.targets, ones)
    assert_near(found, log_p)
