"""Lines in small panels: one figure for all lines of a kind that belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, sqrt

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from valence.report.drawing import FAINT, drawing, log_if_wide, marker, plain_ticks, settle, to_svg
from valence.report.drawing import shortened
from valence.report.kinds import Kind
from valence.report.panels import Line, Panel, Point
