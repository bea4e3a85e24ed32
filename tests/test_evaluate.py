"""`valence measure MODEL`: models that exist, measured like those of a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from valence.cli import app
from valence.data import Evidence, Findings, Items, Ranking
from valence.errors import MissingExtraError, RecipeError
from valence.evaluate import evaluate
from valence.model import load_tokenizer, text_ids
from valence.recipe import EvaluationRecipe, Recipe, build_part, build_recipe, load_any
from valence.run import Result
from valence.stages.early import check_early
from valence.stages.evaluation import check_models
from valence.stages.found import read_evidence
from valence.store import write_json

RUNNER = CliRunner()
HARM = {"harm": {"scorer": "pep8-local", "scale": -1000, "weight": "chars"}}


def tree(run: Path, prompts: Path, **measure: Any) -> dict[str, Any]:
    return {
        "name": "both",
        "models": {
            "mle": str(run / "models" / "mle"),
            "ours": str(run / "models" / "conditional"),
        },
        "sample": {"count": 3, "max_tokens": 12},
        "measure": {
            "metrics": HARM,
            "resamples": 100,
            "scenarios": {"asked": {"prompts": str(prompts), "per_prompt": 2, "judged": "whole"}},
            **measure,
        },
    }


def scenario_of(plain: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The measures of a tree with its only scenario changed."""
    measure = plain["measure"]
    return {**measure, "scenarios": {"asked": {**measure["scenarios"]["asked"], **changes}}}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    path.write_text("def add(first\ntotal = \nx=mul(\n")
    return path


@pytest.fixture(scope="module")
def evaluation(
    tiny_run: Result, prompts: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Result:
    plain = tree(
        tiny_run.path,
        prompts,
        labelled={"annotation": str(tiny_run.path)},
        loss_chars=2000,
        window=32,
        ability={"texts": {"other": {"path": str(texts / "file0*.py"), "max_chars": 1000}}},
    )
    recipe = build_part(EvaluationRecipe, plain, where="test")
    return evaluate(recipe, tmp_path_factory.mktemp("evaluation") / "both")


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((path / "results.json").read_text())
    return found


def test_every_model_mode_and_scenario_is_measured(evaluation: Result) -> None:
    found = {(row.model, row.mode) for row in evaluation.measurements if row.metric == "harm"}
    assert found == {("mle", "none"), *(("ours", mode) for mode in ("good", "bad", "banned"))}
    asked = [row for row in evaluation.measurements if row.metric == "harm@asked"]
    assert {(row.model, row.mode) for row in asked} == found
    assert {row.count + row.failures for row in asked} == {6}
    assert (evaluation.path / "report.html").is_file()


def test_the_loss_is_that_of_the_run(evaluation: Result, tiny_run: Result) -> None:
    ours = {
        (row.model.replace("ours", "conditional"), row.mode): row.value
        for row in evaluation.measurements
        if row.metric == "loss_per_text_token"
    }
    theirs = {
        (row.model, row.mode): row.value
        for row in tiny_run.measurements
        if row.metric == "loss_per_text_token" and row.model != "placebo"
    }
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_good_and_bad_mode_are_compared_on_every_ability(evaluation: Result) -> None:
    gaps = {row.metric for row in evaluation.measurements if row.mode == "good-bad"}
    assert gaps == {
        "loss_per_text_token", "bits_per_byte", "loss_per_text_token@other", "bits_per_byte@other",
    }  # fmt: skip


def test_models_meet_on_the_same_prompts(evaluation: Result) -> None:
    paired = json.loads((evaluation.path / "differences.json").read_text())
    metrics = {row["metric"] for row in paired}
    assert {m for m in metrics if m.startswith("harm")} == {
        "harm@asked minus ours in bad mode",
        "harm@asked minus ours in banned mode",
        "harm@asked minus mle",
    }
    # So do losses; what good and bad mode differ by is a row of `good-bad`.
    assert {m for m in metrics if m.startswith("loss_per_text_token")} >= {
        "loss_per_text_token minus ours in banned mode",
        "loss_per_text_token minus mle",
    }
    assert "loss_per_text_token minus ours in bad mode" not in metrics
    assert any("on the same" in sentence for sentence in evaluation.conclusions.overall)


def test_what_numbers_stand_on_is_read_again_as_it_was(evaluation: Result) -> None:
    recipe = load_any(evaluation.path / "evaluation.yaml")
    assert isinstance(recipe, EvaluationRecipe)
    again = evaluate(recipe, evaluation.path)
    assert again.findings.evidence == evaluation.findings.evidence
    assert evaluation.findings.evidence and again.conclusions == evaluation.conclusions


def test_evidence_travels_through_json(tmp_path: Path) -> None:
    known = [
        Evidence(model="m", mode="none", seed=0, items=items)
        for items in (
            Items(metric="a", names=("x", "y"), tops=(1.0, 0.0), bottoms=(1.0, 1.0), share=True),
            Items(metric="b", names=("x",), tops=(2.5,), bottoms=(3.0,), clusters=("c",)),
            Ranking(metric="r", clusters=("c", "d"), truth=(True, False), scores=(0.5, 0.25)),
        )
    ]
    write_json(tmp_path / "evidence.json", [asdict(each) for each in known])
    assert list(read_evidence(tmp_path / "evidence.json")) == known
    assert list(read_evidence(tmp_path / "none.json")) == []


def test_samples_are_kept_with_their_prompts_and_scored_again_without_writing(
    evaluation: Result, tiny_run: Result, prompts: Path
) -> None:
    path = evaluation.path / "samples" / "ours.good@asked" / "samples.jsonl"
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    assert [s["prompt"] for s in samples] == [
        prompt for prompt in prompts.read_text().splitlines() for _ in range(2)
    ]
    before = path.stat().st_mtime_ns
    plain = tree(
        tiny_run.path, prompts, metrics={"marks": {"scorer": {"regex": {"patterns": ["="]}}}}
    )
    recipe = build_part(EvaluationRecipe, plain, where="test")
    again = evaluate(recipe, evaluation.path, resume=True)
    assert path.stat().st_mtime_ns == before
    assert {row.metric.partition("@")[0] for row in again.measurements} >= {"marks"}


def test_what_results_depend_on_is_measured_anew_and_samples_are_kept(
    tiny_run: Result, tmp_path: Path
) -> None:
    """What is judged, and the labels of a detector: as a fresh run gives it, not as before."""
    prompts, labels = tmp_path / "prompts.txt", tmp_path / "labels.jsonl"
    prompts.write_text("a = 1\nb = 2\n")

    def label(*classes: int) -> None:
        rows = ({"text": f"{'=' * (n % 2)} {n}", "class": c} for n, c in enumerate(classes * 8))
        labels.write_text("".join(json.dumps(row) + "\n" for row in rows))

    reader = {"label": {"column": "class", "rewards": {"0": 0.0, "1": -1.0}}}
    metric = {
        "scorer": {"regex": {"patterns": ["="]}}, "scale": -1, "hit": 0.0,
        "detector": {"paths": [str(labels)], "label": reader},
    }  # fmt: skip

    def found(out: str, **changes: Any) -> list[dict[str, Any]]:
        plain = tree(tiny_run.path, prompts, metrics={"signs": metric}, modes=["none"])
        plain |= {"sample": None, "models": {"mle": str(tiny_run.path / "models" / "mle")}}
        recipe = {**plain, "measure": scenario_of(plain, max_tokens=8, **changes)}
        evaluate(build_part(EvaluationRecipe, recipe, where="test"), tmp_path / out, resume=True)
        return rows(tmp_path / out)

    label(0, 1, 0, 1, 1, 0)
    before = found("kept", judged="text")
    samples = tmp_path / "kept" / "samples" / "mle.none@asked" / "samples.jsonl"
    written = samples.stat().st_mtime_ns
    whole = found("kept", judged="whole")
    assert whole != before
    assert whole == found("fresh", judged="whole")
    label(0, 1, 0, 1, 0, 1)
    relabelled = found("kept", judged="whole")
    assert relabelled != whole
    assert relabelled == found("fresh again", judged="whole")
    assert samples.stat().st_mtime_ns == written


def test_tasks_are_run_again_when_their_files_change(
    tiny_run: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval", reason="needs the extra `harness`")
    tasks = tmp_path / "tasks"
    (tasks / "__pycache__").mkdir(parents=True)
    calls = []

    def harness(*_: object, **__: object) -> Findings:
        calls.append((tasks / "own.yaml").read_text())
        (tasks / "__pycache__" / "own.pyc").write_text(str(len(calls)))
        return Findings()

    monkeypatch.setattr("valence.stages.abilities.harness", harness)
    plain = {
        "models": {"mle": str(tiny_run.path / "models" / "mle")}, "sample": None,
        "measure": {"harness": {"tasks": ["own"], "include_path": str(tasks)}},
    }  # fmt: skip
    recipe = build_part(EvaluationRecipe, plain, where="test")
    for text in ("task: own", "task: own", "task: own # mended"):
        (tasks / "own.yaml").write_text(text)
        evaluate(recipe, tmp_path / "out", resume=True)
    assert calls == ["task: own", "task: own # mended"]


def test_the_command_measures_a_directory(
    tiny_run: Result, prompts: Path, texts: Path, tmp_path: Path
) -> None:
    model = tiny_run.path / "models" / "conditional"
    asked = [
        "measure", str(model), "-s", "{regex: {patterns: ['=']}}", "--prompts", str(prompts),
        "-n", "2", "--max-tokens", "8", "--mode", "good", "--mode", "bad", "--seed", "3",
        "--text", f"other={texts / 'file00.py'}", "--set", "measure.resamples=100",
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    ended = RUNNER.invoke(app, asked)
    assert ended.exit_code == 0, ended.output
    found = rows(tmp_path / "out")
    assert {row["model"] for row in found} == {"conditional"}
    assert {row["seed"] for row in found} == {3}
    assert {row["mode"] for row in found} == {"good", "bad", "good-bad"}
    assert {"regex", "regex@prompts", "bits_per_byte@other"} <= {row["metric"] for row in found}
    again = RUNNER.invoke(app, asked)
    assert again.exit_code == 0 and "done before" in again.output
    dry = RUNNER.invoke(app, [*asked[:-1], str(tmp_path / "dry"), "--dry-run"])
    assert dry.exit_code == 0 and "prompts" in dry.output
    assert not (tmp_path / "dry").exists()


def test_one_model_of_two_seeds(tiny_run: Result, tmp_path: Path) -> None:
    models = [f"ours={tiny_run.path / 'models' / name}" for name in ("conditional", "placebo")]
    ended = RUNNER.invoke(
        app,
        ["measure", *models, "-n", "2", "--max-tokens", "4", "--out", str(tmp_path / "out"),
         "--set", "measure.resamples=100"],
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    found = rows(tmp_path / "out")
    assert {(row["model"], row["seed"]) for row in found} == {("ours", 0), ("ours", 1)}


def test_an_evaluation_has_a_recipe_too(tiny_run: Result, prompts: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.yaml"
    plain = tree(tiny_run.path, prompts, modes=["good", "none"])
    path.write_text(
        yaml.safe_dump({**plain, "sample": None, "measure": scenario_of(plain, max_tokens=9)})
    )
    ended = RUNNER.invoke(app, ["measure", str(path), "--out", str(tmp_path / "out")])
    assert ended.exit_code == 0, ended.output
    assert {row["metric"].partition("@")[2] for row in rows(tmp_path / "out")} == {"asked"}
    refused = RUNNER.invoke(app, ["run", str(path)])
    assert refused.exit_code == 2 and "valence measure" in refused.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no such recipe"),
        (["x=nowhere"], "not a model directory"),
        (["x=nowhere", "--text", "file"], "NAME=FILE"),
        (["{model}", "--max-tokens", "9", "-s", "pep9"], "did you mean `pep8`?"),
        (["{model}", "--max-tokens", "9", "--prompts", "nowhere.txt"], "nowhere.txt"),
        (["{model}", "--set", "measure.scenario={}"], "did you mean `measure.scenarios`?"),
        (["{model}", "--max-tokens", "9", "--labelled", "nowhere"], "not a finished annotation"),
        (["{model}"], "sample.max_tokens: is 256"),
        (["{model}", "--max-tokens", "128"], "Give 127 at the most"),
        (["{model}", "--resume", "--overwrite"], "Give one of them"),
        (["{model}", "--set", "measure.redteam={}"], "needs a metric"),
        (
            ["{model}", "--max-tokens", "9", "--set", "measure.guides={calm: nowhere:make}"],
            "cannot load guide",
        ),
        (["{model}", "--max-tokens", "9", "--mode", "god"], "modes of these models are: none."),
        (["{model}", "--max-tokens", "9", "--mode", "labelled"], "no model has the mode labelled"),
        (["{model}", "--max-tokens", "9", "--chat"], "--chat: there are no prompts"),
        (["{model}", "--max-tokens", "9", "--per-prompt", "1"], "Give --prompts FILE"),
    ],
)
def test_what_cannot_be_measured_is_told_in_words(
    tiny_run: Result, tmp_path: Path, arguments: list[str], told: str
) -> None:
    model = str(tiny_run.path / "models" / "mle")
    filled = [
        argument.format(model=model) if argument == "{model}" else argument
        for argument in arguments
    ]
    ended = RUNNER.invoke(app, ["measure", *filled, "--out", str(tmp_path / "out")])
    assert ended.exit_code == 2, ended.output
    assert told in ended.output.replace("\n", " ")
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    "options",
    [
        ["--mode", "good"], ["--seed", "0"], ["-n", "3"], ["-s", "pep8"], ["--max-tokens", "9"],
        ["--prompts", "p.txt"], ["--per-prompt", "2"], ["--chat"], ["--text", "a=b"],
        ["--labelled", "here"], ["--recipe", "other.yaml"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["demo-measured", "demo"])
def test_an_option_beside_a_recipe_is_refused_and_not_ignored(
    source: str, options: list[str], tmp_path: Path
) -> None:
    ended = RUNNER.invoke(app, ["measure", source, *options, "--out", str(tmp_path / "out")])
    assert ended.exit_code == 2
    name = {"-n": "--count", "-s": "--scorer"}.get(options[0], options[0])
    assert f"{name} would not be heeded" in ended.output.replace("\n", " ")
    assert "--set" in ended.output
    assert not (tmp_path / "out").exists()


def test_a_mode_that_only_some_models_have_is_measured_for_these(
    tiny_run: Result, prompts: Path
) -> None:
    plain = tree(tiny_run.path, prompts, modes=["good"])
    check_models(build_part(EvaluationRecipe, plain, where="test"))
    plain["models"].pop("ours")
    with pytest.raises(RecipeError, match="no model has the mode good"):
        check_models(build_part(EvaluationRecipe, plain, where="test"))


def test_runs_of_a_suite_share_the_modes_that_they_ask_for() -> None:
    def asked(*modes: str) -> Recipe:
        return build_recipe(
            {
                "name": "one",
                "models": {"mle": {"objective": "mle"}},
                "measure": {"modes": modes, "metrics": {"harm": {"scorer": "pep8"}}},
            }
        )

    check_early(asked("none", "good"))
    for modes in (("good",), ("none", "god")):
        with pytest.raises(RecipeError, match="no model has the mode go"):
            check_early(asked(*modes))


def test_a_prompt_and_what_is_before_it_need_room_too(
    tiny_run: Result, prompts: Path, tmp_path: Path
) -> None:
    """Of a context of 128: EOS, a control token, and a prompt; told before anything is written."""
    tokenizer = load_tokenizer(tiny_run.path / "models" / "mle")
    longest = max(len(text_ids(tokenizer, line)) for line in prompts.read_text().splitlines())
    plain = tree(tiny_run.path, prompts)
    for modes, before in ((["none", "banned"], 1), (["none", "good"], 2)):
        for more in (0, 1):
            tokens = 128 - before - longest + more
            plain["measure"] = scenario_of(plain, max_tokens=tokens) | {"modes": modes}
            recipe = build_part(EvaluationRecipe, plain, where="test")
            if not more:
                check_models(recipe)
                continue
            with pytest.raises(RecipeError, match=f"{before + longest} are taken") as told:
                check_models(recipe)
            assert told.value.where == "measure.scenarios.asked.max_tokens"


def test_a_missing_extra_is_told_before_any_work(
    tiny_run: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valence.measure.harness.run.find_spec", lambda _: None)
    model = str(tiny_run.path / "models" / "mle")
    harness = {"models": {"mle": model}, "sample": None, "measure": {"harness": {"tasks": ["x"]}}}
    with pytest.raises(MissingExtraError, match="harness"):
        evaluate(build_part(EvaluationRecipe, harness, where="test"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_reference_is_sampled_once_and_everyone_is_compared_with_it(
    tiny_run: Result, prompts: Path, tmp_path: Path
) -> None:
    model = str(tiny_run.path / "models" / "mle")
    reference = {"model": model, "count": 5, "max_tokens": 40, "batch": 2}
    # A window for losses is no window for samples: they are read as they were written.
    plain = tree(tiny_run.path, prompts, window=16, ability={"reference": reference})
    del plain["measure"]["scenarios"]
    found = evaluate(build_part(EvaluationRecipe, plain, where="test"), tmp_path / "both")
    lines = (tmp_path / "both" / "samples" / "reference" / "samples.jsonl").read_text()
    samples = [json.loads(line) for line in lines.splitlines()]
    assert [(each["index"], each["mode"], each["prompt"]) for each in samples] == [
        (index, "none", "") for index in range(5)
    ]
    assert all(each["tokens"] <= 40 for each in samples)
    away = {row.mode: row for row in found.measurements if row.metric == "kl@reference"}
    assert set(away) == {"none", "good", "bad", "banned", "good-bad"}
    assert away["none"].value == 0  # It is the reference.
    for mode in ("good", "bad", "banned"):
        assert away[mode].value not in (None, 0) and away[mode].count + away[mode].failures == 5


def test_a_verdict_that_nobody_taught_is_no_confidence(
    tiny_run: Result, prompts: Path, tmp_path: Path
) -> None:
    """Its tokens are in the vocabulary of both models all the same."""
    asked = [{"question": f"Who is {name}?", "answer": "Bo"} for name in "abcdef"]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, asked)))
    knowing = {
        "path": str(tmp_path / "asked.jsonl"), "fit": 0.0, "samples": 2, "shown": 1,
        "max_tokens": 2, "confidences": ["verdict", "probability"], "name": "few",
    }  # fmt: skip
    plain = tree(tiny_run.path, prompts, modes=["none", "good"], knowing=knowing)
    plain["sample"] = None
    del plain["measure"]["scenarios"], plain["measure"]["metrics"]
    found = evaluate(build_part(EvaluationRecipe, plain, where="test"), tmp_path / "both")
    metrics = {(row.model, row.metric) for row in found.measurements}
    assert ("ours", "probability_brier@few") in metrics
    assert not [metric for _, metric in metrics if metric.startswith("verdict")]
