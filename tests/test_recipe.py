"""Recipes: strict keys with a hint, overrides, YAML as people write it, values that fit."""

from __future__ import annotations

import contextlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from valence.errors import MissingFileError, RecipeError
from valence.model import create_model
from valence.objective import build_objective
from valence.recipe import (
    Recipe,
    SuiteRecipe,
    build_recipe,
    load_any,
    load_recipe,
    packaged_recipes,
)
from valence.score.table import build_scorer
from valence.suite import suite_recipes

METRIC = "local_violations_per_kchar"


def changed(tree: dict[str, Any], dotted: str, value: object) -> dict[str, Any]:
    """A copy of a tree with one value set."""
    tree = deepcopy(tree)
    *steps, last = dotted.split(".")
    inner = tree
    for step in steps:
        inner = inner.setdefault(step, {})
    inner[last] = value
    return tree


@pytest.fixture
def recipe_file(tmp_path: Path, tiny_tree: dict[str, Any]) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_tree), encoding="utf-8")
    return path


# --- strictness ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("modle", "did you mean `model`?"),
        ("train.tokns", "did you mean `train.tokens`?"),
        ("corpus.max_char", "did you mean `corpus.max_chars`?"),
        ("corpus.unformat.share", "did you mean `corpus.unformat.shares`?"),
        ("models.mle.objectiv", "did you mean `models.mle.objective`?"),
        (f"measure.metrics.{METRIC}.scal", f"did you mean `measure.metrics.{METRIC}.scale`?"),
        ("train.vocab_size", "did you mean `tokenizer.vocab_size`?"),
        ("train.hidden_size", "did you mean `model.hidden_size`?"),
        ("tokens", "did you mean `control.tokens` or `train.tokens`?"),
        ("score.xyzzy", "valid keys here: scorer, name, engine"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(
    tiny_tree: dict[str, Any], key: str, hint: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        build_recipe(changed(tiny_tree, key, 1))
    assert f"unknown key `{key}`" in str(caught.value)
    assert hint in str(caught.value)


def test_every_wrong_key_is_named_at_once(tiny_tree: dict[str, Any]) -> None:
    tree = changed(changed(tiny_tree, "train.tokns", 1), "sample.count", "many")
    with pytest.raises(RecipeError, match=r"train\.tokns.*sample\.count.*it is 'many'"):
        build_recipe(tree)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.tokens", "4000"),
        ("train.tokens", 4000.0),
        ("train.tokens", True),
        ("train.tokens", None),
        ("train.tokens", 0),
        ("train.warmup", 1.5),
        ("control.mask_loss", "true"),
        ("control.mask_loss", 1),
        ("control.tokens", "<|good|>"),
        ("control.bounds", [{"quantile": 1.0}]),
        ("control.bounds", [float("nan")]),
        ("train.learning_rate", float("inf")),
        ("name", 7),
        ("name", "../elsewhere"),
        ("models", {}),
        ("models", {"a/b": {"objective": "mle"}}),
        ("models", [{"objective": "mle"}]),
        ("seeds", []),
        ("seeds", [-1]),
        ("seeds", [2**32]),
        ("corpus.reader", "web"),
        ("tokenizer.vocab_size", 10),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_and_its_key_named(
    tiny_tree: dict[str, Any], key: str, value: object
) -> None:
    with pytest.raises(RecipeError) as caught:
        build_recipe(changed(tiny_tree, key, value))
    assert f"`{key}" in str(caught.value)


def test_a_missing_key_is_named(tiny_tree: dict[str, Any]) -> None:
    tree = {key: value for key, value in tiny_tree.items() if key != "measure"}
    with pytest.raises(RecipeError, match="key `measure` is missing"):
        build_recipe(tree)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("corpus.paths", [], "corpus.paths goes with"),
        ("corpus.reader", "stdlib", "corpus.paths goes with"),
        ("control.bounds", [], "2 control tokens need 1 bounds"),
        ("control.tokens", ["<|good|>"], "1 control tokens need 1 bounds"),
        ("control.tokens", ["<|good|>", "<|good|>"], "must be distinct"),
        ("control.tokens", ["", "<|good|>"], "not empty"),
        ("model.num_key_value_heads", 3, "must be a multiple"),
        ("measure.headline", "elsewhere", "`elsewhere` is not one of"),
        ("train.block", 129, "max_position_embeddings"),
        ("sample.max_tokens", 129, "max_position_embeddings"),
        ("seeds", [1, 1], "seeds must be distinct"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    tiny_tree: dict[str, Any], key: str, value: object, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        build_recipe(changed(tiny_tree, key, value))


def test_bounds_must_ascend(tiny_tree: dict[str, Any]) -> None:
    tree = changed(tiny_tree, "control.tokens", ["<|a|>", "<|b|>", "<|c|>"])
    with pytest.raises(RecipeError, match="must ascend"):
        build_recipe(changed(tree, "control.bounds", [0.0, -1.0]))
    assert build_recipe(changed(tree, "control.bounds", [-1.0, 0.0]))


def test_a_recipe_is_frozen(tiny_recipe: Recipe) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        tiny_recipe.train.tokens = 5  # type: ignore[misc]


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a recipe is a map of keys"),
        (b"- a\n- b\n", "a recipe is a map of keys"),
        (b"name: [unclosed", "not valid YAML"),
        (b"name: a\nname: b\n", "key `name` stands twice"),
        (b"name: a\ntrain:\n  tokens: 1\n  tokens: 2\n", "key `tokens` stands twice"),
        (b"? [a]\n: 1\n", "not valid YAML"),
        (b"name: 2024-13-45\n", "not valid YAML"),
        (b"name: 2024-11-05\n", "not JSON serializable"),
        (b"name: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        (b"[" * 3000, "not valid YAML"),
        (b"&a {name: *a}", "Circular"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read as text"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_recipe_lists_those_of_the_package(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=", ".join(packaged_recipes())):
        load_recipe(tmp_path / "nowhere.yaml")


def test_yaml_merge_keys_are_understood(tmp_path: Path, tiny_tree: dict[str, Any]) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text(
        yaml.safe_dump(tiny_tree | {"models": {}}).replace(
            "models: {}", "models:\n  one: &one {objective: mle}\n  two: {<<: *one}"
        )
    )
    assert load_recipe(path).models["two"].objective == "mle"


def runs_of(name: str) -> list[Recipe]:
    """The runs that a packaged recipe stands for; none where it measures models that exist."""
    found = load_any(name)
    if isinstance(found, SuiteRecipe):
        return [recipe for _, recipe in suite_recipes(found, Path("somewhere"))]
    return [found] if isinstance(found, Recipe) else []


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_packaged_recipe_can_be_built(name: str) -> None:
    found = load_any(name)
    assert found.name == name
    assert found.description
    for recipe in runs_of(name):
        for entry in recipe.models.values():
            build_objective(entry.objective)
        for scorer in (recipe.score.scorer, *(m.scorer for m in recipe.measure.metrics.values())):
            with contextlib.suppress(MissingFileError):  # What a user brings is not here.
                build_scorer(scorer)
        if recipe.model.base is None:
            with torch.device("meta"):
                create_model(recipe.model, recipe.tokenizer.vocab_size, 0, recipe.seed)


def test_the_recipes_folder_is_the_packaged_one() -> None:
    folder = Path(__file__).parents[1] / "recipes"
    assert sorted(path.stem for path in folder.glob("*.yaml")) == sorted(packaged_recipes())


# --- overrides ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.tokens=200000", 200_000),
        ("train.tokens=1_000", 1_000),
        ("train.learning_rate=1e-3", 1e-3),
        ("train.learning_rate=2", 2.0),
        ("control.mask_loss=true", True),
        ("control.dropout=0", 0.0),
        ("corpus.max_chars=null", None),
        ("seeds=[0, 1, 2]", (0, 1, 2)),
        ("description=a = b", "a = b"),
        ("description='true'", "true"),
    ],
)
def test_an_override_is_typed_as_in_yaml(
    recipe_file: Path, override: str, expected: object
) -> None:
    found: Any = load_recipe(recipe_file, [override])
    for step in override.partition("=")[0].split("."):
        found = getattr(found, step)
    assert found == expected
    assert type(found) is type(expected)


def test_overrides_reach_into_maps_and_the_last_one_wins(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file,
        ["models.extra.objective=mle", "train.tokens=5", "train.tokens=6", "score.scorer=m:make"],
    )
    assert recipe.models["extra"].objective == "mle"
    assert recipe.train.tokens == 6
    assert recipe.score.scorer == "m:make"


@pytest.mark.parametrize("override", ["train.tokens", "=3", "train..tokens=3", ".=1", ""])
def test_an_override_of_another_form_is_refused(recipe_file: Path, override: str) -> None:
    with pytest.raises(RecipeError, match=r"not of the form a\.b=value"):
        load_recipe(recipe_file, [override])


@pytest.mark.parametrize("raw", ["[", "{[a]: 1}", "2024-13-45", "!!python/name:os.getcwd", "*a"])
def test_an_override_that_is_no_yaml_value_is_refused(recipe_file: Path, raw: str) -> None:
    with pytest.raises(RecipeError, match="is not a YAML value"):
        load_recipe(recipe_file, [f"train.tokens={raw}"])


@given(st.floats(min_value=1e-300, max_value=1e300, exclude_min=True))
def test_every_way_to_write_a_float_is_a_number(value: float) -> None:
    for text in (repr(value), f"{value:e}", f"{value:.17g}", f"{value:E}"):
        recipe = load_recipe("demo", [f"train.learning_rate={text}"])
        assert recipe.train.learning_rate == float(text)


# --- round trip ---------------------------------------------------------------------------


@given(
    description=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    bound=st.floats(allow_nan=False, allow_infinity=False),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True),
    rate=st.floats(min_value=1e-12, max_value=10),
)
def test_the_resolved_recipe_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_tree: dict[str, Any],
    description: str,
    bound: float,
    seeds: list[int],
    rate: float,
) -> None:
    tree = changed(tiny_tree, "description", description) | {"seeds": seeds}
    tree = changed(tree, "train.learning_rate", rate)
    recipe = build_recipe(changed(tree, "control.bounds", [bound]))
    path = tmp_path_factory.getbasetemp() / "resolved.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(path) == recipe
    assert load_recipe(path).to_yaml() == recipe.to_yaml()


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_packaged_recipe_reads_back_equal(name: str, tmp_path: Path) -> None:
    recipe = load_any(name)
    path = tmp_path / "resolved.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_any(path) == recipe
