"""What a model thinks of texts that others are writing: its state after EOS, read on as they grow.

The texts stand without control tokens, which would give the verdict away.

Shapes: P rows, L tokens that are new, D hidden size.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch

from valence.errors import ControlError
from valence.guide.lattice import Lattice
from valence.model import Checkpoint, end_ids, start_ids


class Reader:
    """Texts by key; of each only what is new since the last time is read.

    A text that was taken back in part is read on from where it parts with what was read.
    """

    def __init__(self, checkpoint: Checkpoint, context: int) -> None:
        """Raises `ControlError` for a model whose cache cannot step back."""
        model, tokenizer = checkpoint.model, checkpoint.tokenizer
        starts = start_ids(tokenizer)
        self._eos_id = (end_ids(tokenizer) or starts)[0]
        self.lattice = Lattice(model, context=context, eos_id=self._eos_id)
        if not self.lattice.flexible:
            raise not_flexible(checkpoint)
        # A row begins with one token that all texts share.
        self._head = starts[:1] or (self._eos_id,)
        self._rest = starts[1:]
        self._keys: list[Hashable] = []
        self._read: list[list[int]] = []
        self.steps = 0
        """Tokens that went through the model."""

    def states(self, texts: Mapping[Hashable, Sequence[int]]) -> torch.Tensor:
        """The state after EOS [P, D] of each text, given as its text tokens."""
        wanted = {key: [*self._head, *self._rest, *tokens] for key, tokens in texts.items()}
        for key, tokens in wanted.items():
            if key in self._keys:
                place = self._keys.index(key)
                common = _common(self._read[place], tokens)
                if common < len(self._read[place]):
                    self.lattice.keep(place, common)
                    del self._read[place][common:]
        self._begin([key for key in wanted if key not in self._keys])
        new = [
            wanted[key][len(read) :] if key in wanted else []
            for key, read in zip(self._keys, self._read, strict=True)
        ]
        device = self.lattice.model.device
        width = max(map(len, new))
        ids_PL = torch.tensor(
            [[*[self._eos_id] * (width - len(each)), *each] for each in new],
            dtype=torch.long,
            device=device,
        ).view(len(new), width)
        active_PL = torch.tensor(
            [[False] * (width - len(each)) + [True] * len(each) for each in new],
            dtype=torch.bool,
            device=device,
        ).view(len(new), width)
        states_PD = self.lattice.feed(ids_PL, active_PL, self._eos_id)
        for read, tokens in zip(self._read, new, strict=True):
            read += tokens
        self.steps += sum(map(len, new)) + len(new)
        self.lattice.tidy(max(map(len, self._read)))
        return states_PD[[self._keys.index(key) for key in wanted]]

    def forget(self, keys: Sequence[Hashable]) -> None:
        """These texts are not asked about again."""
        for key in keys:
            if key not in self._keys:
                continue
            place, last = self._keys.index(key), len(self._keys) - 1
            if last == 0:
                self.lattice.empty()
            else:
                to_N = torch.tensor([place] if place < last else [], dtype=torch.long)
                from_N = torch.tensor([last] if place < last else [], dtype=torch.long)
                device = self.lattice.model.device
                self.lattice.leave(to_N.to(device), from_N.to(device), last)
            self._keys[place], self._read[place] = self._keys[last], self._read[last]
            del self._keys[last], self._read[last]

    def _begin(self, keys: Sequence[Hashable]) -> None:
        if not keys:
            return
        device = self.lattice.model.device
        ids_PL = torch.tensor([list(self._head)], device=device)
        self.lattice.begin(ids_PL, [1], torch.zeros(len(keys), dtype=torch.long, device=device))
        self._keys += keys
        self._read += [list(self._head) for _ in keys]


def not_flexible(checkpoint: Checkpoint) -> ControlError:
    """The error for a model of which no text can be taken back."""
    return ControlError(
        f"a {checkpoint.model.config.model_type} model cannot take back what it read",
        fix="Guides that look ahead or back need a model whose layers all keep plain keys and"
        " values (no sliding window, no recurrent state).",
    )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with together."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
