"""Several ways to go on at each segment, of which one is kept: search, and best of n."""

from __future__ import annotations

import math

import numpy as np

from valence.errors import ControlError
from valence.guide.measures import Measure, Said
from valence.guide.pick import stream
from valence.guide.protocol import Site
from valence.guide.reviewing import Reviewing
from valence.guide.rows import Row, Rows
from valence.guide.segments import SegmentKind


class Search(Reviewing):
    """At each segment boundary go on `k` times and keep one continuation by its value.

    The k continuations are rows of one batch. Kept is the best, or with a `temperature` one
    drawn by exp(value / temperature); one without a value only where none has any. With k = 1
    it is plain sampling. The total over a text of `k` continuations of each segment is k times
    its tokens.
    """

    def __init__(
        self,
        measure: Measure,
        k: int,
        *,
        temperature: float = 0.0,
        segments: SegmentKind | None = None,
        window: int = 64,
    ) -> None:
        if k < 1 or not (math.isfinite(temperature) and temperature >= 0):
            raise ControlError(
                f"k = {k} and temperature {temperature} cannot be used",
                where="search",
                fix="Give a k of 1 or more, and a temperature of 0 (the best) or above.",
            )
        super().__init__(measure, segments, window)
        self.copies, self.temperature = k, temperature

    def begin(self, site: Site) -> None:
        """Raises what the measure raises for a model that it cannot ask."""
        super().begin(site)
        self._passed: dict[int, tuple[int, int]] = {}
        """Of each ask, tokens that were chosen, and how many choices there were."""
        self._idle = 0

    def passed(self, row: Row) -> int:
        """Tokens that were chosen."""
        return len(row.tokens) if self.copies == 1 else self._passed.get(row.number, (0, 0))[0]

    def review(self, rows: Rows) -> None:
        """Hold rows at the end of their segment; where all of an ask are there, choose one."""
        if self.copies == 1:
            return
        groups: dict[int, list[Row]] = {}
        for row in rows.rows:
            groups.setdefault(row.number, []).append(row)
        # What a row wrote beyond its segment is of no use: the others might be chosen.
        back: dict[Row, int] = {}
        ready = [group for group in groups.values() if self._wait(group, back)]
        rows.keep(back)
        for row in back:
            row.held = True
        if not ready:
            return
        if self.measure.whole_batch and any(row.goes for row in rows.rows):
            # A look is a pass of all rows: those that are ready wait until that has cost as much.
            self._idle += sum(map(len, ready)) * self.every
            if self._idle < len(rows.rows):
                return
        self._idle = 0
        said = [
            Said(row=row, begin=self._passed.get(row.number, (0, 0))[0], end=len(row.tokens))
            for group in ready
            for row in group
        ]
        values = iter(self._values(said, rows))
        for group in ready:
            self._choose(group, [next(values) for _ in group], rows)

    def _wait(self, group: list[Row], back: dict[Row, int]) -> bool:
        """Hold the rows that have reached the end of their segment; whether all have.

        What goes beyond it is noted in `back`.
        """
        begin, _ = self._passed.get(group[0].number, (0, 0))
        for row in group:
            if row.held:
                continue
            ends = self._ends.after(row, begin)
            if ends:
                if ends[0] < len(row.tokens):
                    back[row] = ends[0]
                row.held = True
            elif row.done:
                row.held = True
        return all(row.held for row in group)

    def _values(self, said: list[Said], rows: Rows) -> list[float | None]:
        """Values; a row that ended at once has said nothing, so it has none."""
        some = [each for each in said if each.end > each.begin]
        found = iter(self.measure.values(some, rows)) if some else iter(())
        return [next(found) if each.end > each.begin else None for each in said]

    def _choose(self, group: list[Row], values: list[float | None], rows: Rows) -> None:
        number = group[0].number
        _, choices = self._passed.get(number, (0, 0))
        seed = self._site.asks[number].seed
        chosen = group[self._pick(values, (*seed, choices + 1))]
        if chosen.done:
            chosen.held = False
            for row in group:
                if row is not chosen:
                    row.dropped = row.done = True
                    row.held = False
            self.measure.forget(group)
            self._passed.pop(number, None)
            return
        others = [row for row in group if row is not chosen]
        rows.copy(chosen, others)
        device = self._site.checkpoint.model.device
        for place, row in enumerate(group):
            row.held = False
            # Chances anew: they do not depend on how long the others took.
            row.chances = stream((*seed, choices + 1, place + 1), device)
        self._passed[number] = (len(chosen.tokens), choices + 1)

    def _pick(self, values: list[float | None], seed: tuple[int, ...]) -> int:
        known = [place for place, value in enumerate(values) if value is not None]
        if not known:
            return 0
        worth = np.array([values[place] for place in known], dtype=np.float64)
        if self.temperature == 0:
            return known[int(worth.argmax())]
        shares = np.exp((worth - worth.max()) / self.temperature)
        rng = np.random.default_rng(np.random.SeedSequence(list(seed)))
        return known[int(rng.choice(len(known), p=shares / shares.sum()))]
