"""The ledger of an annotation in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valence.report.bound import percent
from valence.report.table import format_value


def ledger_lines(manifest: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a scorer's rewards cost, as label and value; what was not recorded is left out."""
    lines = []
    for key, label in (("calls", "calls"), ("segments", "segments")):
        if manifest.get(key) is not None:
            lines.append((label, f"{manifest[key]:,}"))
    size, cores = manifest.get("bytes"), manifest.get("core_seconds")
    if size is not None:
        lines.append(("text", said_bytes(size)))
    if manifest.get("seconds") is not None:
        lines.append(("time", _seconds(manifest["seconds"])))
    if cores is not None:
        lines.append(("core time", _seconds(cores)))
    if size and cores:
        lines.append(("speed", f"{format_value(size / 1e6 / cores)} MB/s per core"))
    flops = manifest.get("flops")
    if flops is not None:
        how = manifest.get("flops_are")
        lines.append(("FLOPs", format_value(float(flops)) + (f" ({how})" if how else "")))
    run = manifest.get("pretraining")
    if run:
        lines += _pretraining(run)
    return tuple(lines)


def _pretraining(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    sizes = ", ".join(
        f"{format_value(float(run[key]))} {key}" for key in ("parameters", "tokens") if key in run
    )
    lines = [(f"share of pretraining ({sizes})", _tiny(run.get("share")))]
    if run.get("share_for_all_tokens") is not None:
        said = _tiny(run["share_for_all_tokens"])
        lines.append(("the same, had all those tokens been scored", said))
    return lines


def _tiny(share: float | None) -> str:
    return percent(share) if share is None or share >= 1e-4 else f"{format_value(100 * share)}%"


def said_bytes(size: float) -> str:
    """Bytes in kB, MB, GB or TB, of which each has a thousand of the one before."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{format_value(size)} {unit}"
        size /= 1000
    return f"{format_value(size)} TB"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{format_value(seconds)} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
