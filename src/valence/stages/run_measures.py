"""The measures of a run: its own models, its own held-out text, its conclusions."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

from valence.annotate.local import Submit
from valence.data import Conclusions, Findings
from valence.measure.conclude import conclude
from valence.stages.context import Context
from valence.stages.found import write_results
from valence.stages.measures import MeasureStages
from valence.stages.models import ModelStages
from valence.stages.subject import LabelledText, Subject
from valence.store import digest, write_json


class RunMeasures:
    """What a run measures of the models that it trained."""

    def __init__(self, context: Context, models: ModelStages, submit: Submit | None) -> None:
        self.context, self.models, self.recipe = context, models, context.recipe
        self.stages = MeasureStages(
            context,
            self.recipe.sample,
            self.recipe.measure,
            seed=self.recipe.seed,
            precision=models.precision,
            submit=submit,
            text=lambda subject: self._text(subject.name),
        )

    def measure(self, name: str, seed: int) -> Findings:
        """Everything that the recipe asks of one of its models."""
        label = self.recipe.label(name, seed)
        return self.stages.measure(
            Subject(
                name=name,
                seed=seed,
                label=label,
                path=self.context.path / "models" / label,
                key=self.context.place.key(f"models/{label}"),
                window=self.recipe.settings(name).train.block,
            )
        )

    @cache  # noqa: B019  (as long-lived as the run)
    def _text(self, name: str) -> LabelledText:
        scheme = self.models.scheme(name)
        return LabelledText(
            held_out=self.models.held_out_tokens,
            training=self.models.some_tokens,
            scheme=scheme,
            key=digest(
                [
                    self.models.annotation.digest,
                    self.recipe.measure.loss_chars,
                    scheme.to_json(),
                ]
            ),
        )

    def conclude(self, found: Findings) -> Conclusions:
        """results.json, and the conclusions that follow from its rows."""
        modes = self.models.annotation.shared_scheme.modes
        paired, known = self.stages.differences(found), self.stages.pairing(found)
        conclusions = conclude(
            found.rows, self.recipe, best=modes[-1], worst=modes[0], paired=known
        )
        write_results(self.context, found, self.stages.names, paired, self.recipe.measure, known)
        write_json(self.context.path / "conclusions.json", asdict(conclusions))
        return conclusions
