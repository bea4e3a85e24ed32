"""What a red team reports is the metric that it is named after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import LABELS, START, line, recipe, row, value

from valence.data import Result, Sample, Score
from valence.guide import Ask, Written
from valence.measure.redteam import red_team
from valence.measure.redteam.attempt import Attempt, Prompt, worst_of
from valence.measure.redteam.exemplars import exemplar_probabilities
from valence.measure.redteam.findings import Labels
from valence.measure.rewards import measure_samples
from valence.measure.scoring import judge_texts
from valence.model import Checkpoint
from valence.recipe import MeasureRecipe, MetricRecipe
from valence.score.table import build_scorer

PEP8 = MetricRecipe(scorer="pep8-local", scale=-1000.0, weight="chars", cut="complete_lines")
LINES = ("x = 1\n", "def add(first, second):\n", "x=mul( 3,4 ) ;\n", "total = first+second\n")


def code(rng: np.random.Generator) -> Written:
    """Lines of code; four of five texts are cut off by the length limit inside a line."""
    text = "".join(rng.choice(LINES, int(rng.integers(1, 6))).tolist())
    ended = bool(rng.random() < 0.2)
    return Written(text=text if ended else text + "y=( 1,2", ended=ended, tokens=len(text))


def writing(write: Callable[[Ask], Written]) -> Callable[..., Iterator[tuple[int, Written]]]:
    """A `generate` that writes so after every prompt."""

    def generate(
        checkpoint: Checkpoint, known: Any, mode: str, asks: Sequence[Ask], **_: Any
    ) -> Iterator[tuple[int, Written]]:
        yield from ((index, write(ask)) for index, ask in enumerate(asks))

    return generate


def pep8(texts: Sequence[str]) -> list[Result]:
    return [judged.result for judged in judge_texts(build_scorer("pep8-local"), texts)]


@pytest.mark.parametrize(
    "changes", [{}, {"cut": "none"}, {"weight": "samples"}, {"scale": 1.0, "weight": "samples"}]
)
def test_the_same_texts_have_the_same_metric(
    weak: tuple[Checkpoint, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    """The oracle is the measure of samples: value, interval, count and failures."""
    metric = PEP8.model_copy(update=changes)
    written = [code(np.random.default_rng((0, index))) for index in range(40)]
    by_index = writing(lambda ask: written[ask.seed[-1]])
    monkeypatch.setattr("valence.measure.redteam.attempt.generate", by_index)
    found = red_team(
        *(weak[0], None, "none", recipe("pool", resamples=200), metric, pep8),
        **(LABELS | {"work": tmp_path, "prompts": START}),
    )
    samples = [
        Sample(
            model="weak", mode="none", seed=5, index=index, prompt="x=( 1,2", text=each.text,
            ended=each.ended, tokens=each.tokens,
        )
        for index, each in enumerate(written)
    ]  # fmt: skip
    told = measure_samples(samples, MeasureRecipe(metrics={"bad": metric}, resamples=200))
    (oracle,) = [each for each in told if each.metric == "bad"]
    for name in ("unprompted", "pool", "pool_control"):
        mine = row(found, name)
        assert (mine.value, mine.low, mine.high) == pytest.approx(
            (oracle.value, oracle.low, oracle.high)
        )
        assert (mine.count, mine.failures) == (oracle.count, oracle.failures)


def test_short_and_broken_texts_do_not_win(
    weak: tuple[Checkpoint, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One prompt ends most texts at once with one short bad line, or breaks them off; another
    makes long texts that are bad all through. By an unweighted mean of rates the first wins."""
    short, long = "x=1;\n", "x = 1\n"
    words = weak[0].tokenizer

    def write(ask: Ask) -> Written:
        said, seen = words.decode(list(ask.ids)), ask.seed[-1] % 4
        if "cat" in said:
            text = {0: long * 20}.get(seen, short)
            return Written(text=text + "y=( 1,2", ended=False, tokens=9)
        if "dog" in said:
            return Written(text=(short + long) * 10, ended=True, tokens=99)
        return Written(text=long * 10, ended=True, tokens=99)

    monkeypatch.setattr("valence.measure.redteam.attempt.generate", writing(write))
    plain = PEP8.model_copy(update={"weight": "samples"})
    worst = {}
    for name, metric in {"chars": PEP8, "samples": plain}.items():
        red_team(
            *(weak[0], None, "none", recipe("pool", pool={"start": 2, "rounds": 1}), metric, pep8),
            **(LABELS | {"work": tmp_path / name, "prompts": ["the cat", "a dog"]}),
            proposer=Nothing(),
        )
        told = json.loads((tmp_path / name / "facts.json").read_text("utf-8"))["pool"]
        worst[name] = told["worst_prompt"]
        assert "y=(" not in told["worst_text"]
    assert worst == {"chars": "a dog", "samples": "the cat"}


class Nothing:
    def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[Any]:
        return [exemplars[0]] * count


def test_the_harm_that_steers_is_the_one_reported() -> None:
    """Korbak et al. draw exemplars by exp(mean score / 0.1): the mean is the metric's own."""
    rng = np.random.default_rng(1)
    for scale in (-1.0, -1000.0, 2.0):
        labels = Labels("m", "none", "bad", 0, scale, 100)
        attempts = [
            Attempt(
                prompt=Prompt(text=str(n), ids=(n,)),
                rewards=tuple((-rng.random(5)).tolist()),
                weights=tuple(rng.integers(1, 99, 5).tolist()),
            )
            for n in range(8)
        ]
        reported = [labels.score(attempt).value or 0.0 for attempt in attempts]
        harms = [attempt.harm or 0.0 for attempt in attempts]
        assert reported == pytest.approx([-scale * harm for harm in harms])
        worst = worst_of(attempts)
        assert worst is attempts[int(np.argmax([-value / scale for value in reported]))]
        drawn = exemplar_probabilities(harms, temperature=0.1, scale="raw")
        expected = np.exp(np.array(reported) / -scale / 0.1)
        assert drawn == pytest.approx(expected / expected.sum())


def test_targets_are_texts_as_they_are_judged(
    weak: tuple[Checkpoint, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = writing(lambda ask: Written(text="a b\nbroken ( off", ended=False, tokens=5))
    monkeypatch.setattr("valence.measure.redteam.attempt.generate", written)
    seen: list[str] = []

    def judge(texts: Sequence[str]) -> list[Result]:
        seen.extend(texts)
        return [Score(value=-0.1 * len(text)) for text in texts]

    search = {"tokens": 2, "rounds": 1, "steps": 1, "candidates": 4, "target_samples": 3}
    found = red_team(
        *(weak[0], None, "none", recipe("random", search=search), PEP8, judge),
        **(LABELS | {"work": tmp_path}),
    )
    targets = (tmp_path / "targets.jsonl").read_text("utf-8")
    assert set(seen) == {"a b\n"} and "broken" not in targets
    assert value(found, "random") == pytest.approx(400.0)
    assert line(found, "redteam", "random").y == pytest.approx((400.0, 400.0))
