"""Stages that find something out: what they found is kept, and read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from valence.data import Conclusions, Evidence, Findings, Items, Measurement, Ranking, Series
from valence.display import Work
from valence.measure.front import standings
from valence.measure.paired import Paired
from valence.recipe import MeasureRecipe
from valence.stages.context import Workspace
from valence.store import read_json, write_json

METHODS = 2
"""Raised when a measure finds another number than before of the same inputs."""
EVIDENCE = "evidence.json"
"""What the rows of a stage stand on, item by item."""


@dataclass(slots=True)
class Result:
    """What a run or an evaluation left: its directory, and once it has measured, what it found."""

    path: Path
    findings: Findings = field(default_factory=Findings)
    conclusions: Conclusions = field(default_factory=Conclusions)

    @property
    def measurements(self) -> list[Measurement]:
        """The rows of results.json."""
        return list(self.findings.rows)


class FindingStages:
    """Runs stages in a workspace; `names` are those that were asked for, in order."""

    def __init__(self, space: Workspace) -> None:
        self.space = space
        self.names: list[str] = []

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        title: str,
        make: Callable[[Work], Findings],
    ) -> Findings:
        """What a measure finds, or found before with the same inputs and by the same methods."""
        with self.space.stage(name, {**inputs, "methods": METHODS}, title) as stage:
            if stage is not None:
                found = make(stage)
                write_json(stage.work / "measurements.json", [asdict(row) for row in found.rows])
                write_json(stage.work / "series.json", [asdict(one) for one in found.series])
                write_json(stage.work / EVIDENCE, [asdict(one) for one in found.evidence])
        self.names.append(name)
        folder = self.space.path / name
        return Findings(
            rows=tuple(Measurement(**row) for row in read_json(folder / "measurements.json")),
            series=tuple(read_series(row) for row in read_json(folder / "series.json")),
            evidence=tuple(read_evidence(folder / EVIDENCE)),
        )

    def key(self, name: str) -> str:
        """The digest of a finished stage's inputs."""
        return self.space.place.key(name)


def read_series(plain: Mapping[str, Any]) -> Series:
    """A series from its plain data; lists in JSON are tuples here."""
    return Series(**_with_tuples(plain))


def _with_tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}


def read_evidence(path: Path) -> Iterator[Evidence]:
    """What numbers of a stage stand on, from its file; nothing where it kept none."""
    if not path.is_file():
        return  # Measured before evidence was kept: it is compared as two values apart.
    for plain in read_json(path):
        kind = Ranking if "truth" in plain["items"] else Items
        yield Evidence(**{**plain, "items": kind(**_with_tuples(plain["items"]))})


def write_results(
    space: Workspace,
    found: Findings,
    names: Sequence[str],
    paired: Sequence[Measurement],
    measure: MeasureRecipe,
    known: Paired,
) -> None:
    """results.json, series.json, differences.json, front.json (where settings stand), and which
    stages they came from, in order."""
    write_json(space.path / "differences.json", [asdict(row) for row in paired])
    stood = standings(found.rows, measure, known)
    write_json(space.path / "front.json", [asdict(standing) for standing in stood])
    write_json(space.path / "results.json", [asdict(row) for row in found.rows])
    write_json(space.path / "series.json", [asdict(series) for series in found.series])
    write_json(space.path / "measured.json", list(names))
