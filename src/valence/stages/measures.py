"""What the models say: samples in every mode, their metrics, held-out losses, conclusions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from valence.data import VERDICT, Conclusions, Measurement, Sample
from valence.display import Work
from valence.guide.loop import generate, modes_of
from valence.measure.ability import LABELLED, held_out_loss
from valence.measure.conclude import conclude
from valence.measure.rewards import mark, measure_samples, per_sample
from valence.measure.verdict import auroc, fit_readout, read_verdicts, said_by
from valence.model import Checkpoint, load_checkpoint
from valence.objective.readout import Kind, load_readout
from valence.score.table import build_scorer
from valence.stages.context import Context
from valence.stages.models import READOUT, ModelStages
from valence.store import read_json, write_json, writing

SHOWN_SAMPLES = 4
"""Samples per model and mode that the report shows."""


class MeasureStages:
    """The measures of a run."""

    def __init__(self, context: Context, models: ModelStages) -> None:
        self.recipe = context.recipe
        self.context, self.models = context, models
        self.scheme = models.annotation.shared_scheme

    def measure(self, name: str, seed: int) -> list[Measurement]:
        """Samples in every mode and their metrics, and the held-out loss in every mode."""
        rows: list[Measurement] = []
        checkpoint: Checkpoint | None = None
        label = self.recipe.label(name, seed)
        objective = self.models.objective(name)
        modes = modes_of(self.scheme if objective.uses_control else None)
        for mode in (*modes, *([LABELLED] if objective.uses_control else [])):
            inputs = {
                "model": self.context.place.key(f"models/{label}"),
                "mode": mode,
                "sample": self.recipe.sample.model_dump(mode="json"),
                "measure": self.recipe.measure.model_dump(mode="json"),
                "scorers": [
                    asdict(build_scorer(m.scorer).id) for m in self.recipe.measure.metrics.values()
                ],
                "seed": seed,
            }
            stage_name = f"measures/{label}.{mode}"
            with self.context.stage(stage_name, inputs, f"measure {label} {mode}") as stage:
                if stage is not None:
                    checkpoint = checkpoint or load_checkpoint(self.context.path / "models" / label)
                    self._measure_mode(checkpoint, name, mode, seed, stage)
            rows += [
                Measurement(**row)
                for row in read_json(self.context.path / stage_name / "measurements.json")
            ]
        return rows

    def judge(self, name: str, seed: int) -> list[Measurement]:
        """How well a model that was taught the verdict tells good from bad after EOS.

        Beside its own token: the read-out that was trained with it, if there is one, and a
        linear and a non-linear one fitted afterwards on its states of training text.
        """
        verdict = self.models.verdict(name)
        if verdict is None:
            return []
        label = self.recipe.label(name, seed)
        inputs = {
            "model": self.context.place.key(f"models/{label}"),
            "measure": self.recipe.measure.model_dump(mode="json"),
            "seed": seed,
        }
        stage_name = f"measures/{label}.verdict"
        with self.context.stage(stage_name, inputs, f"judge with {label}") as stage:
            if stage is not None:
                path = self.context.path / "models" / label
                rows = self._judge(load_checkpoint(path), path, name, seed)
                write_json(stage.work / "measurements.json", [asdict(row) for row in rows])
        return [
            Measurement(**row)
            for row in read_json(self.context.path / stage_name / "measurements.json")
        ]

    def _judge(self, checkpoint: Checkpoint, path: Path, name: str, seed: int) -> list[Measurement]:
        scheme = self.models.scheme(name)
        read = partial(
            read_verdicts,
            checkpoint,
            scheme,
            window=self.recipe.settings(name).train.block,
            precision=self.models.precision,
        )
        found, learned = read(self.models.held_out_tokens), read(self.models.some_tokens)
        bands = len(scheme.tokens)
        said = {"verdict": found.good}
        if (path / READOUT).is_file():
            said["readout"] = said_by(load_readout(path / READOUT), found, scheme.best)
        kinds: tuple[Kind, ...] = ("linear", "mlp")
        for kind in kinds:
            fitted = fit_readout(kind, learned, bands, seed=seed)
            said[kind] = said_by(fitted, found, scheme.best)
        return [
            auroc(
                good,
                found.bands,
                found.documents,
                scheme.best,
                resamples=self.recipe.measure.resamples,
                seed=seed,
            ).measurement(model=name, mode=mode, metric=VERDICT, failures=0, seed=seed)
            for mode, good in said.items()
        ]

    def _measure_mode(
        self, checkpoint: Checkpoint, name: str, mode: str, seed: int, stage: Work
    ) -> None:
        rows = held_out_loss(
            checkpoint,
            self.models.scheme(name),
            self.models.held_out_tokens,
            mode,
            model_name=name,
            seed=seed,
            window=self.recipe.settings(name).train.block,
            resamples=self.recipe.measure.resamples,
        )
        if mode != LABELLED:
            samples = self._sample(checkpoint, name, mode, seed, stage)
            rows += measure_samples(samples, self.recipe.measure)
            headline = self.recipe.measure.metrics[self.recipe.measure.headline]
            write_json(stage.work / "strip.json", per_sample(samples, headline))
            shown = [
                asdict(s) | {"marks": [asdict(m) for m in mark(s, self.recipe.measure)]}
                for s in samples[:SHOWN_SAMPLES]
            ]
            write_json(stage.work / "shown.json", shown)
        write_json(stage.work / "measurements.json", [asdict(row) for row in rows])

    def _sample(
        self, checkpoint: Checkpoint, name: str, mode: str, seed: int, stage: Work
    ) -> list[Sample]:
        plan = self.recipe.sample
        written = generate(
            checkpoint,
            self.scheme,
            mode,
            count=plan.count,
            max_tokens=plan.max_tokens,
            temperature=plan.temperature,
            top_p=plan.top_p,
            batch=plan.batch,
            seed=seed,
            precision=self.models.precision,
            on_progress=stage.progress,
        )
        samples = [
            Sample(
                model=name,
                mode=mode,
                seed=seed,
                index=index,
                prompt="",
                text=each.text,
                ended=each.ended,
                tokens=each.tokens,
            )
            for index, each in enumerate(written)
        ]
        with writing(stage.work / "samples.jsonl") as beside:
            lines = [json.dumps(asdict(sample), ensure_ascii=False) for sample in samples]
            beside.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        return samples

    def conclude(self, rows: Sequence[Measurement]) -> Conclusions:
        """results.json, and the conclusions that follow from its rows."""
        conclusions = conclude(
            rows, self.recipe, best=self.scheme.modes[-1], worst=self.scheme.modes[0]
        )
        write_json(self.context.path / "results.json", [asdict(row) for row in rows])
        write_json(self.context.path / "conclusions.json", asdict(conclusions))
        return conclusions
