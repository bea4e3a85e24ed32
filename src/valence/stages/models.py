"""Models: for each a scheme, an objective, a plan of its text, and a training."""

from __future__ import annotations

import platform
from functools import cache, cached_property
from pathlib import Path
from typing import cast

import torch
import transformers
from transformers import PreTrainedModel

from valence import __version__
from valence.control import ControlScheme
from valence.model import (
    add_adapter,
    best_device,
    check_base,
    check_scheme,
    create_model,
    end_ids,
    extend_vocabulary,
    load_base,
    merge_adapter,
    parameter_counts,
    save_checkpoint,
    start_ids,
)
from valence.objective import Objective, build_objective, describe
from valence.objective.readout import READOUT, Readout
from valence.pack import PackedDataset, PackPlan, PackSettings, plan_pack
from valence.precision import Precision, choose_precision, measure_precision
from valence.recipe import VerdictRecipe
from valence.stages.metrics_log import MetricsLog, unwritten
from valence.stages.probe import make_probe
from valence.stages.states import keep_fitting_states, remove_states
from valence.stages.subject import VALUES
from valence.stages.tokens import TokenStages
from valence.store import digest, read_json, write_json
from valence.train import Learner, train

BESIDE = {
    "workers", "log_steps", "save_minutes", "save_steps",
    "sample_every", "sample_count", "report_to",
}  # fmt: skip
"""Settings of a training that its weights do not depend on: others do not train anew."""


class ModelStages(TokenStages):
    """The models of a run."""

    def settle(self) -> None:
        """Every model's scheme and objective as numbers, before the first model is trained.

        Raises `BoundError`, `ControlError` and `RecipeError` where one does not fit the
        rewards or its base.
        """
        for name in self.recipe.models:
            model = self.recipe.settings(name).model
            if model.base is not None:
                check_scheme(check_base(model), self.scheme(name))
        for name in self.recipe.models:
            self.objective(name)

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
        return built.settle(self.scheme(name), self.census)

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
                self.verify_store()
                made = plan_pack(store, objective, scheme, settings, on_progress=stage.progress)
                write_json(stage.work / "plan.json", made.to_json())
                stage.facts.update(
                    made.facts(),
                    digest=digest(made.to_json()),
                    straddling_tokens=store.manifest["straddling_tokens"],
                    segments_longer_than_a_row=int((self.census.sizes > recipe.block).sum()),
                    documents_longer_than_a_row=int((store.document_sizes > recipe.block).sum()),
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
            # Not how many threads there are: a run that goes on with others stays the same run.
            "machine": [platform.machine(), best_device().type],
        }
        first = next(iter(self.recipe.models))
        # Stages do not nest: what a fresh model needs is there before.
        assert len(self.tokenizer)
        assert self.scheme(first)
        with self.context.stage("precision", inputs, "measure precision") as stage:
            if stage is not None:
                seconds = measure_precision(
                    self._fresh_model(first, self.recipe.seed),
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
        if self.objective(name).name == "untrained":
            self._keep_untrained(name, seed)
            return
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
            "train": settings.train.model_dump(mode="json", exclude=BESIDE),
            "precision": self.precision,
            "seed": seed,
            "versions": [__version__, torch.__version__, transformers.__version__],
        }
        checkpoints = self.context.path / "checkpoints" / label
        leads = self.context.crew.leads
        with self.context.stage(f"models/{label}", inputs, f"train {label}", joined=True) as stage:
            if stage is None:
                return
            self.verify_store()
            if leads:
                keep_fitting_states(checkpoints, inputs)
            # The others look there too, for the state that all go on from.
            self.context.crew.wait()
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
                project=self.recipe.name,
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
            remove_states(checkpoints)

    def _keep_untrained(self, name: str, seed: int) -> None:
        """The first weights of a model as a checkpoint like any other."""
        label = self.recipe.label(name, seed)
        assert len(self.tokenizer)  # Stages do not nest: it is made before.
        inputs = {
            "model": self.recipe.settings(name).model.model_dump(mode="json"),
            "tokenizer": self.context.place.key("tokenizer"),
            "scheme": self.scheme(name).to_json(),
            "seed": seed,
            "versions": [__version__, torch.__version__, transformers.__version__],
        }
        with self.context.stage(f"models/{label}", inputs, f"keep {label} untrained") as stage:
            if stage is not None:
                learner = self._learner(name, seed)
                total, inner = parameter_counts(learner.model)
                stage.facts.update(parameters=total, parameters_without_embeddings=inner, steps=0)
                self._save(stage.work, name, seed, learner)

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
