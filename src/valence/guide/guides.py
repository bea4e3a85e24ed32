"""Guides that work together on one batch of texts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from valence.errors import ControlError
from valence.guide.protocol import Guide, Site, Step
from valence.guide.reader import not_flexible
from valence.guide.release import Release
from valence.guide.rows import Row, Rows


@dataclass(slots=True)
class Ledger:
    """Tokens that went through the model: to write (with all contexts), and to look."""

    written: int = 0
    looked: int = 0

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.written + self.looked


class Guides:
    """Guides, one after the other on the scores, and at most one that reviews segments."""

    def __init__(self, guides: Sequence[Guide], site: Site) -> None:
        """Lets all of them begin; raises `ControlError` where two cannot work together."""
        self.guides, self.site = guides, site
        for guide in guides:
            guide.begin(site)
        reviewing = [guide for guide in guides if guide.every]
        if len(reviewing) > 1:
            names = " and ".join(type(guide).__name__.lower() for guide in reviewing)
            raise ControlError(
                f"{names} would both take back what was written",
                where="guides",
                fix="Use one guide that reviews segments; others may go with it.",
            )
        self._reviewer = reviewing[0] if reviewing else None
        self.copies = max((guide.copies for guide in guides), default=1)
        self._modes = tuple(dict.fromkeys(mode for guide in guides for mode in guide.contexts))
        self.contexts = self._control_tokens()

    def watch(self, rows: Rows) -> None:
        """These are the rows; raises `ControlError` for a model that cannot take anything back."""
        self.rows = rows
        if not rows.flexible and (self._reviewer is not None or self.copies > 1 or self.contexts):
            raise not_flexible(self.site.checkpoint)

    @property
    def looked(self) -> int:
        """Tokens that were read to look at segments, by a model of its own or again."""
        return sum(guide.looked for guide in self.guides)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """The model changed by all of them."""
        with contextlib.ExitStack() as stack:
            for guide in self.guides:
                stack.enter_context(guide.attached())
            yield

    def advance(self, release: Release) -> None:
        """Steps up to the next review."""
        for _ in range(self._reviewer.every if self._reviewer is not None else 1):
            if not any(row.goes for row in self.rows.rows):
                return
            self.rows.advance()
            release.end(self.rows.rows)

    def passed(self, row: Row) -> int | None:
        """How many tokens of a row nobody will take back; None for all of them."""
        return None if self._reviewer is None else self._reviewer.passed(row)

    def review(self) -> None:
        """Let the one that reviews look."""
        if self._reviewer is not None:
            self._reviewer.review(self.rows)

    def combine(
        self, rows: Sequence[Row], begun: int, ids_NT: torch.Tensor, scores_NCV: torch.Tensor
    ) -> torch.Tensor:
        """Scores [N, V] through all of them."""
        step = Step(
            rows=rows,
            ids_NT=ids_NT,
            contexts={mode: scores_NCV[:, 1 + at] for at, mode in enumerate(self._modes)},
            fork=lambda tries_NKL: self._fork(tries_NKL, begun),
        )
        scores_NV = scores_NCV[:, 0]
        for guide in self.guides:
            scores_NV = guide.scores(step, scores_NV)
        return scores_NV

    def _fork(self, tries_NKL: torch.Tensor, begun: int) -> torch.Tensor:
        """Tries of the rows that are picked for now; others in the lattice try nothing of use."""
        others = tries_NKL.new_full((begun, *tries_NKL.shape[1:]), self.site.band.eos_id)
        if not self.rows.flexible:
            raise not_flexible(self.site.checkpoint)
        return self.rows.fork(torch.cat([others, tries_NKL]))[begun:]

    def _control_tokens(self) -> tuple[int, ...]:
        """The control token of each context, the mode's own first; none if there is one only."""
        if not self._modes:
            return ()
        scheme = self.site.checkpoint.scheme
        assert scheme is not None
        return tuple(
            self.site.control_ids[scheme.band_of_mode(mode)]
            for mode in (self.site.mode, *self._modes)
        )
