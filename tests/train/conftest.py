"""The bench: learners and packed rows on the tokens of the tiny run."""

from __future__ import annotations

import pytest
from training_bench import Bench, open_bench

from valence.recipe import Recipe
from valence.run import Result


@pytest.fixture(scope="session")
def bench(tiny_run: Result, tiny_recipe: Recipe) -> Bench:
    return open_bench(tiny_run.path, tiny_recipe)
