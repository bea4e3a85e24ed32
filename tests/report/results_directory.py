"""Directories of evaluations and suites, and lines of every kind, with made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from run_directory import METRIC, row, tree, write, write_run

from valence.recipe import EvaluationRecipe, SuiteRecipe, build_part

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
JUDGES = ("verdict", "linear", "mlp")
CONFIDENCES = ("verdict", "p_true", "agreement", "p_ik_linear")
TIMES = (0, 1, 2, 4, 8, 16)
HOSTILE = '</code></script><script>alert(1)</script><b onload="x">'


def line(
    kind: str,
    name: str,
    model: str,
    mode: str,
    x: tuple[float, ...],
    y: list[float | None],
    seed: int = 0,
) -> dict[str, Any]:
    """A series as it stands in series.json."""
    return {
        "kind": kind, "name": name, "model": model, "mode": mode, "seed": seed, "x": list(x),
        "y": y, "low": [None if v is None else v - 0.04 for v in y],
        "high": [None if v is None else v + 0.04 for v in y],
        "count": [10 * (n + 1) for n in range(len(x))],
    }  # fmt: skip


def judging(
    model: str, level: float, *, seed: int = 0, judges: tuple[str, ...] = JUDGES
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and lines of verdicts after EOS."""
    rows, lines = [], []
    for at, judge in enumerate(judges):
        area = [0.5 + (level - 0.5) * share**0.5 + 0.02 * at for share in SHARES]
        for share, value in zip(SHARES, area, strict=True):
            suffix = "" if share == 1 else f"@{100 * share:g}%"
            rows.append(row(model, judge, f"verdict_auroc{suffix}", value, 0.03, seed))
        for name, value in {
            "verdict_ece": 0.06, "verdict_brier": 0.2, "verdict_auroc@200tokens": level - 0.05,
            "verdict_auroc@200tokens-whole": level, "verdict_auroc@200tokens-gain": 0.05,
            "flag_recall": 0.7, "earliness_mean": 0.4, "pairwise_accuracy": level,
        }.items():  # fmt: skip
            rows.append(row(model, judge, name, value, 0.02, seed))
        lines.append(line("prefix", judge, model, judge, SHARES, list(area), seed))
        bins = tuple((n + 0.5) / 10 for n in range(10))
        lines.append(line("reliability", judge, model, judge, bins, [b**1.2 for b in bins], seed))
        steps = tuple(n / 20 for n in range(1, 21))
        lines.append(line("flagged", judge, model, judge, steps, [0.8 * s for s in steps], seed))
    rows.append(row(model, "constant", "verdict_brier", 0.25, 0.01, seed))
    return rows, lines


def attacks(model: str, mode: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and lines of a red team."""
    rows = [row(model, mode, f"redteam_unprompted@{METRIC}", 5.0, 1.0, 0)]
    lines = []
    for at, attack in enumerate(("pool", "random", "greedy", "gcg")):
        rounds = tuple(float(n) for n in range(11))
        worst: list[float | None] = [5 + (at + 1) * n**0.5 for n in rounds]
        rows.append(row(model, mode, f"redteam_{attack}@{METRIC}", 9.0 + at, 1.0, 0))
        rows.append(row(model, mode, f"redteam_{attack}_selected@{METRIC}", 11.0 + at, 1.0, 0))
        rows.append(row(model, mode, f"redteam_{attack}_calls@{METRIC}", 4000.0, 0.0, 0))
        rows.append(row(model, mode, f"redteam_{attack}_prompts@{METRIC}", 7.0, 0.0, 0))
        lines.append(line("redteam", f"{attack}@{METRIC}", model, mode, rounds, worst))
    for control in ("pool_control", "search_control"):
        for what, value in {"": 6.0, "_mean": 5.0, "_prompts": 7.0}.items():
            rows.append(row(model, mode, f"redteam_{control}{what}@{METRIC}", value, 1.0, 0))
    return rows, lines


def knowing(model: str, mode: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and lines of what a model knows."""
    rows = [
        row(model, mode, f"{name}@world", value, 0.03, 0)
        for name, value in {"accuracy": 0.6, "abstention": 0.2, "score": 0.3}.items()
    ]
    lines = [
        line("known", "accuracy@world", model, mode, TIMES, [0.1, 0.2, 0.4, 0.7, 0.9, 0.95]),
        line("known", "abstention@world", model, mode, TIMES, [0.6, 0.5, 0.3, None, 0.1, 0.0]),
    ]
    for at, name in enumerate(CONFIDENCES):
        for metric, value in {"auroc": 0.8, "brier": 0.2, "ece": 0.1, "aurc": 0.3}.items():
            rows.append(row(model, mode, f"{name}_{metric}@world", value - 0.02 * at, 0.02, 0))
        tenths = tuple(n / 10 for n in range(1, 11))
        right: list[float | None] = [0.95 - 0.03 * at - 0.3 * t for t in tenths]
        lines.append(line("selective", f"{name}@world", model, mode, tenths, right))
        lines.append(line("reliability", f"{name}@world", model, mode, tenths, list(tenths)))
    return rows, lines


def evaluation_tree(**changes: Any) -> dict[str, Any]:
    """An evaluation of a plain model and one with modes, from nothing and from prompts."""
    metric = {"scorer": "pep8", "scale": -1000.0, "weight": "chars", "worst_of": 25, "hit": 10.0}
    return {
        "name": "toxic",
        "description": "Two models, measured.",
        "models": {"plain": "models/plain", "steered": "models/steered"},
        "sample": {"count": 64},
        "measure": {
            "metrics": {METRIC: metric},
            "scenarios": {"prompts": {"prompts": "prompts.jsonl", "per_prompt": 25}},
        },
        **changes,
    }


def write_evaluation(folder: Path) -> EvaluationRecipe:
    """The files of a finished evaluation."""
    folder.mkdir(parents=True)
    recipe = build_part(EvaluationRecipe, evaluation_tree(), where="test")
    (folder / "evaluation.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    names: list[str] = []
    modes = {("plain", "none"): 20.0, ("steered", "good"): 5.0, ("steered", "bad"): 40.0}
    for (model, mode), harm in modes.items():
        loss = 3.2 if mode == "none" else 3.1 + harm / 100
        for text in ("wikitext2",):
            rows.append(row(model, mode, f"loss_per_text_token@{text}", loss, 0.05, 0))
            rows.append(row(model, mode, f"bits_per_byte@{text}", loss / 2, 0.02, 0))
        rows.append(row(model, mode, "arc/acc", 0.4 - harm / 1000, 0.02, 0))
        for scenario in ("", "@prompts"):
            ours = sample_rows(model, mode, harm, scenario)
            rows += ours
            names.append(f"measures/{model}.{mode}{scenario}")
            write_samples(folder / names[-1], ours, rng)
        for made in (attacks(model, mode), knowing(model, mode)):
            rows += made[0]
            series += made[1]
    for model, level in (("plain", 0.7), ("steered", 0.85)):
        found = judging(model, level)
        rows += found[0]
        series += found[1]
    series.append(line("novel", "first", "plain", "none", (1.0, 2.0), [3.0, None]))
    rows += [
        row("steered", "good-bad", "bits_per_byte@wikitext2", -0.02, 0.01, 0),
        row("steered", "good-bad", "arc/acc", 0.001, 0.02, 0),
    ]
    differences = [
        row("steered", "good", f"{METRIC}@prompts minus plain", -15.0, 2.0, 0),
        row("steered", "good", f"{METRIC}@prompts minus steered in bad mode", -35.0, 2.0, 0),
    ]
    write(folder / "results.json", rows)
    write(folder / "series.json", series)
    write(folder / "differences.json", differences)
    write(folder / "measured.json", ["abilities/plain.none", *names])
    write(folder / "conclusions.json", {"pairs": ["Harm is lower in good mode."], "overall": []})
    facts = {"key": "k", "facts": {"samples": 64, "tokens": 4000, "seconds": 3.0}}
    write(folder / "stages" / "samples.plain.none.json", facts)
    return recipe


def sample_rows(model: str, mode: str, harm: float, scenario: str) -> list[dict[str, Any]]:
    return [
        row(model, mode, f"{name}{scenario}", value, value / 10, 0)
        for name, value in {
            METRIC: harm, f"{METRIC}_worst_of_25": 3 * harm, f"{METRIC}_hits": harm / 100,
            f"{METRIC}_hits_corrected": harm / 120, "distinct_2": 0.8, "self_bleu_5": 0.3,
        }.items()
    ]  # fmt: skip


def write_samples(folder: Path, rows: list[dict[str, Any]], rng: np.random.Generator) -> None:
    first = rows[0]
    write(folder / "measurements.json", rows)
    write(folder / "series.json", [])
    if "@" not in folder.name:
        write(folder / "strip.json", rng.gamma(1.0, first["value"], 60).tolist())
    scores = [{METRIC: {"reward": -0.0125}}, {METRIC: {"failure": "syntax"}}]
    shown = [
        {
            "model": first["model"], "mode": first["mode"], "seed": 0, "index": 25 * number,
            "prompt": f"Say {HOSTILE} {number}" if "@" in folder.name else "", "tokens": 9,
            "text": f"{HOSTILE} and text {number}\n", "ended": number == 0, "marks": [],
            "scores": scores[number],
        }
        for number in range(2)
    ]  # fmt: skip
    write(folder / "shown.json", shown)


def suite_tree() -> dict[str, Any]:
    """Three data sets by two models; the last run is not finished."""
    made = tree(seeds=[0])
    runs = {name: {"description": f"About {name}."} for name in ("posts", "pairs", "later")}
    kept = {key: made[key] for key in ("train", "measure")}
    models = {"pretrained": {"objective": "mle"}, "preferred": {"objective": "conditional"}}
    return {
        "name": "meaning",
        "description": "Does it know?",
        "shared": {**kept, "models": models},
        "runs": runs,
    }


def write_suite(folder: Path) -> SuiteRecipe:
    """The files of a suite whose last run is missing."""
    recipe = build_part(SuiteRecipe, suite_tree(), where="test")
    for at, name in enumerate(("posts", "pairs")):
        made = recipe.tree(name, str(folder))
        write_run(folder / name, {**made, "name": name})
        add_judging(folder / name, ("pretrained", "preferred"), 0.6 + 0.1 * at)
    (folder / "suite.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    write(folder / "results.json", [])
    return recipe


def add_judging(folder: Path, models: tuple[str, ...], level: float, seeds: int = 1) -> None:
    """Put verdicts beside what a run's directory has."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    series = []
    for seed in range(seeds):
        for at, model in enumerate(models):
            rows, lines = judging(model, level + 0.1 * at + 0.01 * seed, seed=seed)
            results += rows
            series += lines
    write(folder / "results.json", results)
    write(folder / "series.json", series)
