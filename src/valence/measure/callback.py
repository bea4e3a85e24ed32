"""Measuring while anybody's `Trainer` trains: a callback of transformers.

trainer = Trainer(...)
trainer.add_callback(
    MeasureCallback(trainer, tokenizer, sample, measure, every=500, path=out / "measured.jsonl")
)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast, TrainerCallback

from valence.control import ControlScheme
from valence.data import Measurement
from valence.measure.look import look
from valence.measure.scenario import scenarios
from valence.model import Checkpoint
from valence.recipe import MeasureRecipe, SampleRecipe
from valence.store import storage


class MeasureCallback(TrainerCallback):
    """Samples in every mode and scenario every so many steps and at the end, scored.

    Values go to the trainer's loggers as METRIC/MODE, with `_low` and `_high` their 95%
    intervals; all rows, with counts and failures, are appended to `path`. `scheme` is that of
    a conditional model, `known` the one whose tokens the vocabulary has.
    """

    def __init__(
        self,
        trainer: Any,
        tokenizer: PreTrainedTokenizerFast,
        sample: SampleRecipe | None,
        measure: MeasureRecipe,
        *,
        every: int,
        path: Path | None = None,
        scheme: ControlScheme | None = None,
        known: ControlScheme | None = None,
        segmenter: str = "line",
        seed: int = 0,
    ) -> None:
        if every < 1:
            raise ValueError(f"every {every} steps")
        self.trainer, self.tokenizer, self.measure = trainer, tokenizer, measure
        self.every, self.path, self.seed = every, path, seed
        self.scheme, self.known, self.segmenter = scheme, known or scheme, segmenter
        self.scenarios = list(scenarios(sample, measure, seed))

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Measure where it is time."""
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        # Of several processes each has the whole model; one of them measures.
        if not state.is_world_process_zero:
            return
        checkpoint = Checkpoint(
            model=self.trainer.accelerator.unwrap_model(others["model"]),
            tokenizer=self.tokenizer,
            scheme=self.scheme,
            segmenter=self.segmenter,
        )
        rows = look(
            checkpoint, self.known, self.scenarios, self.measure, model_name="", seed=self.seed
        )
        due = control.should_log
        self.trainer.log(logged(rows))
        control.should_log = due  # Logging takes it for done, also the loss of this step.
        if self.path is not None:
            with storage(self.path), self.path.open("a", encoding="utf-8") as log:
                for row in rows:
                    log.write(json.dumps({"step": state.global_step, **asdict(row)}) + "\n")


def logged(rows: Iterable[Measurement]) -> dict[str, float]:
    """Rows as numbers for a logger, by METRIC/MODE; what could not be measured is left out."""
    found: dict[str, float] = {}
    for row in rows:
        for suffix, value in (("", row.value), ("_low", row.low), ("_high", row.high)):
            if value is not None:
                found[f"{row.metric}/{row.mode}{suffix}"] = value
    return found
