"""What a finished directory holds, as plain data: rows, lines, sentences, samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from valence.data import Conclusions, Mark, Measurement, Series, Standing
from valence.errors import MissingFileError, StoreError
from valence.report.content import MarkedSample
from valence.store import read_json

Rows = tuple[Measurement, ...]


def require_results(folder: Path, fix: str) -> None:
    """Raise `MissingFileError` where there is nothing to report yet."""
    if not (folder / "results.json").is_file():
        raise MissingFileError(
            "the directory has no results.json, so there is nothing to report yet",
            where=str(folder),
            fix=fix,
        )


def read_rows(folder: Path, name: str = "results.json") -> Rows:
    """The rows of results; none where there is no such file. Raises `StoreError`."""
    path = folder / name
    if not path.is_file():
        return ()
    try:
        return tuple(Measurement(**row) for row in read_json(path))
    except TypeError as error:
        raise _unreadable(path, "measurements", error) from None


def read_lines(folder: Path) -> tuple[Series, ...]:
    """The lines to draw; none in directories from before there were any. Raises `StoreError`."""
    path = folder / "series.json"
    if not path.is_file():
        return ()
    try:
        return tuple(_series(plain) for plain in read_json(path))
    except (TypeError, ValueError, AttributeError) as error:
        raise _unreadable(path, "series", error) from None


def read_standings(folder: Path) -> tuple[Standing, ...]:
    """Where settings stand; none where no front was computed. Raises `StoreError`."""
    path = folder / "front.json"
    if not path.is_file():
        return ()
    try:
        return tuple(_standing(plain) for plain in read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(path, "a front", error) from None


def _standing(plain: Mapping[str, Any]) -> Standing:
    metrics = tuple(plain["metrics"])
    lists: dict[str, Any] = {
        key: tuple((model, mode) for model, mode in value)
        for key, value in plain.items()
        if isinstance(value, list) and key != "metrics"
    }
    return Standing(**{**plain, **lists, "metrics": metrics})


def _series(plain: Mapping[str, Any]) -> Series:
    lists: dict[str, Any] = {k: tuple(v) for k, v in plain.items() if isinstance(v, list)}
    return Series(**{**plain, **lists})


def read_conclusions(folder: Path) -> Conclusions:
    """The sentences; a plain list of them is from before some were on all models."""
    path = folder / "conclusions.json"
    found = read_json(path)
    try:
        if isinstance(found, list):
            return Conclusions(pairs=tuple(found))
        return Conclusions(pairs=tuple(found["pairs"]), overall=tuple(found["overall"]))
    except (TypeError, KeyError) as error:
        raise _unreadable(path, "conclusions", error) from None


def _unreadable(path: Path, what: str, error: Exception) -> StoreError:
    return StoreError(
        f"does not hold {what} ({error})",
        where=str(path),
        fix="Delete it and run the recipe again with --resume.",
    )


def parted(rows: Rows) -> tuple[Rows, Rows]:
    """Rows of modes, and those of what abilities differ by between two modes of a model."""
    modes: dict[str, set[str]] = {}
    for row in rows:
        modes.setdefault(row.model, set()).add(row.mode)
    apart = [gap_modes(row.mode, modes[row.model]) is not None for row in rows]
    own = tuple(row for row, gap in zip(rows, apart, strict=True) if not gap)
    return own, tuple(row for row, gap in zip(rows, apart, strict=True) if gap)


def gap_modes(mode: str, modes: set[str]) -> tuple[str, str] | None:
    """The two modes that a difference is of; None for a mode of its own."""
    for at, char in enumerate(mode):
        if char == "-" and {mode[:at], mode[at + 1 :]} <= modes:
            return mode[:at], mode[at + 1 :]
    return None


def measure_folders(folder: Path, rows: Rows) -> list[Path]:
    """The folders of samples' measures in the order of the results: that of the recipe."""
    if (folder / "measured.json").is_file():
        # What an earlier recipe left in the directory is not part of these results.
        names = [n for n in read_json(folder / "measured.json") if n.startswith("measures/")]
        return [folder / name for name in names if (folder / name).is_dir()]
    order = list(dict.fromkeys((row.model, row.mode, row.seed) for row in rows))
    found: dict[tuple[str, str, int], Path] = {}
    for inner in sorted(folder.glob("measures/*/measurements.json")):
        first = read_rows(inner.parent, inner.name)[:1]
        found |= {(row.model, row.mode, row.seed): inner.parent for row in first}
    return [found[key] for key in order if key in found]


def read_strips(folders: Sequence[Path]) -> dict[tuple[str, str], tuple[float, ...]]:
    """One value per sample by model and mode, those of all seeds together."""
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    for folder in folders:
        if (folder / "strip.json").is_file():
            first = read_rows(folder, "measurements.json")[0]
            key = (first.model, first.mode)
            found[key] = (*found.get(key, ()), *read_json(folder / "strip.json"))
    return found


def read_samples(folders: Sequence[Path]) -> Iterator[MarkedSample]:
    """Samples to read; one seed's are enough."""
    seen: set[tuple[str, str, str]] = set()
    for folder in folders:
        shown = read_json(folder / "shown.json") if (folder / "shown.json").is_file() else []
        scenario = folder.name.partition("@")[2]
        if not shown or (shown[0]["model"], shown[0]["mode"], scenario) in seen:
            continue
        seen.add((shown[0]["model"], shown[0]["mode"], scenario))
        for sample in shown:
            yield MarkedSample(
                model=sample["model"],
                mode=sample["mode"],
                index=sample["index"],
                text=sample["text"],
                ended=sample["ended"],
                marks=tuple(Mark(**mark) for mark in sample["marks"]),
                scenario=scenario,
                prompt=sample.get("prompt", ""),
                scores={
                    metric: score["reward"] if "reward" in score else str(score["failure"])
                    for metric, score in sample.get("scores", {}).items()
                },
            )
