"""A quick look at a model, for instance while it trains: samples in every mode, scored here."""

from __future__ import annotations

from collections.abc import Sequence

from valence.control import ControlScheme
from valence.data import Measurement
from valence.guide.loop import modes_of
from valence.measure.rewards import measure_samples
from valence.measure.scenario import Scenario, by_index, draw
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
            drawn = draw(
                scenario,
                checkpoint,
                known,
                mode,
                model_name=model_name,
                seed=seed,
                precision=precision,
            )
            rows += measure_samples(by_index(drawn), measure, scenario)
    return rows
