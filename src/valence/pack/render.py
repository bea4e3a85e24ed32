"""A group of documents as rows to train on: what an objective makes of the text.

Legend: N text tokens, U units, R rows, T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from valence.control import NO_BAND, Bands, ControlScheme, drop
from valence.objective.protocol import IGNORED, Objective
from valence.pack.draws import Purpose, generator
from valence.pack.encoding import Ids
from valence.pack.fill import fill
from valence.pack.group import Group, PackSettings
from valence.pack.order import Order
from valence.pack.rows import Carried, Forks, Layout, lay_out
from valence.pack.selection import take_selected
from valence.pack.stream import Stream, before_units, build_stream
from valence.pack.tokenised import Flags, Tokenised
from valence.pack.tokens import TokenStore
from valence.pack.units import Units, in_force, label_units, own_segments, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of tokens [R, T], aligned by position.

    `targets`: the token to predict at this position, `IGNORED` for none; `documents`: the
    number of the document, which attention does not leave; `forks`: side branches, None if
    there are none; `rewards`: the reward of the target's segment, NaN for none, or None if
    nobody reads it.
    """

    ids: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int32]
    documents: npt.NDArray[np.int32]
    forks: Flags | None
    rewards: npt.NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A group on its way to rows: its text, its stream, and how that is cut."""

    text: Tokenised
    stream: Stream
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Makes rows of groups. Equal settings, seed and group number give equal rows."""

    store: TokenStore
    objective: Objective
    scheme: ControlScheme
    settings: PackSettings
    control_ids: Sequence[int]
    order: Order

    def render(self, group: Group, number: int) -> Rows:
        """The rows of the group of that number, in the order of its text."""
        return self._fill(group, self._prepare(group, number))

    def count(self, group: Group, number: int) -> Group:
        """The group with its counts: those of the rows that `render` makes."""
        prepared = self._prepare(group, number)
        layout = prepared.layout
        control = int(prepared.stream.control[layout.first : layout.last].sum())
        control += int((layout.carried != NO_BAND).sum())
        forks = len(layout.forks.after)
        used = layout.last - layout.first + int((layout.carried != NO_BAND).sum()) + forks
        return replace(
            group,
            rows=len(layout.begins),
            control=control,
            forks=forks,
            forks_left_out=layout.left_out,
            padding=len(layout.begins) * self.settings.block - used,
        )

    def _text(self, group: Group) -> Tokenised:
        documents = self.order.span(group.epoch, group.position, group.span)
        if group.phase == "plain":
            return self.store.take(documents)
        return take_selected(self.store, self.objective, self.settings.seed, documents)

    def _prepare(self, group: Group, number: int) -> Prepared:
        settings = self.settings
        text = self._text(group)
        units = label_units(text, self.scheme)
        carried_bands: Bands | None = None
        before = np.full(len(text.ids), IGNORED, dtype=np.int32)
        judged = self._judged(text, number)
        if group.phase == "feedback" and self.objective.uses_control:
            before, carried_bands = self._control(text, units, number)
            if judged is not None:
                before[np.repeat(judged, np.diff(text.documents))] = IGNORED
                carried_bands = np.where(judged[units.documents], NO_BAND, carried_bands)
        stream = build_stream(text, before, settings.start_ids, settings.end_ids)
        carried = None
        if carried_bands is not None and (carried_bands != NO_BAND).any():
            carried = Carried(places=stream.places, units=units.starts, bands=carried_bands)
        end = group.skip + group.text
        layout = lay_out(
            int(stream.places[group.skip - 1]) if group.skip else 0,
            len(stream.ids) if end == len(text.ids) else int(stream.places[end - 1]),
            settings.block,
            self._forks(text, units, stream, judged, group, number),
            carried,
        )
        return Prepared(text=text, stream=stream, layout=layout)

    def _judged(self, text: Tokenised, number: int) -> Flags | None:
        """Which documents [D] stand without control tokens, to be judged; None for all."""
        verdict = self.settings.verdict
        if verdict is None or not self.objective.uses_control:
            return None
        draws = generator(self.settings.seed, Purpose.JUDGED, number)
        return draws.random(len(text.documents) - 1) < verdict.documents

    def _control(self, text: Tokenised, units: Units, number: int) -> tuple[Ids, Bands]:
        """The control token before each text token [N], and the bands in force [U]."""
        seed, scheme = self.settings.seed, self.scheme
        bands = self.objective.render(units.bands, generator(seed, Purpose.RENDER, number))
        shown = drop(
            place(units, bands, scheme), scheme.dropout, generator(seed, Purpose.DROP, number)
        )
        if scheme.placement != "random":
            before = before_units(units, shown, self.control_ids, len(text.ids))
            return before, in_force(units, bands, shown, scheme)
        lots = generator(seed, Purpose.PLACE, number).random(len(text.ids))
        band = np.repeat(shown, np.diff(units.starts, append=len(text.ids)))
        before = np.asarray(self.control_ids, dtype=np.int32)[band]
        before[(lots >= scheme.share) | (band == NO_BAND)] = IGNORED
        return before, in_force(units, bands, shown, scheme)

    def _forks(
        self,
        text: Tokenised,
        units: Units,
        stream: Stream,
        judged: Flags | None,
        group: Group,
        number: int,
    ) -> Forks:
        """EOS after every judged document and a share of the other ends of its segments."""
        verdict = self.settings.verdict
        if verdict is None or group.phase == "plain":
            none = np.zeros(0, dtype=np.int64)
            return Forks(after=none, units=none, bands=np.zeros(0, dtype=np.int8))
        starts = text.segments[own_segments(text)]
        ends = np.append(starts[1:], len(text.ids))
        lots = generator(self.settings.seed, Purpose.FORKS, number).random(len(ends))
        unit = np.searchsorted(units.starts, starts, side="right") - 1
        bands = units.bands[unit]
        kept = ((lots < verdict.share) | np.isin(ends, text.documents)) & (bands != NO_BAND)
        if judged is not None:
            kept &= judged[units.documents[unit]]
        return Forks(
            after=stream.places[ends[kept] - 1],
            units=stream.places[units.starts[unit[kept]]],
            bands=bands[kept],
        )

    def _fill(self, group: Group, prepared: Prepared) -> Rows:
        settings = self.settings
        filled = fill(
            prepared.stream,
            prepared.layout,
            self._targets(prepared.stream),
            self.control_ids,
            eos_id=settings.eos_id,
            block=settings.block,
        )
        rewards = None
        if self.objective.reads_rewards:
            rewards = self._rewards(group, prepared, filled.main).reshape(filled.ids.shape)
        return Rows(
            ids=filled.ids,
            targets=filled.targets,
            documents=filled.documents,
            forks=None if settings.verdict is None else filled.forks,
            rewards=rewards,
        )

    def _targets(self, stream: Stream) -> npt.NDArray[np.int32]:
        settings = self.settings
        targets = stream.targets(IGNORED if settings.end_ids else settings.start_ids[0])
        if self.scheme.mask_loss:
            targets[:-1][stream.control[1:]] = IGNORED
        return targets

    def _rewards(
        self, group: Group, prepared: Prepared, main: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        stream, text, layout = prepared.stream, prepared.text, prepared.layout
        rewards = np.full(len(layout.begins) * self.settings.block, np.nan, dtype=np.float32)
        if group.phase != "plain":
            predicted = np.full(len(stream.ids), np.nan, dtype=np.float32)
            # A text token is predicted at the token before it, whatever that is.
            predicted[stream.places - 1] = np.repeat(text.rewards, text.sizes)
            rewards[main] = predicted[layout.first : layout.last]
        return rewards
