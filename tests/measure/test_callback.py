"""The callback: a plain `Trainer` measures while it trains, and trains as it would without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from valence.control import ControlScheme
from valence.measure.callback import MeasureCallback
from valence.model import create_model, train_tokenizer
from valence.recipe import MeasureRecipe, MetricRecipe, ModelRecipe, SampleRecipe

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
SIZES = ModelRecipe(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
    head_dim=8, intermediate_size=32, max_position_embeddings=64,
)  # fmt: skip
MEASURE = MeasureRecipe(
    metrics={"harm": MetricRecipe(scorer={"regex": {"patterns": ["a"]}}, scale=-1.0)},
    resamples=100,
)


def trained(folder: Path, *, measured: bool) -> tuple[Trainer, Path]:
    tokenizer = train_tokenizer(["a few words of text here"] * 4, 280, SCHEME, max_length=64)
    model = create_model(SIZES, len(tokenizer), tokenizer.eos_token_id, 0)
    ids = tokenizer("a few words of text here")["input_ids"]
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=5, per_device_train_batch_size=2, report_to=[],
        logging_steps=1, save_strategy="no", use_cpu=True, disable_tqdm=True, seed=1,
        dataloader_pin_memory=False,
    )  # fmt: skip
    rows: list[dict[str, Any]] = [{"input_ids": ids, "labels": ids}] * 8
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)  # type: ignore[arg-type]
    path = folder / "measured.jsonl"
    if measured:
        trainer.add_callback(
            MeasureCallback(
                trainer, tokenizer, SampleRecipe(count=3, max_tokens=6), MEASURE,
                every=2, path=path, scheme=SCHEME,
            )
        )  # fmt: skip
    trainer.train()
    return trainer, path


def test_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    trainer, path = trained(tmp_path, measured=True)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted({row["step"] for row in rows}) == [2, 4, 5]
    assert {row["mode"] for row in rows} == {"good", "bad", "banned"}
    harm = [row for row in rows if row["metric"] == "harm"]
    assert len(harm) == 9 and all(row["count"] + row["failures"] == 3 for row in harm)
    told = [entry for entry in trainer.state.log_history if any("/good" in key for key in entry)]
    assert [entry["step"] for entry in told] == [2, 4, 5]
    assert sum("loss" in entry for entry in trainer.state.log_history) == 5


def test_training_goes_on_as_without_it(tmp_path: Path) -> None:
    with_it, _ = trained(tmp_path / "with", measured=True)
    without, _ = trained(tmp_path / "without", measured=False)
    for ours, theirs in zip(with_it.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_never_is_no_schedule(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["a few words"] * 4, 280, SCHEME, max_length=64)
    with pytest.raises(ValueError, match="every 0 steps"):
        MeasureCallback(None, tokenizer, SampleRecipe(), MEASURE, every=0)
