"""States after EOS: one pass over text with side branches wherever a verdict is asked for.

The text stands without control tokens, which would give the verdict away. Where a model cannot
read branches beside the text, or not beside as much of it, each is read in a row of its own:
right as well, and slower by as many branches as a text has.

Legend: B rows, T tokens of a row, F branches, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from valence.guide.verdict import Floats, Judges
from valence.measure.judging.branching import apart, fits_beside, room_beside
from valence.model import Checkpoint, backbone, end_ids, start_ids
from valence.pack import Tokenised, positions_and_mask
from valence.pack.branches import (
    Branches,
    BranchRow,
    JudgedUnits,
    rows_with_branches,
)
from valence.pack.ragged import Offsets
from valence.precision import Precision, autocast

ROW_TOKENS = 8192
"""About how many tokens go through the model together."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How a model reads text that is judged, in rows of up to `window` text tokens."""

    checkpoint: Checkpoint
    window: int
    precision: Precision = "fp32"
    on_progress: Progress | None = None

    def states(
        self, text: Tokenised, units: JudgedUnits, branches: Branches
    ) -> tuple[torch.Tensor, Offsets]:
        """States [F', D] at the branches that have a place in a row, and their numbers [F']."""
        found = list(self._read(text, units, branches))
        size = self.checkpoint.model.config.hidden_size
        empty = np.zeros(0, dtype=np.int64)
        return (
            torch.cat([torch.zeros(0, size), *(states.cpu() for states, _ in found)]),
            np.concatenate([empty, *(numbers for _, numbers in found)]),
        )

    def probabilities(
        self, text: Tokenised, units: JudgedUnits, branches: Branches, judges: Judges
    ) -> dict[str, Floats]:
        """What each judge says at each branch [F]; NaN for one that has no place in a row.

        States are not kept, so memory does not grow with them.
        """
        said = {name: np.full(len(branches.units), np.nan) for name in judges}
        for states, numbers in self._read(text, units, branches):
            for name, judge in judges.items():
                said[name][numbers] = judge(states)
        return said

    def _read(
        self, text: Tokenised, units: JudgedUnits, branches: Branches
    ) -> Iterator[tuple[torch.Tensor, Offsets]]:
        tokenizer = self.checkpoint.tokenizer
        starts = start_ids(tokenizer)
        eos_id = (end_ids(tokenizer) or starts)[0]
        rows = rows_with_branches(
            text, units, branches, start_ids=starts, eos_id=eos_id, window=self.window
        )
        room = room_beside(self.checkpoint.model)
        beside: list[BranchRow] = []
        plain: list[BranchRow] = []
        for row in rows:
            if fits_beside(row, room):
                beside.append(row)
            else:
                plain += apart(row)
        batches = [(batch, True) for batch in _batches(beside)]
        batches += [(batch, False) for batch in _batches(plain)]
        for number, (batch, branched) in enumerate(batches, start=1):
            states = self._forward(batch, eos_id, branched)
            yield states, np.concatenate([row.branches for row in batch])
            if self.on_progress is not None:
                self.on_progress(number, len(batches))

    @torch.inference_mode()
    def _forward(self, rows: Sequence[BranchRow], eos_id: int, branched: bool) -> torch.Tensor:
        """States of the branches; only rows that are `branched` need masks."""
        model = self.checkpoint.model
        shape = (len(rows), max(len(row.ids) for row in rows))
        ids, forks = np.full(shape, eos_id, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
        documents = np.ones(shape, dtype=np.int32)  # Padding is a document of its own.
        for at, row in enumerate(rows):
            ids[at, : len(row.ids)] = row.ids
            forks[at, : len(row.ids)] = row.forks
            documents[at, : len(row.ids)] = 0
        device = model.device
        forks_BT = torch.from_numpy(forks).to(device)
        given: dict[str, torch.Tensor] = {}
        if branched:
            given["position_ids"], given["attention_mask"] = positions_and_mask(
                torch.from_numpy(documents).to(device), forks_BT
            )
        with autocast(self.precision, device):
            hidden_BTD = backbone(model)(
                input_ids=torch.from_numpy(ids).to(device), use_cache=False, **given
            ).last_hidden_state
        states_FD: torch.Tensor = hidden_BTD[forks_BT].float()
        return states_FD


def _batches(rows: Sequence[BranchRow]) -> Iterator[list[BranchRow]]:
    """Rows from the shortest on, as many together as make `ROW_TOKENS` tokens."""
    batch: list[BranchRow] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if batch and (len(batch) + 1) * len(row.ids) > ROW_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
