"""Does a model know good from bad? All measures of its verdict after EOS, on held-out text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from valence.control import ControlScheme
from valence.corpus.pairs import row_of
from valence.data import Findings
from valence.guide.verdict import Floats, Judge, judge_by, verdict_of
from valence.measure.judging.earliness import (
    Running,
    earliness_findings,
    halves_of,
    running_places,
)
from valence.measure.judging.location import location_findings
from valence.measure.judging.pairs import pair_findings, pairs_in
from valence.measure.judging.prefixes import (
    Told,
    cut_findings,
    prefix_findings,
    tokens_at,
)
from valence.measure.judging.readouts import KINDS, fit_readout
from valence.measure.judging.states import Progress, Reader
from valence.model import Checkpoint
from valence.objective.readout import Readout
from valence.pack import Tokenised
from valence.pack.branches import JudgedUnits, join, judged_units
from valence.pack.ragged import Offsets
from valence.precision import Precision
from valence.recipe.judging import JudgingRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """Units of training text, which read-outs are fitted on."""

    text: Tokenised
    units: JudgedUnits


def judge(
    checkpoint: Checkpoint,
    scheme: ControlScheme,
    held_out: Tokenised,
    training: Tokenised,
    recipe: JudgingRecipe,
    *,
    taught: bool,
    readout: Readout | None,
    model_name: str,
    seed: int,
    window: int,
    resamples: int,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> Findings:
    """How well a model judges held-out text, also before all of it was said.

    The judges are modes of the rows: `verdict` is the model's own token after EOS, if it was
    `taught` one; `readout` one that was trained with it, if there is one; `linear` and `mlp` are
    fitted afterwards on its frozen states at the ends of training units, a fifth of the documents
    kept to decide how far. That is where the verdict is taught as well, so both are asked alike
    for what they were never shown, a prefix.
    With `fit: share`, `linear-share` and `mlp-share` are fitted at each share on its own: they
    tell what the states hold there, and not what one judge can do at all places.

    `scheme` says which rewards are good; a model that does not have its tokens can be read too.
    Every unit is judged in a row of up to `window` text tokens; units that do not fit are
    failures. Intervals are over documents (the two of a pair are drawn together) and hold no
    variance between training seeds.

    Source: the measure after EOS, Soatto et al. 2023 (arXiv 2305.18449).
    """
    reader = Reader(
        checkpoint=checkpoint, window=window, precision=precision, on_progress=on_progress
    )
    units = judged_units(held_out, scheme)
    learned = _Training(text=training, units=judged_units(training, scheme))
    told = Told(
        model=model_name,
        seed=seed,
        good=units.bands == scheme.best,
        documents=_clusters(held_out, units),
        resamples=resamples,
        bins=recipe.bins,
    )
    judges: dict[str, Judge] = {"verdict": verdict_of(checkpoint, scheme)} if taught else {}
    if readout is not None:
        judges["readout"] = judge_by(readout, scheme.best)
    judges |= _fitted(reader, learned, scheme, 1.0, seed)
    measured = _Measured(
        recipe=recipe, reader=reader, told=told, text=held_out, units=units, judges=judges
    )
    found = measured.prefixes(learned, scheme)
    found += measured.cut()
    if recipe.stride is not None:
        found += measured.running(recipe.stride)
    return found


def _clusters(text: Tokenised, units: JudgedUnits) -> Offsets:
    """What the units [U] are drawn with in intervals: their document, or its pair's row."""
    if text.names is None:
        return units.documents
    _, rows = np.unique([row_of(name) for name in text.names], return_inverse=True)
    return rows[units.documents].astype(np.int64)


def _at(units: JudgedUnits, share: float) -> tuple[Offsets, Offsets]:
    return np.arange(len(units.starts), dtype=np.int64), tokens_at(share, units.sizes)


def _fitted(
    reader: Reader, learned: _Training, scheme: ControlScheme, share: float, seed: int
) -> dict[str, Judge]:
    """Read-outs fitted on the states of training units at a share of their text."""
    units = learned.units
    branches, _ = join([_at(units, share)])
    states_ND, read = reader.states(learned.text, units, branches)
    numbers = branches.units[read]
    labels, documents = units.bands[numbers], _clusters(learned.text, units)[numbers]
    return {
        kind: judge_by(
            fit_readout(kind, states_ND, labels, documents, len(scheme.tokens), seed=seed),
            scheme.best,
        )
        for kind in KINDS
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """One model's judges on held-out units."""

    recipe: JudgingRecipe
    reader: Reader
    told: Told
    text: Tokenised
    units: JudgedUnits
    judges: dict[str, Judge]

    def _said(
        self, places: Sequence[tuple[Offsets, Offsets]], judges: dict[str, Judge] | None = None
    ) -> dict[str, list[Floats]]:
        """What each judge says at each list of places, of one pass over the text."""
        branches, numbers = join(places)
        said = self.reader.probabilities(
            self.text, self.units, branches, self.judges if judges is None else judges
        )
        return {name: [each[some] for some in numbers] for name, each in said.items()}

    def prefixes(self, learned: _Training, scheme: ControlScheme) -> Findings:
        """The verdict at each share, and on pairs."""
        shares = (*self.recipe.shares, 1.0)
        said = self._said([_at(self.units, share) for share in shares])
        ends = {name: by_share[-1] for name, by_share in said.items()}
        if self.recipe.fit == "share":
            for share in shares:
                own = _fitted(self.reader, learned, scheme, share, self.told.seed)
                for name, (at_share,) in self._said([_at(self.units, share)], own).items():
                    said.setdefault(f"{name}-share", []).append(at_share)
        good = learned.units.bands == scheme.best
        base = float(good.mean()) if len(good) else float("nan")
        found = prefix_findings(self.told, said, shares, base)
        return found + pair_findings(self.told, pairs_in(self.text, self.units), ends)

    def cut(self) -> Findings:
        """The verdict after so many tokens against the whole, of units that are longer."""
        cut = self.recipe.cut
        if cut is None or not (self.units.sizes > cut).any():
            return Findings()
        longer = np.flatnonzero(self.units.sizes > cut).astype(np.int64)
        sizes = self.units.sizes[longer]
        said = self._said([(longer, np.full_like(sizes, cut)), (longer, sizes)])
        some = replace(
            self.told, good=self.told.good[longer], documents=self.told.documents[longer]
        )
        return cut_findings(some, cut, {name: (e, w) for name, (e, w) in said.items()})

    def running(self, stride: int) -> Findings:
        """How early each judge flags bad units, and where."""
        numbers, tokens = places = running_places(self.units, stride)
        said = self._said([places])
        found = Findings()
        for name, (good,) in said.items():
            running = Running(units=self.units, numbers=numbers, tokens=tokens, bad=1 - good)
            halves = halves_of(running, self.told, self.recipe.false_alarms)
            thresholds = halves.thresholds()
            if thresholds is None:
                continue
            found += earliness_findings(self.told, name, running, halves.thresholds)
            found += location_findings(self.told, name, self.text, running, thresholds)
        return found
