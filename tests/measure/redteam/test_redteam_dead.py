"""A proposer that fails: no number comes of it, and the attack goes on when it is mended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from planted import LABELS, METRIC, START, recipe, reward, row, value

from valence.data import Failure, Findings
from valence.errors import (
    CorpusError,
    MissingExtraError,
    MissingFileError,
    ModelError,
    RecipeError,
)
from valence.measure.redteam import Proposer, check_attacks, red_team
from valence.model import Checkpoint
from valence.recipe.redteam import PoolRecipe, RedTeamRecipe, ServerRecipe


class Mortal:
    """Writes new prompts, but only so many; then every request fails."""

    def __init__(self, lives: int) -> None:
        self.lives = lives

    def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[str | Failure]:
        self.lives -= 1
        if self.lives < 0:
            message = "no such model"
            return [Failure(stage="propose", kind="NotFoundError", message=message)] * count
        return [f"red {seed % 9973}"] * count


def attack(weak: tuple[Checkpoint, int], work: Path, proposer: Proposer, **more: Any) -> Findings:
    return red_team(
        *(weak[0], None, "none", recipe("pool"), METRIC, reward),
        **(LABELS | {"work": work, "proposer": proposer, "prompts": START} | more),
    )


def journal(work: Path, name: str) -> list[Any]:
    path = work / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(("lives", "kept"), [(0, 1), (9, 4)])
def test_a_dead_proposer_gives_no_number_and_the_attack_goes_on(
    weak: tuple[Checkpoint, int], tmp_path: Path, lives: int, kept: int
) -> None:
    told = r"no prompt in round \d \(12 NotFoundError; the last: no such model\)\n.*run again"
    for _ in range(2):
        with pytest.raises(ModelError, match=told):
            attack(weak, tmp_path / "broken", Mortal(lives if _ == 0 else 0))
        assert len(journal(tmp_path / "broken", "pool")) == 1 + kept, "no empty round"
    found = attack(weak, tmp_path / "broken", Mortal(10**6))
    # Of the round in which it died only what it gave is there; it is told how much is not.
    short = -lives % 4
    assert value(found, "pool_prompts") == 3 + 5 * 4 - short
    assert row(found, "pool_prompts").failures == 3 * short
    if not short:
        assert found == attack(weak, tmp_path / "whole", Mortal(10**6))


def test_a_dead_proposer_gives_no_control_either(
    weak: tuple[Checkpoint, int], tmp_path: Path
) -> None:
    mortal = Mortal(3 + 5 * 4)
    with pytest.raises(ModelError, match="no prompt in round 1"):
        attack(weak, tmp_path, mortal, prompts=None)
    mortal.lives = 10**6
    found = attack(weak, tmp_path, mortal, prompts=None)
    assert value(found, "pool_control_prompts") == value(found, "pool_prompts") == 23


def test_proposals_that_are_merely_known_are_counted(
    weak: tuple[Checkpoint, int], tmp_path: Path
) -> None:
    class Same:
        def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[str | Failure]:
            return [START[0]] * count if seed % 2 else ["a big red dog " * 20] * count

    found = attack(weak, tmp_path, Same(), prompts=START[:3])
    tried = row(found, "pool_prompts")
    assert (tried.value, tried.failures) == (3, 5 * 4 * 3)
    assert value(found, "pool_calls") == 3 * 20 + 60 + 40, "answers of no use cost a call each"


def test_failed_requests_are_no_calls(weak: tuple[Checkpoint, int], tmp_path: Path) -> None:
    class Flaky(Mortal):
        def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[str | Failure]:
            return (
                super().propose(exemplars, count, seed)
                if seed % 2
                else Mortal(0).propose(exemplars, count, seed)
            )

    found = attack(weak, tmp_path, Flaky(10**6))
    tried, calls = row(found, "pool_prompts"), row(found, "pool_calls")
    assert tried.failures > 5 and tried.value is not None
    assert calls.value == tried.value * 20 + 40 + tried.value - 3


def pool(**given: Any) -> RedTeamRecipe:
    return RedTeamRecipe(pool=PoolRecipe(**given))


def test_what_an_attack_lacks_is_told_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    check_attacks(pool())
    check_attacks(RedTeamRecipe(methods=("gcg",), pool=PoolRecipe(proposer="nowhere")))
    for given, error, told in (
        ({"prompts": str(tmp_path / "none.txt")}, MissingFileError, "no such file"),
        ({"prompts": str(tmp_path / "empty.txt")}, CorpusError, "holds no prompt"),
        ({"proposer": str(tmp_path)}, MissingFileError, "not a model directory"),
    ):
        with pytest.raises(error, match=told):
            check_attacks(pool(**given))
    server = ServerRecipe(base_url="http://127.0.0.1:9/v1", model="m", key_variable="NO_SUCH_KEY")
    monkeypatch.setattr("valence.measure.redteam.server.find_spec", lambda name: object())
    with pytest.raises(RecipeError, match="NO_SUCH_KEY"):
        check_attacks(pool(server=server))
    monkeypatch.setattr("valence.measure.redteam.server.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"valence\[openai\]"):
        check_attacks(pool(server=server))


def test_a_mended_key_or_a_longer_wait_is_the_same_attack() -> None:
    one = ServerRecipe(base_url="http://a/v1", model="m", key_variable="A", timeout=1.0)
    other = one.model_copy(update={"key_variable": "B", "timeout": 60.0, "retries": 9})
    assert pool(server=one).inputs() == pool(server=other).inputs()
    elsewhere = one.model_copy(update={"model": "n"})
    assert pool(server=one).inputs() != pool(server=elsewhere).inputs()
