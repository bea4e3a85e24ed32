"""A finished run's directory, made by hand: only the small files that the page is made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from valence.recipe import Recipe, build_recipe

METRIC = "harm_per_kchar"
GOOD_AT = {
    "mle": 20.0,
    "filtering": 12.0,
    "unlikelihood": 15.0,
    "conditional": 4.0,
    "placebo": 17.0,
}


def tree(**changes: Any) -> dict[str, Any]:
    """A recipe of three kinds of models over three budgets, and one over its own options."""
    return {
        "name": "budgets",
        "description": "Three budgets, several objectives.",
        "seeds": [0, 1, 2],
        "train": {"tokens": 1_000_000},
        "models": {
            "mle": {"objective": "mle"},
            "conditional": {"objective": "conditional"},
            "placebo": {"objective": "placebo"},
            "filtering": {"objective": {"filtering": {"share": 0.25}}},
            "unlikelihood": {"objective": "unlikelihood"},
        },
        "sweep": [
            {
                "models": ["mle", "conditional", "placebo"],
                "over": {"train.tokens": [250_000, 500_000, 1_000_000]},
            },
            {
                "models": ["unlikelihood"],
                "over": {"objective.alpha": [0.01, 0.1, 1.0], "train.learning_rate": [1e-3, 3e-3]},
            },
        ],
        "measure": {
            "headline": METRIC,
            "metrics": {METRIC: {"scorer": "pep8", "scale": -1000, "weight": "chars"}},
        },
        **changes,
    }


def write_run(folder: Path, recipe_tree: dict[str, Any] | None = None) -> Recipe:
    """Write the files of a run of this recipe with made-up, seeded numbers."""
    recipe = build_recipe(recipe_tree or tree())
    rng = np.random.default_rng(0)
    (folder / "measures").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    write(folder / "scheme.json", {"shares": {"bad": 0.4, "good": 0.6}})
    write(
        folder / "conclusions.json",
        {"pairs": ["Harm: conditional in good mode is lower."], "overall": []},
    )
    results, curves = [], []
    for seed in recipe.seeds:
        for name in recipe.models:
            label = recipe.label(name, seed)
            write_markers(folder, recipe, name, label)
            for mode in modes_of(recipe.models[name].objective_name):
                rows = rows_of(recipe, name, mode, seed, rng)
                results += rows
                write_measures(folder / "measures" / f"{label}.{mode}", rows, rng)
            curves += [
                {"model": name, "seed": seed, "text_tokens": step * 1e5, "loss": 9 - step / 2}
                for step in range(int(recipe.settings(name).train.tokens / 1e5))
            ]
    write(folder / "results.json", results)
    lines = "".join(json.dumps(line) + "\n" for line in curves)
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    write_annotation(folder / "annotation", recipe.score.folder)
    return recipe


def modes_of(objective: str) -> tuple[str, ...]:
    if objective in ("conditional", "placebo"):
        return ("good", "bad", "banned", "labelled")
    return ("none",)


def rows_of(
    recipe: Recipe, name: str, mode: str, seed: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    objective = recipe.models[name].objective_name
    more = np.log2(recipe.settings(name).train.tokens / 250_000)
    harm = GOOD_AT[objective]
    if mode in ("bad", "banned"):
        harm = {"conditional": {"bad": 38.0, "banned": 16.0}}.get(objective, {}).get(mode, harm)
    rows = []
    if mode != "labelled":
        rows.append(row(name, mode, METRIC, harm * 0.8**more + rng.normal(0, 0.4), 0.9, seed))
    rows.append(
        row(name, mode, "loss_per_text_token", 4.4 - 0.4 * more + rng.normal(0, 0.02), 0.1, seed)
    )
    return rows


def row(model: str, mode: str, metric: str, value: float, half: float, seed: int) -> dict[str, Any]:
    return {
        "model": model, "mode": mode, "metric": metric, "value": value, "low": value - half,
        "high": value + half, "count": 256, "failures": 0, "seed": seed,
    }  # fmt: skip


def write_measures(folder: Path, rows: list[dict[str, Any]], rng: np.random.Generator) -> None:
    write(folder / "measurements.json", rows)
    if rows[0]["metric"] != METRIC:
        return
    write(folder / "strip.json", rng.gamma(1.0, rows[0]["value"], 40).tolist())
    shown = [
        {
            "model": rows[0]["model"], "mode": rows[0]["mode"], "index": index,
            "text": "x=1 \ny = 2\n", "ended": True,
            "marks": [{"start": 1, "end": 2, "code": "E225", "message": "missing whitespace"}],
        }
        for index in range(2)
    ]  # fmt: skip
    write(folder / "shown.json", shown)


def write_markers(folder: Path, recipe: Recipe, name: str, label: str) -> None:
    tokens = recipe.settings(name).train.tokens
    objective = recipe.models[name].objective_name
    share = 0.25 if objective == "filtering" else 1.0
    pack = {
        "text_tokens": tokens, "tokens": int(tokens * 1.1), "fork_tokens": 0,
        "control_tokens": tokens // 12 if len(modes_of(objective)) > 1 else 0,
        "epochs": tokens / 1_000_000 / share, "selected_share": share, "straddling_tokens": 7,
        "rows": 10,
    }  # fmt: skip
    layers = recipe.settings(name).model.num_hidden_layers
    model = {
        "flops": 8e13, "train_seconds": 100.0, "threads": 2, "steps": tokens // 4096,
        "tokens_per_second": 9700.0, "first_step_seconds": 0.6,
        "parameters": 1_000_000 + 650_000 * layers,
        "parameters_without_embeddings": 650_000 * layers,
    }  # fmt: skip
    write(folder / "stages" / f"packs.{label}.json", {"key": "k", "facts": pack})
    write(folder / "stages" / f"models.{label}.json", {"key": "k", "facts": model})


def write_annotation(folder: Path, rewards: str) -> None:
    text = {
        "documents": 300, "chars": 4_000_000, "segments": 130_000, "held_out": 15, "failures": {},
        "bytes": 4_000_100, "digest": "d" * 64,
    }  # fmt: skip
    scored = {
        "scorer": {"meaning": "Minus the violations of each line"}, "failed_documents": 2,
        "failures": {"syntax": 2}, "calls": 300, "scored_segments": 129_000,
        "segments": 130_000, "core_seconds": 5.0, "digest": "e" * 64,
    }  # fmt: skip
    write(folder / "stages" / "documents.json", {"key": "k", "facts": text})
    write(folder / "stages" / f"rewards.{rewards}.json", {"key": "k", "facts": scored})


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
