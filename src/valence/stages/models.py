"""Tokens and models: one tokenizer and one text for all, a plan and a training for each."""

from __future__ import annotations

import contextlib
import platform
import shutil
from functools import cache, cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from valence import __version__
from valence.control import ControlScheme
from valence.model import (
    add_adapter,
    create_model,
    end_ids,
    extend_vocabulary,
    load_base,
    load_base_tokenizer,
    load_tokenizer,
    merge_adapter,
    parameter_counts,
    save_checkpoint,
    start_ids,
    train_tokenizer,
)
from valence.objective import Objective, build_objective, describe
from valence.objective.readout import Readout
from valence.pack import PackedDataset, PackPlan, PackSettings, Tokenised, plan_pack, tokenise
from valence.pack.order import Order
from valence.pack.tokens import TokenStore
from valence.precision import Precision, choose_precision, measure_precision
from valence.recipe import VerdictRecipe
from valence.stages.annotation import AnnotationStages
from valence.stages.context import Context
from valence.stages.metrics_log import MetricsLog, unwritten
from valence.stages.probe import make_probe
from valence.store import digest, read_json, write_json
from valence.train import Learner, train

READOUT, VALUES = "readout.safetensors", "value_head.safetensors"
"""Files beside a checkpoint that hold what was trained with it and is no part of it."""

FITTED_TOKENS = 200_000
"""Text tokens on whose states read-outs are fitted."""


class ModelStages:
    """The models of a run."""

    def __init__(self, context: Context, annotation: AnnotationStages) -> None:
        self.recipe = context.recipe
        self.context, self.annotation = context, annotation

    @cached_property
    def tokenizer_path(self) -> Path:
        """A tokenizer trained on the training documents, or the base model's; control added."""
        scheme = self.annotation.shared_scheme
        base = self.recipe.model.base
        inputs = {
            "rewards": self.annotation.digest if base is None else None,
            "tokenizer": self.recipe.tokenizer.model_dump(mode="json"),
            "base": [base, self.recipe.model.revision],
            "scheme": scheme.tokens,
        }
        title = "train the tokenizer" if base is None else "load the tokenizer"
        with self.context.stage("tokenizer", inputs, title) as stage:
            if stage is not None:
                if base is None:
                    tokenizer = train_tokenizer(
                        self.annotation.training_texts(self.recipe.tokenizer.max_chars),
                        self.recipe.tokenizer.vocab_size,
                        scheme,
                        max_length=self.recipe.model.max_position_embeddings,
                    )
                else:
                    tokenizer = load_base_tokenizer(self.recipe.model, scheme)
                tokenizer.save_pretrained(stage.work)
                stage.facts["vocabulary"] = len(tokenizer)
        return self.context.path / "tokenizer"

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of all models of the run."""
        return load_tokenizer(self.tokenizer_path)

    @cached_property
    def store(self) -> TokenStore:
        """The training documents as tokens, on disk."""
        return self.annotation.tokens(self.tokenizer_path, self.tokenizer)

    @cached_property
    def held_out_tokens(self) -> Tokenised:
        """Held-out documents as tokens, about `measure.loss_chars` characters of them."""
        documents = self.annotation.held_out(self.recipe.measure.loss_chars)
        return tokenise(documents, load_tokenizer(self.tokenizer_path))

    @cached_property
    def some_tokens(self) -> Tokenised:
        """Training documents as tokens, for what is fitted on a trained model's states."""
        order = Order(self.store.documents, self.recipe.seed)
        sizes = self.store.document_sizes[order.documents(0, 0, self.store.documents)]
        count = int(np.searchsorted(np.cumsum(sizes), FITTED_TOKENS)) + 1
        return self.store.take(order.documents(0, 0, min(count, self.store.documents)))

    @cache  # noqa: B019  (as long-lived as the run)
    def scheme(self, name: str) -> ControlScheme:
        """The control scheme of one model: the shared one, or as its entry varies it."""
        own = self.recipe.settings(name).control
        shared = own == self.recipe.control
        return self.annotation.shared_scheme if shared else self.annotation.scheme(own)

    @cache  # noqa: B019
    def objective(self, name: str) -> Objective:
        """One model's objective, its settings resolved on the training rewards."""
        built = build_objective(self.recipe.models[name].objective)
        return built.settle(self.scheme(name), self.store.census())

    def verdict(self, name: str) -> VerdictRecipe | None:
        """How one model is taught the verdict after EOS, if it is."""
        entry = self.recipe.models[name]
        alone = entry.objective_name == "verdict"
        return entry.verdict or (VerdictRecipe() if alone else None)

    def plan(self, name: str, seed: int) -> PackPlan:
        """Which text one model sees, in which order, in how many rows."""
        stage_name = f"packs/{self.recipe.label(name, seed)}"
        entry, recipe = self.recipe.models[name], self.recipe.settings(name).train
        verdict, store, tokenizer = self.verdict(name), self.store, self.tokenizer
        objective, scheme = self.objective(name), self.scheme(name)
        settings = PackSettings(
            text_tokens=recipe.tokens,
            block=recipe.block,
            seed=seed,
            feedback_from=entry.feedback_from,
            verdict=verdict,
            start_ids=start_ids(tokenizer),
            end_ids=end_ids(tokenizer),
        )
        inputs = {
            "tokens": store.digest,
            "scheme": scheme.to_json(),
            "objective": describe(objective),
            "settings": settings.to_json(),
        }
        with self.context.stage(stage_name, inputs, f"pack {name}") as stage:
            if stage is not None:
                made = plan_pack(store, objective, scheme, settings, on_progress=stage.progress)
                write_json(stage.work / "plan.json", made.to_json())
                stage.facts.update(
                    made.facts(),
                    digest=digest(made.to_json()),
                    straddling_tokens=store.manifest["straddling_tokens"],
                )
        return PackPlan.from_json(read_json(self.context.path / stage_name / "plan.json"))

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
        fresh = self._fresh_model(next(iter(self.recipe.models)), self.recipe.seed)
        with self.context.stage("precision", inputs, "measure precision") as stage:
            if stage is not None:
                seconds = measure_precision(
                    fresh,
                    batch=self.recipe.train.batch,
                    block=self.recipe.train.block,
                )
                stage.facts.update(chosen=choose_precision(seconds), step_seconds=seconds)
        return cast(Precision, self.context.place.facts("precision")["chosen"])

    def _fresh_model(self, name: str, seed: int) -> PreTrainedModel:
        """The model that training starts from, with room for the control tokens."""
        recipe, tokenizer = self.recipe.settings(name).model, self.tokenizer
        if recipe.base is None:
            return create_model(recipe, len(tokenizer), tokenizer.eos_token_id, seed)
        model = load_base(recipe)
        extend_vocabulary(model, tokenizer, self.scheme(name), seed=seed)
        if recipe.adapter is not None:
            add_adapter(model, recipe.adapter, self.scheme(name).token_ids(tokenizer), seed=seed)
        return model

    def _learner(self, name: str, seed: int) -> Learner:
        return Learner(
            self._fresh_model(name, seed),
            self.objective(name),
            control_ids=self.scheme(name).token_ids(self.tokenizer),
            verdict=self.verdict(name),
            seed=seed,
            compiled=self.recipe.settings(name).train.compile,
        )

    def train(self, name: str, seed: int) -> None:
        """One model, from its first weights to a plain Hugging Face directory."""
        label, plan, settings = (
            self.recipe.label(name, seed),
            self.plan(name, seed),
            self.recipe.settings(name),
        )
        objective, scheme, verdict = self.objective(name), self.scheme(name), self.verdict(name)
        inputs = {
            "pack": self.context.place.key(f"packs/{label}"),
            "objective": describe(objective),
            "verdict": None if verdict is None else verdict.model_dump(mode="json"),
            "model": settings.model.model_dump(mode="json"),
            "train": settings.train.model_dump(mode="json"),
            "precision": self.precision,
            "seed": seed,
            "versions": [__version__, torch.__version__, transformers.__version__],
        }
        checkpoints = self.context.path / "checkpoints" / label
        leads = self.context.crew.leads
        with self.context.stage(f"models/{label}", inputs, f"train {label}", joined=True) as stage:
            if stage is None:
                return
            if leads:
                _remove_unfinished(checkpoints)
            log = MetricsLog(self.context.path / "metrics.jsonl", name, seed)
            learner = self._learner(name, seed)
            probe = None
            if settings.train.sample_every is not None and leads:
                probe = make_probe(
                    learner,
                    self.tokenizer,
                    scheme if objective.uses_control else None,
                    scheme,
                    self.recipe,
                    settings.train.sample_count,
                    self.annotation.segmenter,
                )
            trained = train(
                learner,
                PackedDataset(
                    self.store, plan, objective, scheme, scheme.token_ids(self.tokenizer)
                ),
                settings.train,
                checkpoints,
                seed=seed,
                precision=self.precision,
                on_log=log if leads else unwritten,
                on_progress=stage.progress,
                probe=probe,
            )
            if leads:
                if trained.state is not None:
                    learner = self._learner(name, seed)
                    learner.load_state_dict(trained.state, strict=False)
                total, inner = parameter_counts(learner.model)
                stage.facts.update(
                    trained.facts, parameters=total, parameters_without_embeddings=inner
                )
                self._save(stage.work, name, seed, learner)
        if leads:
            _remove(checkpoints)

    def _save(self, directory: Path, name: str, seed: int, learner: Learner) -> None:
        objective, scheme, verdict = self.objective(name), self.scheme(name), self.verdict(name)
        model = learner.model
        if self.recipe.settings(name).model.adapter is not None:
            model = merge_adapter(model)
        about = {
            "segmenter": self.annotation.segmenter,
            "objective": describe(objective),
            "verdict": None if verdict is None else verdict.model_dump(mode="json"),
            "model": name,
            "seed": seed,
            "valence": __version__,
        }
        used = scheme if objective.uses_control else None
        save_checkpoint(directory, model, self.tokenizer, used, scheme, about)
        if isinstance(learner.readout, Readout):
            learner.readout.save(directory / READOUT)
        if learner.value_head is not None:
            learner.value_head.save(directory / VALUES)


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
