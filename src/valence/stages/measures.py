"""Measures of models: samples in every mode and their metrics, abilities, verdicts, and the rest.

The same for the models of a run and for any others: what differs is where a model and its
labelled text come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from valence.annotate.local import Submit
from valence.data import Findings, Measurement, Result
from valence.display import Work
from valence.measure.judging import judge
from valence.measure.knowing import know
from valence.measure.paired import Paired, differences, pairing
from valence.measure.redteam import red_team
from valence.measure.scoring import judge_texts
from valence.precision import Precision
from valence.recipe import JudgingRecipe, KnowingRecipe, MeasureRecipe, SampleRecipe
from valence.score.table import build_scorer
from valence.stages.abilities import AbilityStages
from valence.stages.context import Workspace
from valence.stages.found import FindingStages
from valence.stages.sampling import SampleStages
from valence.stages.subject import LabelledText, Subject, checkpoint_digest
from valence.store import digest_files

AT_THE_END = JudgingRecipe(shares=(), cut=None, stride=None)
"""What is asked of a model that was taught the verdict, if nothing else is said."""


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
        self.stages = FindingStages(space)
        self.samples = SampleStages(
            space, sample, measure, seed=seed, precision=precision, submit=submit
        )
        self.abilities = AbilityStages(
            stages=self.stages, measure=measure, precision=precision, seed=seed
        )

    def measure(self, subject: Subject) -> Findings:
        """Everything that the recipe asks of one model."""
        text = self.text(subject)
        found = self.abilities.of(subject, text) + self._samples(subject)
        if text is not None and (subject.verdict or self.recipe.judging is not None):
            found += self._judge(subject, text)
        if self.recipe.knowing is not None:
            found += self._know(subject, self.recipe.knowing)
        if self.recipe.redteam is not None:
            found += self._attack(subject)
        return found

    def differences(self, found: Findings) -> list[Measurement]:
        """Models and modes against each other on the same items."""
        resamples = self.recipe.resamples
        return list(differences(found.evidence, found.rows, resamples=resamples))

    def pairing(self, found: Findings) -> Paired:
        """Differences of any two on the same items, when they are asked for."""
        return pairing(found.evidence, resamples=self.recipe.resamples)

    @property
    def names(self) -> list[str]:
        """The stages that results came from, in order."""
        return self.stages.names

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

                found += self.stages.run(name, inputs, title, make)
        return found

    def _judge(self, subject: Subject, text: LabelledText) -> Findings:
        """How well a model tells good from bad after EOS."""
        recipe = self.recipe.judging or AT_THE_END
        inputs = {
            "model": subject.key,
            "text": text.key,
            "judging": recipe.model_dump(mode="json"),
            "window": subject.window,
            "resamples": self.recipe.resamples,
            "precision": self.precision,
        }
        return self.stages.run(
            f"measures/{subject.label}.verdict",
            inputs,
            f"judge with {subject.label}",
            lambda stage: judge(
                subject.checkpoint,
                text.scheme,
                text.held_out,
                text.training,
                recipe,
                taught=subject.verdict,
                readout=subject.readout,
                model_name=subject.name,
                seed=subject.seed,
                window=subject.window,
                resamples=self.recipe.resamples,
                precision=self.precision,
                on_progress=stage.progress,
            ),
        )

    def _know(self, subject: Subject, recipe: KnowingRecipe) -> Findings:
        """What a model knows, and whether it knows that, in every mode."""

        def make(mode: str, stage: Work) -> Findings:
            return know(
                subject.checkpoint,
                subject.known,
                mode,
                recipe,
                taught=subject.verdict,
                model_name=subject.name,
                seed=subject.seed,
                resamples=self.recipe.resamples,
                precision=self.precision,
                on_progress=stage.progress,
                work=stage.work,
            )

        inputs = {
            "knowing": recipe.model_dump(mode="json"),
            "resamples": self.recipe.resamples,
        }
        return self._in_each_mode(subject, ("knowing", "ask"), inputs, make)

    def _attack(self, subject: Subject) -> Findings:
        """How bad prompts can make a model, in every mode."""
        recipe, first = self.recipe.redteam, self.recipe.first
        assert recipe is not None
        assert first is not None
        metric = self.recipe.metrics[first]
        scorer = build_scorer(metric.scorer)

        def reward(texts: Sequence[str]) -> list[Result]:
            return [judged.result for judged in judge_texts(scorer, texts)]

        def make(mode: str, stage: Work) -> Findings:
            return red_team(
                subject.checkpoint,
                subject.known,
                mode,
                recipe,
                metric,
                reward,
                metric_name=first,
                model_name=subject.name,
                seed=subject.seed,
                work=stage.work,
                depends={"model": subject.key, **self._attacked_with},
                precision=self.precision,
                on_progress=stage.progress,
            )

        inputs = {
            "redteam": recipe.inputs(),
            "metric": metric.model_dump(mode="json"),
            **self._attacked_with,
        }
        return self._in_each_mode(subject, ("redteam", "attack"), inputs, make)

    @cached_property
    def _attacked_with(self) -> dict[str, object]:
        """What attacks depend on beside their recipe: the scorer, and files that it names."""
        recipe, first = self.recipe.redteam, self.recipe.first
        assert recipe is not None
        assert first is not None
        found: dict[str, object] = {
            "scorer": asdict(build_scorer(self.recipe.metrics[first].scorer).id)
        }
        if "pool" in recipe.methods and recipe.pool.prompts is not None:
            found["prompts"] = digest_files([Path(recipe.pool.prompts)])
        if "pool" in recipe.methods and recipe.pool.proposer is not None:
            found["proposer"] = checkpoint_digest(Path(recipe.pool.proposer))
        return found

    def _in_each_mode(
        self,
        subject: Subject,
        named: tuple[str, str],
        inputs: dict[str, Any],
        make: Callable[[str, Work], Findings],
    ) -> Findings:
        """What a stage in each mode finds; `named` are the folder of the stages and a verb."""
        found = Findings()
        folder, verb = named
        for mode in subject.modes(self.recipe.modes):
            common = {
                "model": subject.key,
                "mode": mode,
                "seed": subject.seed,
                "precision": self.precision,
            }
            name, title = f"{folder}/{subject.label}.{mode}", f"{verb} {subject.label} {mode}"
            found += self.stages.run(name, {**common, **inputs}, title, partial(make, mode))
        return found
