"""Whether a model can read side branches beside the text, and else each as a row of its own.

Branches need a mask and positions of their own. Models with biases for distance, recurrent or
convolving layers do not know them or trip over them; a sliding window is lost where masks are
given, which only matters of rows that are longer. There is no list of architectures: a pass over
five tokens finds out.

Legend: T tokens of a row, D hidden size.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from valence.guide.windows import windows_of
from valence.model import backbone
from valence.pack import positions_and_mask
from valence.pack.branches import BranchRow

TEXT, BRANCH, AFTER = (3, 1, 2, 4), 0, 2
"""Ids that are tried: a text, and a branch beside it after so many of its tokens."""


def room_beside(model: PreTrainedModel) -> int:
    """How many tokens a branch in a row may see, itself with them; 0 where rows have none.

    No more than a sliding window, if some layers have one.
    """
    windows = windows_of(model)
    if windows is None or not _takes_branches(model):
        return 0
    return sys.maxsize if windows.width is None else windows.width


def fits_beside(row: BranchRow, room: int) -> bool:
    """Whether all branches of a row see no more than so many tokens."""
    return int((~row.forks).sum()) + 1 <= room


def apart(row: BranchRow) -> Iterator[BranchRow]:
    """Each branch of a row as a plain row: what it sees, and itself at the end."""
    texts = row.ids[~row.forks]
    places = np.flatnonzero(row.forks)
    for count, (place, number) in enumerate(zip(places, row.branches, strict=True)):
        ids = np.append(texts[: place - count], row.ids[place])
        forks = np.zeros(len(ids), dtype=np.bool_)
        forks[-1] = True
        yield BranchRow(ids=ids, forks=forks, branches=np.array([number], dtype=np.int64))


@torch.inference_mode()
def _takes_branches(model: PreTrainedModel) -> bool:
    """Whether a branch sees what a plain row of its own sees, and the text does not see it."""
    ids = torch.tensor([[*TEXT[:AFTER], BRANCH, *TEXT[AFTER:]]], device=model.device)
    forks_BT = torch.zeros_like(ids, dtype=torch.bool)
    forks_BT[0, AFTER] = True
    positions_BT, mask = positions_and_mask(torch.zeros_like(ids), forks_BT)
    try:
        found_TD = _states(model, ids, attention_mask=mask, position_ids=positions_BT)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        # Whoever does not know such masks trips over them, each in a way of its own.
        return False
    branch_TD = _states(model, ids[:, : AFTER + 1])
    text_TD = _states(model, ids[~forks_BT][None])
    expected_TD = torch.cat([text_TD[:AFTER], branch_TD[-1:], text_TD[AFTER:]])
    near = torch.finfo(expected_TD.dtype).eps ** 0.5 * float(expected_TD.abs().max())
    return bool((found_TD - expected_TD).abs().max() <= near)


def _states(model: PreTrainedModel, ids_BT: torch.Tensor, **given: Any) -> torch.Tensor:
    """States [T, D] of one row."""
    states_TD: torch.Tensor = backbone(model)(
        input_ids=ids_BT, use_cache=False, **given
    ).last_hidden_state[0]
    return states_TD
