"""Reading recipes: YAML with overrides in, a frozen part out, or every wrong key by name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from valence.errors import MissingFileError, RecipeError, ValenceError
from valence.recipe.evaluation import EvaluationRecipe
from valence.recipe.models import ModelEntry
from valence.recipe.part import Part
from valence.recipe.parts import Recipe
from valence.recipe.suite import SuiteRecipe
from valence.recipe.sweep import SweepRecipe, expand_sweep

P = TypeVar("P", bound=BaseModel)
AnyRecipe = Recipe | SuiteRecipe | EvaluationRecipe


class _Swept(Part):
    sweep: tuple[SweepRecipe, ...]


class _Loader(yaml.SafeLoader):
    """YAML as people write it: `1e-3` is a number, and a key stands only once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key `{key}` stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def packaged_recipes() -> dict[str, str]:
    """Name and text of every recipe that travels with the package."""
    folder = resources.files("valence.recipes")
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, or a packaged one by its name, with overrides applied.

    Each override is `dotted.key=value`; the value is read as YAML, never evaluated.
    Raises `MissingFileError` and `RecipeError`.
    """
    found = load_any(source, overrides)
    if not isinstance(found, Recipe):
        raise RecipeError(
            "is not one run but a suite of them"
            if isinstance(found, SuiteRecipe)
            else "is not a run but measures models that exist",
            where=str(source),
            fix="Give it to `valence run`."
            if isinstance(found, SuiteRecipe)
            else "Give it to `valence measure`.",
        )
    return found


def read_tree(source: str | Path) -> tuple[dict[str, Any], str]:
    """The plain data of a YAML file, or of a packaged recipe by its name, and what it is called.

    Raises `MissingFileError` and `RecipeError`.
    """
    path, packaged = Path(source), packaged_recipes()
    if path.is_file():
        return _parse(_read(path), str(path)), str(path)
    if str(source) in packaged:
        where = f"recipe `{source}`"
        return _parse(packaged[str(source)], where), where
    raise MissingFileError(
        "no such recipe",
        where=str(source),
        fix=f"Give a YAML file, or one of the recipes in the package: {', '.join(packaged)}.",
    )


def load_any(source: str | Path, overrides: Sequence[str] = ()) -> AnyRecipe:
    """What is in a YAML file or a packaged recipe: a run, a suite of runs (it has `runs`), or an
    evaluation (its `models` are directories). Raises `MissingFileError` and `RecipeError`.
    """
    tree, where = read_tree(source)
    override(tree, overrides)
    if "runs" in tree:
        return build_part(SuiteRecipe, tree, where=where)
    models = tree.get("models")
    if (
        isinstance(models, dict)
        and models
        and not any(isinstance(m, dict) for m in models.values())
    ):
        return build_part(EvaluationRecipe, tree, where=where)
    return build_recipe(tree, where=where)


def override(tree: dict[str, Any], overrides: Sequence[str], *, option: str = "--set") -> None:
    """Apply `dotted.key=value` overrides to plain data; values are read as YAML."""
    for one in overrides:
        _apply(tree, one, option)


def read_value(text: str, *, where: str) -> Any:
    """A value as YAML spells it; raises `RecipeError`."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except NOT_YAML:
        raise RecipeError(f"`{text}` is not a YAML value", where=where, fix="Quote it.") from None


def build_recipe(tree: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """A recipe from plain data, its sweep written out as models.

    Raises `RecipeError` naming every wrong key.
    """
    plain = {key: value for key, value in tree.items() if key != "sweep"}
    models = plain.get("models")
    if "sweep" in tree and _are_entries(models):
        blocks = build_part(_Swept, {"sweep": tree["sweep"]}, where=where).sweep
        plain["models"] = expand_sweep(models, blocks, where=where)  # type: ignore[arg-type]
    return build_part(Recipe, plain, where=where)


def build_part(kind: type[P], tree: Mapping[str, Any], *, where: str) -> P:
    """A part of a recipe from plain data; raises `RecipeError` naming every wrong key."""
    try:
        # Through JSON, because strict mode then still takes a list for a tuple.
        return kind.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise _explain(error, where, kind) from None
    except (TypeError, ValueError) as error:
        raise RecipeError(
            str(error), where=where, fix="Use numbers, strings, lists and maps."
        ) from None


def _are_entries(models: object) -> bool:
    return isinstance(models, dict) and all(isinstance(entry, dict) for entry in models.values())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot be read as text ({error})", where=str(path), fix="Give a UTF-8 YAML file."
        ) from None


# What YAML raises for text that it cannot take: some of its constructors let the builtin
# through, for instance for the 13th month, a list as a key, or brackets without end.
NOT_YAML = (yaml.YAMLError, ValueError, TypeError, RecursionError)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except NOT_YAML as error:
        flat = " ".join(str(error).split())
        raise RecipeError(
            f"not valid YAML: {flat}", where=where, fix="Mend the file there."
        ) from None
    if not isinstance(tree, dict):
        raise RecipeError(
            "a recipe is a map of keys",
            where=where,
            fix="Start from `valence recipes --show demo`.",
        )
    return tree


def _apply(tree: dict[str, Any], override: str, option: str) -> None:
    key, equals, raw = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise RecipeError(
            f"`{override}` is not of the form a.b=value",
            where=option,
            fix="For example: --set train.tokens=200000",
        )
    value = read_value(raw, where=f"{option} {key}")
    for step in steps[:-1]:
        inner = tree.setdefault(step, {})
        if not isinstance(inner, dict):
            inner = tree[step] = {}
        tree = inner
    tree[steps[-1]] = value


def _explain(error: ValidationError, where: str, root: type[BaseModel]) -> ValenceError:
    lines = []
    for item in error.errors(include_url=False):
        place = [str(step) for step in item["loc"]]
        dotted = ".".join(place) or "the recipe"
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key `{dotted}`{_nearest(place, root)}")
        elif item["type"] == "missing":
            lines.append(f"key `{dotted}` is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(item["input"], dict) else f" (it is {item['input']!r})"
            lines.append(f"`{dotted}`: {message}{shown}")
    return RecipeError(
        "; ".join(dict.fromkeys(lines)),
        where=where,
        fix="`valence recipes --show demo` prints a recipe with every key.",
    )


def _nearest(place: list[str], root: type[BaseModel]) -> str:
    """The nearest valid key: a near miss here, then that very key elsewhere, then any."""
    part = _part_at(root, place[:-1])
    here = {".".join([*place[:-1], key]): key for key in (part.model_fields if part else ())}
    elsewhere = {
        f"{name}.{key}": key
        for name, field in root.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for key in field.annotation.model_fields
    }
    for keys, cutoff in ((here, 0.8), (elsewhere, 1.0), (here, 0.5), (elsewhere, 0.8)):
        close = difflib.get_close_matches(place[-1], keys.values(), n=1, cutoff=cutoff)
        if close:
            meant = [f"`{dotted}`" for dotted, key in keys.items() if key == close[0]]
            return f"; did you mean {' or '.join(meant)}?"
    return f"; valid keys here: {', '.join(here.values())}" if here else ""


def _part_at(part: type[BaseModel], place: list[str]) -> type[BaseModel] | None:
    """The recipe part that a dotted place leads to."""
    while place:
        field = part.model_fields.get(place[0])
        if field is None:
            return None
        if issubclass(part, ModelEntry) and place[0] in part.overrides:
            part, place = part.overrides[place[0]], place[1:]
            continue
        inner = _part_in(field.annotation)
        if inner is None:
            return None
        # A map of parts has the entry's own name as one more step, a list its number.
        is_many = any(kind in str(field.annotation) for kind in ("dict[", "tuple["))
        part, place = inner, place[2 if is_many else 1 :]
    return part


def _part_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _part_in(inner)
        if found is not None:
            return found
    return None
