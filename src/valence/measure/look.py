"""A quick look at a model, for instance while it trains: samples in every mode, scored here."""

from __future__ import annotations

from collections.abc import Sequence

from valence.control import ControlScheme
from valence.data import Measurement, Sample
from valence.guide.loop import generate, modes_of
from valence.measure.rewards import sample_rows
from valence.measure.scenario import Scenario
from valence.measure.scoring import Scoring
from valence.model import Checkpoint
from valence.precision import Precision
from valence.recipe import MeasureRecipe


def look(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    scenarios: Sequence[Scenario],
    measure: MeasureRecipe,
    *,
    model_name: str,
    seed: int,
    precision: Precision = "fp32",
) -> list[Measurement]:
    """Every metric of the recipe in every mode and scenario, with intervals.

    It leaves no trace in a training: generators and dropout are as they were before.
    """
    rows: list[Measurement] = []
    for mode in modes_of(checkpoint.scheme):
        if measure.modes is not None and mode not in measure.modes:
            continue
        for scenario in scenarios:
            samples = _samples(checkpoint, known, mode, scenario, model_name, seed, precision)
            scoring = Scoring(metrics=measure.metrics, whole=scenario.judged == "whole")
            for sample in samples:
                scoring.begin(sample)
            rows += sample_rows(
                samples,
                scoring.answers(),
                measure,
                scenario=scenario.name,
                per_prompt=scenario.per_prompt if scenario.clustered else None,
            )
    return rows


def _samples(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    scenario: Scenario,
    model_name: str,
    seed: int,
    precision: Precision,
) -> list[Sample]:
    settings = scenario.settings
    written = generate(
        checkpoint,
        known,
        mode,
        scenario.asks(checkpoint.tokenizer, seed),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        batch=settings.batch,
        precision=precision,
    )
    return [
        Sample(
            model=model_name,
            mode=mode,
            seed=seed,
            index=index,
            prompt=scenario.prompt(index),
            text=text.text,
            ended=text.ended,
            tokens=text.tokens,
        )
        for index, text in sorted(written, key=lambda pair: pair[0])
    ]
