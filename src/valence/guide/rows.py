"""The rows of a batch while they are written: they join, take steps together, and leave.

Shapes: N rows, C contexts of each, P = N·C rows of the lattice, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from valence.guide.band import BandProcessor
from valence.guide.lattice import Lattice
from valence.guide.pick import Picker, Stream, arrivals

STRIDE = 8
"""On an accelerator, steps between two looks at what was written: a look waits for it."""

Combine = Callable[[Sequence["Row"], int, torch.Tensor, torch.Tensor], torch.Tensor]
"""Rows, how many are before them, their tokens so far [N, T] and scores in every context
[N, C, V], to scores [N, V]."""


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """One text as it is written: the prompt with what is before it, and the tokens after it."""

    number: int
    prompt: tuple[int, ...]
    chances: Stream
    limit: int
    """Tokens at the most, control tokens among them."""
    tokens: list[int] = field(default_factory=list)
    text: int = 0
    """Text tokens among them."""
    ended: bool = False
    done: bool = False
    held: bool = False
    """It waits: it takes no steps, and does not leave when it is done."""
    dropped: bool = False
    """Another row of the same ask was chosen."""

    @property
    def length(self) -> int:
        """Tokens so far, with the prompt's."""
        return len(self.prompt) + len(self.tokens)

    @property
    def read(self) -> int:
        """Tokens that the model has read: of a text that it goes on with all but the newest."""
        return self.length if self.ended else self.length - 1

    @property
    def goes(self) -> bool:
        """Whether it takes steps."""
        return not (self.done or self.held)


class Rows:
    """A batch of rows in different states, one forward pass per step for all of them."""

    def __init__(
        self,
        lattice: Lattice,
        band: BandProcessor,
        picker: Picker,
        combine: Combine | None,
        *,
        contexts: Sequence[int] = (),
        control_ids: Sequence[int],
        max_text: int,
    ) -> None:
        """`max_text` text tokens are written at the most.

        Scores go through `combine`, then the mode's own, `band`. With `contexts` each row is
        read several times, once with each of these control tokens in the place of the first,
        which is the mode's own.
        """
        self.lattice, self.band, self.picker, self.combine = lattice, band, picker, combine
        self.control_ids, self.max_text = frozenset(control_ids), max_text
        self.eos_id, device = band.eos_id, lattice.model.device
        self._ends = frozenset(band.ends.tolist())
        self.stride = 1 if device.type == "cpu" else STRIDE
        self._contexts = torch.tensor(list(contexts), dtype=torch.long, device=device)
        self.width = max(1, len(contexts))
        """Rows of the lattice for each row."""
        self._size: int = lattice.model.get_output_embeddings().weight.shape[0]
        self.rows: list[Row] = []
        self._next_N = torch.empty(0, dtype=torch.long, device=device)
        """The token of each row that is read next."""
        self.steps = 0
        """Tokens that went through the model, those of prompts and of other contexts too."""

    @property
    def flexible(self) -> bool:
        """Whether rows may be of any length and leave at any time."""
        return self.lattice.flexible

    def join(self, rows: Sequence[Row]) -> None:
        """Read the rows' prompts and write their first tokens.

        No prompt is longer than the longest row here. Rows of the same prompt share a pass.
        """
        prompts = [self._in_context(row.prompt, c) for row in rows for c in range(self.width)]
        texts = list(dict.fromkeys(prompts)) if self.flexible else prompts
        place = {prompt: number for number, prompt in enumerate(texts)}
        longest = max(map(len, texts))
        padded = [[*[self.eos_id] * (longest - len(each)), *each] for each in texts]
        device = self._next_N.device
        index_P = torch.tensor([place[prompt] for prompt in prompts], device=device)
        lengths = [len(each) for each in texts]
        scores_PV = self.lattice.begin(torch.tensor(padded, device=device), lengths, index_P)
        self.steps += sum(lengths)
        (chances_NV,) = self._chances(rows, 1)
        begun = len(self.rows)
        new_N = self._pick(rows, begun, scores_PV, chances_NV)
        self._next_N = torch.cat([self._next_N, new_N])
        self.rows += rows
        self._absorb(rows, new_N[:, None])

    def advance(self) -> None:
        """Write a token to every row that does not wait, on an accelerator a stride of them."""
        active = [row.goes for row in self.rows]
        active_N = None
        if not all(active):
            active_N = torch.tensor(active, device=self._next_N.device)
        active_P = None if active_N is None else self._each(active_N)
        going = [row for row, goes in zip(self.rows, active, strict=True) if goes]
        written = []
        for chances_NV in self._chances(going, self.stride):
            if chances_NV is not None and active_N is not None:
                # What waits draws nothing: its chances do not depend on how long it waits.
                chances_NV = _scattered(chances_NV, active_N)
            scores_PV = self.lattice.read(self._in_contexts(self._next_N), active_P)
            picked_N = self._pick(self.rows, 0, scores_PV, chances_NV)
            if active_N is not None:
                picked_N = torch.where(active_N, picked_N, self._next_N)
            self._next_N = picked_N
            written.append(picked_N)
        self.steps += sum(active) * self.width * self.stride
        tokens_NS = torch.stack(written, dim=1)
        self._absorb(going, tokens_NS if active_N is None else tokens_NS[active_N])

    def keep(self, counts: Mapping[Row, int]) -> None:
        """Take back all but the first `counts` tokens of some rows; they go on from there."""
        if not counts:
            return
        places = [place for place, row in enumerate(self.rows) if row in counts]
        for row, count in counts.items():
            del row.tokens[count:]
            row.text = sum(token not in self.control_ids for token in row.tokens)
            row.ended = row.done = row.held = False
        rows = [place * self.width + c for place in places for c in range(self.width)]
        lengths = [self.rows[at // self.width].length - 1 for at in rows]
        self.lattice.keep(rows, lengths)
        newest = [self._newest(self.rows[place]) for place in places]
        self._next_N[places] = torch.tensor(newest, device=self._next_N.device)

    def write(self, row: Row, tokens: Sequence[int]) -> None:
        """Let a row go on with these tokens, whatever the model would have written."""
        if not tokens:
            return
        place, device = self.rows.index(row), self._next_N.device
        new_1L = torch.tensor([[int(self._next_N[place]), *tokens[:-1]]], device=device)
        ids_NL = new_1L.expand(len(self.rows), -1)
        active_N = torch.arange(len(self.rows), device=device) == place
        active_PL = self._each(active_N)[:, None].expand(-1, len(tokens))
        ids_PL = torch.stack([self._in_contexts(ids_N) for ids_N in ids_NL.unbind(1)], dim=1)
        self.lattice.feed(ids_PL, active_PL)
        self.steps += len(tokens) * self.width
        row.tokens += tokens
        row.text += sum(token not in self.control_ids for token in tokens)
        self._next_N = self._next_N.clone()
        self._next_N[place] = tokens[-1]

    def copy(self, source: Row, others: Sequence[Row]) -> None:
        """Other rows become what this one is, with chances of their own."""
        at, to = self.rows.index(source), [self.rows.index(other) for other in others]
        for row in others:
            row.tokens, row.text = list(source.tokens), source.text
            row.ended, row.done, row.held = source.ended, source.done, source.held
        for c in range(self.width):
            self.lattice.copy(at * self.width + c, [place * self.width + c for place in to])
        self._next_N = self._next_N.clone()
        self._next_N[to] = self._next_N[at].clone()

    def fork(
        self, tries_NKL: torch.Tensor, lengths: Sequence[Sequence[int]] | None = None
    ) -> torch.Tensor:
        """The last hidden states [N, K, D] after K tries of L more tokens, in the own context.

        With `lengths` [N, K] a try comes after so many tokens of its row, the prompt's among them.
        Otherwise it is all that was read, to which the newest token does not belong.
        """
        length_P = None
        if lengths is not None:
            length_P = self._each(torch.tensor(lengths, device=tries_NKL.device))
        tries_PKL = tries_NKL.repeat_interleave(self.width, dim=0)
        self.steps += tries_PKL.numel()
        return self.lattice.fork(tries_PKL, length_P)[:: self.width]

    def leave(self) -> list[Row]:
        """The rows that are done leave the batch, or all of them together where they must."""
        done = [row for row in self.rows if row.done and not row.held]
        kept = len(self.rows) - len(done)
        if not done or (kept and not self.flexible):
            return []
        if not kept:
            self.rows, self._next_N = [], self._next_N[:0]
            self.lattice.empty()
            return done
        # The last rows take the places of those that leave, so that little is copied.
        left = set(done)
        gone = [place for place, row in enumerate(self.rows[:kept]) if row in left]
        moved = [kept + place for place, row in enumerate(self.rows[kept:]) if row not in left]
        for place, source in zip(gone, moved, strict=True):
            self.rows[place] = self.rows[source]
        del self.rows[kept:]
        to_N, from_N = torch.tensor([gone, moved], dtype=torch.long, device=self._next_N.device)
        self._next_N[to_N] = self._next_N[from_N]
        self._next_N = self._next_N[:kept]
        self.lattice.leave(self._places(to_N), self._places(from_N), kept * self.width)
        self.lattice.tidy(max(row.length for row in self.rows))
        return done

    @staticmethod
    def _newest(row: Row) -> int:
        return row.tokens[-1] if row.tokens else row.prompt[-1]

    def _in_context(self, prompt: tuple[int, ...], context: int) -> tuple[int, ...]:
        if self.width == 1:
            return prompt
        own, other = (int(self._contexts[place]) for place in (0, context))
        return tuple(other if token == own else token for token in prompt)

    def _in_contexts(self, tokens_N: torch.Tensor) -> torch.Tensor:
        """The tokens as each context reads them [P]."""
        if self.width == 1:
            return tokens_N
        tokens_NC = tokens_N[:, None].expand(-1, self.width)
        swapped_NC = torch.where(tokens_NC == self._contexts[0], self._contexts[None], tokens_NC)
        return swapped_NC.reshape(-1)

    def _each(self, values_N: torch.Tensor) -> torch.Tensor:
        """A value for each row of the lattice [P]."""
        return values_N if self.width == 1 else values_N.repeat_interleave(self.width)

    def _places(self, rows_N: torch.Tensor) -> torch.Tensor:
        """The rows of the lattice that are those of some rows."""
        if self.width == 1:
            return rows_N
        offsets = torch.arange(self.width, device=rows_N.device)
        return (rows_N[:, None] * self.width + offsets).reshape(-1)

    def _pick(
        self,
        rows: Sequence[Row],
        begun: int,
        scores_PV: torch.Tensor,
        chances_NV: torch.Tensor | None,
    ) -> torch.Tensor:
        """The next token of each row [N]; `begun` others are before them."""
        ids_NT = self.lattice.ids_PT[:: self.width][begun:]
        scores_NCV = scores_PV.view(len(rows), self.width, -1)
        scores_NV = scores_NCV[:, 0]
        if self.combine is not None:
            scores_NV = self.combine(rows, begun, ids_NT, scores_NCV)
        scores_NV = self.band(ids_NT, scores_NV)
        return self.picker.pick(scores_NV, chances_NV, self.band.choosing(ids_NT[:, -1]))

    def _chances(self, rows: Sequence[Row], steps: int) -> Sequence[torch.Tensor | None]:
        """The rows' chances [N, V] of each step."""
        if not self.picker.random:
            return [None] * steps
        return arrivals([row.chances for row in rows], steps, self._size).unbind(dim=1)

    def _absorb(self, rows: Sequence[Row], tokens_NS: torch.Tensor) -> None:
        """Note what was written, up to where each row is done."""
        for row, tokens in zip(rows, tokens_NS.tolist(), strict=True):
            for token in tokens:
                if row.done:
                    break
                row.ended = token in self._ends
                if not row.ended:
                    row.tokens.append(token)
                    row.text += token not in self.control_ids
                full = row.text >= self.max_text or len(row.tokens) >= row.limit
                row.done = row.ended or full


def _scattered(values_GV: torch.Tensor, active_N: torch.Tensor) -> torch.Tensor:
    """The values of active rows in their places, and ones elsewhere [N, V]."""
    found = values_GV.new_ones((len(active_N), values_GV.shape[1]))
    found[active_N] = values_GV
    return found
