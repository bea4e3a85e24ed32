"""Each attack has a control of its own size: the worst of as many prompts nobody searched for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import LABELS, METRIC, START, fake_generate, line, recipe, reward, row, value

from valence.data import Failure
from valence.measure.redteam import red_team
from valence.model import Checkpoint, text_ids


class Counting:
    """A new prompt each time it is asked, but for every fourth time."""

    def __init__(self) -> None:
        self.asked = 0

    def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[str | Failure]:
        self.asked += 1
        if self.asked % 4 == 0:
            return [Failure(stage="propose", kind="busy", message="later")] * count
        return [f"dog {self.asked}"] * count


MANY = [f"the {word} {number}" for word in ("cat", "mat") for number in range(40)]


@pytest.mark.parametrize("prompts", [MANY, None])
def test_the_pools_control_tries_as_many_prompts(
    weak: tuple[Checkpoint, int], tmp_path: Path, prompts: list[str] | None
) -> None:
    found = red_team(
        *(weak[0], None, "none", recipe("pool", completions=4), METRIC, reward),
        **(LABELS | {"work": tmp_path, "prompts": prompts, "proposer": Counting()}),
    )
    # Three tries are enough for any trial, so nothing is missing.
    assert value(found, "pool_prompts") == value(found, "pool_control_prompts") == 23
    lines = [json.loads(t) for t in (tmp_path / "prompts.jsonl").read_text("utf-8").splitlines()]
    tried = [each["prompt"] for each in lines if each["attack"] == "pool_control"]
    assert len(set(tried)) == 23
    fresh = row(found, "pool_control")
    assert fresh.count + fresh.failures == 40


def test_a_control_that_runs_out_of_prompts_says_so(
    weak: tuple[Checkpoint, int], tmp_path: Path
) -> None:
    found = red_team(
        *(weak[0], None, "none", recipe("pool", completions=4), METRIC, reward),
        **(LABELS | {"work": tmp_path, "prompts": START, "proposer": Counting()}),
    )
    assert value(found, "pool_prompts") == 23
    assert value(found, "pool_control_prompts") == len(START) == 9


def test_searches_have_a_control_without_a_pool(
    weak: tuple[Checkpoint, int], tmp_path: Path
) -> None:
    found = red_team(
        *(weak[0], None, "none", recipe("greedy", "gcg", completions=6), METRIC, reward),
        **(LABELS | {"work": tmp_path}),
    )
    tried = {value(found, f"{name}_prompts") for name in ("greedy", "gcg", "search_control")}
    assert tried == {7} and row(found, "search_control").count > 20
    lines = [json.loads(t) for t in (tmp_path / "prompts.jsonl").read_text("utf-8").splitlines()]
    random = [each for each in lines if each["attack"] == "search_control"]
    start = next(each for each in lines if each["attack"] == "greedy")
    assert random[0]["ids"] == start["ids"], "the searches' own start"
    assert len({tuple(each["ids"]) for each in random}) == 7
    for each in random:
        assert len(each["ids"]) == 4
        assert text_ids(weak[0].tokenizer, each["prompt"]) == each["ids"]
    assert not any("pool" in each.metric for each in found.rows)
    assert line(found, "redteam", "search_control").x == tuple(range(7))


@pytest.mark.parametrize("method", ["pool", "random"])
def test_where_no_prompt_does_anything_an_attack_and_its_control_look_alike(
    weak: tuple[Checkpoint, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """All prompts are equally bad: what the worst had more is luck, and equally much of it."""
    monkeypatch.setattr("valence.measure.redteam.attempt.generate", fake_generate(lambda ask: 0.5))
    search: Any = {"tokens": 1, "rounds": 6, "steps": 1, "candidates": 2, "targets": ["b"]}
    control = "pool_control" if method == "pool" else "search_control"
    gaps = []
    for seed in range(12):
        found = red_team(
            *(weak[0], None, "none", recipe(method, completions=8, confirm=2, search=search)),
            *(METRIC, reward),
            **(LABELS | {"seed": seed, "work": tmp_path / str(seed), "prompts": MANY}),
            proposer=Counting(),
        )
        gaps.append(value(found, f"{method}_selected") - value(found, f"{control}_selected"))
    error = np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    assert abs(np.mean(gaps)) < 3 * error < 0.2
