"""How every figure of the report looks, and how it becomes a piece of a page.

Sizes are in points. Text stays text, and takes the font of the page around it.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from valence.report.content import MetricInfo

Floats = npt.NDArray[np.float64]

INK: Final = "#23282d"
FAINT: Final = "#8a9199"
# Okabe and Ito (2008), less the yellow, which is too faint on white, and two of Tol (2021).
_COLOURS: Final = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#882255", "#999933"),
)
_MARKERS: Final = ("o", "^", "v", "s", "D", "P", "X", "h", "<", ">")
SHAPES: Final = len(_MARKERS)
# Typed loosely, because the set of keys differs between versions of Matplotlib.
_STYLE: Final[Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": "#e4e7ea",
    "grid.linewidth": 0.6,
    "lines.solid_capstyle": "butt",
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One colour per model and one marker per mode, the same everywhere on a page.

    Models that `bases` gives the same base share its colour.
    """

    models: tuple[str, ...]
    modes: tuple[str, ...]
    bases: Mapping[str, str] = field(default_factory=dict)

    def colour(self, model: str) -> str:
        """A colour-blind-safe colour as #rrggbb; they repeat after nine bases."""
        bases = list(dict.fromkeys(self.bases.get(each, each) for each in self.models))
        return _COLOURS[bases.index(self.bases.get(model, model)) % len(_COLOURS)]

    def marker(self, mode: str) -> str:
        """A Matplotlib marker; they repeat after ten modes."""
        return _MARKERS[self.modes.index(mode) % len(_MARKERS)]


def palette(at: int) -> str:
    """A colour for what is no model, by its number; they repeat after nine."""
    return _COLOURS[at % len(_COLOURS)]


def marker(at: int) -> str:
    """A Matplotlib marker, by its number; they repeat after ten."""
    return _MARKERS[at % len(_MARKERS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure that can be drawn: `draw` takes a prefix for ids, the name of the image, and
    whether it is to be narrow, and gives the SVG.
    """

    draw: Callable[[str, str, bool], str]
    alt: str
    caption: str


@contextmanager
def drawing(prefix: str) -> Iterator[None]:
    """The style of the figures while one is made; `prefix` seeds its ids.

    A glyph that Matplotlib's font lacks is no matter: the page's fonts show the text.
    """
    style = {**_STYLE, "svg.hashsalt": prefix}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_axes(width: float, height: float, *, right: float = 0.0) -> Axes:
    """The only axes of a new figure, of a size in points; `right` is the share left free there."""
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1 - right, 1))
    figure = Figure(figsize=(width / 72, height / 72), layout=layout, facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.tick_params(which="both", length=2.5, width=0.7)
    return axes


def settle(axes: Axes) -> None:
    """Work the layout out and keep it, so that positions in points are final."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def axis_label(metric: MetricInfo) -> str:
    """The metric's label and which way is better."""
    if metric.lower_is_better is None:
        return metric.label
    return f"{metric.label} ({'lower' if metric.lower_is_better else 'higher'} is better)"


def shortened(name: str, most: int = 32) -> str:
    """The name, cut to `most` characters: a figure cannot scroll."""
    return name if len(name) <= most else name[: most - 1] + "…"


def titled(model: str, mode: str, most: int = 32) -> str:
    """A model in a mode, cut to `most` characters where the model is named: the mode stays."""
    return shortened(f"{shortened(model, max(most - len(mode) - 3, 8))} · {mode}", most)


def plain_ticks(axes: Axes, which: str) -> None:
    """Tick labels as plain numbers, on logarithmic axes too."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
    )
    axis.set_minor_formatter(NullFormatter())


def log_if_wide(axes: Axes, which: str, values: Sequence[float]) -> None:
    """A logarithmic axis where positive values span a factor of 10 or more; linear near zeros."""
    positive = [value for value in values if value > 0]
    if positive and min(values) == 0 and max(values) >= 30 * min(positive):
        # An interval may end anywhere close to 0: three decades are enough to see.
        least = max(min(positive), max(values) / 1000)
        threshold = float(10 ** np.floor(np.log10(least)))
        scale = {"linthresh": threshold, "linscale": 0.5}
        (axes.set_xscale if which == "x" else axes.set_yscale)("symlog", **scale)
    elif values and min(values) > 0 and max(values) >= 10 * min(values):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis = axes.xaxis if which == "x" else axes.yaxis
        few = max(values) < 300 * min(values)
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    plain_ticks(axes, which)


def symlog_threshold(values: Floats) -> float | None:
    """Where a symmetric-logarithmic axis should turn linear; None where values are not skewed.

    Skewed: the largest magnitude is 15 times the median magnitude, zeros left out, or more.
    """
    sizes = np.abs(values[values != 0])
    if len(sizes) == 0 or sizes.max() < 15 * np.median(sizes):
        return None
    return float(10 ** np.floor(np.log10(np.quantile(sizes, 0.1))))


def to_svg(axes: Axes, *, prefix: str, alt: str) -> str:
    """The figure as an `<svg>` that can stand in a page beside others.

    Its ids begin with `prefix`; it scales with its container, and reads as one image whose
    name is `alt`. Neither a date, nor a style for the whole page, nor a link is left in it.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    head, _, body = out.getvalue().partition("<svg ")[2].partition(">")
    box = re.search(r'viewBox="[^"]+"', head)
    assert box is not None
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'href="#{prefix}-')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box.group()} role="img"'
        f' aria-label="{html.escape(alt)}" stroke-linejoin="round">{body.strip()}'
    )
