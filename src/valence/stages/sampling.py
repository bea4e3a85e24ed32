"""Samples and their scores: written once and kept, scored by any metric, then or later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from valence.annotate.local import Submit
from valence.corpus.readers import input_files
from valence.data import Failure, Findings, Mark, Sample, Score
from valence.display import Work
from valence.errors import StoreError
from valence.guide import Guide, Ledger
from valence.guide.table import build_guides
from valence.measure.ability import evidence_of
from valence.measure.detector import Detector, calibrate
from valence.measure.guided import Guided, guided, guided_rows
from valence.measure.rewards import mark, sample_items, sample_rows, values_of
from valence.measure.scenario import FREE, Scenario, by_index, draw, scenarios
from valence.measure.scoring import FEW, Judged, Scoring
from valence.model import best_device
from valence.precision import Precision
from valence.recipe import MeasureRecipe, SampleRecipe
from valence.score.table import build_scorer
from valence.stages.context import Workspace
from valence.stages.subject import Subject
from valence.store import digest_files, read_json, write_json, write_text

GUIDED = "guided.json"
"""What guiding the samples of a stage took."""
SHOWN_SAMPLES = 4
"""Samples per model and mode that the report shows."""


class SampleStages:
    """What models write in every mode and scenario, and what metrics say of it."""

    def __init__(
        self,
        space: Workspace,
        sample: SampleRecipe | None,
        measure: MeasureRecipe,
        *,
        seed: int,
        precision: Precision,
        submit: Submit | None,
    ) -> None:
        self.space, self.recipe, self.precision, self.submit = space, measure, precision, submit
        self.seed = seed
        self.scenarios = tuple(scenarios(sample, measure, seed))
        self._begun: dict[str, Scoring] = {}

    @cached_property
    def detectors(self) -> dict[str, Detector]:
        """What labelled texts say of the metrics' scorers, where a recipe gives some."""
        return {
            name: calibrate(metric, metric.detector, seed=self.seed)
            for name, metric in self.recipe.metrics.items()
            if metric.detector is not None
        }

    def ways(self, subject: Subject) -> Iterator[tuple[str, str | None]]:
        """Modes of a model with the guide, if any, that holds it there."""
        for mode in subject.modes(self.recipe.modes):
            yield mode, None
            for guide in self.recipe.guides:
                built = self._guides(subject, mode, guide)
                if all(each.fits(subject.checkpoint, subject.known, mode) for each in built):
                    yield mode, guide

    def write(self, subject: Subject, mode: str, guide: str | None, scenario: Scenario) -> str:
        """Samples in one mode and scenario, as JSON lines; the name of the stage."""
        name = f"samples/{stage_name(subject, mode, guide, scenario)}"
        inputs = {
            "model": subject.key,
            "mode": mode,
            "guide": None if guide is None else self.recipe.guides[guide],
            "scenario": scenario.inputs(),
            "seed": subject.seed,
            "precision": self.precision,
        }
        title = f"sample {stage_name(subject, mode, guide, scenario)}"
        with self.space.stage(name, inputs, title) as stage:
            if stage is not None:
                self._write(subject, mode, guide, scenario, stage, name)
        return name

    def _write(
        self,
        subject: Subject,
        mode: str,
        guide: str | None,
        scenario: Scenario,
        stage: Work,
        name: str,
    ) -> None:
        submit = self.submit if scenario.count > FEW else None
        scoring = Scoring(
            metrics=self.recipe.metrics,
            whole=scenario.judged == "whole",
            submit=submit,
            # A processor that writes samples has no time to spare (docs/benchmarks.md, `measure`).
            beside=best_device().type != "cpu",
        )
        guides, ledger = self._guides(subject, mode, guide), Ledger()
        drawn = draw(
            scenario,
            subject.checkpoint,
            subject.known,
            mode,
            model_name=subject.name,
            called=way(mode, guide),
            seed=subject.seed,
            precision=self.precision,
            guides=guides,
            ledger=ledger,
            on_progress=stage.progress,
        )
        samples = []
        for sample in drawn:
            scoring.begin(sample)
            samples.append(sample)
        samples = by_index(samples)
        write_samples(stage.work / "samples.jsonl", samples)
        stage.facts.update(
            samples=len(samples),
            tokens=sum(s.tokens for s in samples),
            no_room=sum(s.no_room for s in samples),
        )
        if self.recipe.guides or self.recipe.certify is not None:
            write_json(stage.work / GUIDED, asdict(guided(samples, guides, ledger)))
        self._begun[name] = scoring

    def _guides(self, subject: Subject, mode: str, guide: str | None) -> list[Guide]:
        if guide is None:
            return []
        return build_guides(
            self.recipe.guides[guide],
            subject.checkpoint,
            subject.known,
            mode,
            readout=subject.readout,
        )

    def score(
        self, subject: Subject, mode: str, guide: str | None, scenario: Scenario, samples: str
    ) -> tuple[str, Mapping[str, Any]]:
        """The stage that scores the samples of another: its name and its inputs.

        What is judged of samples is one of these alone: judged otherwise, they stay as they are.
        """
        return f"measures/{stage_name(subject, mode, guide, scenario)}", {
            "samples": self.space.place.key(samples),
            "judged": scenario.judged,
            "metrics": {
                name: metric.model_dump(mode="json") for name, metric in self.recipe.metrics.items()
            },
            "headline": self.recipe.first,
            "resamples": self.recipe.resamples,
            "scorers": [asdict(build_scorer(m.scorer).id) for m in self.recipe.metrics.values()],
            **self._detectors_key,
            **self._certified(),
        }

    @cached_property
    def _detectors_key(self) -> dict[str, Any]:
        """What the counts of detectors depend on beside the metrics, if there are any."""
        files = {
            name: digest_files(map(Path, input_files(metric.detector.paths)))
            for name, metric in self.recipe.metrics.items()
            if metric.detector is not None
        }
        return {"detectors": files, "drawn_by": self.seed} if files else {}

    def _certified(self) -> dict[str, Any]:
        """What certifying depends on, if it was asked for."""
        recipe = self.recipe.certify
        if recipe is None:
            return {}
        scorer = asdict(build_scorer(recipe.scorer).id)
        return {"certify": recipe.model_dump(mode="json"), "certified_by": scorer}

    def scored(self, scenario: Scenario, samples_stage: str, work: Path) -> Findings:
        """Rows of results for stored samples; scores and what a page shows go into `work`."""
        samples = read_samples(self.space.path / samples_stage / "samples.jsonl")
        scoring = self._begun.pop(samples_stage, None)
        if scoring is None:
            scoring = Scoring(
                metrics=self.recipe.metrics,
                whole=scenario.judged == "whole",
                submit=self.submit if len(samples) > FEW else None,
            )
            for sample in samples:
                scoring.begin(sample)
        answers = scoring.answers()
        write_json(work / "scores.json", {name: _plain(found) for name, found in answers.items()})
        if scenario.name == FREE and self.recipe.first is not None:
            first = self.recipe.metrics[self.recipe.first]
            values = values_of(answers[self.recipe.first], first)
            write_json(work / "strip.json", list(values.values()))
        shown = samples[:: scenario.per_prompt if scenario.name else 1][:SHOWN_SAMPLES]
        write_json(
            work / "shown.json",
            [
                asdict(s) | {"marks": [asdict(m) for m in self._marks(s, scenario)]}
                | {"scores": {name: _value(found[s.index]) for name, found in answers.items()}}
                for s in shown
            ],
        )  # fmt: skip
        per_prompt = scenario.of_each
        rows = sample_rows(
            samples,
            answers,
            self.recipe,
            scenario=scenario.name,
            per_prompt=per_prompt,
            detectors=self.detectors,
        )
        told = self.space.path / samples_stage / GUIDED
        if told.is_file():
            rows += guided_rows(
                samples,
                Guided(**read_json(told)),
                scenario.name,
                self.recipe.certify,
                per_prompt=per_prompt,
            )
        if scenario.name == FREE:
            return Findings(rows=tuple(rows))  # No two texts have a prompt in common.
        items = sample_items(answers, self.recipe, scenario=scenario.name, per_prompt=per_prompt)
        who = samples[0]
        return Findings(
            rows=tuple(rows), evidence=evidence_of(items, who.model, who.mode, who.seed)
        )

    def _marks(self, sample: Sample, scenario: Scenario) -> list[Mark]:
        return [] if scenario.judged == "whole" else mark(sample, self.recipe)


def way(mode: str, guide: str | None) -> str:
    """A mode with its guide as results name it."""
    return mode if guide is None else f"{mode}+{guide}"


def stage_name(subject: Subject, mode: str, guide: str | None, scenario: Scenario) -> str:
    """A model, mode, guide and scenario as the name of a directory."""
    suffix = f"@{scenario.name}" if scenario.name else ""
    return f"{subject.label}.{way(mode, guide)}{suffix}"


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Samples as JSON lines, whole or not at all."""
    lines = [json.dumps(asdict(sample), ensure_ascii=False) for sample in samples]
    write_text(path, "\n".join(lines) + "\n")


def read_samples(path: Path) -> list[Sample]:
    """What `write_samples` wrote; raises `StoreError` for anything else."""
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            return [Sample(**json.loads(line)) for line in lines]
    except (ValueError, TypeError, OSError) as error:
        raise StoreError(
            f"does not hold samples ({error})",
            where=str(path),
            fix="Delete its directory and run again.",
        ) from None


def _plain(answers: Mapping[int, Judged]) -> list[dict[str, object]]:
    return [
        {"index": index, "chars": judged.chars, **_value(judged)}
        for index, judged in sorted(answers.items())
    ]


def _value(judged: Judged) -> dict[str, object]:
    if isinstance(judged.result, Failure):
        return {"failure": judged.result.kind}
    assert isinstance(judged.result, Score)
    return {"reward": judged.result.value}
