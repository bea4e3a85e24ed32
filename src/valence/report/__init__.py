"""One self-contained HTML page per run, made from plain data alone."""

from valence.report.page import (
    Curve,
    MarkedSample,
    MetricInfo,
    Report,
    format_value,
    render,
)

__all__ = ["Curve", "MarkedSample", "MetricInfo", "Report", "format_value", "render"]
