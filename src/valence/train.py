"""Training: transformers' Trainer over a pack, with an objective's loss and torch's optimisers.

Everything that makes two runs comparable is here: the same steps for the same text, one
seed for weights and order, and a precision that was measured on this machine.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from valence.errors import Interrupted, TrainingError
from valence.model import best_device, parameter_counts
from valence.objective.protocol import Objective
from valence.pack import PackedDataset
from valence.precision import Precision
from valence.recipe import TrainRecipe

Log = Callable[[dict[str, Any]], None]
Progress = Callable[[int, int], None]


class Together(Optimizer):
    """Several optimisers over disjoint parameters, as one: Muon takes only matrices."""

    def __init__(self, parts: Iterable[Optimizer]) -> None:
        self.parts = list(parts)
        groups = [group for part in self.parts for group in part.param_groups]
        super().__init__(groups, {})
        # The very group objects of the parts, so that a scheduler's new rate reaches them.
        self.param_groups = groups

    def step(self, closure: Any = None) -> Any:
        """One step of each part."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups[:] = [group for part in self.parts for group in part.param_groups]


def build_optimizer(model: PreTrainedModel, recipe: TrainRecipe) -> Optimizer:
    """AdamW, or Muon for the matrices inside the layers and AdamW for everything else.

    Source of Muon: K. Jordan 2024; torch.optim.Muon. Embeddings and the output head are
    matrices by shape but tables by use, so they stay with AdamW.
    """
    tables = {
        id(weight)
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
        if module is not None
        for weight in module.parameters()
    }
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    inner = [w for w in weights if w.ndim == 2 and id(w) not in tables]

    def adam(chosen: list[torch.nn.Parameter]) -> AdamW:
        decay = recipe.weight_decay
        return AdamW(chosen, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=decay)

    if recipe.optimizer == "adamw" or not inner:
        return adam(weights)
    matrices = {id(weight) for weight in inner}
    others = [weight for weight in weights if id(weight) not in matrices]
    muon = Muon(inner, lr=recipe.matrix_learning_rate, weight_decay=recipe.weight_decay)
    return Together([muon, adam(others)])


def training_flops(model: PreTrainedModel, tokens: int, block: int) -> float:
    """Estimated floating-point operations of training on `tokens` tokens.

    6 per weight and token, the output head counted once, plus attention:
    12 · layers · width · block per token, halved because it is causal
    (Kaplan et al. 2020, section 2.1).
    """
    config = model.config
    _, inner = parameter_counts(model)
    head = config.vocab_size * config.hidden_size
    width = config.num_attention_heads * config.head_dim
    attention = 6 * config.num_hidden_layers * width * block
    return float(tokens * (6.0 * (inner + head) + attention))


class _Watch(TrainerCallback):
    """Progress, logs, timed checkpoints, a clean stop, and no training on a broken loss."""

    def __init__(
        self, recipe: TrainRecipe, text_tokens: int, log: Log, progress: Progress | None
    ) -> None:
        self.save_seconds, self.text_tokens = 60 * recipe.save_minutes, text_tokens
        self.log, self.progress = log, progress
        self.stop = False
        self.first_step: float | None = None
        self.started = self.saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        if self.first_step is None:
            self.first_step = now - self.started
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps)
        if self.stop or now - self.saved > self.save_seconds:
            control.should_save, self.saved = True, now
        if self.stop:
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" not in (logs or {}):
            return
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss is {logs['loss']} at step {state.global_step}",
                where="train",
                fix="Lower train.learning_rate and train.matrix_learning_rate, or use fp32.",
            )
        seen = round(self.text_tokens * state.global_step / state.max_steps)
        self.log(
            {
                "step": state.global_step,
                "text_tokens": seen,
                "loss": logs["loss"],
                "grad_norm": _finite(logs.get("grad_norm")),
                "learning_rate": logs.get("learning_rate"),
                "seconds": round(time.monotonic() - self.started, 3),
            }
        )


def train(
    model: PreTrainedModel,
    pack: Path,
    objective: Objective,
    recipe: TrainRecipe,
    checkpoints: Path,
    *,
    seed: int,
    precision: Precision,
    on_log: Log,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a model in place on a pack; returns what it took.

    An interrupted training (Ctrl-C, SIGTERM) saves into `checkpoints`, raises
    `Interrupted`, and continues from there when called again. Raises `TrainingError`
    when the loss is not finite.
    """
    dataset = PackedDataset(pack)
    manifest = dataset.manifest
    watch = _Watch(recipe, manifest["text_tokens"], on_log, on_progress)
    trainer = Trainer(
        model=model,
        args=_arguments(recipe, checkpoints, len(dataset), seed, precision),
        train_dataset=dataset,
        callbacks=[watch],
        optimizers=(build_optimizer(model, recipe), None),
        compute_loss_func=lambda outputs, labels, **_: objective.loss(outputs.logits, labels),
    )
    # Our watch logs; the Trainer's own printer would write over the progress display.
    trainer.remove_callback(PrinterCallback)
    resume = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    model.config.use_cache = False
    started = time.monotonic()
    with _Stopping(watch):
        trainer.train(resume_from_checkpoint=resume)
    model.config.use_cache = True
    if watch.stop and trainer.state.global_step < trainer.state.max_steps:
        raise Interrupted(
            f"training stopped at step {trainer.state.global_step} of {trainer.state.max_steps}",
            fix="Its state is saved; the same command continues it.",
        )
    seconds = time.monotonic() - started
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "steps": trainer.state.global_step,
        "train_seconds": round(seconds, 3),
        "first_step_seconds": round(watch.first_step or 0.0, 3),
        "resumed": resume is not None,
        "threads": torch.get_num_threads(),
        "tokens_per_second": round(manifest["tokens"] / seconds, 1),
        "flops": training_flops(model, manifest["tokens"], manifest["block"]),
        "last_loss": losses[-1] if losses else None,
    }


def _arguments(
    recipe: TrainRecipe, checkpoints: Path, rows: int, seed: int, precision: Precision
) -> TrainingArguments:
    steps = -(-rows // recipe.batch)
    schedules = {
        "linear": "linear",
        "cosine": "cosine",
        "constant": "constant_with_warmup",
    }
    return TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=recipe.batch,
        num_train_epochs=1,
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
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _finite(value: Any) -> float | None:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


class _Stopping:
    """While active, Ctrl-C and SIGTERM ask the watch to save and stop after the step."""

    def __init__(self, watch: _Watch) -> None:
        self.watch = watch
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Only the main thread may set handlers.
        for name in (signal.SIGINT, signal.SIGTERM):
            self.before[name] = signal.signal(name, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.watch.stop:  # A second Ctrl-C does not wait for the step.
            raise KeyboardInterrupt
        self.watch.stop = True

    def __exit__(self, *_: object) -> None:
        for name, handler in self.before.items():
            signal.signal(name, handler)
