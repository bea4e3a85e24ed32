"""The whole journey of a recipe: corpus, reward, annotation, models, samples, measures, report.

`run` reads top to bottom as the stages happen. Each stage writes into the run directory
and is skipped when it was finished with the same inputs before.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
import transformers

from valence import __version__
from valence.annotate.run import annotate, read_annotated, write_documents
from valence.control import ControlScheme, band_shares, drop, resolve_bounds
from valence.corpus.readers import corpus_stamp, read_corpus
from valence.corpus.segment import SEGMENTERS
from valence.data import Measurement, Sample
from valence.guide.loop import generate, modes_of
from valence.measure.ability import LABELLED, held_out_loss
from valence.measure.conclude import conclude
from valence.measure.rewards import mark, measure_samples, per_sample
from valence.model import (
    Checkpoint,
    create_model,
    load_checkpoint,
    load_tokenizer,
    parameter_counts,
    save_checkpoint,
    train_tokenizer,
)
from valence.objective import Objective, build_objective
from valence.pack import Tokenised, label_units, place, tokenise, write_pack
from valence.precision import Precision, choose_precision, measure_precision
from valence.recipe import Quantile, Recipe
from valence.report.journey import write_page
from valence.score.table import build_scorer
from valence.store import RunDirectory, read_json, storage, write_json, write_text, writing
from valence.train import train

Until = Literal["annotate", "train", "measure", "report"]
Progress = Callable[[int, int], None]

SHOWN_SAMPLES = 4
"""Samples per model and mode that the report shows."""

OTHER_METRICS = ("loss_per_text_token", "bits_per_byte", "distinct_2")


class Display(Protocol):
    """Where progress goes. The command line brings its own."""

    def stage(self, title: str) -> AbstractContextManager[Progress]:
        """A long stage; what it yields is called with (done, total)."""
        ...

    def skipped(self, title: str) -> None:
        """A stage that was finished before."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, title: str) -> AbstractContextManager[Progress]:
        """Take progress and keep it to itself."""
        return contextlib.nullcontext(lambda done, total: None)

    def skipped(self, title: str) -> None:
        """Say nothing."""


@dataclass(slots=True)
class Result:
    """What a run left: its directory, and once it has measured, rows and conclusions."""

    path: Path
    measurements: list[Measurement] = field(default_factory=list)
    conclusions: list[str] = field(default_factory=list)


def run(
    recipe: Recipe,
    out: Path | None = None,
    *,
    until: Until = "report",
    resume: bool = False,
    overwrite: bool = False,
    display: Display | None = None,
) -> Result:
    """Carry out a recipe in `out` (runs/NAME by default), or as far as `until`.

    Raises members of `ValenceError`; whatever is finished is kept and a second call
    continues from it.
    """
    objectives = {name: build_objective(entry.objective) for name, entry in recipe.models.items()}
    scorers = [recipe.score.scorer, *(m.scorer for m in recipe.measure.metrics.values())]
    for name in scorers:
        build_scorer(name)
    with torch.device("meta"):  # A shape that cannot be built fails now, not after scoring.
        create_model(recipe.model, recipe.tokenizer.vocab_size, 0, recipe.seed)
    path = out or Path("runs") / recipe.name
    with RunDirectory.open(path, recipe.to_yaml(), resume=resume, overwrite=overwrite) as place:
        journey = _Journey(recipe, place, display or Silent())
        journey.annotate()
        result = Result(path=path)
        if until == "annotate":
            return result
        for seed in recipe.seeds:
            for name, objective in objectives.items():
                journey.train(name, objective, seed)
        if until == "train":
            return result
        for seed in recipe.seeds:
            for name in objectives:
                result.measurements += journey.measure(name, seed)
        result.conclusions = journey.conclude(result.measurements)
        if until == "report":
            write_page(path)
    return result


class _Journey:
    """The stages of one run, in the order they are called."""

    def __init__(self, recipe: Recipe, place: RunDirectory, display: Display) -> None:
        self.recipe, self.place, self.display = recipe, place, display
        self.path = place.path
        self.scorer = build_scorer(recipe.score.scorer)
        self.documents = self.path / "annotation" / "documents"
        self.rewards = self.path / "annotation" / "rewards" / _file_name(recipe.score.scorer)

    # --- text and rewards ---------------------------------------------------------------

    def annotate(self) -> None:
        """Corpus into shards, then one reward per segment beside it."""
        corpus = self.recipe.corpus
        inputs = {
            "corpus": corpus.model_dump(mode="json"),
            "files": corpus_stamp(corpus),
            "seed": self.recipe.seed,
            "version": __version__,
            "python": sys.version,
        }
        with self._stage("annotation/documents", inputs, "read the corpus") as stage:
            if stage is not None:
                stage.facts.update(
                    write_documents(
                        read_corpus(corpus, self.recipe.seed),
                        SEGMENTERS[corpus.segmenter],
                        stage.work,
                        max_chars=corpus.max_chars,
                        held_out_share=corpus.valid_share,
                        seed=self.recipe.seed,
                        on_progress=stage.progress,
                    )
                )
        name = f"annotation/rewards/{self.rewards.name}"
        inputs = {
            "documents": self.place.facts("annotation/documents")["digest"],
            "scorer": asdict(self.scorer.id),
        }
        with self._stage(name, inputs, f"score with {self.recipe.score.scorer}") as stage:
            if stage is not None:
                stage.facts.update(
                    annotate(
                        self.documents,
                        stage.work,
                        self.scorer,
                        self.recipe.score.scorer,
                        workers=self.recipe.score.workers,
                        on_progress=stage.progress,
                    )
                )

    @cached_property
    def scheme(self) -> ControlScheme:
        """The control scheme with its bounds as rewards, from the training segments."""
        control = self.recipe.control
        training = read_annotated(self.documents, self.rewards, held_out=False)
        rewards = np.concatenate([item.rewards for item in training])
        bounds = [
            ("quantile", bound.quantile) if isinstance(bound, Quantile) else bound
            for bound in control.bounds
        ]
        scheme = ControlScheme(
            tokens=control.tokens,
            bounds=tuple(resolve_bounds(bounds, rewards)),
            level=control.level,
            placement=control.placement,
            dropout=control.dropout,
            mask_loss=control.mask_loss,
        )
        shares = band_shares(scheme, scheme.bands(rewards))
        write_json(self.path / "scheme.json", {"scheme": scheme.to_json(), "shares": shares})
        return scheme

    # --- tokens and models --------------------------------------------------------------

    @cached_property
    def tokenizer_path(self) -> Path:
        """A tokenizer trained on the training documents."""
        inputs = {
            "rewards": self._reward_digest,
            "tokenizer": self.recipe.tokenizer.model_dump(mode="json"),
            "scheme": self.scheme.tokens,
        }
        with self._stage("tokenizer", inputs, "train the tokenizer") as stage:
            if stage is not None:
                training = read_annotated(self.documents, self.rewards, held_out=False)
                tokenizer = train_tokenizer(
                    (item.document.text for item in training),
                    self.recipe.tokenizer.vocab_size,
                    self.scheme,
                    max_length=self.recipe.model.max_position_embeddings,
                )
                tokenizer.save_pretrained(stage.work)
                stage.facts["vocabulary"] = len(tokenizer)
        return self.path / "tokenizer"

    @cached_property
    def training_tokens(self) -> Tokenised:
        """The training documents as tokens, as many as the budget can use."""
        with self.display.stage("tokenise") as progress:
            return tokenise(
                read_annotated(self.documents, self.rewards, held_out=False),
                load_tokenizer(self.tokenizer_path),
                max_tokens=self.recipe.train.tokens,
                on_progress=progress,
            )

    @cached_property
    def held_out_tokens(self) -> Tokenised:
        """Held-out documents as tokens, about `measure.loss_chars` characters of them."""
        limit = self.recipe.measure.loss_chars

        def first() -> Iterator[Any]:
            chars = 0
            for item in read_annotated(self.documents, self.rewards, held_out=True):
                if chars >= limit:
                    return
                chars += len(item.document.text)
                yield item

        return tokenise(first(), load_tokenizer(self.tokenizer_path))

    def pack(self, model: str, objective: Objective, seed: int) -> Path:
        """Token sequences for one model: the text of all, with its objective's labels."""
        name = f"packs/{self._label(model, seed)}"
        inputs = {
            "rewards": self._reward_digest,
            "tokenizer": self.place.key("tokenizer"),
            "scheme": self.scheme.to_json(),
            "objective": objective.name,
            "tokens": self.recipe.train.tokens,
            "block": self.recipe.train.block,
            "seed": seed,
        }
        with self._stage(name, inputs, f"pack {model}") as stage:
            if stage is not None:
                tokenizer = load_tokenizer(self.tokenizer_path)
                tokenised = self.training_tokens
                units = label_units(tokenised, self.scheme)
                rng = np.random.default_rng(seed)
                bands = place(units, objective.render(units.bands, rng), self.scheme)
                stage.facts.update(
                    write_pack(
                        stage.work,
                        tokenised,
                        units,
                        drop(bands, self.scheme.dropout, rng),
                        self.scheme,
                        eos_id=tokenizer.eos_token_id,
                        control_ids=self.scheme.token_ids(tokenizer),
                        text_tokens=self.recipe.train.tokens,
                        block=self.recipe.train.block,
                    )
                )
        return self.path / name

    @cached_property
    def precision(self) -> Precision:
        """The precision of the run; `auto` is measured once and then kept."""
        if self.recipe.train.precision != "auto":
            return self.recipe.train.precision
        inputs = {
            "model": self.recipe.model.model_dump(mode="json"),
            "batch": [self.recipe.train.batch, self.recipe.train.block],
            "machine": [platform.machine(), torch.get_num_threads(), torch.__version__],
        }
        with self._stage("precision", inputs, "measure precision") as stage:
            if stage is not None:
                seconds = measure_precision(
                    self._fresh_model(self.recipe.seed),
                    batch=self.recipe.train.batch,
                    block=self.recipe.train.block,
                )
                stage.facts.update(chosen=choose_precision(seconds), step_seconds=seconds)
        return cast(Precision, self.place.facts("precision")["chosen"])

    def _fresh_model(self, seed: int) -> Any:
        tokenizer = load_tokenizer(self.tokenizer_path)
        return create_model(self.recipe.model, len(tokenizer), tokenizer.eos_token_id, seed)

    def train(self, name: str, objective: Objective, seed: int) -> None:
        """One model, from fresh seeded weights to a plain Hugging Face directory."""
        tokenizer = load_tokenizer(self.tokenizer_path)
        pack = self.pack(name, objective, seed)
        label = self._label(name, seed)
        inputs = {
            "pack": self.place.facts(f"packs/{label}")["digest"],
            "objective": objective.name,
            "model": self.recipe.model.model_dump(mode="json"),
            "train": self.recipe.train.model_dump(mode="json"),
            "precision": self.precision,
            "seed": seed,
            "versions": [__version__, torch.__version__, transformers.__version__],
        }
        with self._stage(f"models/{label}", inputs, f"train {label}") as stage:
            if stage is None:
                return
            log = _MetricsLog(self.path / "metrics.jsonl", name, seed)
            model = self._fresh_model(seed)
            checkpoints = self.path / "checkpoints" / label
            _remove_unfinished(checkpoints)
            facts = train(
                model,
                pack,
                objective,
                self.recipe.train,
                checkpoints,
                seed=seed,
                precision=self.precision,
                on_log=log,
                on_progress=stage.progress,
            )
            total, inner = parameter_counts(model)
            stage.facts.update(facts, parameters=total, parameters_without_embeddings=inner)
            scheme = self.scheme if objective.uses_control else None
            about = {
                "segmenter": self.recipe.corpus.segmenter,
                "objective": objective.name,
                "seed": seed,
                "valence": __version__,
            }
            save_checkpoint(stage.work, model, tokenizer, scheme, self.scheme, about)
        _remove(checkpoints)

    # --- what the models say ------------------------------------------------------------

    def measure(self, name: str, seed: int) -> list[Measurement]:
        """Samples in every mode and their metrics, and the held-out loss in every mode."""
        rows: list[Measurement] = []
        checkpoint: Checkpoint | None = None
        label = self._label(name, seed)
        objective = build_objective(self.recipe.models[name].objective)
        modes = modes_of(self.scheme if objective.uses_control else None)
        for mode in (*modes, *([LABELLED] if objective.uses_control else [])):
            inputs = {
                "model": self.place.key(f"models/{label}"),
                "mode": mode,
                "sample": self.recipe.sample.model_dump(mode="json"),
                "measure": self.recipe.measure.model_dump(mode="json"),
                "scorers": [
                    asdict(build_scorer(m.scorer).id) for m in self.recipe.measure.metrics.values()
                ],
                "seed": seed,
            }
            stage_name = f"measures/{label}.{mode}"
            with self._stage(stage_name, inputs, f"measure {label} {mode}") as stage:
                if stage is not None:
                    checkpoint = checkpoint or load_checkpoint(self.path / "models" / label)
                    self._measure_mode(checkpoint, name, mode, seed, stage)
            rows += [
                Measurement(**row)
                for row in read_json(self.path / stage_name / "measurements.json")
            ]
        return rows

    def _measure_mode(
        self, checkpoint: Checkpoint, name: str, mode: str, seed: int, stage: _Work
    ) -> None:
        rows = held_out_loss(
            checkpoint,
            self.scheme,
            self.held_out_tokens,
            mode,
            model_name=name,
            seed=seed,
            window=self.recipe.train.block,
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
        self, checkpoint: Checkpoint, name: str, mode: str, seed: int, stage: _Work
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
            precision=self.precision,
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

    def conclude(self, rows: Sequence[Measurement]) -> list[str]:
        """results.json, and the conclusions that follow from its rows."""
        measure = self.recipe.measure
        harms = [name for name, metric in measure.metrics.items() if metric.scale < 0]
        conclusions = conclude(
            rows,
            {name: entry.objective for name, entry in self.recipe.models.items()},
            headline=measure.headline,
            harms=harms,
            best=self.scheme.modes[-1],
            worst=self.scheme.modes[0],
        )
        write_json(self.path / "results.json", [asdict(row) for row in rows])
        write_json(self.path / "conclusions.json", conclusions)
        return conclusions

    # --- how a stage is opened ----------------------------------------------------------

    @property
    def _reward_digest(self) -> str:
        return str(self.place.facts(f"annotation/rewards/{self.rewards.name}")["digest"])

    def _label(self, model: str, seed: int) -> str:
        return model if len(self.recipe.seeds) == 1 else f"{model}-seed{seed}"

    @contextlib.contextmanager
    def _stage(self, name: str, inputs: Mapping[str, Any], title: str) -> Iterator[_Work | None]:
        with self.place.stage(name, inputs) as stage:
            if stage.done:
                self.display.skipped(title)
                yield None
            else:
                with self.display.stage(title) as progress:
                    yield _Work(work=stage.work, facts=stage.facts, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """An open stage: where to write, what to remember, whom to tell how far it is."""

    work: Path
    facts: dict[str, Any]
    progress: Progress


class _MetricsLog:
    """Appends training logs to metrics.jsonl; a model that starts again replaces its lines."""

    def __init__(self, path: Path, model: str, seed: int) -> None:
        self.path, self.model, self.seed = path, model, seed
        self.started = False

    def __call__(self, entry: dict[str, Any]) -> None:
        if not self.started:
            self._drop_from(entry["step"])
            self.started = True
        # JSON has no NaN; a norm that overflowed is not a number.
        plain = {k: v if math.isfinite(v or 0) else None for k, v in entry.items()}
        line = {"model": self.model, "seed": self.seed, **plain}
        with storage(self.path), self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, allow_nan=False) + "\n")

    def _drop_from(self, step: int) -> None:
        """Forget what an earlier attempt logged at or after the step we continue from."""
        if not self.path.is_file():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines()
        kept = []
        for line in lines:
            with contextlib.suppress(ValueError):  # A killed run may leave half a line.
                entry = json.loads(line)
                ours = (entry["model"], entry["seed"]) == (self.model, self.seed)
                if not (ours and entry["step"] >= step):
                    kept.append(line + "\n")
        write_text(self.path, "".join(kept))


def _file_name(scorer: str) -> str:
    """A scorer's name as a folder name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in scorer)


def _remove_unfinished(checkpoints: Path) -> None:
    """Training states that a killed run was still saving; the Trainer writes this file last."""
    for folder in checkpoints.glob("checkpoint-*"):
        if not (folder / "trainer_state.json").is_file():
            shutil.rmtree(folder)


def _remove(folder: Path) -> None:
    """Training states that a finished model no longer needs."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # Other models may still have theirs there.
        folder.parent.rmdir()
