"""Settings of single models and sweeps: merged, checked by name, written out as plain models."""

from __future__ import annotations

import itertools
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from valence.errors import RecipeError
from valence.recipe import Quantile, Recipe, build_recipe, load_recipe

BUDGETS = [250_000, 500_000]


def with_models(tree: dict[str, Any], **entries: dict[str, Any]) -> dict[str, Any]:
    return deepcopy(tree) | {"models": entries}


def swept(tree: dict[str, Any], *blocks: dict[str, Any]) -> dict[str, Any]:
    return deepcopy(tree) | {"sweep": list(blocks)}


def reread(recipe: Recipe) -> Recipe:
    return build_recipe(yaml.safe_load(recipe.to_yaml()))


# --- settings of one model ----------------------------------------------------------------


def test_an_entry_differs_only_where_it_says_so(tiny_tree: dict[str, Any]) -> None:
    tree = with_models(
        tiny_tree,
        plain={"objective": "mle"},
        other={
            "objective": {"unlikelihood": {"alpha": 0.1}},
            "train": {"tokens": 8000, "learning_rate": 1e-3},
            "model": {"num_hidden_layers": 1},
            "control": {"bounds": [{"quantile": 0.5}], "placement": "change"},
        },
    )
    recipe = build_recipe(tree)
    plain, other = recipe.settings("plain"), recipe.settings("other")
    assert (plain.model, plain.train, plain.control) == (recipe.model, recipe.train, recipe.control)
    assert other.train == recipe.train.model_copy(update={"tokens": 8000, "learning_rate": 1e-3})
    assert other.model == recipe.model.model_copy(update={"num_hidden_layers": 1})
    assert other.control.bounds == (Quantile(quantile=0.5),)
    assert other.control.tokens == recipe.control.tokens
    assert recipe.models["other"].objective_name == "unlikelihood"
    assert reread(recipe) == recipe


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("train", {"tokns": 1}, "unknown key `models.m.train.tokns`; did you mean"
         " `models.m.train.tokens`?"),
        ("train", {"tokens": "many"}, "`models.m.train.tokens`: Input should be a valid integer"),
        ("train", {"batch": 9, "accumulate": 2}, "must be a multiple of train.accumulate (2)"),
        ("train", {"block": 129}, "`models.m`: train.block and sample.max_tokens may not exceed"),
        ("model", {"max_position_embeddings": 16}, "may not exceed"),
        ("model", {"num_key_value_heads": 3}, "`models.m.model`: model.num_attention_heads"),
        ("model", {"adapter": {"rank": 4}}, "go with model.base"),
        ("model", {"base": "x", "head_dim": 8}, "leave out head_dim"),
        ("model", {"base": "x", "adapter": {"rnk": 4}}, "unknown key `models.m.model.adapter.rnk`;"
         " did you mean `models.m.model.adapter.rank`?"),
        ("control", {"tokens": ["a", "b"]}, "`models.m.control.tokens`: all models have the same"),
        ("control", {"bounds": [0.0, 1.0]}, "`models.m.control`: 2 control tokens need 1 bounds"),
        ("control", {"dropout": 2.0}, "`models.m.control.dropout`"),
    ],
)  # fmt: skip
def test_a_wrong_difference_is_refused_by_its_key(
    tiny_tree: dict[str, Any], part: str, change: dict[str, Any], message: str
) -> None:
    tree = with_models(tiny_tree, m={"objective": "mle", part: change})
    with pytest.raises(RecipeError) as caught:
        build_recipe(tree)
    assert message in str(caught.value)


def test_wrong_differences_of_several_models_are_named_at_once(tiny_tree: dict[str, Any]) -> None:
    entries = {
        name: {"objective": "mle", "train": {"tokens": 0}, "control": {"share": -1.0}}
        for name in ("a", "b")
    }
    with pytest.raises(RecipeError) as caught:
        build_recipe(with_models(tiny_tree, **entries))
    for name, key in itertools.product("ab", ("train.tokens", "control.share")):
        assert f"models.{name}.{key}" in str(caught.value)


def test_a_model_that_exists_brings_its_sizes_and_context(tiny_tree: dict[str, Any]) -> None:
    tree = with_models(
        tiny_tree,
        fresh={"objective": "mle"},
        full={"objective": "mle", "model": {"base": "somewhere"}, "train": {"block": 4096}},
        lora={"objective": "mle", "model": {"base": "somewhere", "adapter": {"rank": 4}}},
    )
    recipe = build_recipe(tree)
    assert recipe.settings("full").model.base == "somewhere"
    assert recipe.settings("lora").model.adapter is not None
    assert "hidden_size" not in recipe.settings("lora").model.model_dump()
    assert reread(recipe) == recipe
    shared = build_recipe(
        deepcopy(tiny_tree)
        | {"model": {"base": "somewhere", "adapter": {"alpha": 64.0}}}
        | {"models": {"m": {"objective": "mle", "model": {"adapter": {"rank": 2}}}}}
    )
    adapter = shared.settings("m").model.adapter
    assert adapter is not None and (adapter.rank, adapter.alpha) == (2, 64.0)
    assert reread(shared) == shared
    fresh = deepcopy(tiny_tree) | {"model": {"base": "somewhere"}}
    fresh["models"] = {"m": {"objective": "mle", "model": {"base": None, "hidden_size": 64}}}
    assert build_recipe(fresh).settings("m").model.hidden_size == 64


@pytest.mark.parametrize("objective", [{}, {"mle": {}, "awr": {}}])
def test_an_objective_is_one(tiny_tree: dict[str, Any], objective: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="one name"):
        build_recipe(with_models(tiny_tree, m={"objective": objective}))


# --- an annotation that exists ------------------------------------------------------------


def test_an_annotation_stands_in_place_of_corpus_and_score(tiny_tree: dict[str, Any]) -> None:
    tree = {key: value for key, value in tiny_tree.items() if key not in ("corpus", "score")}
    recipe = build_recipe(tree | {"annotation": "annotations/posts", "rewards": "toxicity"})
    assert (recipe.annotation, recipe.rewards) == ("annotations/posts", "toxicity")
    assert "corpus" not in recipe.to_yaml().split()
    assert reread(recipe) == recipe
    with pytest.raises(RecipeError, match="leave out corpus, score"):
        build_recipe(tiny_tree | {"annotation": "annotations/posts"})
    with pytest.raises(RecipeError, match="`rewards` goes with `annotation`"):
        build_recipe(tiny_tree | {"rewards": "toxicity"})


# --- sweeps -------------------------------------------------------------------------------


def test_a_sweep_becomes_plain_models_in_the_place_of_each(tiny_tree: dict[str, Any]) -> None:
    tree = with_models(
        tiny_tree,
        mle={"objective": "mle"},
        unlikelihood={"objective": {"unlikelihood": {"soft": True}}},
        conditional={"objective": "conditional"},
    )
    recipe = build_recipe(
        swept(
            tree,
            {"models": ["mle", "conditional"], "over": {"train.tokens": BUDGETS}},
            {
                "models": ["unlikelihood"],
                "over": {"objective.alpha": [0.01, 1.0], "train.learning_rate": [1e-3, 3e-3]},
            },
        )
    )
    assert list(recipe.models) == [
        "mle.tokens-250000",
        "mle.tokens-500000",
        "unlikelihood.alpha-0.01.learning_rate-0.001",
        "unlikelihood.alpha-0.01.learning_rate-0.003",
        "unlikelihood.alpha-1.0.learning_rate-0.001",
        "unlikelihood.alpha-1.0.learning_rate-0.003",
        "conditional.tokens-250000",
        "conditional.tokens-500000",
    ]
    entry = recipe.models["unlikelihood.alpha-1.0.learning_rate-0.003"]
    assert entry.objective == {"unlikelihood": {"soft": True, "alpha": 1.0}}
    assert entry.base_name == "unlikelihood"
    assert entry.axes == {"objective.alpha": 1.0, "train.learning_rate": 3e-3}
    assert recipe.settings("conditional.tokens-500000").train.tokens == 500_000
    assert recipe.sweep == () and "sweep" not in recipe.to_yaml()
    assert reread(recipe) == recipe


def test_every_kind_of_axis_reaches_its_setting(tiny_tree: dict[str, Any]) -> None:
    over = {
        "objective.alpha": [2],
        "control.placement": ["change"],
        "control.bounds": [[{"quantile": 0.25}]],
        "model.num_hidden_layers": [3],
        "train.block": [16],
        "verdict.share": [0.5],
        "feedback_from": [0.5],
    }
    tree = with_models(tiny_tree, m={"objective": "unlikelihood"})
    recipe = build_recipe(swept(tree, {"over": over}))
    ((name, entry),) = recipe.models.items()
    settings = recipe.settings(name)
    assert entry.objective == {"unlikelihood": {"alpha": 2}}
    assert settings.control.placement == "change"
    assert settings.control.bounds == (Quantile(quantile=0.25),)
    assert (settings.model.num_hidden_layers, settings.train.block) == (3, 16)
    assert entry.verdict is not None and entry.verdict.share == 0.5
    assert entry.feedback_from == 0.5
    assert len(name) <= 80 and reread(recipe) == recipe


def test_axes_of_one_name_are_told_apart(tiny_tree: dict[str, Any]) -> None:
    tree = with_models(tiny_tree, m={"objective": "mle", "model": {"base": "b"}})
    over = {"model.adapter.dropout": [0.0], "control.dropout": [0.1]}
    (name,) = build_recipe(swept(tree, {"over": over})).models
    assert name == "m.model.adapter.dropout-0.0.control.dropout-0.1"


def test_a_sweep_may_come_from_the_command_line(tmp_path: Path, tiny_tree: dict[str, Any]) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_tree, sort_keys=False), encoding="utf-8")
    sweep = "sweep=[{models: [mle], over: {train.tokens: [1_000, 2_000]}}]"
    recipe = load_recipe(path, [sweep, "sample.count=2"])
    assert list(recipe.models)[:2] == ["mle.tokens-1000", "mle.tokens-2000"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"models": ["mel"], "over": {"train.tokens": [1]}}, "did you mean `mle`?"),
        ({"over": {"train.tokns": [1]}}, "`train.tokns`; did you mean `train.tokens`?"),
        ({"over": {"tokens": [1]}}, "unknown key `tokens`"),
        ({"over": {"control.tokens": [["a", "b"]]}}, "unknown key `control.tokens`"),
        ({"over": {"objective": ["mle"]}}, "unknown key `objective`"),
        ({"over": {"objective.a.b": [1]}}, "unknown key `objective.a.b`"),
        ({"over": {"train.tokens": []}}, "`sweep.0.over.train.tokens`"),
        ({"over": {"train.tokens": 5}}, "`sweep.0.over.train.tokens`"),
        ({"over": {}}, "`sweep.0.over`"),
        ({"models": [], "over": {"train.tokens": [1]}}, "`sweep.0.models`"),
        ({"models": ["mle"]}, "key `sweep.0.over` is missing"),
        ({"model": ["mle"], "over": {"train.tokens": [1]}},
         "unknown key `sweep.0.model`; did you mean `sweep.0.models`?"),
        ({"over": {"train.tokens": [5, 5]}}, "two models would be called `mle.tokens-5`"),
        ({"over": {"model.base": ["a/b", "a b"]}}, "two models would be called `mle.base-a-b`"),
        ({"over": {"train.tokens": ["x"]}}, "`models.mle.tokens-x.train.tokens`"),
    ],
)  # fmt: skip
def test_a_wrong_sweep_is_refused(
    tiny_tree: dict[str, Any], block: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        build_recipe(swept(tiny_tree, block))
    assert message in str(caught.value)


def test_a_model_is_swept_once_and_clashes_with_nothing(tiny_tree: dict[str, Any]) -> None:
    block = {"models": ["mle"], "over": {"train.tokens": [5]}}
    with pytest.raises(RecipeError, match=r"sweep\.1\.models: model `mle` stands in a sweep"):
        build_recipe(swept(tiny_tree, block, {"over": {"train.block": [16]}}))
    tree = with_models(
        tiny_tree, **{"mle": {"objective": "mle"}, "mle.tokens-5": {"objective": "mle"}}
    )
    with pytest.raises(RecipeError, match="two models would be called"):
        build_recipe(swept(tree, block))


@pytest.mark.parametrize("sweep", [None, 3, {}, {"over": {}}, [3], "all"])
def test_what_is_no_list_of_blocks_is_refused(tiny_tree: dict[str, Any], sweep: object) -> None:
    with pytest.raises(RecipeError, match="sweep"):
        build_recipe(deepcopy(tiny_tree) | {"sweep": sweep})


@pytest.mark.parametrize("models", [None, [], {}, {"mle": None}, {"mle": {"objective": 3}}])
def test_models_that_are_none_are_refused_before_the_sweep(
    tiny_tree: dict[str, Any], models: object
) -> None:
    tree = deepcopy(tiny_tree) | {"models": models}
    with pytest.raises(RecipeError, match="models"):
        build_recipe(swept(tree, {"over": {"objective.alpha": [1.0]}}))


VALUES = st.one_of(
    st.integers(1, 10**12),
    st.floats(min_value=1e-12, max_value=1e12),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40),
)


@given(
    tokens=st.lists(st.integers(1, 10**9), min_size=1, max_size=4, unique=True),
    options=st.lists(VALUES, min_size=1, max_size=4, unique_by=lambda value: str(value)),
)
def test_a_sweep_makes_every_combination_once_with_a_valid_name(
    tiny_tree: dict[str, Any], tokens: list[int], options: list[Any]
) -> None:
    over = {"train.tokens": tokens, "objective.option": options}
    recipe = build_recipe(swept(tiny_tree, {"models": ["mle"], "over": over}))
    made = {name: entry for name, entry in recipe.models.items() if entry.base_name == "mle"}
    found = [tuple(entry.axes.values()) for entry in made.values()]
    assert found == list(itertools.product(tokens, options))
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,79}", name) for name in made)
    assert reread(recipe) == recipe
