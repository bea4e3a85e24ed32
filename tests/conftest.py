"""Small things that many tests share: a corpus of tiny Python files, a recipe, a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from valence.recipe import Recipe, build_recipe
from valence.run import Result, run

# How long an example takes says nothing on a machine that does other things.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

CLEAN = "def add(first, second):\n    return first + second\n\n\ntotal = add(1, 2)\n"
MESSY = "def mul( a,b ):\n    return a*b \n\n\nx=mul(3,4) ;\n"


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 small Python files, half clean and half messy."""
    folder = tmp_path_factory.mktemp("texts")
    for index in range(40):
        text = (CLEAN if index % 2 else MESSY).replace("total", f"total{index}") * 3
        (folder / f"file{index:02d}.py").write_bytes(text.encode())
    return folder


@pytest.fixture(scope="session")
def tiny_tree(texts: Path) -> dict[str, Any]:
    """The plainest recipe that runs from end to end in seconds."""
    return {
        "name": "tiny",
        "corpus": {"reader": "files", "paths": [str(texts)], "valid_share": 0.2},
        "score": {"workers": 1},
        "tokenizer": {"vocab_size": 300},
        "model": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "intermediate_size": 64,
            "max_position_embeddings": 128,
        },
        "train": {"tokens": 4000, "block": 32, "batch": 8, "precision": "fp32", "log_steps": 1},
        "models": {
            "mle": {"objective": "mle"},
            "conditional": {"objective": "conditional"},
            "placebo": {"objective": "placebo"},
        },
        "sample": {"count": 4, "max_tokens": 24, "batch": 4},
        "measure": {
            "headline": "local_violations_per_kchar",
            "loss_chars": 2000,
            "resamples": 100,
            "metrics": {
                "local_violations_per_kchar": {
                    "scorer": "pep8-local",
                    "cut": "complete_lines",
                    "scale": -1000,
                    "weight": "chars",
                },
                "file_violations_per_kchar": {
                    "scorer": "pep8",
                    "scale": -1000,
                    "weight": "chars",
                    "cut": "complete_statements",
                    "failures_as": "broken_share",
                },
            },
        },
    }


@pytest.fixture(scope="session")
def tiny_recipe(tiny_tree: dict[str, Any]) -> Recipe:
    return build_recipe(tiny_tree)


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A finished run of the tiny recipe; read it, do not write into it."""
    return run(tiny_recipe, tmp_path_factory.mktemp("run") / "tiny")
