"""Tokens and models: one tokenizer and one text for all, a pack and a training for each."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers

from valence import __version__
from valence.control import drop
from valence.model import (
    create_model,
    load_tokenizer,
    parameter_counts,
    save_checkpoint,
    train_tokenizer,
)
from valence.objective import Objective
from valence.pack import Tokenised, label_units, place, tokenise, write_pack
from valence.precision import Precision, choose_precision, measure_precision
from valence.stages.annotation import AnnotationStages
from valence.stages.context import Context
from valence.store import storage, write_text
from valence.train import train


class ModelStages:
    """The models of a run."""

    def __init__(self, context: Context, annotation: AnnotationStages) -> None:
        self.recipe = context.recipe
        self.context, self.annotation = context, annotation

    @cached_property
    def tokenizer_path(self) -> Path:
        """A tokenizer trained on the training documents."""
        inputs = {
            "rewards": self.annotation.digest,
            "tokenizer": self.recipe.tokenizer.model_dump(mode="json"),
            "scheme": self.annotation.scheme.tokens,
        }
        with self.context.stage("tokenizer", inputs, "train the tokenizer") as stage:
            if stage is not None:
                training = self.annotation.read(held_out=False)
                tokenizer = train_tokenizer(
                    (item.document.text for item in training),
                    self.recipe.tokenizer.vocab_size,
                    self.annotation.scheme,
                    max_length=self.recipe.model.max_position_embeddings,
                )
                tokenizer.save_pretrained(stage.work)
                stage.facts["vocabulary"] = len(tokenizer)
        return self.context.path / "tokenizer"

    @cached_property
    def training_tokens(self) -> Tokenised:
        """The training documents as tokens, as many as the budget can use."""
        with self.context.display.stage("tokenise") as progress:
            return tokenise(
                self.annotation.read(held_out=False),
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
            for item in self.annotation.read(held_out=True):
                if chars >= limit:
                    return
                chars += len(item.document.text)
                yield item

        return tokenise(first(), load_tokenizer(self.tokenizer_path))

    def pack(self, model: str, objective: Objective, seed: int) -> Path:
        """Token sequences for one model: the text of all, with its objective's labels."""
        name = f"packs/{self.recipe.label(model, seed)}"
        inputs = {
            "rewards": self.annotation.digest,
            "tokenizer": self.context.place.key("tokenizer"),
            "scheme": self.annotation.scheme.to_json(),
            "objective": objective.name,
            "tokens": self.recipe.train.tokens,
            "block": self.recipe.train.block,
            "seed": seed,
        }
        with self.context.stage(name, inputs, f"pack {model}") as stage:
            if stage is not None:
                tokenizer = load_tokenizer(self.tokenizer_path)
                tokenised = self.training_tokens
                units = label_units(tokenised, self.annotation.scheme)
                rng = np.random.default_rng(seed)
                bands = place(units, objective.render(units.bands, rng), self.annotation.scheme)
                stage.facts.update(
                    write_pack(
                        stage.work,
                        tokenised,
                        units,
                        drop(bands, self.annotation.scheme.dropout, rng),
                        self.annotation.scheme,
                        eos_id=tokenizer.eos_token_id,
                        control_ids=self.annotation.scheme.token_ids(tokenizer),
                        text_tokens=self.recipe.train.tokens,
                        block=self.recipe.train.block,
                    )
                )
        return self.context.path / name

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
        with self.context.stage("precision", inputs, "measure precision") as stage:
            if stage is not None:
                seconds = measure_precision(
                    self._fresh_model(self.recipe.seed),
                    batch=self.recipe.train.batch,
                    block=self.recipe.train.block,
                )
                stage.facts.update(chosen=choose_precision(seconds), step_seconds=seconds)
        return cast(Precision, self.context.place.facts("precision")["chosen"])

    def _fresh_model(self, seed: int) -> Any:
        tokenizer = load_tokenizer(self.tokenizer_path)
        return create_model(self.recipe.model, len(tokenizer), tokenizer.eos_token_id, seed)

    def train(self, name: str, objective: Objective, seed: int) -> None:
        """One model, from fresh seeded weights to a plain Hugging Face directory."""
        tokenizer = load_tokenizer(self.tokenizer_path)
        pack = self.pack(name, objective, seed)
        label = self.recipe.label(name, seed)
        inputs = {
            "pack": self.context.place.facts(f"packs/{label}")["digest"],
            "objective": objective.name,
            "model": self.recipe.model.model_dump(mode="json"),
            "train": self.recipe.train.model_dump(mode="json"),
            "precision": self.precision,
            "seed": seed,
            "versions": [__version__, torch.__version__, transformers.__version__],
        }
        with self.context.stage(f"models/{label}", inputs, f"train {label}") as stage:
            if stage is None:
                return
            log = MetricsLog(self.context.path / "metrics.jsonl", name, seed)
            model = self._fresh_model(seed)
            checkpoints = self.context.path / "checkpoints" / label
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
            scheme = self.annotation.scheme if objective.uses_control else None
            about = {
                "segmenter": self.recipe.corpus.segmenter.kind,
                "objective": objective.name,
                "seed": seed,
                "valence": __version__,
            }
            save_checkpoint(stage.work, model, tokenizer, scheme, self.annotation.scheme, about)
        _remove(checkpoints)


class MetricsLog:
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
