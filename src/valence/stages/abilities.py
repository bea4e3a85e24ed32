"""What models can do, in each mode: losses, nearness to a reference, tasks, and the difference
between the best and the worst mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TypedDict

from valence.corpus.readers import input_files
from valence.data import LABELLED, Findings, Items, Sample
from valence.display import Work
from valence.guide.loop import modes_of
from valence.measure.ability import (
    HeldOutText,
    ability_gap,
    read_text,
    text_loss,
    tokenise_text,
)
from valence.measure.divergence import LogLikelihoods, divergence, log_likelihoods
from valence.measure.harness import harness
from valence.measure.scenario import Scenario, by_index, draw
from valence.precision import Precision
from valence.recipe import (
    HarnessRecipe,
    MeasureRecipe,
    ReferenceRecipe,
    SampleRecipe,
    TextRecipe,
)
from valence.score.pretrained import resolve
from valence.stages.found import FindingStages
from valence.stages.sampling import read_samples, write_samples
from valence.stages.subject import (
    UNBOUNDED,
    LabelledText,
    Subject,
    checkpoint_digest,
    context_of,
    subject_of,
)
from valence.store import digest, digest_files, read_json, write_json


class Common(TypedDict):
    """What every ability is told."""

    model_name: str
    seed: int
    window: int
    resamples: int
    precision: Precision


REFERENCE = "reference"
"""The name of the reference's samples as data, and of its stages."""


@dataclass(frozen=True, kw_only=True)
class AbilityStages:
    """The abilities that a recipe asks for, of one model after the other."""

    stages: FindingStages
    measure: MeasureRecipe
    precision: Precision
    seed: int

    def of(self, subject: Subject, text: LabelledText | None) -> Findings:
        """Every ability in every mode, and what the best and the worst mode differ by."""
        made = {
            mode: list(self._in_mode(subject, mode, text))
            for mode in subject.modes(self.measure.modes)
        }
        found = sum((part for parts in made.values() for _, part in parts), Findings())
        if text is not None and subject.scheme is not None:
            found += self._own_text(subject, LABELLED, text)[1]
        return found + self._gap(subject, made)

    def _in_mode(
        self, subject: Subject, mode: str, text: LabelledText | None
    ) -> Iterable[tuple[str, Findings]]:
        if text is not None:
            yield self._own_text(subject, mode, text)
        for name in self.measure.ability.texts:
            yield self._other_text(subject, mode, name)
        if self.measure.ability.reference is not None:
            yield self._divergence(subject, mode)
        if self.measure.harness is not None:
            yield self._harness(subject, mode, self.measure.harness)

    def _run(
        self,
        subject: Subject,
        what: str,
        inputs: dict[str, object],
        title: str,
        make: Callable[[Work], Findings],
    ) -> tuple[str, Findings]:
        """A stage of one ability in one mode: its name, and what it found."""
        name = f"abilities/{subject.label}.{what}"
        common = {
            "model": subject.key,
            "window": subject.window,
            "resamples": self.measure.resamples,
            "precision": self.precision,
            "seed": subject.seed,
        }
        return name, self.stages.run(name, {**common, **inputs}, title, make)

    def _own_text(self, subject: Subject, mode: str, text: LabelledText) -> tuple[str, Findings]:
        """The loss on the run's own held-out text."""

        def make(stage: Work) -> Findings:
            return text_loss(
                subject.checkpoint,
                text.scheme if subject.known is not None else None,
                text.held_out,
                mode,
                **self._common(subject),
                on_progress=stage.progress,
            )

        inputs: dict[str, object] = {"mode": mode, "text": text.key}
        return self._run(subject, mode, inputs, f"loss of {subject.label} {mode}", make)

    def _other_text(self, subject: Subject, mode: str, name: str) -> tuple[str, Findings]:
        """The loss on text of another kind."""
        text = _read(self.measure.ability.texts[name].model_dump_json())

        def make(stage: Work) -> Findings:
            return text_loss(
                subject.checkpoint,
                subject.known,
                tokenise_text(text.documents, subject.checkpoint),
                mode,
                **self._common(subject),
                data=name,
                failures=text.unread,
                on_progress=stage.progress,
            )

        inputs: dict[str, object] = {
            "mode": mode,
            "text": digest([document.text for document in text.documents]),
        }
        title = f"loss of {subject.label} {mode} on {name}"
        return self._run(subject, f"{mode}@{name}", inputs, title, make)

    def _divergence(self, subject: Subject, mode: str) -> tuple[str, Findings]:
        """How far the model is from the reference, on the reference's samples."""
        reference, samples, likelihoods = self._reference
        # A sample was written with all before it in sight, so it is read so.
        window = context_of(subject.path, UNBOUNDED)

        def make(stage: Work) -> Findings:
            own = log_likelihoods(
                subject.checkpoint,
                subject.known,
                mode,
                samples,
                window=window,
                precision=self.precision,
                on_progress=stage.progress,
            )
            return divergence(
                likelihoods,
                own,
                data=REFERENCE,
                model_name=subject.name,
                mode=mode,
                seed=subject.seed,
                resamples=self.measure.resamples,
            )

        inputs: dict[str, object] = {"mode": mode, "reference": reference, "window": window}
        title = f"divergence of {subject.label} {mode}"
        return self._run(subject, f"{mode}@{REFERENCE}", inputs, title, make)

    @cached_property
    def _reference(self) -> tuple[str, list[Sample], LogLikelihoods]:
        """The reference's samples, drawn once, and their likelihood under itself."""
        recipe = self.measure.ability.reference
        assert recipe is not None
        path = resolve(recipe.model, recipe.revision)
        subject = subject_of(REFERENCE, self.seed, path, label=REFERENCE, window=None)
        mode = modes_of(subject.scheme)[0]
        inputs = {
            "model": checkpoint_digest(path),
            "samples": recipe.model_dump(mode="json", exclude={"model", "revision", "batch"}),
            "window": context_of(path, UNBOUNDED),
            "seed": self.seed,
            "precision": self.precision,
        }
        name = f"samples/{REFERENCE}"
        with self.stages.space.stage(name, inputs, "sample the reference") as stage:
            if stage is not None:
                samples = by_index(
                    draw(
                        _own_words(recipe),
                        subject.checkpoint,
                        subject.known,
                        mode,
                        model_name=subject.name,
                        seed=self.seed,
                        precision=self.precision,
                        on_progress=stage.progress,
                    )
                )
                write_samples(stage.work / "samples.jsonl", samples)
                likelihoods = log_likelihoods(
                    subject.checkpoint,
                    subject.known,
                    mode,
                    samples,
                    window=context_of(path, UNBOUNDED),
                    precision=self.precision,
                )
                write_json(stage.work / "likelihoods.json", asdict(likelihoods))
        folder = self.stages.space.path / name
        return (
            self.stages.key(name),
            read_samples(folder / "samples.jsonl"),
            LogLikelihoods.from_json(read_json(folder / "likelihoods.json")),
        )

    def _harness(self, subject: Subject, mode: str, recipe: HarnessRecipe) -> tuple[str, Findings]:
        """Tasks of lm-evaluation-harness."""

        def make(stage: Work) -> Findings:
            return harness(
                subject.checkpoint,
                subject.known,
                mode,
                recipe,
                **self._common(subject),
                on_progress=stage.progress,
            )

        inputs: dict[str, object] = {
            "mode": mode,
            "harness": recipe.model_dump(mode="json"),
            **_own_tasks(recipe),
        }
        title = f"tasks for {subject.label} {mode}"
        return self._run(subject, f"{mode}+tasks", inputs, title, make)

    def _gap(self, subject: Subject, made: Mapping[str, list[tuple[str, Findings]]]) -> Findings:
        """The best mode less the worst, on the same items."""
        if subject.scheme is None:
            return Findings()
        best, worst = subject.scheme.modes[-1], subject.scheme.modes[0]
        if not made.get(best) or not made.get(worst):
            return Findings()

        def items(mode: str) -> list[Items]:
            every = [each.items for _, part in made[mode] for each in part.evidence]
            return [each for each in every if isinstance(each, Items)]

        return self.stages.run(
            f"abilities/{subject.label}.gap",
            {mode: [self.stages.key(name) for name, _ in made[mode]] for mode in (best, worst)},
            f"compare {best} and {worst} of {subject.label}",
            lambda _: ability_gap(
                items(best),
                items(worst),
                model_name=subject.name,
                seed=subject.seed,
                resamples=self.measure.resamples,
                modes=(best, worst),
            ),
        )

    def _common(self, subject: Subject) -> Common:
        return {
            "model_name": subject.name,
            "seed": subject.seed,
            "window": subject.window,
            "resamples": self.measure.resamples,
            "precision": self.precision,
        }


def _own_words(recipe: ReferenceRecipe) -> Scenario:
    """What a reference says of itself: the distribution as it is, and nothing cut off."""
    settings = SampleRecipe(
        max_tokens=recipe.max_tokens, temperature=1.0, top_p=1.0, batch=recipe.batch
    )
    return Scenario(name=REFERENCE, prompts=("",), per_prompt=recipe.count, settings=settings)


def _own_tasks(recipe: HarnessRecipe) -> dict[str, object]:
    """What stands in the folder of the user's own tasks, if there is one.

    Without what Python leaves there when it runs their code.
    """
    if recipe.include_path is None:
        return {}
    files = [Path(file) for file in input_files([recipe.include_path])]
    return {"own_tasks": digest_files(f for f in files if f.parent.name != "__pycache__")}


@cache
def _read(recipe: str) -> HeldOutText:
    return read_text(TextRecipe.model_validate_json(recipe))
