"""What the pages tell a reader to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from valence import cli
from valence.guide.table import GUIDES
from valence.objective.table import OBJECTIVES, build_objective
from valence.recipe import EvaluationRecipe, MeasureRecipe, build_part, build_recipe
from valence.score.table import SCORERS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = sorted((ROOT / "src" / "valence" / "recipes").glob("*.yaml"))


def commands() -> list[tuple[str, str]]:
    """Lines of the pages' blocks and of the recipes' comments that begin with `valence`."""
    found = []
    for recipe in RECIPES:
        said = re.findall(r"^# ?(.*)$", recipe.read_text(encoding="utf-8"), re.M)
        lines = "\n".join(said).replace("\\\n", " ").splitlines()
        found += [(recipe.name, line.strip()) for line in lines if line.startswith("  valence ")]
    for page in PAGES:
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page.name, line) for line in lines if line.startswith("valence ")]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_has_its_verb_and_its_options(page: str, line: str) -> None:
    _, verb, *words = shlex.split(line, comments=True)
    path = [verb, words[0]] if verb == "guide" else [verb]
    helped = CliRunner().invoke(cli.app, [*path, "--help"] if verb[0] != "-" else ["--help"])
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


def recipes_shown() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for page in (ROOT / "README.md", ROOT / "docs" / "training.md"):
        for block in re.findall(
            r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S
        ):
            found.append((page.name, yaml.safe_load(block)))
    return found


@pytest.mark.parametrize(("page", "shown"), recipes_shown())
def test_every_recipe_is_one_or_a_part_of_one(
    page: str, shown: dict[str, Any], tiny_tree: dict[str, Any]
) -> None:
    parts = ["name", "models", "measure"] + ([] if "annotation" in shown else ["corpus"])
    recipe = build_recipe({part: tiny_tree[part] for part in parts} | shown)
    for entry in recipe.models.values():
        build_objective(entry.objective)


def test_the_evaluations_shown_are_evaluations() -> None:
    page = (ROOT / "docs" / "measuring.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(b) for b in re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)]
    whole, part = blocks
    found = build_part(EvaluationRecipe, whole, where="docs/measuring.md")
    every = set(MeasureRecipe.model_fields)
    left_out = every - set(found.measure.model_fields_set)
    assert [name for name in left_out if f"`{name}" not in page and name not in PLAIN] == []
    build_part(MeasureRecipe, part, where="docs/measuring.md")


PLAIN = {"headline", "workers", "window", "loss_chars", "resamples"}
"""Parts of the measures that the page need not explain."""


def test_every_guide_of_the_table_is_in_the_guide() -> None:
    page = (ROOT / "docs" / "guiding.md").read_text(encoding="utf-8")
    assert [name for name in GUIDES if f"| `{name}` |" not in page] == []


def test_every_objective_of_the_table_is_in_the_guide_and_in_the_readme() -> None:
    readme, guide = ((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/training.md"))
    assert [name for name in OBJECTIVES if f"| `{name}` |" not in guide] == []
    assert [name for name in OBJECTIVES if name not in readme] == []


def test_every_part_of_the_package_is_on_the_map() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    package = ROOT / "src" / "valence"
    parts = {path.name for path in package.glob("[a-z]*.py")}
    parts |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    listed = set(re.findall(r"`([a-z_]+(?:/|\.py))`", readme))
    assert parts - listed == {"recipes/"}
    assert listed - parts == set()
