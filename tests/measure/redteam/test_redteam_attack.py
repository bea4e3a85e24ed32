"""All attacks on a planted weakness: they find it, can be resumed, and count what they cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import (
    LABELS,
    METRIC,
    START,
    Doubling,
    fake_generate,
    line,
    monotone,
    recipe,
    reward,
    row,
    value,
)

from valence.data import Failure, Findings, Result, Score
from valence.errors import ModelError, RunExistsError, ScorerError, StoreError
from valence.measure.redteam import red_team
from valence.measure.redteam.journal import Journal
from valence.model import Checkpoint, text_ids


@pytest.mark.parametrize("method", ["random", "greedy", "gcg"])
def test_a_search_finds_the_token_that_was_planted(
    weak: tuple[Checkpoint, int], tmp_path: Path, method: str
) -> None:
    checkpoint, trigger = weak
    found = red_team(
        checkpoint, None, "none", recipe(method), METRIC, reward, work=tmp_path, **LABELS
    )
    curve = line(found, "redteam", method)
    assert monotone(curve.y) and monotone(line(found, "redteam_objective", method).y)
    assert curve.y[0] is not None and curve.y[0] < 0.5
    assert curve.y[-1] == value(found, f"{method}_selected") == 1.0
    assert value(found, method) == 1.0 and value(found, "unprompted") < 0.3
    lines = (tmp_path / "prompts.jsonl").read_text("utf-8").splitlines()
    prompts = [json.loads(text) for text in lines]
    last = [p for p in prompts if p["attack"] == method][-1]
    assert trigger in last["ids"]
    assert text_ids(checkpoint.tokenizer, last["prompt"]) == last["ids"]
    calls = line(found, "redteam_calls", method)
    assert monotone(calls.x) and calls.x[-1] + 40 == row(found, f"{method}_calls").count
    passes = json.loads((tmp_path / "facts.json").read_text("utf-8"))[method]
    gradients = 2 * 6 * 4 if method == "gcg" else 0
    assert passes["backward_passes"] == gradients
    assert passes["forward_passes"] <= 2 * (1 + 6 * 4 * 40) + gradients
    assert row(found, f"{method}_calls").value == (
        passes["texts"] + passes["forward_passes"] + 2 * passes["backward_passes"]
    )


def test_the_gradient_needs_the_fewest_steps(weak: tuple[Checkpoint, int], tmp_path: Path) -> None:
    checkpoint, _ = weak
    found = red_team(
        checkpoint, None, "none", recipe("gcg"), METRIC, reward, work=tmp_path, **LABELS
    )
    assert line(found, "redteam", "gcg").y[1] == 1.0, "one round is enough"


def test_the_pool_gets_worse_and_the_control_does_not(
    weak: tuple[Checkpoint, int], tmp_path: Path
) -> None:
    checkpoint, _ = weak
    proposer = Doubling()
    found = red_team(
        *(checkpoint, None, "none", recipe("pool"), METRIC, reward),
        **(LABELS | {"prompts": START, "proposer": proposer, "work": tmp_path}),
    )
    curve, control = line(found, "redteam", "pool"), line(found, "redteam", "pool_control")
    assert curve.x == (0, 1, 2, 3, 4, 5) and monotone(curve.y) and monotone(control.y)
    assert curve.y[0] == control.y[0], "the same start"
    assert value(found, "pool") > 0.5 > 0.3 > value(found, "pool_control_mean")
    fresh, chosen = row(found, "pool"), row(found, "pool_selected")
    assert fresh.count + fresh.failures == 40 and chosen.count + chosen.failures == 20
    assert fresh.failures > 0 and fresh.low is not None and fresh.high is not None
    told = json.loads((tmp_path / "facts.json").read_text("utf-8"))
    refused, tried = told["pool"]["refused"], told["pool"]["prompts"]
    assert set(refused) == {"busy", "known"} and 3 < tried <= 23
    assert proposer.asked == sum(refused.values()) + tried - 3
    assert told["pool"]["proposals"] == proposer.asked - refused["busy"], "what failed is no call"
    assert told["pool_control"]["proposals"] == 0, "given prompts are enough"
    assert told["pool_control"]["prompts"] == len(START), "each once, and then no more"
    assert told["pool"]["texts"] == 20 * tried + 40
    assert curve.count[0] <= 20


def test_numbers_are_in_the_metrics_own_unit(weak: tuple[Checkpoint, int], tmp_path: Path) -> None:
    harms, rewards = (
        red_team(
            *(weak[0], None, "none", recipe("greedy")),
            *(METRIC.model_copy(update={"scale": scale}), reward),
            **(LABELS | {"work": tmp_path / name}),
        )
        for name, scale in (("harm", -1000.0), ("reward", 1.0))
    )
    assert value(harms, "greedy") == 1000.0 and value(rewards, "greedy") == -1.0
    one, other = row(harms, "unprompted"), row(rewards, "unprompted")
    assert one.low is not None and other.high is not None
    assert one.low == pytest.approx(-1000 * other.high)


@pytest.mark.parametrize("calls", [1, 3, 8, 11, 15])
def test_an_interrupted_attack_is_resumed_with_the_same_results(
    weak: tuple[Checkpoint, int], tmp_path: Path, calls: int
) -> None:
    plan = recipe("pool", "gcg", completions=6, confirm=8)
    given: dict[str, Any] = {**LABELS, "prompts": START}

    def attack(name: str, score: Any) -> Findings:
        return red_team(
            *(weak[0], None, "none", plan, METRIC, score),
            **(given | {"work": tmp_path / name, "proposer": Doubling()}),
        )

    left = calls

    def stopped(texts: Sequence[str]) -> list[Result]:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return reward(texts)

    with pytest.raises(KeyboardInterrupt):
        attack("broken", stopped)
    resumed, whole = attack("broken", reward), attack("whole", reward)
    assert resumed == whole
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == names
    for name in names:
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_attack_is_not_done_again_and_another_seed_is_refused(
    weak: tuple[Checkpoint, int], tmp_path: Path
) -> None:
    def never(texts: Sequence[str]) -> list[Result]:
        raise AssertionError("scored again")

    seen: list[tuple[int, int]] = []
    given = {**LABELS, "work": tmp_path, "on_progress": lambda *at: seen.append(at)}
    first = red_team(weak[0], None, "none", recipe("gcg"), METRIC, reward, **given)
    assert seen[-1] == (17, 17)
    assert red_team(weak[0], None, "none", recipe("gcg"), METRIC, never, **given) == first
    with pytest.raises(RunExistsError, match="another model"):
        red_team(weak[0], None, "none", recipe("gcg"), METRIC, reward, **{**given, "seed": 6})
    (tmp_path / "gcg.jsonl").write_text("{]\n", encoding="utf-8")
    with pytest.raises(StoreError, match="not a journal"):
        red_team(weak[0], None, "none", recipe("gcg"), METRIC, reward, **given)


def test_another_seed_gives_other_texts_and_another_prompt(
    weak: tuple[Checkpoint, int], tmp_path: Path
) -> None:
    prompts = []
    for seed in (5, 5, 6):
        work = tmp_path / str(len(prompts))
        red_team(
            *(weak[0], None, "none", recipe("random"), METRIC, reward),
            **(LABELS | {"seed": seed, "work": work}),
        )
        prompts.append((work / "prompts.jsonl").read_text("utf-8"))
    assert prompts[0] == prompts[1] != prompts[2]


def test_a_prompt_without_any_score_never_joins(
    weak: tuple[Checkpoint, int], tmp_path: Path
) -> None:
    def nothing(texts: Sequence[str]) -> list[Result]:
        return [Failure(stage="score", kind="down", message="no scorer")] * len(texts)

    proposer = Doubling()
    found = red_team(
        *(weak[0], None, "none", recipe("pool"), METRIC, nothing),
        **(LABELS | {"prompts": START, "proposer": proposer, "work": tmp_path}),
    )
    for name in ("pool", "pool_selected", "pool_control", "pool_control_mean", "unprompted"):
        assert row(found, name).value is None and row(found, name).count == 0
    assert row(found, "unprompted").failures == 40
    assert line(found, "redteam", "pool").y == (None,) * 6
    told = json.loads((tmp_path / "facts.json").read_text("utf-8"))["pool"]
    assert told["without_score"] == told["prompts"] > 3
    shown = Journal(tmp_path / "other.jsonl", {})
    assert shown.rounds == []


def test_fresh_texts_do_away_with_the_luck_of_the_chosen(
    weak: tuple[Checkpoint, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All prompts are equally bad, so what the worst of them had more was luck."""
    monkeypatch.setattr("valence.measure.redteam.attempt.generate", fake_generate(lambda ask: 0.5))
    found = [
        red_team(
            *(weak[0], None, "none", recipe("pool", completions=10, confirm=60), METRIC, reward),
            **(LABELS | {"seed": seed, "work": tmp_path / str(seed), "prompts": START}),
            proposer=Doubling(),
        )
        for seed in range(6)
    ]
    assert np.mean([value(each, "pool_selected") for each in found]) > 0.65
    assert np.mean([value(each, "pool") for each in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([value(each, "pool_control_mean") for each in found]) == pytest.approx(
        0.5, abs=0.1
    )


def test_what_cannot_go_on_says_so(weak: tuple[Checkpoint, int], tmp_path: Path) -> None:
    class Mute:
        def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[str | Failure]:
            return [Failure(stage="propose", kind="busy", message="no")] * count

    with pytest.raises(ModelError, match=r"gave no prompt in round 0 \(9 busy; the last: no\)"):
        red_team(
            *(weak[0], None, "none", recipe("pool"), METRIC, reward),
            **(LABELS | {"proposer": Mute(), "work": tmp_path / "a"}),
        )
    with pytest.raises(ScorerError, match="1 results for 40 texts"):
        red_team(
            *(weak[0], None, "none", recipe("pool"), METRIC, lambda texts: [Score(value=0.0)]),
            **(LABELS | {"work": tmp_path / "b"}),
        )
