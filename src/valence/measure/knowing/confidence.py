"""How sure a model is of its own answers, read in several ways; each is a number in [0, 1].

- `verdict`: P(good token) after the question, the answer and EOS, of models that were taught it.
- `p_true`: P(True) of Kadavath et al. 2022 (arXiv 2207.05221), section 3: is the possible answer
  (A) true or (B) false? `p_true_shown` after several of its own samples, as there.
- `probability`: the mean probability of the answer's tokens; `agreement`: the share of its own
  samples that say the same. The plain controls.
- `answering`: one minus the probability of abstaining.
- `p_ik_linear`, `p_ik_mlp`: P(IK), before it answers; see `head`.

Legend: Q questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.control import ControlScheme
from valence.measure.knowing.answering import Answered
from valence.measure.knowing.head import fit_knowing, knows
from valence.measure.knowing.reading import (
    Tokens,
    continuation_probabilities,
    good_after_end,
    states_at_end,
)
from valence.model import Checkpoint
from valence.objective.readout import Kind
from valence.precision import Precision
from valence.recipe.knowing import Confidence, KnowingRecipe

Floats = npt.NDArray[np.float64]
TRUE, FALSE = " (A)", " (B)"
HEADS: dict[Confidence, Kind] = {"p_ik_linear": "linear", "p_ik_mlp": "mlp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model in a mode, with what stands before every text there.

    `known` names the control tokens in its vocabulary; `taught`: whether it was taught to judge
    by them what was said.
    """

    checkpoint: Checkpoint
    known: ControlScheme | None
    taught: bool
    before: Tokens
    precision: Precision


def confidences(
    model: Asked,
    measured: Sequence[Answered],
    fitted: Sequence[Answered],
    recipe: KnowingRecipe,
    *,
    seed: int,
) -> dict[Confidence, Floats]:
    """The recipe's confidences in the answers that are measured, each [Q].

    Left out is what the model does not have: `verdict` if it was not taught one, P(IK) without
    questions to fit it on.
    """
    found: dict[Confidence, Floats] = {}
    for name in recipe.confidences:
        if name in HEADS:
            if fitted:
                found[name] = _before_answering(model, HEADS[name], measured, fitted, seed)
        elif name == "verdict":
            if model.taught and model.known is not None:
                texts = [f"{each.question.prompt} {each.said}\n" for each in measured]
                found[name] = good_after_end(
                    model.checkpoint, model.known, texts, precision=model.precision
                )
        elif name == "p_true":
            found[name] = _judged(model, measured, 0)
        elif name == "p_true_shown":
            found[name] = _judged(model, measured, recipe.shown)
        elif name == "probability":
            found[name] = np.array([np.exp(logs).mean() for logs in _own(model, measured)])
        elif name == "agreement":
            found[name] = np.array([each.agreement for each in measured])
        else:
            found[name] = 1 - _abstaining(model, measured, recipe.abstentions)
    return found


def judging_prompt(answered: Answered, shown: int) -> str:
    """The question with its possible answer, and whether that is true, up to the choice.

    The form of Kadavath et al. 2022, section 3.2; `shown` samples stand before the answer.
    """
    asked = answered.question.prompt.removesuffix("A:")
    ideas = "".join(f"{sample}\n" for sample in answered.samples[:shown])
    return (
        f"{asked}{f'Here are some brainstormed ideas: {ideas}' if ideas else ''}"
        f"Possible answer: {answered.said}\nIs the possible answer:\n (A) True\n (B) False\n"
        "The possible answer is:"
    )


def _judged(model: Asked, answered: Sequence[Answered], shown: int) -> Floats:
    """P(True) against P(False) [Q]."""
    prompts = [judging_prompt(each, shown) for each in answered]
    true, false = (
        np.array([logs.sum() for logs in _read(model, prompts, [choice] * len(prompts))])
        for choice in (TRUE, FALSE)
    )
    found: Floats = 1 / (1 + np.exp(np.clip(false - true, -500, 500)))
    return found


def _own(model: Asked, answered: Sequence[Answered]) -> list[Floats]:
    """Log-probabilities of the tokens of each answer, its line break among them."""
    prompts = [each.question.prompt for each in answered]
    return _read(model, prompts, [f" {each.said}\n" for each in answered])


def _abstaining(model: Asked, answered: Sequence[Answered], phrases: Sequence[str]) -> Floats:
    """The probability [Q] of saying one of the phrases instead of any answer."""
    prompts = [each.question.prompt for each in answered]
    total = np.zeros(len(prompts))
    for phrase in phrases:
        total += np.exp(
            [logs.sum() for logs in _read(model, prompts, [f" {phrase}"] * len(prompts))]
        )
    return np.minimum(total, 1.0)


def _read(model: Asked, prompts: Sequence[str], texts: Sequence[str]) -> list[Floats]:
    return continuation_probabilities(
        model.checkpoint, model.known, model.before, prompts, texts, precision=model.precision
    )


def _before_answering(
    model: Asked, kind: Kind, measured: Sequence[Answered], fitted: Sequence[Answered], seed: int
) -> Floats:
    learned, tested = (
        states_at_end(
            model.checkpoint,
            model.before,
            [each.question.prompt for each in some],
            precision=model.precision,
        )
        for some in (fitted, measured)
    )
    shares = np.array([each.share_right for each in fitted])
    groups = [each.question.group for each in fitted]
    return knows(fit_knowing(kind, learned, shares, groups, seed=seed), tested)
