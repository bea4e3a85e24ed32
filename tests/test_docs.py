"""What the pages tell a reader to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from valence import cli
from valence.score.table import SCORERS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page.name, line) for line in lines if line.startswith("valence ")]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_has_its_verb_and_its_options(page: str, line: str) -> None:
    _, verb, *words = shlex.split(line, comments=True)
    helped = CliRunner().invoke(cli.app, [verb, "--help"] if verb[0] != "-" else ["--help"])
    assert helped.exit_code == 0, (page, line)
    for word in [verb, *words]:
        if word.startswith("-"):
            option = word.partition("=")[0]
            assert re.search(rf"(?<![\w-]){re.escape(option)}\b", helped.stdout), (page, option)


def test_every_scorer_of_the_table_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "annotate.md").read_text(encoding="utf-8")
    assert [name for name in SCORERS if f"`{name}`" not in guide] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
