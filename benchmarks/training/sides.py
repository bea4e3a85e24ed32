"""The trainings that take turns: a bare loop, plain transformers, and Valence's objectives."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import timing
import torch
from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_scheduler,
)

from training.packs import EOS, SCHEME, packed
from valence.model import best_device, create_model
from valence.objective import build_objective
from valence.pack.tokens import TokenStore
from valence.precision import Precision, autocast
from valence.recipe import Recipe, VerdictRecipe
from valence.train import Learner, build_optimizer, train

SEED = 0
OBJECTIVES: dict[str, Any] = {
    "mle": "mle",
    "conditional": "conditional",
    "unlikelihood": {"unlikelihood": {"alpha": 1.0}},
    "rwr": {"rwr": {"beta": 0.1}},
    "awr": {"awr": {"beta": 0.1}},
    "verdict": "verdict",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every side trains on: so many steps, on a store of tokens below `vocabulary`."""

    recipe: Recipe
    store: TokenStore
    vocabulary: int
    steps: int
    precision: Precision

    @property
    def tokens(self) -> int:
        """Tokens that go through the model."""
        return self.steps * self.recipe.train.batch * self.recipe.train.block


@dataclass(slots=True, kw_only=True)
class Trace:
    """One training: seconds from its call to the first and to the last step, and losses."""

    first: float = 0.0
    last: float = 0.0
    tokens: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Tokens per second without the first step, which sets up much that is done once."""
        return self.tokens * (1 - 1 / self.steps) / (self.last - self.first)


class Enough(Exception):
    """Raised from a progress callback: the first step is all that was wanted."""


def fresh_model(task: Task) -> PreTrainedModel:
    """The recipe's model with the same weights every time."""
    size = task.vocabulary + len(SCHEME.tokens)
    return create_model(task.recipe.model, size, EOS, SEED).to(best_device())


class Plain(Dataset[dict[str, Any]]):
    """The same rows as most programs give them: inputs that are their own labels."""

    def __init__(self, task: Task) -> None:
        _, rows = packed(task.store, "mle", (), tokens=task.tokens, block=task.recipe.train.block)
        count = task.steps * task.recipe.train.batch
        self.rows = [np.asarray(rows[index]["input_ids"]) for index in range(count)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


def train_bare(task: Task) -> Trace:
    """The loop that one would write without Valence and without a Trainer."""
    settings, device, data = task.recipe.train, best_device(), Plain(task)
    model = fresh_model(task)
    started, trace = time.perf_counter(), Trace(tokens=task.tokens, steps=task.steps)
    optimizer = build_optimizer(Learner(model, build_objective("mle")), settings)
    warmup = max(1, round(settings.warmup * task.steps))
    scheduler = get_scheduler(settings.schedule, optimizer, warmup, task.steps)
    model.train()
    losses = []
    for step in range(task.steps):
        rows = data.rows[step * settings.batch : (step + 1) * settings.batch]
        ids_BT = torch.from_numpy(np.stack(rows)).to(device)
        with autocast(task.precision, device):
            logits_BTV = model(input_ids=ids_BT, use_cache=False).logits
        labels = torch.nn.functional.pad(ids_BT[:, 1:], (0, 1), value=-100).flatten()
        loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if step == 0:
            timing.wait()
            trace.first = time.perf_counter() - started
    timing.wait()
    trace.last = time.perf_counter() - started
    trace.losses = torch.stack(losses).tolist()
    return trace


class _Clock(TrainerCallback):
    def __init__(self, trace: Trace, started: float) -> None:
        self.trace, self.started = trace, started

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in (1, state.max_steps):
            timing.wait()
            self.trace.last = time.perf_counter() - self.started
        if state.global_step == 1:
            self.trace.first = self.trace.last


def train_plain(task: Task) -> Trace:
    """transformers' Trainer with the model's own loss, which is what most people run."""
    settings, data, model = task.recipe.train, Plain(task), fresh_model(task)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        trace = Trace(tokens=task.tokens, steps=task.steps)
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=settings.batch,
            num_train_epochs=1,
            lr_scheduler_type=settings.schedule,
            warmup_steps=max(1, round(settings.warmup * task.steps)),
            learning_rate=settings.learning_rate,
            max_grad_norm=settings.clip,
            bf16=task.precision == "bf16",
            use_cpu=best_device().type == "cpu",
            logging_steps=settings.log_steps,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        optimizer = build_optimizer(Learner(model, build_objective("mle")), settings)
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=data,
            callbacks=[_Clock(trace, started)],
            optimizers=(optimizer, None),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trace


def train_valence(task: Task, name: str, *, only_first: bool = False) -> Trace:
    """Valence, with one of its objectives."""
    settings = task.recipe.train
    control = (task.vocabulary, task.vocabulary + 1)
    objective, data = packed(
        task.store, OBJECTIVES[name], control, tokens=task.tokens, block=settings.block
    )
    model = fresh_model(task)
    steps = -(-len(data) // settings.batch)
    trace = Trace(tokens=steps * settings.batch * settings.block, steps=steps)

    def on_progress(step: int, steps: int) -> None:
        if step in (1, steps):
            timing.wait()
            trace.last = time.perf_counter() - started
        if step == 1:
            trace.first = trace.last
            if only_first:
                raise Enough

    with tempfile.TemporaryDirectory() as checkpoints, contextlib.suppress(Enough):
        started = time.perf_counter()
        learner = Learner(
            model,
            objective,
            control_ids=control,
            verdict=VerdictRecipe() if name == "verdict" else None,
            compiled=settings.compile,
        )
        train(
            learner,
            data,
            settings,
            Path(checkpoints),
            seed=SEED,
            precision=task.precision,
            on_log=lambda entry: trace.losses.append(entry["loss"]),
            on_progress=on_progress,
        )
    return trace


def side(name: str) -> Callable[[Task], Trace]:
    """The training of that name: `bare`, `trainer`, or an objective."""
    if name == "bare":
        return train_bare
    if name == "trainer":
        return train_plain
    return lambda task: train_valence(task, name)
