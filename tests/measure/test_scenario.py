"""Scenarios: prompts read, seeds of samples, and what is scored of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.data import Failure, Measurement, Sample, Score
from valence.errors import CorpusError, MissingFileError, RecipeError
from valence.guide import Written
from valence.measure import rewards
from valence.measure.rewards import sample_rows, values_of
from valence.measure.scenario import Scenario, draw, read_prompts, scenarios
from valence.measure.scoring import Judged, Scoring, judge_texts, judged_text, scoring_pool
from valence.model import train_tokenizer
from valence.recipe import MeasureRecipe, MetricRecipe, SampleRecipe, ScenarioRecipe, build_part
from valence.score.table import build_scorer

BAD = {"regex": {"patterns": ["bad"]}}
METRIC = MetricRecipe(scorer=BAD, scale=-1.0)


def sample(index: int, text: str, *, ended: bool = True, prompt: str = "") -> Sample:
    return Sample(
        model="m", mode="good", seed=0, index=index, prompt=prompt, text=text, ended=ended,
        tokens=len(text),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    scheme = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
    return train_tokenizer(["a few words of text"] * 3, 300, scheme, max_length=64)


def test_prompts_come_from_rows_and_from_lines(tmp_path: Path) -> None:
    rows = tmp_path / "prompts.jsonl"
    rows.write_text("".join(json.dumps({"said": f"p{n}", "score": n}) + "\n" for n in range(5)))
    assert read_prompts(ScenarioRecipe(prompts=str(rows), column="said"), 0) == (
        "p0", "p1", "p2", "p3", "p4",
    )  # fmt: skip
    lines = tmp_path / "prompts.txt"
    lines.write_text("one\n\ntwo words\n")
    assert read_prompts(ScenarioRecipe(prompts=str(lines)), 0) == ("one", "two words")


def test_a_part_of_the_prompts_is_seeded_and_in_order(tmp_path: Path) -> None:
    lines = tmp_path / "prompts.txt"
    lines.write_text("".join(f"{n:02d}\n" for n in range(50)))
    recipe = ScenarioRecipe(prompts=str(lines), count=7)
    found = read_prompts(recipe, 3)
    assert len(found) == 7 and list(found) == sorted(found)
    assert found == read_prompts(recipe, 3) != read_prompts(recipe, 4)


def test_a_file_without_prompts_and_one_that_is_not_there_say_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    with pytest.raises(CorpusError, match="holds no prompt"):
        read_prompts(ScenarioRecipe(prompts=str(empty)), 0)
    with pytest.raises(MissingFileError):
        read_prompts(ScenarioRecipe(prompts=str(tmp_path / "none.jsonl")), 0)


def test_a_row_without_a_prompt_is_named_and_not_left_out(tmp_path: Path) -> None:
    rows = tmp_path / "prompts.jsonl"
    rows.write_text('{"text": "one"}\n{"text": 5}\n{"text": "three"}\n')
    with pytest.raises(CorpusError, match="a row holds no prompt"):
        read_prompts(ScenarioRecipe(prompts=str(rows)), 0)


def test_settings_of_a_scenario_replace_those_of_the_sample(tmp_path: Path) -> None:
    lines = tmp_path / "prompts.txt"
    lines.write_text("one\ntwo\n")
    measure = MeasureRecipe(
        scenarios={"asked": ScenarioRecipe(prompts=str(lines), per_prompt=3, max_tokens=5)}
    )
    free, asked = scenarios(SampleRecipe(count=10, temperature=0.7), measure, 0)
    assert (free.count, asked.count) == (10, 6)
    assert (asked.settings.max_tokens, asked.settings.temperature) == (5, 0.7)
    assert (free.metric("harm"), asked.metric("harm")) == ("harm", "harm@asked")
    assert asked.of_each == 3 and free.of_each is None
    (alone,) = scenarios(None, measure, 0)
    assert alone.name == "asked"


def test_every_sample_has_a_seed_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    def seeds(name: str, seed: int) -> list[tuple[int, ...]]:
        scenario = Scenario(name=name, prompts=("a", "few"), per_prompt=3, settings=SampleRecipe())
        return [ask.seed for ask in scenario.asks(tokenizer, seed)]

    assert len({*seeds("x", 0), *seeds("x", 1), *seeds("y", 0)}) == 18
    assert seeds("x", 0) == seeds("x", 0)


def test_in_a_chat_a_closed_turn_ends_the_text(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no BOS nothing stands before the template."""
    own = copy.deepcopy(tokenizer)
    own.add_special_tokens({"additional_special_tokens": ["<|end|>"]})
    own.bos_token = None
    own.chat_template = "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"
    asked = {}

    def generate(*given: Any, **options: Any) -> Iterator[tuple[int, Written]]:
        asked.update(options, asks=given[3])
        yield 0, Written(text="x", ended=True, tokens=1)

    monkeypatch.setattr("valence.measure.scenario.generate", generate)
    checkpoint: Any = SimpleNamespace(tokenizer=own)
    for chat, ends in ((True, (own.convert_tokens_to_ids("<|end|>"),)), (False, ())):
        scenario = Scenario(
            name="x", prompts=("a few",), per_prompt=1, settings=SampleRecipe(), chat=chat
        )
        assert list(draw(scenario, checkpoint, None, "none", model_name="m", seed=0))
        assert asked["ends"] == ends
        before = asked["asks"][0].prompt((own.eos_token_id,), ())
        assert (own.eos_token_id in before) is not chat


def test_a_prompt_that_spells_a_control_token_is_text(tokenizer: PreTrainedTokenizerFast) -> None:
    scenario = Scenario(name="x", prompts=("<|bad|> a few",), per_prompt=1, settings=SampleRecipe())
    (ask,) = scenario.asks(tokenizer, 0)
    assert not set(ask.ids) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ask.ids) == "<|bad|> a few"


def test_text_is_judged_alone_or_with_its_prompt() -> None:
    metric = MetricRecipe(scorer="pep8-local", cut="complete_lines")
    cut = sample(0, "body\nunfinis", ended=False, prompt="def f():\n")
    assert judged_text(cut, metric) == "body\n"
    assert judged_text(cut, metric, whole=True) == "def f():\nbody\n"
    assert judged_text(sample(0, "whole\nline"), metric) == "whole\nline"


def test_an_empty_text_is_a_failure_and_not_a_number() -> None:
    judged = judge_texts(build_scorer(BAD), ["", "bad"])
    assert isinstance(judged[0].result, Failure) and judged[0].result.kind == "empty"
    assert isinstance(judged[1].result, Score)


@pytest.mark.parametrize(("workers", "beside"), [(0, True), (1, True), (2, False)])
def test_scoring_beside_writing_gives_the_same(workers: int, beside: bool) -> None:
    texts = [f"{'bad ' * (n % 4)}text {n}" for n in range(45)]
    with scoring_pool(workers) as submit:
        scoring = Scoring(
            metrics={"harm": METRIC, "code": MetricRecipe(scorer="pep8")},
            submit=submit,
            beside=beside,
        )
        for index in reversed(range(45)):  # In whatever order they were finished.
            scoring.begin(sample(index, texts[index]))
        answers = scoring.answers()
    for name, spec in (("harm", BAD), ("code", "pep8")):
        expected = judge_texts(build_scorer(spec), texts)
        assert [answers[name][index] for index in range(45)] == expected


def test_rows_of_a_scenario_are_over_prompts_and_count_what_failed() -> None:
    """Four prompts with two samples each; one sample is empty."""
    words = ["bad", "", "bad bad", "ok", "ok", "ok", "bad", "ok"]
    samples = [sample(n, word) for n, word in enumerate(words)]
    measure = MeasureRecipe(
        metrics={"harm": MetricRecipe(scorer=BAD, scale=-1.0, hit=0.0, worst_of=2)},
        resamples=100,
    )
    scoring = Scoring(metrics=measure.metrics)
    for one in samples:
        scoring.begin(one)
    answers = scoring.answers()
    found = {
        row.metric: row
        for row in sample_rows(samples, answers, measure, scenario="asked", per_prompt=2)
    }
    values = values_of(answers["harm"], measure.metrics["harm"])
    assert 1 not in values and len(values) == 7
    harm = found["harm@asked"]
    assert harm.value == pytest.approx(sum(values.values()) / 7)
    assert (harm.count, harm.failures) == (7, 1)
    hits = found["harm_hits@asked"]
    assert (hits.value, hits.count, hits.failures) == (3 / 7, 7, 1)
    # The first prompt has one value only, so it has no worst of two, and that is told.
    worst = [max(values[a], values[a + 1]) for a in (2, 4, 6)]
    row = found["harm_worst_of_2@asked"]
    assert row.value == pytest.approx(sum(worst) / 3)
    assert (row.count, row.failures) == (3, 2)
    left_out = found["harm_worst_of_2_left_out@asked"]
    assert (left_out.value, left_out.count) == (1 / 4, 4)


def test_the_worst_of_a_reward_is_its_lowest() -> None:
    samples = [sample(n, "x") for n in range(4)]
    answers = {
        "reward": {n: Judged(chars=1, result=Score(value=v)) for n, v in enumerate([1, 2, 3, 4.0])}
    }
    measure = MeasureRecipe(
        metrics={"reward": MetricRecipe(scorer="pep8", worst_of=4, hit=2.5)}, resamples=100
    )
    found = {row.metric: row.value for row in sample_rows(samples, answers, measure)}
    assert found["reward_worst_of_4"] == 1.0
    assert found["reward_hits"] == 0.5  # Below 2.5 is the wrong side.


def test_samples_that_ran_out_of_context_have_a_row() -> None:
    measure = MeasureRecipe(resamples=100)
    full = replace(sample(0, "a few words", ended=False), no_room=True)
    rows = {row.metric: row.value for row in sample_rows([full, sample(1, "more")], {}, measure)}
    assert rows["no_room_share"] == 0.5
    assert "no_room_share" not in {r.metric for r in sample_rows([sample(1, "x")], {}, measure)}


def worst_rows(values: list[float | None], per_prompt: int | None) -> dict[str, Measurement]:
    """Rows of the worst of two; None is a sample that could not be scored."""
    failed = Failure(stage="measure", kind="syntax", message="broken")
    answers = {
        n: Judged(chars=1, result=failed if value is None else Score(value=value))
        for n, value in enumerate(values)
    }
    metric = MetricRecipe(scorer="pep8", worst_of=2)
    measure = MeasureRecipe(metrics={"reward": metric}, resamples=100)
    samples = [sample(n, "x") for n in range(len(values))]
    found = sample_rows(samples, {"reward": answers}, measure, per_prompt=per_prompt)
    return {row.metric: row for row in found if "worst" in row.metric}


def test_the_worst_of_several_is_of_one_prompt_and_never_across_prompts() -> None:
    """Four prompts with a sample each say nothing of the worst of two of a prompt."""
    values: list[float | None] = [1.0, 2.0, 3.0, 4.0]
    row = worst_rows(values, 1)["reward_worst_of_2"]
    assert (row.value, row.count, row.failures) == (None, 0, 4)
    assert worst_rows(values, 1)["reward_worst_of_2_left_out"].value == 1.0
    # Without prompts all samples are one group: nobody chose among them.
    (alone,) = worst_rows(values, None).values()
    assert alone.value == pytest.approx(np.mean([1, 1, 1, 2, 2, 3]))


def test_of_one_prompt_that_is_left_there_is_no_interval() -> None:
    """It would be one over the samples of that prompt, beside others over prompts."""
    row = worst_rows([1.0, 2.0, 3.0, None, 4.0, None, None, 5.0, 6.0], 3)["reward_worst_of_2"]
    assert (row.count, row.failures) == (2, 4)
    row = worst_rows([1.0, 2.0, 3.0, None, 4.0, None], 3)["reward_worst_of_2"]
    assert row.value == pytest.approx(4 / 3)
    assert (row.low, row.high, row.count, row.failures) == (None, None, 1, 3)


def test_a_scenario_with_too_few_samples_of_a_prompt_for_the_worst_is_refused() -> None:
    tree = {
        "metrics": {"harm": {"scorer": "pep8", "worst_of": 3}},
        "scenarios": {"asked": {"prompts": "p.txt", "per_prompt": 2}},
    }
    with pytest.raises(RecipeError, match="per_prompt is 2: give 3 or more"):
        build_part(MeasureRecipe, tree, where="here")


def test_intervals_of_samples_that_share_prompts_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts differ in all that is measured; of independent samples 60% would hold."""
    monkeypatch.setattr(rewards, "self_bleu", lambda *_, **__: None)
    monkeypatch.setattr(rewards, "distinct_corpus", lambda *_, **__: None)
    metric = MetricRecipe(scorer="pep8", failures_as="broken")
    measure = MeasureRecipe(metrics={"reward": metric}, resamples=200)
    failed = Failure(stage="measure", kind="syntax", message="broken")
    names = ("broken", "ended_share", "ends_in_loop", "distinct_2", "repetition_4")
    # Shares and means of what is drawn below, each with probability 1/2 or for all samples.
    looped, varied = "ha " * 12, "a b c d e f"
    truths = {"distinct_2": (1 + 1 / 11) / 2, "repetition_4": (8 / 9) / 2}
    held = dict.fromkeys(names, 0)
    rng, trials, prompts, each = np.random.default_rng(0), 120, 40, 5
    for _ in range(trials):
        flags = rng.random((3, prompts * each)) < np.repeat(
            rng.beta(0.5, 0.5, (3, prompts)), each, 1
        )
        samples = [
            sample(n, looped if loops else varied, ended=bool(ended))
            for n, (loops, ended) in enumerate(zip(flags[0], flags[1], strict=True))
        ]
        answers = {
            n: Judged(chars=1, result=failed if flag else Score(value=0.0))
            for n, flag in enumerate(flags[2])
        }
        for row in sample_rows(samples, {"reward": answers}, measure, per_prompt=each):
            if row.metric in held and row.low is not None and row.high is not None:
                held[row.metric] += row.low <= truths.get(row.metric, 0.5) <= row.high
    for name in names:
        assert 0.9 <= held[name] / trials <= 0.99, (name, held[name] / trials)
