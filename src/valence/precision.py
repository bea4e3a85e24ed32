"""The precision that models compute in: bf16 where this machine has it and it is faster."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from valence.model import best_device

Precision = Literal["fp32", "bf16"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Options of glibc's mallopt(3)."""

WORTH_IT = 1.1
"""bf16 is taken when it is at least this much faster than fp32."""


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free, where it is glibc on a processor.

    Otherwise every large tensor is mapped anew and the kernel clears all of its pages:
    a quarter of the time of a small model's training step. For programs that own their
    process; memory then goes back to the system only at their end.
    """
    if not sys.platform.startswith("linux") or torch.accelerator.is_available():
        return
    with contextlib.suppress(OSError, AttributeError):  # Another C library: leave it alone.
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(option, value)


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a model computes in that precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def measure_precision(model: PreTrainedModel, *, batch: int, block: int) -> dict[str, float]:
    """Seconds of one forward and backward pass on [batch, block] tokens, best of two."""
    device = best_device()
    model.to(device)
    ids = torch.randint(0, model.config.vocab_size, (batch, block), device=device)
    seconds: dict[str, float] = {}
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            with autocast(precision, device):
                loss = model(input_ids=ids).logits.float().square().mean()
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
        seconds[precision] = min(times[1:])
    model.zero_grad(set_to_none=True)
    return seconds


def choose_precision(seconds: dict[str, float]) -> Precision:
    """The precision to train in, from what `measure_precision` saw."""
    return "bf16" if seconds["fp32"] >= WORTH_IT * seconds["bf16"] else "fp32"
