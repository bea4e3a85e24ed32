"""`valence annotate` and `show` as a user meets them: files in, rewards and pages out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result as Outcome
from typer.testing import CliRunner

from valence import cli
from valence.annotate import Annotation

ROWS = [
    {"id": f"n{at}", "text": f"Hello {at}!\nSecond line. {'Bad' * (at % 3)}\n"} for at in range(30)
]
REGEX = ["--scorer", "regex", "--with", "patterns=['Bad']"]


def invoke(*arguments: str | Path) -> Outcome:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def annotated(*more: str) -> Outcome:
    return invoke("annotate", "rows.jsonl", "--out", "out", "--workers", "1", *REGEX, *more)


def test_files_in_and_rewards_out(place: Path) -> None:
    outcome = annotated("--id-column", "id")
    assert outcome.exit_code == 0, outcome.output
    assert "30 (" in outcome.stdout
    assert outcome.stdout.rstrip().endswith("out")
    items = list(Annotation(place / "out").read("regex"))
    assert [item.document.id for item in items] == [row["id"] for row in ROWS]
    assert [bool(item.rewards[1] < 0) for item in items] == [bool(at % 3) for at in range(30)]


def test_a_second_scorer_goes_where_the_first_is(place: Path) -> None:
    annotated()
    outcome = invoke(
        "annotate", "out", "--workers", "1", "-s", "{regex: {patterns: ['!']}}", "--name", "calm"
    )
    assert outcome.exit_code == 0, outcome.output
    assert Annotation(place / "out").scorers == ["calm", "regex"]


def test_several_scorers_at_once(place: Path) -> None:
    outcome = invoke(
        "annotate", "rows.jsonl", "-o", "out", "--workers", "1", "-s", "pep8", "-s", "pep8-local"
    )
    assert outcome.exit_code == 0, outcome.output
    assert Annotation(place / "out").scorers == ["pep8", "pep8-local"]


def test_text_alone_can_be_brought_in_first(place: Path) -> None:
    outcome = invoke("annotate", "rows.jsonl", "--out", "out", "--segment", "document")
    assert outcome.exit_code == 0, outcome.output
    assert Annotation(place / "out").scorers == []
    assert Annotation(place / "out").documents["segments"] == 30


def test_the_cost_stands_beside_that_of_a_pretraining_run(place: Path) -> None:
    outcome = annotated("--model-size", "1.3e9", "--tokens", "26e9")
    assert outcome.exit_code == 0, outcome.output
    run = Annotation(place / "out").rewards("regex")["pretraining"]
    assert run["flops"] == pytest.approx(6 * 1.3e9 * 26e9)
    assert 0 < run["share"] < run["share_for_all_tokens"] < 1
    assert "share of pretraining" in outcome.stdout


def test_a_dry_run_tells_and_writes_nothing(place: Path) -> None:
    outcome = annotated("--dry-run")
    assert outcome.exit_code == 0, outcome.output
    assert "MB/s per core" in outcome.stdout
    assert not (place / "out").exists()


def test_a_recipe_is_carried_out_as_far_as_its_annotation(place: Path) -> None:
    outcome = invoke("annotate", "demo", "--dry-run")
    assert outcome.exit_code == 0, outcome.output
    assert "reader: stdlib" in outcome.stdout


def test_an_annotation_is_shown_in_the_terminal_and_as_a_page(place: Path) -> None:
    annotated()
    outcome = invoke("show", "out", "--bound", "best-50%", "-n", "1", "--html", "page.html")
    assert outcome.exit_code == 0, outcome.output
    assert "Rewards by regex" in outcome.stdout
    page = (place / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "regex" in page


@dataclass(frozen=True)
class Bad:
    name: str
    command: str
    says: tuple[str, ...]
    scene: Callable[[], object] = lambda: None


BAD = [
    Bad("nowhere to go", "annotate rows.jsonl -s pep8", ("--out", "annotations/mine")),
    Bad("no such file", "annotate no.jsonl -s pep8 -o out", ("no.jsonl", "nothing matches")),
    Bad("no such scorer", "annotate rows.jsonl -s pep9 -o out", ("`pep9`", "did you mean `pep8`")),
    Bad(
        "no such option",
        "annotate rows.jsonl -s regex --with patern=x -o out",
        ("`patern`", "`patterns`"),
    ),
    Bad(
        "an option of the wrong type",
        "annotate rows.jsonl -s regex --with patterns=3 -o out",
        ("`patterns.list[str]`", "list"),
    ),
    Bad(
        "half an option",
        "annotate rows.jsonl -s regex --with patterns -o out",
        ("--with", "a.b=value"),
    ),
    Bad(
        "options for two", "annotate rows.jsonl -s pep8 -s regex --with a=1 -o out", ("2 scorers",)
    ),
    Bad("YAML that is none", "annotate rows.jsonl -s {a:[ -o out", ("--scorer", "YAML")),
    Bad(
        "no such segmenter",
        "annotate rows.jsonl -s pep8 -o out --segment word",
        ("segmenter", "word"),
    ),
    Bad("no such engine", "annotate rows.jsonl -s pep8 -o out --engine spark", ("score", "spark")),
    Bad("half a cost", "annotate rows.jsonl -s pep8 -o out --tokens 1e9", ("--model-size",)),
    Bad(
        "no such column",
        "annotate rows.csv -s pep8 -o out --text-column body",
        ("body", "text"),
        lambda: Path("rows.csv").write_text("id,text\n1,a\n"),
    ),
    Bad(
        "an unknown key",
        "annotate rows.jsonl -s pep8 -o out --set corpus.segmnter=line",
        ("`segmnter`", "segmenter"),
    ),
    Bad("a folder that is no annotation", "annotate . -s pep8 -o .", ("not an annotation",)),
    Bad("nothing to show", "show .", ("not a finished annotation", "valence annotate")),
    Bad(
        "an annotation that another was made in",
        "annotate rows.jsonl -s pep8 -o out --segment document",
        ("another recipe", "--overwrite"),
        lambda: annotated(),
    ),
    Bad(
        "no such rewards",
        "show out -s pep8",
        ("no finished rewards `pep8`", "regex"),
        lambda: annotated(),
    ),
    Bad("no such bound", "show out --bound high", ("high",), lambda: annotated()),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad_input_gets_a_plain_error(place: Path, case: Bad) -> None:
    case.scene()
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    outcome = invoke(*case.command.split())
    assert outcome.exit_code == 2, outcome.output
    assert "Traceback" not in outcome.output
    told = [line for line in outcome.stderr.splitlines() if line.strip()]
    told = told[[line.startswith("valence: ") for line in told].index(True) :]
    assert len(told) == 2, told
    for part in case.says:
        assert part in "\n".join(told)
    assert {path: path.read_bytes() for path in before} == before
