"""`valence distill` as a user meets it: rewards in, a student out that annotates."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from valence import cli
from valence.annotate import Annotation


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    words = [*("tree", "house", "river", "stone", "bird"), "awful", "horrid"]
    rows = [{"text": " ".join(chance.choices(words, k=4)) + "\n"} for _ in range(400)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = "{lexicon: {words: [awful, horrid]}}"
    arguments = ["annotate", "rows.jsonl", "-o", "ann", "-s", spec, "--workers", "1"]
    arguments += ["--set", "corpus.valid_share=0.3", "--name", "nasty"]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    return tmp_path


def test_a_student_is_made_told_of_and_used(place: Path) -> None:
    run = CliRunner()
    done = run.invoke(cli.app, ["distill", "ann", "-s", "nasty", "-o", "st", "--bound=-1e-9"])
    assert done.exit_code == 0, done.output
    assert "auroc at bound" in done.stdout
    assert done.stdout.rstrip().endswith("fidelity.html")
    rows = json.loads((place / "st" / "results.json").read_text())
    assert next(row["value"] for row in rows if row["metric"] == "auroc_at_bound") > 0.99
    arguments = ["annotate", "ann", "-s", "student", "--with", "path=st", "--workers", "1"]
    assert run.invoke(cli.app, arguments).exit_code == 0
    assert Annotation(place / "ann").scorers == ["nasty", "student"]
    shown = run.invoke(cli.app, ["show", "ann", "--bound", "worst-10%", "-n", "0"])
    assert shown.exit_code == 0, shown.output
    assert "Spearman" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ann", "-s", "kind"], "no finished rewards `kind`"),
        (["ann", "-s", "nasty", "--kind", "forest"], "no kind of student `forest`"),
        (["ann", "-s", "nasty", "--bound=5"], "--bound"),
        (["nowhere", "-s", "nasty"], "not a finished annotation"),
    ],
)
def test_mistakes_are_told(place: Path, arguments: list[str], says: str) -> None:
    if not any(word.startswith("--bound") for word in arguments):
        arguments = [*arguments, "--bound=-1e-9"]
    done = CliRunner().invoke(cli.app, ["distill", *arguments, "--out", "st"])
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert "Traceback" not in done.output
    assert not (place / "st").exists()
