"""What a model says of a text after EOS: its own token, or a read-out of the state there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from valence.control import ControlScheme
from valence.errors import ControlError
from valence.model import Checkpoint, head_weight
from valence.objective.readout import Readout

Floats = npt.NDArray[np.float64]
Judge = Callable[[torch.Tensor], Floats]
"""States after EOS [N, D] to the probability [N] that the best band was said."""
Judges = Mapping[str, Judge]


def verdict_of(checkpoint: Checkpoint, scheme: ControlScheme) -> Judge:
    """The model's own verdict: its probability of the best band's token among the bands'."""
    control_ids = list(scheme.token_ids(checkpoint.tokenizer))
    weight, bias = head_weight(checkpoint.model)
    chosen = None if bias is None else bias[control_ids].float()
    weight_CD = weight[control_ids].float()

    @torch.inference_mode()
    def judge(states_ND: torch.Tensor) -> Floats:
        states_ND = states_ND.to(weight_CD.device).float()
        logits_NC = functional.linear(states_ND, weight_CD, chosen)
        found: Floats = logits_NC.softmax(dim=-1)[:, scheme.best].double().cpu().numpy()
        return found

    return judge


def taught(checkpoint: Checkpoint, known: ControlScheme | None) -> bool:
    """Whether a model was taught to judge what was said."""
    return known is not None and checkpoint.verdict


def judge_for(
    checkpoint: Checkpoint, known: ControlScheme | None, readout: Readout | None, where: str
) -> Judge:
    """A read-out of the model's states, or its own verdict where there is none.

    Raises `ControlError` for a model that was never taught a verdict.
    """
    if known is None or not taught(checkpoint, known):
        raise ControlError(
            "the model was never taught a verdict",
            where=where,
            fix="Train it with `verdict: {}`, or let a scorer judge.",
        )
    return verdict_of(checkpoint, known) if readout is None else judge_by(readout, known.best)


def judge_by(readout: Readout, best: int) -> Judge:
    """A read-out as a judge."""

    @torch.inference_mode()
    def judge(states_ND: torch.Tensor) -> Floats:
        found: Floats = readout(states_ND.cpu().float()).softmax(-1)[:, best].double().numpy()
        return found

    return judge
