"""What happens beside the steps: logs, checkpoints by time, clean stops, and broken losses."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import Trainer, TrainerCallback

from valence.errors import TrainingError
from valence.recipe import TrainRecipe
from valence.store import writing

Log = Callable[[dict[str, Any]], None]
Progress = Callable[[int, int], None]
Probe = Callable[[int], dict[str, float]]
"""Numbers about the model as it is after a step: what sampling it while it trains gives."""


class Watch(TrainerCallback):
    """Progress, logs, checkpoints, a clean stop on all devices at the same step."""

    def __init__(
        self,
        recipe: TrainRecipe,
        text_tokens: int,
        log: Log,
        progress: Progress | None,
        probe: Probe | None,
    ) -> None:
        self.recipe, self.text_tokens = recipe, text_tokens
        self.log, self.progress, self.probe = log, progress, probe
        self.stop = False
        self.first_step: float | None = None
        self.started = self.saved = time.monotonic()
        self.trainer: Trainer | None = None
        self.losses: Losses | None = None
        self.nats: Any = 0.0  # Tensors on the device, so that adding does not wait for it.
        self.texts: Any = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        if self.first_step is None:
            self.first_step = now - self.started
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps)
        due = now - self.saved > 60 * self.recipe.save_minutes
        stop, due = self._agreed(self.stop, due)
        every = self.recipe.save_steps
        if stop or due or (every is not None and state.global_step % every == 0):
            if self.losses is not None:
                self.losses.check()  # No state is kept from which nothing good can follow.
            control.should_save, self.saved = True, now
        if stop:
            self.stop = control.should_training_stop = True
        if self.probe is not None and self._probe_now(state):
            entry = {"step": state.global_step, "text_tokens": self._seen(state)}
            found = self.probe(state.global_step)
            self.log({**entry, **found})
            assert self.trainer is not None
            due = control.should_log
            self.trainer.log(found)  # The loggers of `report_to`.
            control.should_log = due  # Logging takes it for done, also the loss of this step.

    def _agreed(self, stop: bool, due: bool) -> tuple[bool, bool]:
        """On several devices: stop if any was asked to, save when the first one's clock says."""
        assert self.trainer is not None
        leads = self.trainer.accelerator.is_main_process
        stops, saves = self._on_all_devices(float(stop), float(due and leads))
        return stops > 0, saves > 0

    def _on_all_devices(self, *numbers: Any) -> list[float]:
        """Sums over all devices; all call this at the same step."""
        assert self.trainer is not None
        accelerator = self.trainer.accelerator
        if accelerator.num_processes == 1:
            return [float(number) for number in numbers]
        own = torch.tensor([float(n) for n in numbers], device=accelerator.device)
        total: list[float] = accelerator.reduce(own, reduction="sum").tolist()
        return total

    def _probe_now(self, state: Any) -> bool:
        share = self.recipe.sample_every
        if share is None:
            return False
        done, before = (round(s / state.max_steps / share, 9) for s in _pair(state.global_step))
        return math.floor(done) > math.floor(before) or bool(state.global_step == state.max_steps)

    def _seen(self, state: Any) -> int:
        seen: int = round(self.text_tokens * state.global_step / state.max_steps)
        return seen

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" not in (logs or {}):
            return
        nats, texts = self._on_all_devices(self.nats, self.texts)
        entry = {
            "step": state.global_step,
            "text_tokens": self._seen(state),
            "loss": logs["loss"],
            "nats_per_token": nats / max(texts, 1.0),
            "grad_norm": _finite(logs.get("grad_norm")),
            "learning_rate": logs.get("learning_rate"),
            "seconds": round(time.monotonic() - self.started, 3),
        }
        self.nats = self.texts = 0.0
        self.log(entry)


def _pair(step: int) -> tuple[int, int]:
    return step, step - 1


def _finite(value: Any) -> float | None:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


class Losses:
    """Looks at every loss, and saves the batch of the first that is not finite.

    On an accelerator the losses are looked at together every few steps: looking makes it wait.
    Of several processes each sees its own part of a step; all of them look at the same time,
    and all stop if one loss is not finite.
    """

    def __init__(self, folder: Path, patience: int, accelerator: Any) -> None:
        self.folder, self.patience, self.accelerator = folder, patience, accelerator
        self.recent: list[tuple[int, torch.Tensor, dict[str, Any]]] = []

    def seen(self, step: int, loss: torch.Tensor, batch: dict[str, Any]) -> None:
        """Remember a loss and its batch; raises `TrainingError` once one is not finite."""
        self.recent.append((step, loss.detach(), batch))
        if loss.device.type == "cpu" or len(self.recent) >= self.patience:
            self.check()

    def check(self) -> None:
        """Look at all losses since the last look; raises `TrainingError`."""
        recent, self.recent = self.recent, []
        if not recent:
            return
        losses_PN = torch.stack([loss for _, loss, _ in recent])[None]
        if self.accelerator.num_processes > 1:
            losses_PN = self.accelerator.gather(losses_PN)
        broken_PN = ~losses_PN.isfinite().cpu()
        if not broken_PN.any():
            return
        number = int(broken_PN.any(dim=0).int().argmax())
        process = int(broken_PN[:, number].int().argmax())
        step, _, batch = recent[number]
        path = self.folder / f"not-finite-step-{step}.safetensors"
        if self.accelerator.process_index == process:
            _save_batch(path, batch)
        # The message names the file, and whoever leaves first ends the others.
        self.accelerator.wait_for_everyone()
        raise TrainingError(
            f"the loss is {float(losses_PN[process, number])} at step {step}; its batch is in"
            f" {path}",
            where="train",
            fix="Lower train.learning_rate and train.matrix_learning_rate, or use fp32.",
        )


def _save_batch(path: Path, batch: dict[str, Any]) -> None:
    tensors = {k: v.cpu().contiguous() for k, v in batch.items() if isinstance(v, torch.Tensor)}
    with writing(path) as beside:
        save_file(tensors, beside)


class Stopping:
    """While active, Ctrl-C and SIGTERM ask the watch to save and stop after the step."""

    def __init__(self, watch: Watch) -> None:
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
