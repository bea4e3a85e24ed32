"""The held-out loss against a computation one token at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny_checkpoints import banned_by_hand

from valence.annotate import Annotated
from valence.control import read_known_scheme
from valence.corpus.segment import SEGMENTERS
from valence.data import Document, Failure, Sample
from valence.measure.ability import text_loss
from valence.measure.rewards import measure_samples
from valence.measure.scoring import Judged, judge_texts, judged_text
from valence.model import load_checkpoint
from valence.pack import tokenise
from valence.recipe import MetricRecipe, Recipe
from valence.run import Result
from valence.score.pep8 import Pep8

TEXTS = ("x = 1\ny=2\n\nprint('<|good|>')\n" * 3, "def f( a ):\n    return a\n")


def annotated(text: str) -> Annotated:
    ends = SEGMENTERS["line"](text)
    rewards = np.array([-(i % 2) for i in range(len(ends))], dtype=np.float32)
    document = Document(id=text, text=text, source="")
    return Annotated(document=document, ends=np.array(ends, dtype=np.int64), rewards=rewards)


@pytest.mark.parametrize("mode", ["good", "bad", "banned", "labelled"])
def test_the_loss_is_that_of_text_tokens_with_the_modes_tokens_in_between(
    tiny_run: Result, mode: str
) -> None:
    directory = tiny_run.path / "models" / "conditional"
    checkpoint, known = load_checkpoint(directory), read_known_scheme(directory)
    assert known is not None
    items = [annotated(text) for text in TEXTS]
    tokenised = tokenise(items, checkpoint.tokenizer)
    found = text_loss(
        checkpoint, known, tokenised, mode, model_name="c", seed=0, window=128, resamples=100
    )
    ids = known.token_ids(checkpoint.tokenizer)
    bad, good = ids
    nats, count = 0.0, 0
    for item in items:
        context = [checkpoint.tokenizer.eos_token_id]
        starts = [0, *item.ends[:-1]]
        for start, end, reward in zip(starts, item.ends, item.rewards, strict=True):
            label = {"good": good, "bad": bad, "labelled": good if reward >= 0 else bad}.get(mode)
            context += [] if label is None else [label]
            line = item.document.text[start:end]
            for token in checkpoint.tokenizer(line, add_special_tokens=False)["input_ids"]:
                with torch.inference_mode():
                    scores = checkpoint.model(torch.tensor([context])).logits[0, -1]
                nats -= banned_by_hand(scores, ids, checkpoint.tokenizer.eos_token_id)[token]
                count += 1
                context.append(token)
    by_name = {row.metric: row for row in found.rows}
    assert by_name["loss_per_text_token"].value == pytest.approx(nats / count, rel=1e-4)
    size = sum(len(text.encode()) for text in TEXTS)
    assert by_name["bits_per_byte"].value == pytest.approx(nats / math.log(2) / size, rel=1e-4)
    assert by_name["bits_per_byte"].mode == mode


def test_a_small_window_still_predicts_every_token_once(tiny_run: Result) -> None:
    directory = tiny_run.path / "models" / "mle"
    checkpoint, known = load_checkpoint(directory), read_known_scheme(directory)
    assert known is not None
    tokenised = tokenise([annotated(text) for text in TEXTS], checkpoint.tokenizer)
    losses = [
        text_loss(
            checkpoint, known, tokenised, "none",
            model_name="m", seed=0, window=window, resamples=100,
        ).rows[0].value
        for window in (9, 128)
    ]  # fmt: skip
    assert all(loss is not None and 0 < loss < 10 for loss in losses)


def sample(text: str, *, ended: bool = True, index: int = 0) -> Sample:
    return Sample(
        model="m", mode="none", seed=0, index=index, prompt="", text=text, ended=ended, tokens=9
    )


FILE = MetricRecipe(
    scorer="pep8", scale=-1000.0, weight="chars", cut="complete_statements", failures_as="broken"
)

PEP8 = Pep8()


def judge(sample: Sample, metric: MetricRecipe, scorer: Pep8) -> Judged:
    return judge_texts(scorer, [judged_text(sample, metric)])[0]


def test_broken_text_is_a_failure_and_not_a_perfect_score() -> None:
    judged = judge(sample("def f(:\n  'open\n x = = (\n"), FILE, PEP8)
    assert isinstance(judged.result, Failure)
    assert isinstance(judge(sample(""), FILE, PEP8).result, Failure)


def test_text_cut_off_by_the_limit_is_judged_up_to_its_last_complete_statement() -> None:
    judged = judge(sample("x = 1\ny = (2,\n", ended=False), FILE, PEP8)
    assert judged.chars == len("x = 1\n")
    assert not isinstance(judged.result, Failure)


def test_failures_are_counted_beside_the_number_and_as_a_share(tiny_recipe: Recipe) -> None:
    texts = ["x = 1\n", "x=1\n", "def f(:\n  'open\n x = (\n", ""]
    rows = measure_samples(
        [sample(text, index=index) for index, text in enumerate(texts)], tiny_recipe.measure
    )
    by_name = {row.metric: row for row in rows}
    file = by_name["file_violations_per_kchar"]
    assert (file.count, file.failures) == (2, 2)
    assert file.value == pytest.approx(1000 * 1 / len("x = 1\nx=1\n"))
    broken = by_name["broken_share"]
    assert broken.value == pytest.approx(1 / 3)
    assert (broken.count, broken.failures) == (3, 1)
