"""The command line: plain errors with exit code 2, a clean stop, and one Python call a verb."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result as Outcome
from typer.testing import CliRunner

from valence import __version__, cli
from valence.recipe import build_recipe, load_any, packaged_recipes
from valence.run import Result
from valence.store import RunDirectory, files, read_json

VERBS = {
    *("run", "annotate", "show", "distill", "train", "measure"),
    *("report", "sample", "recipes"),
}


def invoke(*arguments: str | Path) -> Outcome:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_tree: dict[str, Any]) -> Path:
    """An empty working directory with a small recipe in it, r.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(tiny_tree, sort_keys=False), encoding="utf-8")
    return tmp_path


def contents(place: Path) -> dict[str, bytes]:
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def told(outcome: Outcome) -> list[str]:
    """What the command says at its end, after the progress: one or two lines."""
    lines = outcome.stderr.splitlines()
    first = max(i for i, line in enumerate(lines) if line.startswith("valence: "))
    return lines[first:]


# --- bad input ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """One mistake: the command, what its message must hold, and how to set the scene."""

    name: str
    command: str
    says: tuple[str, ...]
    scene: Callable[[Path], object] = lambda place: None
    keeps: bool = True
    """Nothing at all may be new; else a run directory that can be continued."""


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    def write(place: Path) -> None:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def other_run(place: Path) -> None:
    with RunDirectory.open(place / "out", "name: other\n"):
        (place / "out" / "results.json").write_text("[]")


def untokenizable(place: Path) -> None:
    for index in range(20):
        text(f"texts/{index}.py", f"x = ({index}\n")(place)


def only_junk(place: Path) -> None:
    text("texts/empty.py", b"")(place)
    text("texts/binary.py", b"\xff\xfe\x00")(place)


RUN = "run r.yaml --out out"

BAD = [
    Bad("unknown key", f"{RUN} --set trian.tokens=3", ("r.yaml", "`trian`", "`train`")),
    Bad("unknown nested key", f"{RUN} --set train.tokns=3", ("`train.tokns`", "`train.tokens`")),
    Bad(
        "key of another part",
        f"{RUN} --set train.vocab_size=300",
        ("`train.vocab_size`", "`tokenizer.vocab_size`"),
    ),
    Bad("wrong type", f"{RUN} --set train.tokens=many", ("`train.tokens`", "integer", "'many'")),
    Bad("missing recipe", "run nowhere.yaml", ("nowhere.yaml: no such recipe", "demo")),
    Bad("missing recipe to show", "recipes --show nowhere", ("nowhere: no such recipe", "demo")),
    Bad(
        "broken YAML",
        "run b.yaml",
        ("b.yaml: not valid YAML", "line 1"),
        text("b.yaml", "name: [a"),
    ),
    Bad(
        "duplicate key",
        "run b.yaml",
        ("b.yaml", "key `name` stands twice", "line 2"),
        text("b.yaml", "name: a\nname: b\n"),
    ),
    Bad("binary recipe", "run b.yaml", ("b.yaml: cannot be read",), text("b.yaml", b"\xff\x00")),
    Bad("--set without value", f"{RUN} --set train.tokens", ("--set", "a.b=value", "example")),
    Bad("--set without key", f"{RUN} --set =3", ("--set", "a.b=value")),
    Bad("--set no YAML", f"{RUN} --set train.tokens=[", ("--set train.tokens", "YAML", "Quote")),
    Bad("both switches", f"{RUN} --resume --overwrite", ("--resume", "--overwrite", "one of")),
    Bad("block too long", f"{RUN} --set train.block=256", ("train.block", "(128)")),
    Bad(
        "unknown objective",
        f"{RUN} --set models.mle.objective=mlee",
        ("models", "`mlee`", "mean `mle`"),
    ),
    Bad("unknown scorer", f"{RUN} --set score.scorer=pep9", ("`pep9`", "pep8, pep8-local")),
    Bad(
        "unknown scorer of a metric",
        f"{RUN} --set measure.metrics.file_violations_per_kchar.scorer=pep9",
        ("`pep9`", "pep8-local"),
    ),
    Bad(
        "scorer that cannot be imported",
        f"{RUN} --set score.scorer=no_such_module:make",
        ("`no_such_module:make`", "No module named", "importable"),
    ),
    Bad(
        "scorer module without that factory",
        f"{RUN} --set score.scorer=json:nothing",
        ("`json:nothing`", "nothing"),
    ),
    Bad(
        "scorer that is none",
        f"{RUN} --set score.scorer=json:decoder",
        ("`json:decoder`", "did not make a scorer", "score/protocol.py"),
    ),
    Bad(
        "heads that cannot be shared",
        f"{RUN} --set model.num_key_value_heads=3",
        ("num_attention_heads (2)", "multiple"),
    ),
    Bad(
        "shape that cannot be built",
        f"{RUN} --set model.model_type=gpt2 --set model.hidden_size=33",
        ("model: ", "cannot build", "Check model.model_type"),
    ),
    Bad(
        "missing corpus",
        f"{RUN} --set corpus.paths=[nowhere/*.py]",
        ("nowhere/*.py: no such file", "glob"),
        keeps=False,
    ),
    Bad(
        "empty folder",
        f"{RUN} --set corpus.paths=[texts]",
        ("texts: the folder holds no file",),
        lambda place: (place / "texts").mkdir(),
        keeps=False,
    ),
    Bad(
        "no text in the corpus",
        f"{RUN} --set corpus.paths=[texts]",
        ("texts: there is no document with text", "empty: 1", "not-utf-8: 1", "corpus.paths"),
        only_junk,
        keeps=False,
    ),
    Bad(
        "one document",
        f"{RUN} --set corpus.paths=[one.py]",
        ("1 documents", "corpus.valid_share"),
        text("one.py", "x = 1\n"),
        keeps=False,
    ),
    Bad(
        "every document dropped",
        f"{RUN} --set corpus.paths=[texts]",
        ("every document was dropped", "untokenizable: 20", "Choose a scorer"),
        untokenizable,
        keeps=False,
    ),
    Bad(
        "bound above every reward",
        f"{RUN} --set control.bounds=[5]",
        ("control.bounds", "bad 100.0%, good 0.0%", "quantile"),
        keeps=False,
    ),
    Bad(
        "bound below every reward",
        f"{RUN} --set control.bounds=[-5]",
        ("control.bounds", "bad 0.0%, good 100.0%"),
        keeps=False,
    ),
    Bad(
        "bound of one model above every reward",
        f"{RUN} --set models.placebo.control.bounds=[5]",
        ("control.bounds", "bad 100.0%, good 0.0%", "quantile"),
        keeps=False,
    ),
    Bad(
        "rewards that a soft loss cannot take",
        f"{RUN} --set score.scorer.regex.patterns.x=100"
        " --set models.placebo.objective.unlikelihood.soft=true",
        ("objective `unlikelihood`", "rewards between -1 and 0", "Leave out `soft`"),
        keeps=False,
    ),
    Bad(
        "unknown option of an objective",
        f"{RUN} --set models.mle.objective.unlikelihood.alhpa=1",
        ("objective `unlikelihood`", "unknown option `alhpa`", "mean `alpha`"),
    ),
    Bad(
        "option of an objective out of range",
        f"{RUN} --set models.mle.objective.unlikelihood.alpha=-1",
        ("objective `unlikelihood`", "`alpha`", "greater than or equal to 0", "-1"),
    ),
    Bad(
        "objective that is over before it begins",
        f"{RUN} --set models.conditional.feedback_from=0.7 --set control.cooldown=0.5",
        ("models: feedback begins after 70%", "last 50%", "Lower feedback_from"),
    ),
    Bad(
        "steps that cannot be cut in parts",
        f"{RUN} --set train.accumulate=3",
        ("train.batch (8)", "multiple of train.accumulate (3)"),
    ),
    Bad(
        "unknown logger",
        f"{RUN} --set train.report_to=[tensorbord]",
        ("train.report_to: there is no logger `tensorbord`", "mean `tensorboard`"),
    ),
    Bad(
        "logger that is not installed",
        f"{RUN} --set train.report_to=[comet_ml]",
        ("train.report_to: the logger `comet_ml` cannot start", "pip install comet_ml", "metrics"),
    ),
    Bad(
        "loss that is not finite",
        f"{RUN} --set train.learning_rate=1e30 --set train.matrix_learning_rate=1e30",
        (
            "train: the loss is nan",
            "its batch is in out/checkpoints/mle/not-finite-step-",
            "Lower train.learning_rate",
        ),
        keeps=False,
    ),
    Bad("file in the way", RUN, ("out: is a file", "another --out"), text("out", "mine")),
    Bad("something else there", RUN, ("out: ", "not a run"), text("out/thesis.tex", "years")),
    Bad(
        "something else, resumed",
        f"{RUN} --resume",
        ("out: ", "not a run"),
        text("out/thesis.tex", "years"),
    ),
    Bad(
        "something else, overwritten",
        f"{RUN} --overwrite",
        ("out: ", "not a run", "does not overwrite"),
        text("out/thesis.tex", "years"),
    ),
    Bad("another run", RUN, ("out: ", "another recipe", "--resume", "--overwrite"), other_run),
    Bad("no model there", "sample .", (".: not a model directory", "models/conditional")),
    Bad("no such model", "sample nowhere", ("nowhere: not a model directory",)),
    Bad("temperature 0", "sample . --temperature 0", ("temperature 0.0", "above 0")),
    Bad("temperature nan", "sample . --temperature nan", ("temperature nan", "above 0")),
    Bad("top-p above 1", "sample . --top-p 1.5", ("top-p 1.5", "at most 1")),
    Bad("prompt that is no text", "sample . --prompt \udcff", ("--prompt", "not valid UTF-8")),
    Bad("no results", "report .", (".: ", "no results.json", "valence run")),
    Bad(
        "half a results file",
        "report .",
        ("results.json: not valid JSON", "run again"),
        lambda place: (shutil.copy("r.yaml", "recipe.yaml"), text("results.json", "[{")(place)),
    ),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad_input_gets_a_plain_error_and_leaves_nothing_half_written(
    place: Path, case: Bad
) -> None:
    case.scene(place)
    before, paths = contents(place), set(place.rglob("*"))
    outcome = invoke(*case.command.split())
    assert outcome.exit_code == 2, outcome.stderr
    assert "Traceback" not in outcome.output
    message = told(outcome)
    assert len(message) == 2, message
    for part in case.says:
        assert part in "\n".join(message)
    after = contents(place)
    assert {name: after.get(name) for name in before} == before
    new = set(after) - set(before)
    if case.keeps:
        assert not new
        assert set(place.rglob("*")) == paths
    else:
        assert new
        must_be_resumable(place / "out")


def without(tree: dict[str, Any], *parts: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key not in parts} | changes


def refused(place: Path, tree: dict[str, Any], *switches: str) -> str:
    """What a run of the recipe says that ends before it has written anything."""
    text("r.yaml", yaml.safe_dump(tree, sort_keys=False))(place)
    messages = []
    for command in ((*RUN.split(), *switches), ("run", "r.yaml", "--dry-run", *switches)):
        outcome = invoke(*command)
        assert outcome.exit_code == 2, outcome.output
        assert not (place / "out").exists()
        messages.append("\n".join(told(outcome)))
    assert messages[0] == messages[1]
    assert len(told(outcome)) == 2
    return messages[0]


@pytest.mark.parametrize(
    ("switches", "says"),
    [
        ("train.block=129", ("train.block: is 129", "a context of 128 tokens", "at most 128")),
        ("sample.max_tokens=200", ("sample.max_tokens: is 200", "context of 128")),
        ("models.mle.train.block=500", ("train.block: is 500", "context of 128")),
        ("model.adapter.targets=[q_porj]", ("model.adapter.targets", "`q_porj`", "q_proj")),
        ("model.base=nowhere", ("nowhere: no such model directory", "owner/name")),
        ("model.hidden_size=64", ("model.base brings its own sizes", "hidden_size")),
    ],
)
def test_a_base_that_does_not_fit_is_refused_before_anything_is_written(
    place: Path, tiny_run: Result, tiny_tree: dict[str, Any], switches: str, says: tuple[str, ...]
) -> None:
    base = str(tiny_run.path / "models" / "mle")
    message = refused(place, without(tiny_tree, model={"base": base}), "--set", switches)
    for part in says:
        assert part in message


def test_a_base_without_an_end_of_text_or_with_other_tokens_is_refused(
    place: Path, tiny_run: Result, tiny_tree: dict[str, Any]
) -> None:
    shutil.copytree(tiny_run.path / "models" / "mle", place / "base")
    tree = without(tiny_tree)
    tree["models"] = {"mle": {"objective": "mle"}, "on": {"objective": "mle"}}
    tree["models"]["on"]["model"] = {"base": "base"}
    assert "base: has other tokens than the models of this run" in refused(place, tree)
    config = place / "base" / "tokenizer_config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"eos_token": None}))
    message = refused(place, without(tiny_tree, model={"base": "base"}))
    assert "base: the tokenizer has no EOS token" in message


@pytest.mark.parametrize(
    ("switch", "says"),
    [
        ("control.tokens=[<|evil|>,<|nice|>]", "the tokens ['<|bad|>', '<|good|>']"),
        ("control.bounds=[-0.05]", "the bounds [0.0], and the recipe [-0.05]"),
        ("models.placebo.control.bounds=[-0.05]", "the bounds [0.0], and the recipe [-0.05]"),
    ],
)
def test_a_base_of_another_control_scheme_is_refused_before_training(
    place: Path, tiny_run: Result, tiny_tree: dict[str, Any], switch: str, says: str
) -> None:
    base = str(tiny_run.path / "models" / "conditional")
    tree = without(tiny_tree, model={"base": base})
    text("r.yaml", yaml.safe_dump(tree, sort_keys=False))(place)
    outcome = invoke(*RUN.split(), "--set", switch)
    assert outcome.exit_code == 2
    assert f"{base}: the model to go on from has {says}" in told(outcome)[0]
    assert not (place / "out" / "models").exists()
    must_be_resumable(place / "out")


@pytest.fixture
def annotated(place: Path, tiny_run: Result, tiny_tree: dict[str, Any]) -> dict[str, Any]:
    """A recipe of one model on a copy of an annotation that was made before, a/annotation."""
    shutil.copytree(tiny_run.path / "annotation", place / "a" / "annotation")
    models = {"mle": {"objective": "mle"}}
    tree = without(tiny_tree, "corpus", "score", annotation="a", models=models)
    text("r.yaml", yaml.safe_dump(tree, sort_keys=False))(place)
    return tree


def test_an_annotation_that_does_not_fit_is_refused_before_anything_is_written(
    place: Path, annotated: dict[str, Any]
) -> None:
    (place / "empty").mkdir()
    for switch, says in (
        ("annotation=nowhere", "nowhere: not a finished annotation"),
        ("annotation=empty", "empty: not a finished annotation"),
        ("rewards=toxicity", "a/annotation: there are no finished rewards `toxicity`"),
        ("score.workers=1", "annotation brings its own text; leave out score"),
    ):
        assert says in refused(place, annotated, "--set", switch)
    manifest = place / "a" / "annotation" / "documents" / "manifest.json"
    manifest.write_text(json.dumps(read_json(manifest) | {"digest": "of another text"}))
    for switches in ((), ("--set", "rewards=pep8")):
        message = refused(place, annotated, *switches)
        assert "a/annotation: its rewards pep8 are of another text" in message
        assert "valence annotate DIR --scorer NAME" in message


def test_two_runs_on_one_annotation_tokenise_it_once(
    place: Path, annotated: dict[str, Any]
) -> None:
    tokens = place / "a" / "annotation" / "tokens"
    shutil.rmtree(tokens)
    command = ("train", "r.yaml", "--out")
    with RunDirectory.open(place / "a" / "annotation", None, marker_name="corpus.yaml"):
        outcome = invoke(*command, "one")
        assert outcome.exit_code == 2
        assert "a/annotation: another process is working in this directory" in told(outcome)[0]
        assert "give this command again" in told(outcome)[1]
    outcome = invoke(*command, "one")
    assert outcome.exit_code == 0, outcome.output
    assert "tokenise ..." in outcome.stderr
    made = contents(tokens)
    # Now nothing is written there, so that nobody's lock is in the way.
    with RunDirectory.open(place / "a" / "annotation", None, marker_name="corpus.yaml"):
        outcome = invoke(*command, "two")
    assert outcome.exit_code == 0, outcome.output
    assert "tokenise: done before" in outcome.stderr
    assert contents(tokens) == made
    weights = [place / run / "models" / "mle" / "model.safetensors" for run in ("one", "two")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda raw: raw[: len(raw) // 2], "ids.raw has "),
        (lambda raw: bytes([raw[0] ^ 1]) + raw[1:], "are not those that the manifest's digest"),
    ],
)
def test_a_damaged_token_store_is_told_and_made_anew_once_it_is_deleted(
    place: Path, annotated: dict[str, Any], damage: Callable[[bytes], bytes], says: str
) -> None:
    command = ("train", "r.yaml", "--out", "out")
    assert invoke(*command).exit_code == 0
    (ids,) = (place / "a" / "annotation" / "tokens").glob("*/ids.raw")
    whole = ids.read_bytes()
    ids.chmod(0o644)
    ids.write_bytes(damage(whole))
    outcome = invoke(*command, "--set", "train.tokens=5000", "--resume")
    assert outcome.exit_code == 2, outcome.output
    assert says in told(outcome)[0]
    assert "Delete this directory and run again" in told(outcome)[1]
    shutil.rmtree(ids.parent)
    outcome = invoke(*command, "--set", "train.tokens=5000", "--resume")
    assert outcome.exit_code == 0, outcome.output
    assert ids.read_bytes() == whole


def test_segments_longer_than_a_row_are_counted(place: Path) -> None:
    switches = ("models.mle.train.block=8", "control.level=document")
    command = [word for switch in switches for word in ("--set", switch)]
    assert invoke("train", "r.yaml", "--out", "out", *command).exit_code == 0
    facts = read_json(place / "out" / "stages" / "packs.mle.json")["facts"]
    assert facts["documents_longer_than_a_row"] == facts["documents"]
    assert facts["segments_longer_than_a_row"] > 0
    whole = read_json(place / "out" / "stages" / "packs.conditional.json")["facts"]
    assert whole["segments_longer_than_a_row"] < facts["segments_longer_than_a_row"]


def test_a_state_of_other_settings_is_not_continued(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from valence.train import watch

    command = ("train", "r.yaml", "--out", "out", "--set", "models={mle: {objective: mle}}")

    def stop(self: Any, state: Any) -> int:
        self.stop = True
        return 0

    with monkeypatch.context() as patched:
        patched.setattr(watch.Watch, "_seen", stop)
        assert invoke(*command).exit_code == 130
    states = place / "out" / "checkpoints" / "mle"
    assert list(states.glob("checkpoint-*"))
    slower = ("--set", "train.learning_rate=1e-4")
    assert invoke(*command, *slower, "--resume").exit_code == 0
    assert not read_json(place / "out" / "stages" / "models.mle.json")["facts"]["resumed"]
    assert invoke(*command, *slower, "--out", "fresh").exit_code == 0
    weights = [place / run / "models" / "mle" / "model.safetensors" for run in ("out", "fresh")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def must_be_resumable(out: Path) -> None:
    """A run directory whose finished stages are whole and that shows no result."""
    assert build_recipe(yaml.safe_load((out / "recipe.yaml").read_text()))
    for name in ("results.json", "conclusions.json", "report.html", "measures"):
        assert not (out / name).exists()
    files = [path for path in out.rglob("*") if path.is_file()]
    assert not [path for path in files if path.name.endswith(".partial")]
    annotation = out / "annotation"
    for place, kinds in ((out, ("packs", "models")), (annotation, ("documents", "rewards"))):
        for kind in kinds:
            folders = [place / kind] if kind == "documents" else (place / kind).glob("*")
            for folder in (f for f in folders if f.is_dir() and not f.name.startswith(".")):
                name = folder.relative_to(place).as_posix().replace("/", ".")
                assert (place / "stages" / f"{name}.json").is_file(), name


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("mle", "--mode good", "no control tokens, so it has no mode `good`"),
        ("conditional", "--mode none", "trained with control tokens"),
        ("conditional", "--mode godo", "there is no mode `godo`"),
        ("conditional", "--max-tokens 500", "context of 128"),
        ("conditional", f"--prompt {'x' * 500}", "do not fit"),
    ],
)
def test_a_mode_or_length_that_a_model_does_not_have_is_refused(
    tiny_run: Result, model: str, options: str, says: str
) -> None:
    outcome = invoke("sample", tiny_run.path / "models" / model, *options.split())
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert says in told(outcome)[0]
    assert len(told(outcome)) == 2


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "valence.json"]
)
def test_a_damaged_model_is_told_by_name(tiny_run: Result, tmp_path: Path, name: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_run.path / "models" / "conditional", model)
    content = (model / name).read_bytes()
    (model / name).write_bytes(content[: len(content) // 2])
    outcome = invoke("sample", model)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert str(model) in told(outcome)[0]
    assert len(told(outcome)) == 2


@pytest.mark.parametrize(
    "command", ["", "fly", "run", "run demo --no-such-option", "sample . --count 0", "run a b"]
)
def test_a_command_that_does_not_exist_is_explained(place: Path, command: str) -> None:
    before = contents(place)
    outcome = invoke(*command.split())
    assert outcome.exit_code == 2
    assert "Usage:" in outcome.output
    assert contents(place) == before


@pytest.mark.parametrize("target", ["fsync", "parquet"])
def test_a_full_disk_is_told_and_the_same_command_goes_on_later(
    place: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        if target == "fsync":
            patched.setattr(files.os, "fsync", full)
        else:
            patched.setattr(files.pq, "write_table", full)
        outcome = invoke("annotate", "r.yaml", "--out", "out")
    assert outcome.exit_code == 2
    assert "the disk is full" in told(outcome)[0]
    assert told(outcome)[1].startswith("Free some room and start again")
    assert not [path for path in place.rglob("*.parquet*") if path.is_file()]
    assert invoke("annotate", "r.yaml", "--out", "out").exit_code == 0


def test_a_place_where_nothing_may_be_written_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    before = contents(place)
    monkeypatch.setattr(Path, "mkdir", denied)
    outcome = invoke("annotate", "r.yaml", "--out", "locked/out")
    assert outcome.exit_code == 2
    assert "locked/out: the system refuses (Permission denied)" in told(outcome)[0]
    assert "may read and write there" in told(outcome)[1]
    assert contents(place) == before


def test_a_run_that_another_process_works_in_is_left_alone(place: Path) -> None:
    assert invoke("annotate", "r.yaml", "--out", "out").exit_code == 0
    recipe = (place / "out" / "recipe.yaml").read_text()
    with RunDirectory.open(place / "out", recipe):
        before = contents(place)
        for switch in ([], ["--resume"], ["--overwrite"]):
            outcome = invoke("annotate", "r.yaml", "--out", "out", *switch)
            assert outcome.exit_code == 2
            assert "another process is working" in told(outcome)[0]
        assert contents(place) == before


# --- help, plans, overrides ---------------------------------------------------------------


@pytest.mark.parametrize("verb", ["", *sorted(VERBS)])
def test_help_explains_every_option(verb: str) -> None:
    outcome = invoke(*verb.split(), "--help")
    assert outcome.exit_code == 0
    assert "Usage:" in outcome.stdout
    expected = VERBS if not verb else {"--help"}
    assert all(word in outcome.stdout for word in expected)


def test_the_version_is_the_packages() -> None:
    assert invoke("--version").stdout == f"valence {__version__}\n"


def test_recipes_are_listed_with_what_they_are_about() -> None:
    outcome = invoke("recipes")
    assert outcome.exit_code == 0
    assert [line.partition(":")[0] for line in outcome.stdout.splitlines()] == list(
        packaged_recipes()
    )


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_recipe_that_is_shown_can_be_used(name: str, tmp_path: Path) -> None:
    outcome = invoke("recipes", "--show", name)
    assert outcome.stdout == packaged_recipes()[name]
    (tmp_path / "shown.yaml").write_text(outcome.stdout, encoding="utf-8")
    assert load_any(tmp_path / "shown.yaml") == load_any(name)


def test_a_dry_run_prints_recipe_sizes_and_cost_and_writes_nothing(place: Path) -> None:
    before = contents(place)
    outcome = invoke("run", "r.yaml", "--dry-run", "--set", "train.tokens=1234")
    assert outcome.exit_code == 0
    assert "tokens: 1234" in outcome.stdout
    for part in ("parameters", "30,3", "1,234", "FLOPs", "minutes on this machine", "seeds [0]"):
        assert part in outcome.stdout
    assert contents(place) == before
    assert [path.name for path in place.iterdir()] == ["r.yaml"]


def test_a_dry_run_knows_sweeps_annotations_bases_and_verdicts(
    place: Path, annotated: dict[str, Any], tiny_run: Result
) -> None:
    base = str(tiny_run.path / "models" / "mle")
    annotated["model"] = {"base": base}
    annotated["models"] = {
        "mle": {"objective": "mle"},
        "judge": {"objective": "conditional", "verdict": {"share": 0.5, "readout": "mlp"}},
        "verdict": {"objective": "verdict", "model": {"adapter": {"rank": 2}}},
    }
    over = {"train.tokens": [2000, 4000], "feedback_from": [0.0, 0.5]}
    annotated["sweep"] = [{"models": ["mle"], "over": over}]
    text("r.yaml", yaml.safe_dump(annotated, sort_keys=False))(place)
    before = contents(place)
    outcome = invoke("run", "r.yaml", "--out", "out", "--dry-run")
    assert outcome.exit_code == 0, outcome.output
    said = " ".join(outcome.stdout.replace("│", " ").split())
    assert "a, made before" in said
    assert "models 6 (" in said
    assert "mle.tokens-2000.feedback_from-0.5" in said
    assert "text tokens per model 2,000, 4,000" in said
    assert contents(place) == before

    # And the run does what was planned.
    outcome = invoke("train", "r.yaml", "--out", "out")
    assert outcome.exit_code == 0, outcome.output
    assert len(list((place / "out" / "models").iterdir())) == 6


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.learning_rate=1e-3", "learning_rate: 0.001"),
        ("control.mask_loss=true", "mask_loss: true"),
        ("seeds=[0, 1]", "seeds:\n- 0\n- 1\n"),
        ("corpus.max_chars=null", "max_chars: null"),
        ("description='true'", "description: 'true'"),
    ],
)
def test_an_override_is_typed(place: Path, override: str, line: str) -> None:
    outcome = invoke("run", "r.yaml", "--dry-run", "--set", override)
    assert outcome.exit_code == 0, outcome.stderr
    assert line in outcome.stdout


@pytest.mark.parametrize("switches", [["--dry-run"], []], ids=["plan", "run"])
def test_a_plan_refuses_what_a_run_refuses(place: Path, switches: list[str]) -> None:
    for wrong in (
        "models.mle.objective=mlee",
        "score.scorer=pep9",
        "measure.metrics.file_violations_per_kchar.scorer=pep9",
        "measure.modes=[god]",
    ):
        outcome = invoke("run", "r.yaml", "--out", "out", "--set", wrong, *switches)
        assert outcome.exit_code == 2, wrong
    assert not (place / "out").exists()


# --- one Python call a verb ---------------------------------------------------------------


def test_the_verbs_are_those_with_a_python_call() -> None:
    assert {command.name for command in cli.app.registered_commands} == VERBS


@pytest.mark.parametrize(
    ("verb", "until"),
    [("run", "report"), ("annotate", "annotate"), ("train", "train"), ("measure", "measure")],
)
def test_a_verb_of_the_journey_is_one_call_of_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, verb: str, until: str
) -> None:
    calls: list[tuple[Any, ...]] = []

    def recorded(recipe: Any, out: Any, **options: Any) -> Result:
        options.pop("display")
        calls.append((recipe.name, out, options))
        return Result(path=out)

    monkeypatch.setattr("valence.run.run", recorded)
    assert invoke(verb, "r.yaml", "-o", "out", "--resume").exit_code == 0
    wanted = {"until": until, "resume": True, "overwrite": False}
    assert calls == [("tiny", Path("out"), wanted)]


def test_a_run_shows_its_numbers_and_where_the_report_is(
    place: Path, tiny_run: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(cli.out, "_width", 200)
    shutil.copytree(tiny_run.path, place / "out")
    outcome = invoke("run", "r.yaml", "--out", "out")
    assert outcome.exit_code == 0
    assert outcome.stdout.splitlines()[-1] == "out/report.html"
    assert "done before" in outcome.stderr
    for word in ("conditional", "placebo", "labelled", "distinct 2"):
        assert word in outcome.stdout
    for sentence in tiny_run.conclusions.sentences:
        assert " ".join(sentence.split()) in " ".join(outcome.stdout.split())


def test_report_writes_the_page_again(place: Path, tiny_run: Result) -> None:
    shutil.copytree(tiny_run.path, place / "out")
    page = (place / "out" / "report.html").read_bytes()
    (place / "out" / "report.html").unlink()
    assert invoke("report", "out").stdout == "out/report.html\n"
    assert (place / "out" / "report.html").read_bytes() == page


def test_sample_writes_what_the_python_call_gives(tiny_run: Result) -> None:
    from valence.guide.sample import sample_checkpoint

    model = tiny_run.path / "models" / "conditional"
    options = ["--prompt", "def ", "--count", "2", "--max-tokens", "12", "--seed", "5"]
    outcome = invoke("sample", model, *options)
    texts = sample_checkpoint(model, prompt="def ", count=2, max_tokens=12, seed=5)
    assert outcome.exit_code == 0
    assert outcome.stdout == "".join(f"def {text}\n" for text in texts)


# --- the process --------------------------------------------------------------------------


def environment() -> dict[str, str]:
    return os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    """`valence` in a process group of its own, as a terminal starts it."""
    # Whoever runs the tests in the background may have switched Ctrl-C off for all children.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from valence.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=place,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def press_control_c(process: subprocess.Popen[str]) -> list[str]:
    """Ctrl-C in a terminal reaches the whole group; returns the last words."""
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    lines = stderr.splitlines()
    return lines[max(i for i, line in enumerate(lines) if line.startswith("valence: ")) :]


def logged(place: Path) -> list[tuple[str, int, int]]:
    path = place / "out" / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    # Read while it is written: the last line may be half there.
    entries = [json.loads(line) for line in lines if line.endswith("}")]
    return [(entry["model"], entry["seed"], entry["step"]) for entry in entries]


LONG = ("--out", "out", "--set", "train.tokens=80000", "--set", "models={mle: {objective: mle}}")


def test_control_c_in_training_stops_and_the_same_command_goes_on(place: Path) -> None:
    command = ("train", "r.yaml", *LONG)
    process = start(place, *command)
    wait_until(lambda: len(logged(place)) >= 20, process)
    words = press_control_c(process)
    assert words[0].startswith("valence: training stopped at step ")
    assert words[1:] == ["Its state is saved; the same command continues it."]
    stopped = len(logged(place))
    must_be_resumable(place / "out")

    assert invoke(*command).exit_code == 0
    facts = read_json(place / "out" / "stages" / "models.mle.json")["facts"]
    assert facts["resumed"]
    assert 20 <= stopped < facts["steps"]
    assert logged(place) == [("mle", 0, step) for step in range(1, facts["steps"] + 1)]
    assert not (place / "out" / "checkpoints").exists()


@pytest.mark.slow
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(place: Path) -> None:
    process = start(place, "train", "r.yaml", *LONG)
    wait_until(lambda: len(logged(place)) >= 100, process)
    press_control_c(process)
    assert invoke("train", "r.yaml", *LONG).exit_code == 0
    (place / "out").rename(place / "resumed")
    assert invoke("train", "r.yaml", *LONG).exit_code == 0
    losses = [
        [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (place / "resumed", place / "out")
    ]
    # One thread in the process and several here add up in another order.
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.slow
def test_a_killed_training_starts_again_and_the_run_finishes(place: Path) -> None:
    command = ("run", "r.yaml", *LONG, "--set", "train.save_minutes=0.02")
    process = start(place, *command)
    wait_until(lambda: any((place / "out").glob("checkpoints/mle/*/trainer_state.json")), process)
    process.kill()
    process.communicate()
    assert not (place / "out" / "results.json").exists()
    again = subprocess.run(
        [sys.executable, "-m", "valence.cli", *command],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    facts = read_json(place / "out" / "stages" / "models.mle.json")["facts"]
    assert facts["resumed"]
    assert logged(place) == [("mle", 0, step) for step in range(1, facts["steps"] + 1)]
    assert read_json(place / "out" / "results.json")
    assert not list((place / "out").rglob("*.partial"))
    (place / "out").rename(place / "killed")
    subprocess.run(
        [sys.executable, "-m", "valence.cli", *command],
        cwd=place,
        env=environment(),
        capture_output=True,
        check=True,
    )
    weights = [place / run / "models" / "mle" / "model.safetensors" for run in ("killed", "out")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["reading", "scoring"])
def test_control_c_before_training_stops_at_once_also_in_the_workers(
    place: Path, moment: str
) -> None:
    command = ["annotate", "demo", "--out", "out", "--set", "score.workers=2"]
    command += ["--set", "corpus.max_chars=3000000"]
    process = start(place, *command)
    work = {
        "reading": place / "out" / "annotation" / ".documents.partial",
        "scoring": place / "out" / "annotation" / "rewards" / ".pep8.partial",
    }[moment]
    wait_until(work.is_dir, process)
    started = time.monotonic()
    words = press_control_c(process)
    assert words == ["valence: interrupted", "The same command continues what is finished."]
    assert time.monotonic() - started < 10
    must_be_resumable(place / "out")
    assert invoke(*command).exit_code == 0
    assert read_json(place / "out" / "annotation" / "rewards" / "pep8" / "manifest.json")


def test_the_process_ends_with_the_code_and_without_a_traceback(place: Path) -> None:
    """Also a real full disk: no file of this process may grow beyond a few blocks."""
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from valence.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", limited, "annotate", "r.yaml", "--out", "out"],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    assert "File too large" in ended.stderr
    must_be_resumable(place / "out")


def test_the_shell_gets_its_completion() -> None:
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("valence"))],
        env=environment() | {"_VALENCE_COMPLETE": "source_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "complete" in ended.stdout
    assert "_VALENCE_COMPLETE=complete_bash" in ended.stdout
