"""What guides share that judge segments when they have ended."""

from __future__ import annotations

from valence.control import ControlScheme
from valence.guide.measures import Measure
from valence.guide.protocol import Guide, Site
from valence.guide.segments import SegmentKind, boundaries
from valence.model import Checkpoint


class Reviewing(Guide):
    """A guide with a measure, and with segments that it is asked about.

    Segments are those that the model was trained on, unless `segments` says otherwise (`window`
    is its size in text tokens).
    """

    every = 1

    def __init__(self, measure: Measure, segments: SegmentKind | None, window: int) -> None:
        self.measure, self.segments, self.window = measure, segments, window

    def fits(self, checkpoint: Checkpoint, known: ControlScheme | None, mode: str) -> bool:
        """Whether its measure can be asked."""
        return self.measure.fits(checkpoint, known)

    @property
    def looked(self) -> int:
        """Tokens that the measure had read."""
        return self.measure.steps

    def begin(self, site: Site) -> None:
        """Raises what the measure raises for a model that it cannot ask."""
        self._site = site
        self._ends = boundaries(site.checkpoint, site.control_ids, self.segments, self.window)
        # To find where a sentence ends, its text has to be looked at.
        self.every = 1 if self._ends.quick else 8
        self.measure.begin(site)
