"""Measures of models: samples in every mode and their metrics, losses, verdicts, and the rest.

The same for the models of a run and for any others: what differs is where a model and its
labelled text come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from valence.annotate.local import Submit
from valence.control import ControlScheme
from valence.data import VERDICT, Findings, Measurement, Series
from valence.display import Work
from valence.measure.ability import LABELLED, held_out_loss
from valence.measure.paired import differences
from valence.measure.verdict import auroc, fit_readout, read_verdicts, said_by
from valence.objective.readout import Kind
from valence.pack import Tokenised
from valence.precision import Precision
from valence.recipe import MeasureRecipe, SampleRecipe
from valence.stages.context import Workspace
from valence.stages.sampling import SampleStages
from valence.stages.subject import Subject
from valence.store import read_json, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledText:
    """Text with rewards, in the tokens of a model: held-out, and some that it may learn from.

    `key` is a digest of whatever made it.
    """

    held_out: Tokenised
    training: Tokenised
    scheme: ControlScheme
    key: str


class MeasureStages:
    """The measures of a recipe, for one model after the other."""

    def __init__(
        self,
        space: Workspace,
        sample: SampleRecipe | None,
        measure: MeasureRecipe,
        *,
        seed: int,
        precision: Precision,
        submit: Submit | None,
        text: Callable[[Subject], LabelledText | None],
    ) -> None:
        self.space, self.recipe, self.text = space, measure, text
        self.precision = precision
        self.samples = SampleStages(
            space, sample, measure, seed=seed, precision=precision, submit=submit
        )
        self.names: list[str] = []

    def measure(self, subject: Subject) -> Findings:
        """Everything that the recipe asks of one model."""
        return self._abilities(subject) + self._samples(subject) + self._judge(subject)

    def _samples(self, subject: Subject) -> Findings:
        found = Findings()
        stages = self.samples
        for mode, guide in stages.ways(subject):
            for scenario in stages.scenarios:
                written = stages.write(subject, mode, guide, scenario)
                name, inputs = stages.score(subject, mode, guide, scenario, written)
                title = f"score {name.partition('/')[2]}"

                def make(
                    stage: Work, *, scenario: Any = scenario, written: str = written
                ) -> Findings:
                    return stages.scored(scenario, written, stage.work)

                found += self._stage(name, inputs, title, make)
                stages.remember(subject, mode, guide, scenario, name)
        return found

    def differences(self) -> list[Measurement]:
        """Models and modes against each other on the same prompts."""
        return list(differences(self.samples.prompted, resamples=self.recipe.resamples))

    def _abilities(self, subject: Subject) -> Findings:
        text = self.text(subject)
        if text is None:
            return Findings()
        found = Findings()
        labelled = (LABELLED,) if subject.scheme is not None else ()
        for mode in (*subject.modes(self.recipe.modes), *labelled):
            inputs = {
                "model": subject.key,
                "mode": mode,
                "text": text.key,
                "window": subject.window,
                "loss_chars": self.recipe.loss_chars,
                "resamples": self.recipe.resamples,
            }

            def make(stage: Work, *, mode: str = mode) -> Findings:
                return Findings(
                    rows=tuple(
                        held_out_loss(
                            subject.checkpoint,
                            text.scheme,
                            text.held_out,
                            mode,
                            model_name=subject.name,
                            seed=subject.seed,
                            window=subject.window,
                            resamples=self.recipe.resamples,
                            on_progress=stage.progress,
                        )
                    )
                )

            name = f"abilities/{subject.label}.{mode}"
            found += self._stage(name, inputs, f"loss of {subject.label} {mode}", make)
        return found

    def _judge(self, subject: Subject) -> Findings:
        """How well a model that was taught the verdict tells good from bad after EOS."""
        text = self.text(subject)
        if text is None or not subject.verdict:
            return Findings()
        inputs = {
            "model": subject.key,
            "text": text.key,
            "window": subject.window,
            "resamples": self.recipe.resamples,
            "precision": self.precision,
        }
        return self._stage(
            f"measures/{subject.label}.verdict",
            inputs,
            f"judge with {subject.label}",
            lambda _: Findings(rows=tuple(self._verdicts(subject, text))),
        )

    def _verdicts(self, subject: Subject, text: LabelledText) -> list[Measurement]:
        read = partial(
            read_verdicts,
            subject.checkpoint,
            text.scheme,
            window=subject.window,
            precision=self.precision,
        )
        found, learned = read(text.held_out), read(text.training)
        best, bands = text.scheme.best, len(text.scheme.tokens)
        said = {"verdict": found.good}
        if subject.readout is not None:
            said["readout"] = said_by(subject.readout, found, best)
        kinds: tuple[Kind, ...] = ("linear", "mlp")
        for kind in kinds:
            fitted = fit_readout(kind, learned, bands, seed=subject.seed)
            said[kind] = said_by(fitted, found, best)
        return [
            auroc(
                good,
                found.bands,
                found.documents,
                best,
                resamples=self.recipe.resamples,
                seed=subject.seed,
            ).measurement(
                model=subject.name, mode=mode, metric=VERDICT, failures=0, seed=subject.seed
            )
            for mode, good in said.items()
        ]

    def _stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        title: str,
        make: Callable[[Work], Findings],
    ) -> Findings:
        """What a measure finds, or found before with the same inputs."""
        with self.space.stage(name, inputs, title) as stage:
            if stage is not None:
                found = make(stage)
                write_findings(found, stage)
        self.names.append(name)
        folder = self.space.path / name
        return Findings(
            rows=tuple(Measurement(**row) for row in read_json(folder / "measurements.json")),
            series=tuple(read_series(row) for row in read_json(folder / "series.json")),
        )


def write_findings(found: Findings, stage: Work) -> None:
    """Rows and series into a stage's directory."""
    write_json(stage.work / "measurements.json", [asdict(row) for row in found.rows])
    write_json(stage.work / "series.json", [asdict(series) for series in found.series])


def read_series(plain: Mapping[str, Any]) -> Series:
    """A series from its plain data; lists in JSON are tuples here."""
    lists: dict[str, Any] = {k: tuple(v) for k, v in plain.items() if isinstance(v, list)}
    return Series(**{**plain, **lists})


def write_results(
    space: Workspace, found: Findings, names: Sequence[str], paired: Sequence[Measurement]
) -> None:
    """results.json, series.json, differences.json, and which stages they came from, in order."""
    write_json(space.path / "differences.json", [asdict(row) for row in paired])
    write_json(space.path / "results.json", [asdict(row) for row in found.rows])
    write_json(space.path / "series.json", [asdict(series) for series in found.series])
    write_json(space.path / "measured.json", list(names))
