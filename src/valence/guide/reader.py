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

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises `ControlError` for a model whose cache cannot step back."""
        model, tokenizer = checkpoint.model, checkpoint.tokenizer
        starts = start_ids(tokenizer)
        self._eos_id = (end_ids(tokenizer) or starts)[0]
        context: int = getattr(model.config, "max_position_embeddings", None) or 2**31
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

    def states(
        self, texts: Mapping[Hashable, Sequence[int]], ends: Mapping[Hashable, Sequence[int]]
    ) -> list[torch.Tensor]:
        """The states after EOS [E, D] at `ends` of each text, counted in its text tokens."""
        self._bring(texts)
        before = len(self._head) + len(self._rest)
        most = max(len(each) for each in ends.values())
        lengths = [[before + end for end in _filled(ends.get(key, ()), most)] for key in self._keys]
        device = self.lattice.model.device
        tries_PK1 = torch.full((len(self._keys), most, 1), self._eos_id, device=device)
        states_PKD = self.lattice.fork(tries_PK1, torch.tensor(lengths, device=device))
        self.steps += tries_PK1.numel()
        return [states_PKD[self._keys.index(key), : len(ends[key])] for key in texts]

    def after(
        self, texts: Mapping[Hashable, Sequence[int]], tries_NKL: torch.Tensor
    ) -> torch.Tensor:
        """The states [N, K, D] after each of K tries of L more tokens of each text."""
        self._bring(texts)
        places = [self._keys.index(key) for key in texts]
        tries_PKL = tries_NKL.new_full((len(self._keys), *tries_NKL.shape[1:]), self._eos_id)
        tries_PKL[places] = tries_NKL
        self.steps += tries_PKL.numel()
        return self.lattice.fork(tries_PKL)[places]

    def _bring(self, texts: Mapping[Hashable, Sequence[int]]) -> None:
        """Take back what was taken back, and read what is new."""
        wanted = {key: [*self._head, *self._rest, *tokens] for key, tokens in texts.items()}
        parted = {}
        for key, tokens in wanted.items():
            if key in self._keys:
                place = self._keys.index(key)
                common = _common(self._read[place], tokens)
                if common < len(self._read[place]):
                    parted[place] = common
                    del self._read[place][common:]
        if parted:
            self.lattice.keep(list(parted), list(parted.values()))
        self._begin([key for key in wanted if key not in self._keys])
        self._read_on(wanted)

    def _read_on(self, wanted: Mapping[Hashable, Sequence[int]]) -> None:
        """Read what is new of each text."""
        new = [
            list(wanted[key][len(read) :]) if key in wanted else []
            for key, read in zip(self._keys, self._read, strict=True)
        ]
        width = max(map(len, new))
        if not width:
            return
        missing = [width - len(each) for each in new]
        device = self.lattice.model.device
        ids_PL = torch.tensor(
            [[*[self._eos_id] * gap, *each] for gap, each in zip(missing, new, strict=True)],
            device=device,
        )
        column_1L = torch.arange(width, device=device)[None]
        self.lattice.feed(ids_PL, column_1L >= torch.tensor(missing, device=device)[:, None])
        for read, tokens in zip(self._read, new, strict=True):
            read += tokens
        self.steps += sum(map(len, new))
        self.lattice.tidy(max(map(len, self._read)))

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
        " values, in eager or sdpa attention (no recurrent state, no chunked attention).",
    )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with together."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def _filled(ends: Sequence[int], count: int) -> list[int]:
    """As many ends: the last again, or the beginning where there are none."""
    return [*ends, *[ends[-1] if ends else 0] * (count - len(ends))]
