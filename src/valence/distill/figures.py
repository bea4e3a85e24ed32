"""The figures of a student's page: is it right on average, and how do the two bands part?"""

from __future__ import annotations

import numpy as np

from valence.distill.fidelity import Bands, Bin
from valence.report.drawing import FAINT, drawing, new_axes, plain_ticks, settle, to_svg

_WIDE, _NARROW = 540.0, 285.0
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def reliability_figure(
    bins: tuple[Bin, ...], *, bound: float, prefix: str, alt: str, narrow: bool = False
) -> str:
    """Mean teacher's reward against the mean predicted one; on the diagonal they agree."""
    with drawing(prefix):
        axes = new_axes(*((_NARROW, 270) if narrow else (_WIDE, 330)))
        predicted = [part.predicted for part in bins]
        actual = [part.teacher for part in bins]
        ends = [min(predicted + actual), max(predicted + actual)]
        axes.plot(ends, ends, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
        if ends[0] <= bound <= ends[1]:
            axes.axvline(bound, color=_ORANGE, linewidth=1.0, linestyle=(0, (2, 2)))
        axes.plot(predicted, actual, color=_BLUE, linewidth=1.1, marker="o", markersize=5.5)
        plain_ticks(axes, "x")
        plain_ticks(axes, "y")
        axes.set_xlabel("mean reward that the student predicts")
        axes.set_ylabel("mean reward by the teacher")
        axes.margins(0.06)
        settle(axes)
        return to_svg(axes, prefix=prefix, alt=alt)


def bands_figure(found: Bands, *, bound: float, prefix: str, alt: str, narrow: bool = False) -> str:
    """The student's rewards as two outlines, one for each of the teacher's bands.

    Each outline has the area 1, so that a rare band is seen beside a common one.
    """
    with drawing(prefix):
        axes = new_axes(*((_NARROW, 230) if narrow else (_WIDE, 240)))
        edges = np.asarray(found.edges)
        for counts, colour, label in (
            (found.below, _ORANGE, "below the bound, by the teacher"),
            (found.others, _BLUE, "the others"),
        ):
            shares = np.asarray(counts) / max(sum(counts), 1)
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.25, linewidth=0)
            axes.stairs(shares, edges, color=colour, linewidth=1.1, label=label)
        axes.axvline(bound, color=FAINT, linewidth=1.0, linestyle=(0, (2, 2)))
        plain_ticks(axes, "x")
        plain_ticks(axes, "y")
        axes.set_xlabel("reward that the student predicts (higher is preferred)")
        axes.set_ylabel("share of the band")
        axes.legend(frameon=False, fontsize=7.5, loc="upper center")
        settle(axes)
        return to_svg(axes, prefix=prefix, alt=alt)
