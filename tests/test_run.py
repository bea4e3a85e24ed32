"""The whole journey: what it leaves, that it repeats exactly, and what a second call redoes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from valence.data import DIVERSITY, Measurement
from valence.errors import CorpusError, ModelError, RecipeError, ScorerError
from valence.recipe import Recipe, build_recipe, load_recipe
from valence.run import Progress, Result, run
from valence.stages.metrics_log import MetricsLog
from valence.store import read_json

SAMPLED = {
    "loss_per_text_token",
    "bits_per_byte",
    "local_violations_per_kchar",
    "file_violations_per_kchar",
    "broken_share",
    *DIVERSITY,
}
ALONE = {"broken_share", "ends_in_loop", "ended_share"}
LOSS = {"loss_per_text_token", "bits_per_byte"}
CONTROLLED = {
    "good": SAMPLED, "bad": SAMPLED, "banned": SAMPLED, "labelled": LOSS, "good-bad": LOSS,
}  # fmt: skip
EXPECTED = {"mle": {"none": SAMPLED}, "conditional": CONTROLLED, "placebo": CONTROLLED}
# annotation, tokens, tokenizer, packs, models; losses, differences, samples, scores
STAGES = 2 + 1 + 1 + 3 + 3 + 9 + 2 + 7 + 7


class Recording:
    """A display that remembers which stages ran and which were skipped."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.passed: list[str] = []

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Progress]:
        self.ran.append(title)
        yield lambda done, total: None

    def skipped(self, title: str) -> None:
        self.passed.append(title)


def adapted(tree: dict[str, Any], **parts: Any) -> Recipe:
    """A recipe from a tree with parts of it updated or replaced."""
    tree = deepcopy(tree)
    for name, value in parts.items():
        tree[name] = (
            tree.get(name, {}) | value if isinstance(value, dict) and name != "models" else value
        )
    return build_recipe(tree)


def metrics(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]


def files(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def copied_run(tiny_run: Result, tmp_path: Path) -> Path:
    """A finished run that a test may change."""
    place = tmp_path / "copied"
    shutil.copytree(tiny_run.path, place)
    return place


# --- what a run leaves --------------------------------------------------------------------


def test_results_are_rows_of_plain_measurements(tiny_run: Result) -> None:
    rows = read_json(tiny_run.path / "results.json")
    keys = ["model", "mode", "metric", "value", "low", "high", "count", "failures", "seed"]
    assert all(list(row) == keys for row in rows)
    assert [Measurement(**row) for row in rows] == tiny_run.measurements


def test_every_model_is_measured_in_each_of_its_modes(tiny_run: Result) -> None:
    found: dict[str, dict[str, set[str]]] = {}
    for row in tiny_run.measurements:
        found.setdefault(row.model, {}).setdefault(row.mode, set()).add(row.metric)
    assert found == EXPECTED
    assert len(tiny_run.measurements) == 7 * len(SAMPLED) + 4 * len(LOSS)


def test_a_value_lies_in_its_interval_and_stands_on_something(tiny_run: Result) -> None:
    for row in tiny_run.measurements:
        if row.value is None:
            assert row.count == 0
            assert row.low is row.high is None
        else:
            assert row.count > 0
            # One item says nothing about its spread; a share has its exact interval.
            together = "_words" in row.metric or row.metric == "self_bleu_5"
            if together or (row.count == 1 and row.metric not in ALONE):
                assert row.low is row.high is None
                continue
            if row.low is None or row.high is None:
                # All items are equal, so nothing is known of them.
                assert row.value in (0.0, 1.0)
                continue
            assert row.low - 1e-9 <= row.value <= row.high + 1e-9


def test_checkpoints_are_plain_and_hold_no_pickle(tiny_run: Result) -> None:
    for model in EXPECTED:
        assert files(tiny_run.path / "models" / model) == {
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "valence.json",
        }
    endings = {Path(name).suffix for name in files(tiny_run.path)}
    assert endings.isdisjoint({".bin", ".pt", ".pth", ".pkl", ".pickle"})


def test_nothing_unfinished_is_left(tiny_run: Result) -> None:
    assert not [name for name in files(tiny_run.path) if "partial" in name]
    assert not (tiny_run.path / "checkpoints").exists()
    places = (tiny_run.path, tiny_run.path / "annotation")
    assert sum(len(list((place / "stages").iterdir())) for place in places) == STAGES


def test_metrics_hold_every_step_of_every_model(tiny_run: Result) -> None:
    entries = metrics(tiny_run.path)
    assert {tuple(entry) for entry in entries} == {
        (
            "model", "seed", "step", "text_tokens", "loss", "nats_per_token", "grad_norm",
            "learning_rate", "seconds",
        )
    }  # fmt: skip
    for model in EXPECTED:
        ours = [entry for entry in entries if entry["model"] == model]
        steps = read_json(tiny_run.path / "stages" / f"models.{model}.json")["facts"]["steps"]
        assert [entry["step"] for entry in ours] == list(range(1, steps + 1))
        assert ours[-1]["text_tokens"] == 4000
        assert ours[-1]["loss"] < ours[0]["loss"]


def test_the_run_explains_itself(tiny_run: Result, tiny_recipe: Recipe) -> None:
    assert load_recipe(tiny_run.path / "recipe.yaml") == tiny_recipe
    marker = read_json(tiny_run.path / "stages" / "models.conditional.json")
    assert len(marker["inputs"]["versions"]) == 3
    assert read_json(tiny_run.path / "scheme.json")["shares"].keys() == {"bad", "good"}
    kept = read_json(tiny_run.path / "conclusions.json")
    assert [*kept["pairs"], *kept["overall"]] == list(tiny_run.conclusions.sentences)
    for mode in ("good", "bad", "banned"):
        lines = (tiny_run.path / "samples" / f"conditional.{mode}" / "samples.jsonl").read_text(
            encoding="utf-8"
        )
        assert [json.loads(line)["index"] for line in lines.splitlines()] == [0, 1, 2, 3]


def test_the_report_is_one_file_that_needs_no_other(tiny_run: Result) -> None:
    page = (tiny_run.path / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert not re.search(r"<(?:link|script|iframe|object|img)\b[^>]*\b(?:src|href)\s*=", page)
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)", page)


# --- repetition ---------------------------------------------------------------------------


def test_the_same_recipe_and_seed_give_the_same_everything(
    tiny_run: Result, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    again = run(tiny_recipe, tmp_path / "again")
    for stage in (
        "annotation/stages/documents",
        "annotation/stages/rewards.pep8",
        *(f"stages/packs.{m}" for m in EXPECTED),
    ):
        first, second = (
            read_json(place / f"{stage}.json")["facts"]["digest"]
            for place in (tiny_run.path, again.path)
        )
        assert first == second, stage
    timeless = [
        [{k: v for k, v in entry.items() if k != "seconds"} for entry in metrics(place)]
        for place in (tiny_run.path, again.path)
    ]
    assert timeless[0] == timeless[1]
    for name in ("results.json", "scheme.json", "conclusions.json", "tokenizer/tokenizer.json"):
        assert (tiny_run.path / name).read_bytes() == (again.path / name).read_bytes(), name
    for model in EXPECTED:
        weights = f"models/{model}/model.safetensors"
        assert (tiny_run.path / weights).read_bytes() == (again.path / weights).read_bytes()


def test_a_second_call_skips_every_stage(
    tiny_run: Result, tiny_recipe: Recipe, copied_run: Path
) -> None:
    display = Recording()
    before = files(copied_run)
    again = run(tiny_recipe, copied_run, display=display)
    assert display.ran == []
    assert len(display.passed) == STAGES
    assert again.measurements == tiny_run.measurements
    assert again.conclusions == tiny_run.conclusions
    assert files(copied_run) == before


def test_other_samples_do_not_train_again(tiny_tree: dict[str, Any], copied_run: Path) -> None:
    display = Recording()
    before = metrics(copied_run)
    recipe = adapted(tiny_tree, sample={"count": 5})
    result = run(recipe, copied_run, resume=True, display=display)
    assert len(display.ran) == 7 + 7
    assert all(title.startswith(("sample ", "score ")) for title in display.ran)
    assert metrics(copied_run) == before
    counted = {
        row.count + row.failures for row in result.measurements if row.metric == "distinct_2"
    }
    assert counted == {5}
    assert load_recipe(copied_run / "recipe.yaml") == recipe


def test_a_longer_training_keeps_the_annotation_and_the_tokenizer(
    tiny_tree: dict[str, Any], copied_run: Path
) -> None:
    display = Recording()
    recipe = adapted(tiny_tree, train={"tokens": 4500}, models={"mle": {"objective": "mle"}})
    run(recipe, copied_run, until="train", resume=True, display=display)
    assert display.ran == ["pack mle", "train mle"]
    steps = [entry["step"] for entry in metrics(copied_run) if entry["model"] == "mle"]
    assert steps == list(range(1, 19))


def test_the_text_is_read_again_when_a_file_changes(
    tiny_tree: dict[str, Any], texts: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    shutil.copytree(texts, folder)
    recipe = adapted(tiny_tree, corpus={"paths": [str(folder)]})

    def stages() -> list[str]:
        display = Recording()
        run(recipe, tmp_path / "out", until="annotate", display=display)
        return display.ran

    read, scored = "read the corpus", "score with pep8"
    assert stages() == [read, scored]
    assert stages() == []
    os.utime(folder / "file00.py", ns=(0, 0))
    assert stages() == [read]  # The same text after all: its rewards stand.
    (folder / "file00.py").write_text("x = 1\n")
    assert stages() == [read, scored]


def test_a_training_state_that_was_half_saved_is_not_continued(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    recipe = adapted(tiny_tree, models={"mle": {"objective": "mle"}})
    half = tmp_path / "out" / "checkpoints" / "mle" / "checkpoint-7"
    run(recipe, tmp_path / "out", until="annotate")
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    run(recipe, tmp_path / "out", until="train")
    assert not half.exists()
    facts = read_json(tmp_path / "out" / "stages" / "models.mle.json")["facts"]
    assert not facts["resumed"]


def test_a_number_that_json_lacks_is_null_in_the_metrics(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", "mle", 0)
    log({"step": 1, "loss": 2.0, "grad_norm": float("inf"), "learning_rate": None})
    assert metrics(tmp_path) == [
        {
            "model": "mle",
            "seed": 0,
            "step": 1,
            "loss": 2.0,
            "grad_norm": None,
            "learning_rate": None,
        }
    ]


def test_a_training_that_starts_again_replaces_its_own_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for model in ("mle", "other"):
        log = MetricsLog(path, model, 0)
        for step in (1, 2, 3):
            log({"step": step})
    with path.open("a") as end:
        end.write('{"model": "mle", "se')
    MetricsLog(path, "mle", 0)({"step": 2})
    assert [(entry["model"], entry["step"]) for entry in metrics(tmp_path)] == [
        ("mle", 1),
        ("other", 1),
        ("other", 2),
        ("other", 3),
        ("mle", 2),
    ]


# --- seeds and ends -----------------------------------------------------------------------


def test_every_seed_trains_its_own_set_of_models(tiny_tree: dict[str, Any], tmp_path: Path) -> None:
    recipe = adapted(
        tiny_tree,
        seeds=[3, 4],
        models={"mle": {"objective": "mle"}, "conditional": {"objective": "conditional"}},
    )
    result = run(recipe, tmp_path / "out")
    folders = {folder.name for folder in (tmp_path / "out" / "models").iterdir()}
    assert folders == {"mle", "mle-seed4", "conditional", "conditional-seed4"}
    assert {(row.model, row.seed) for row in result.measurements} == {
        (model, seed) for model in ("mle", "conditional") for seed in (3, 4)
    }
    weights = [
        (tmp_path / "out" / "models" / name / "model.safetensors").read_bytes()
        for name in ("mle", "mle-seed4")
    ]
    assert weights[0] != weights[1]


def test_a_seed_can_be_added_to_a_finished_run(tiny_tree: dict[str, Any], copied_run: Path) -> None:
    display = Recording()
    result = run(adapted(tiny_tree, seeds=[0, 1]), copied_run, resume=True, display=display)
    assert [title for title in display.ran if title.startswith("train")] == [
        "train mle-seed1",
        "train conditional-seed1",
        "train placebo-seed1",
    ]
    assert {row.seed for row in result.measurements} == {0, 1}


def test_a_run_stops_where_it_is_told_and_goes_on_later(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    recipe = adapted(tiny_tree, models={"mle": {"objective": "mle"}})
    out = tmp_path / "out"
    assert run(recipe, out, until="annotate").measurements == []
    assert not (out / "tokenizer").exists()
    assert run(recipe, out, until="train").measurements == []
    assert (out / "models" / "mle").is_dir()
    assert not (out / "measures").exists()
    measured = run(recipe, out, until="measure")
    kept = read_json(out / "conclusions.json")
    assert list(measured.conclusions.overall) == kept["overall"]
    assert not (out / "report.html").exists()
    assert run(recipe, out).measurements == measured.measurements
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"models": {"a": {"objective": "mlee"}}}, RecipeError),
        ({"score": {"scorer": "pep9"}}, ScorerError),
        ({"model": {"model_type": "gpt2", "hidden_size": 33}}, ModelError),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    tiny_tree: dict[str, Any], tmp_path: Path, parts: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(adapted(tiny_tree, **parts), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_refused_corpus_leaves_the_directory_free_for_another_try(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.py").write_text("x = 1\n")
    recipe = adapted(tiny_tree, corpus={"paths": [str(tmp_path / "texts")]})
    with pytest.raises(CorpusError):
        run(recipe, tmp_path / "out", until="annotate")
    for index in range(20):
        (tmp_path / "texts" / f"{index}.py").write_text(f"x = {index}\n")
    run(recipe, tmp_path / "out", until="annotate")


def test_a_run_that_goes_on_with_other_threads_keeps_its_precision_and_its_models(
    tiny_tree: dict[str, Any], tmp_path: Path
) -> None:
    recipe = adapted(
        tiny_tree, models={"mle": {"objective": "mle"}}, train={"tokens": 500, "precision": "auto"}
    )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run(recipe, tmp_path / "run", until="train")
        stages = tmp_path / "run" / "stages"
        chosen = {path.name: path.read_text() for path in stages.iterdir()}
        torch.set_num_threads(1)
        run(recipe, tmp_path / "run", until="train")
    finally:
        torch.set_num_threads(before)
    assert {path.name: path.read_text() for path in stages.iterdir()} == chosen
    assert "precision.json" in chosen
