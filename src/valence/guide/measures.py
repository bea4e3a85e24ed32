"""What a guide can look at: how good a segment is, in the eyes of the model or of a scorer.

Values are rewards: higher is preferred. A verdict is the probability of the best band.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from valence.annotate.judge import score_document
from valence.control import ControlScheme
from valence.data import Document, Score, tile
from valence.errors import ControlError
from valence.guide.modes import UNGUIDED
from valence.guide.protocol import Site
from valence.guide.reader import Reader
from valence.guide.rows import Row, Rows
from valence.guide.verdict import judge_for, taught
from valence.model import Checkpoint, continuation
from valence.objective.readout import Readout
from valence.recipe import options
from valence.score.protocol import Scorer
from valence.score.table import build_scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A segment of a row: the tokens from `begin` to `end` after its prompt."""

    row: Row
    begin: int
    end: int


class Measure(Protocol):
    """How good segments are.

    `cost` says in words what a look takes; `steps` counts tokens read beside those of the rows.
    With `whole_batch` a look is a pass through the model for all rows of the batch, asked about or
    not, and segments should not end with the newest token, which was not read yet.
    """

    cost: str
    steps: int
    whole_batch: bool

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None) -> bool:
        """Whether this model can be asked."""

    def begin(self, site: Site) -> None:
        """Get ready; raises `ControlError` for a model that cannot be asked."""

    def values(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
        """The reward of each segment, in view of all that was said before; None is a failure."""

    def forget(self, rows: Sequence[Row]) -> None:
        """These rows have left."""


class Verdict:
    """The model's own verdict after EOS, or a read-out of the state there.

    Where the model writes without control tokens, the look is a fork of the text being written:
    two tokens. In a mode with control tokens the text is read a second time, without them.
    """

    cost = "two tokens for each look, or the text once more in modes with control tokens"

    def __init__(self, readout: Readout | None = None) -> None:
        self.readout, self.steps, self.whole_batch = readout, 0, True
        self._reader: Reader | None = None

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None) -> bool:
        """Whether it was taught to judge what was said."""
        return taught(checkpoint, known)

    def begin(self, site: Site) -> None:
        """Raises `ControlError` for a model that was never taught a verdict."""
        self._judge = judge_for(site.checkpoint, site.known, self.readout, "guide: verdict")
        self._site, self._controls = site, frozenset(site.control_ids)
        # Also where the mode's token stands at the beginning alone.
        self._reader = None if site.mode in UNGUIDED else Reader(site.checkpoint)

    def values(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
        """The probability of the best band after each segment."""
        if self._reader is None:
            return self._forked(said, rows)
        ends: dict[Hashable, list[int]] = {}
        texts: dict[Hashable, list[int]] = {}
        for each in said:
            texts[each.row] = self._text(each)
            ends.setdefault(each.row, []).append(len(texts[each.row]))
        before = self._reader.steps
        states = iter(torch.cat(self._reader.states(texts, ends)))
        self.steps += self._reader.steps - before
        by_row = {row: [next(states) for _ in ends[row]] for row in texts}
        found = torch.stack([by_row[each.row].pop(0) for each in said])
        return [float(value) for value in self._judge(found)]

    def forget(self, rows: Sequence[Row]) -> None:
        """Of rows that have left nothing is kept."""
        if self._reader is not None:
            self._reader.forget(rows)

    def _text(self, said: Said) -> list[int]:
        # Not the row's prompt: what starts a document stands in it.
        prompt = self._site.asks[said.row.number].ids
        said_ids = (token for token in said.row.tokens[: said.end] if token not in self._controls)
        return [*prompt, *said_ids]

    def _forked(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
        """In the rows that are written: one pass for all ends of all rows.

        The newest token of a row was not read yet, unless it ended its text: where a segment ends
        with it, the last token of each segment is read again.
        """
        ends: dict[Row, list[int]] = {}
        for each in said:
            ends.setdefault(each.row, []).append(len(each.row.prompt) + each.end)
        again = any(row.read < max(found) for row, found in ends.items())
        most = max(map(len, ends.values()))
        eos_id, lengths, tries = self._site.band.eos_id, [], []
        for row in rows.rows:
            places = ends.get(row, [])
            places = places + [places[-1] if places else 1] * (most - len(places))
            whole = (*row.prompt, *row.tokens)
            lengths.append([place - again for place in places])
            tries.append([[whole[place - 1], eos_id] if again else [eos_id] for place in places])
        device = rows.lattice.model.device
        states_NKD = rows.fork(torch.tensor(tries, device=device), lengths)
        places_of = {row: iter(range(len(found))) for row, found in ends.items()}
        found_SD = torch.stack(
            [states_NKD[rows.rows.index(each.row), next(places_of[each.row])] for each in said]
        )
        return [float(value) for value in self._judge(found_SD)]


class Scored:
    """Any scorer's reward of the segment, of the text so far: whatever the tokenizer.

    What it cannot score (`Failure`) is None.
    """

    cost = "no token; the scorer's own time"

    def __init__(self, scorer: Scorer | options.Spec, *, prompt: bool = True) -> None:
        """`prompt`: the scorer sees the prompt too."""
        self.scorer: Scorer = scorer if hasattr(scorer, "score") else build_scorer(scorer)  # type: ignore[assignment]
        self.prompt, self.steps, self.whole_batch = prompt, 0, False

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None) -> bool:
        """Always: nothing is needed of the model."""
        return True

    def begin(self, site: Site) -> None:
        """Nothing is needed of the model."""
        self._site, self._controls = site, frozenset(site.control_ids)

    def values(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
        """The scorer's reward of each segment."""
        return [self._value(each) for each in said]

    def forget(self, rows: Sequence[Row]) -> None:
        """Nothing is kept."""

    def _value(self, said: Said) -> float | None:
        ask = self._site.asks[said.row.number]
        prompt = ask.ids if self.prompt else ()
        before, whole = (
            continuation(self._site.checkpoint.tokenizer, ask.ids, self._text(said.row, end))
            for end in (said.begin, said.end)
        )
        head = self._site.checkpoint.tokenizer.decode(list(prompt)) if prompt else ""
        start, text = len(head) + len(before), head + whole
        if start >= len(text):
            return None
        document = Document(id="the text so far", text=text, source="")
        ends = [start, len(text)] if start else [len(text)]
        result = score_document(self.scorer, document, tile(ends))[-1]
        return result.value if isinstance(result, Score) else None

    def _text(self, row: Row, end: int) -> list[int]:
        return [token for token in row.tokens[:end] if token not in self._controls]


def build_measure(spec: Any, readout: Readout | None) -> Measure:
    """`verdict`, `readout` (the one that was trained with the model), or a scorer's spec."""
    if spec == "verdict":
        return Verdict()
    if spec == "readout":
        if readout is None:
            raise ControlError(
                "no read-out was trained with the model",
                where="guide: readout",
                fix="Train it with `verdict: {readout: mlp}`, or use `verdict`.",
            )
        return Verdict(readout)
    return Scored(spec)
