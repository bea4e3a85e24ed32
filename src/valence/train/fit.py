"""One training: the same steps for the same text, on one device or on many.

Everything that makes two runs comparable is here: one seed for weights and order, and a
precision that was measured on this machine. Many devices are accelerate's and torchrun's
business: what is started by them finds itself in one of several processes here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from valence.crew import Crew, together
from valence.errors import Interrupted, RecipeError
from valence.model import best_device
from valence.objective.protocol import IGNORED
from valence.pack.dataset import PackedDataset, collate
from valence.precision import Precision
from valence.recipe import TrainRecipe
from valence.train.flops import training_flops
from valence.train.learner import Learner
from valence.train.optimizer import build_optimizer
from valence.train.watch import Log, Losses, Probe, Progress, Stopping, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training took, and the weights where they are spread over devices (FSDP)."""

    facts: dict[str, Any]
    state: dict[str, torch.Tensor] | None


def train(
    learner: Learner,
    dataset: PackedDataset,
    recipe: TrainRecipe,
    checkpoints: Path,
    *,
    seed: int,
    precision: Precision,
    on_log: Log,
    on_progress: Progress | None = None,
    probe: Probe | None = None,
    project: str = "valence",
) -> Trained:
    """Train a model in place on packed rows.

    An interrupted training (Ctrl-C, SIGTERM) saves into `checkpoints`, raises
    `Interrupted`, and continues from there when called again. Raises `TrainingError`
    when the loss is not finite, having saved the batch, and `ProcessLost` when another
    process of the run has ended. `project` is the name under which loggers file it.
    """
    plan = dataset.plan
    watch = Watch(recipe, plan.text_tokens, on_log, on_progress, probe)
    rows = _WholeSteps(dataset, recipe.batch)
    trainer = _Trainer(
        model=learner,
        args=_arguments(recipe, checkpoints, len(rows) // recipe.batch, seed, precision, project),
        train_dataset=rows,
        data_collator=collate,
        callbacks=[watch],
        optimizers=(build_optimizer(learner, recipe), None),
    )
    losses = Losses(checkpoints, recipe.log_steps, trainer.accelerator)
    trainer.losses, trainer.watch = losses, watch
    watch.trainer, watch.losses = trainer, losses
    # Our watch logs; the Trainer's own printer would write over the progress display.
    trainer.remove_callback(PrinterCallback)
    resume = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    started = time.monotonic()
    with Stopping(watch), together():
        trainer.train(resume_from_checkpoint=resume)
        losses.check()
    state = trainer.state
    if watch.stop and state.global_step < state.max_steps:
        raise Interrupted(
            f"training stopped at step {state.global_step} of {state.max_steps}",
            fix="Its state is saved; the same command continues it.",
        )
    seconds = time.monotonic() - started
    logged = [entry["loss"] for entry in state.log_history if "loss" in entry]
    tokens = plan.tokens
    facts = {
        "steps": state.global_step,
        "train_seconds": round(seconds, 3),
        "first_step_seconds": round(watch.first_step or 0.0, 3),
        "resumed": resume is not None,
        "threads": torch.get_num_threads(),
        "devices": trainer.accelerator.num_processes,
        "tokens_per_second": round(tokens / seconds, 1),
        "flops": training_flops(learner.model, tokens, plan.settings.block),
        "last_loss": logged[-1] if logged else None,
    }
    return Trained(facts=facts, state=_gathered(trainer))


def _gathered(trainer: Trainer) -> dict[str, torch.Tensor] | None:
    if not trainer.is_fsdp_enabled:
        return None
    state: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return state


class _WholeSteps(Dataset[dict[str, Any]]):
    """The rows, filled up with rows that predict nothing, so that every step is whole.

    Then a last step looks the same whatever the number of devices.
    """

    def __init__(self, dataset: PackedDataset, batch: int) -> None:
        self.dataset, self.size = dataset, -(-len(dataset) // batch) * batch

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.dataset[min(index, len(self.dataset) - 1)]
        if index >= len(self.dataset):
            row = {**row, "targets": np.full_like(row["targets"], IGNORED)}
            if "forks" in row:
                row["forks"] = np.zeros_like(row["forks"])
        return row


class _Trainer(Trainer):
    """The Trainer with our loss: a sum over the tokens of a step, divided by their number."""

    loss_is_scaled_for_ga = True
    losses: Losses
    watch: Watch

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor]:
        """A step's parts, and how many targets they have on all devices together."""
        parts = [part for _, part in zip(range(num_batches), epoch_iterator, strict=False)]
        count = torch.stack([(part["targets"] != IGNORED).sum() for part in parts]).sum()
        count = self.accelerator.gather(count.to(device)).sum().clamp(min=1)
        return parts, count

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of one part; devices average their gradients, so each counts that often."""
        outputs = model(**inputs, count=num_items_in_batch)
        self.watch.nats = self.watch.nats + outputs["nats"].detach()
        self.watch.texts = self.watch.texts + outputs["texts"]
        self.losses.seen(self.state.global_step + 1, outputs["loss"], inputs)
        loss = outputs["loss"] * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


def sequences_per_device(recipe: TrainRecipe, processes: int) -> int:
    """Sequences that go through the model at once on one device.

    Raises `RecipeError` where those of a step cannot be shared evenly.
    """
    sequences, rest = divmod(recipe.batch, processes * recipe.accumulate)
    if rest:
        raise RecipeError(
            f"{recipe.batch} sequences per step cannot be shared by {processes} processes in"
            f" {recipe.accumulate} parts each",
            where="train.batch",
            fix=f"Make it a multiple of {processes * recipe.accumulate}.",
        )
    return sequences


def _arguments(
    recipe: TrainRecipe,
    checkpoints: Path,
    steps: int,
    seed: int,
    precision: Precision,
    project: str,
) -> TrainingArguments:
    schedules = {
        "linear": "linear",
        "cosine": "cosine",
        "constant": "constant_with_warmup",
    }
    return TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=sequences_per_device(recipe, Crew.size()),
        gradient_accumulation_steps=recipe.accumulate,
        num_train_epochs=1,
        # The rows are in training order already.
        train_sampling_strategy="sequential",
        dataloader_num_workers=recipe.workers,
        dataloader_prefetch_factor=4 if recipe.workers else None,
        lr_scheduler_type=schedules[recipe.schedule],
        warmup_steps=max(1, round(recipe.warmup * steps)),
        learning_rate=recipe.learning_rate,
        max_grad_norm=recipe.clip,
        bf16=precision == "bf16",
        use_cpu=best_device().type == "cpu",
        seed=seed,
        data_seed=seed,
        logging_steps=recipe.log_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_total_limit=1,
        report_to=list(recipe.report_to) or "none",
        project=project,
        run_name=checkpoints.name,
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
