"""lm-evaluation-harness on our models: real tasks from local files, and its own model beside."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_checkpoints import SCHEME, TEXT, banned_by_hand, tiny_checkpoint

from valence.data import Items
from valence.errors import ControlError, MissingExtraError, RecipeError
from valence.measure.ability import ability_gap
from valence.measure.harness import harness
from valence.model import Checkpoint
from valence.recipe.ability import HarnessRecipe

QUESTIONS = [
    {"question": f"Is {n} = {n}?", "choices": ["Yes", "No", "12"], "gold": n % 3, "word": "cat"}
    for n in range(9)
]
TASKS = {
    "pick": """
task: pick
output_type: multiple_choice
doc_to_text: "{{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{gold}}"
target_delimiter: " "
""",
    "pick_more": """
task: pick_more
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{gold}}"
num_fewshot: 2
""",
    "say": """
task: say
output_type: generate_until
doc_to_text: "{{question}} The "
doc_to_target: "{{word}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
""",
    "roll": """
task: roll
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - {metric: word_perplexity}
  - {metric: bits_per_byte}
""",
}
GROUP = """
group: both
task: [pick, pick_more]
aggregate_metric_list:
  - {metric: acc, aggregation: mean, weight_by_size: true}
"""
OPTIONS: dict[str, Any] = {"model_name": "m", "seed": 0, "window": 128, "resamples": 100}

pytest.importorskip("lm_eval", reason="needs the extra `harness`")


@dataclass
class Request:
    """What the harness sends: only its arguments are looked at."""

    args: tuple[Any, ...]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of task files with their data, and the cache of data sets elsewhere."""
    import datasets

    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "questions.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in QUESTIONS) + "\n")
    source = (
        f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n"
        "test_split: test\nfewshot_split: test\n"
    )
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(text.strip() + "\n" + source)
    (folder / "both.yaml").write_text(GROUP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield folder


def model_of(checkpoint: Checkpoint, mode: str, known: Any = SCHEME, **options: Any) -> Any:
    from valence.measure.harness.model import ModeModel

    recipe = HarnessRecipe(tasks=("pick",), **options)
    return ModeModel(
        checkpoint, known, mode, recipe, seed=0, window=options.pop("window", 128),
        precision="fp32", on_progress=None,
    )  # fmt: skip


def requests(*pairs: Sequence[Any]) -> list[Request]:
    return [Request(args=tuple(pair)) for pair in pairs]


PAIRS = requests(
    ("The cat", " sat."), ("", "A dog"), ("Is 12", " = 3 * 4?"), (TEXT, "Yes"),
    ("The cat \n", "sat. A dog ran far."), ("<|good|> cat", " <|bad|>"),
)  # fmt: skip


@pytest.mark.parametrize("control", ["segments", "start"])
@pytest.mark.parametrize("mode", ["good", "bad", "banned"])
def test_log_p_is_that_of_a_forward_pass_token_by_token(mode: str, control: str) -> None:
    checkpoint = tiny_checkpoint(SCHEME)
    tokenizer = checkpoint.tokenizer
    ids = SCHEME.token_ids(tokenizer)
    forced = {"bad": ids[0], "good": ids[1]}.get(mode)
    found = model_of(checkpoint, mode, control=control).loglikelihood(PAIRS)
    for request, (got, greedy) in zip(PAIRS, found, strict=True):
        context, continuation = request.args
        seen, counted, place = [tokenizer.eos_token_id], [], 0
        for number, line in enumerate((context + continuation).splitlines(keepends=True)):
            if forced is not None and (number == 0 or control == "segments"):
                seen.append(forced)
            for token in tokenizer(line, add_special_tokens=False)["input_ids"]:
                place += len(tokenizer.decode([token]))
                if place > len(context):
                    counted.append(len(seen))
                seen.append(token)
        with torch.no_grad():
            scores = checkpoint.model(torch.tensor([seen])).logits[0]
        logs = [banned_by_hand(each, ids, tokenizer.eos_token_id) for each in scores]
        nats = sum(float(logs[at - 1][seen[at]]) for at in counted)
        best = all(int(logs[at - 1].argmax()) == seen[at] for at in counted)
        assert got == pytest.approx(nats, abs=1e-4)
        assert greedy == best


def test_without_a_scheme_all_is_as_in_the_harness_own_model() -> None:
    from lm_eval.models.huggingface import HFLM

    checkpoint = tiny_checkpoint()
    theirs = HFLM(
        pretrained=checkpoint.model, tokenizer=checkpoint.tokenizer, batch_size=2,
        add_bos_token=True, max_length=128,
    )  # fmt: skip
    ours = model_of(checkpoint, "none", known=None)
    # Theirs counts blanks at the end of a context with the continuation.
    pairs = [pair for pair in PAIRS if pair.args[0] == pair.args[0].rstrip()]
    pairs.append(Request(args=(TEXT.rstrip() * 6, " sat.")))
    expected = theirs.loglikelihood(pairs, disable_tqdm=True)
    for (got, greedy), (nats, best) in zip(ours.loglikelihood(pairs), expected, strict=True):
        assert got == pytest.approx(nats, abs=1e-4)
        assert greedy == best
    plain = HFLM(
        pretrained=checkpoint.model, tokenizer=checkpoint.tokenizer, batch_size=2,
        add_bos_token=False, max_length=32,
    )  # fmt: skip
    texts = requests((TEXT,), ("cat",), (TEXT * 3,))
    ours.window = 32
    assert ours.loglikelihood_rolling(texts) == pytest.approx(
        plain.loglikelihood_rolling(texts, disable_tqdm=True), abs=1e-3
    )


def test_texts_are_cut_at_the_first_stop_and_the_same_whatever_the_batch() -> None:
    checkpoint = tiny_checkpoint(SCHEME)
    asked = requests(
        *[(f"Is {n}", {"until": ["\n", "12"], "max_gen_toks": 8}) for n in range(5)],
        (TEXT * 9, {"until": "?", "max_gen_toks": 5}),
        ("A dog", {"until": [], "max_gen_toks": 4, "do_sample": True, "temperature": 0.7}),
    )
    texts = model_of(checkpoint, "good").generate_until(asked)
    assert texts == model_of(checkpoint, "good", batch=2).generate_until(asked)
    assert all("\n" not in text and "12" not in text for text in texts[:5])
    assert not any("<|good|>" in text or "<|bad|>" in text for text in texts)


def test_real_tasks_run_from_local_files(tasks: Path) -> None:
    checkpoint = tiny_checkpoint(SCHEME)
    recipe = HarnessRecipe(tasks=("both", "say", "roll"), include_path=str(tasks))
    modes = {}
    for mode in ("good", "bad"):
        found = harness(checkpoint, SCHEME, mode, recipe, **OPTIONS)
        modes[mode] = [each.items for each in found.evidence]
        rows = {row.metric: row for row in found.rows}
        model = model_of(checkpoint, mode)
        right = 0
        for row in QUESTIONS:
            pairs = requests(*[(f"{row['question']}\nAnswer:", f" {c}") for c in row["choices"]])  # type: ignore[attr-defined]
            nats = [value for value, _ in model.loglikelihood(pairs)]
            right += nats.index(max(nats)) == row["gold"]
        acc = rows["pick/acc"]
        assert acc.value == pytest.approx(right / 9)
        assert (acc.count, acc.mode, acc.model) == (9, mode, "m")
        assert acc.low is not None and acc.high is not None and acc.low < acc.high
        whole = (rows["pick/acc"].value or 0) + (rows["pick_more/acc"].value or 0)
        assert rows["both/acc"].value == pytest.approx(whole / 2)
        assert rows["both/acc"].count == 18 and rows["both/acc"].low is not None
        assert rows["say/exact_match"].count == 9
        nats = model.loglikelihood_rolling(requests(*[(q["question"],) for q in QUESTIONS]))
        size = sum(len(str(q["question"])) for q in QUESTIONS)
        assert rows["roll/bits_per_byte"].value == pytest.approx(-sum(nats) / size / math.log(2))
        words = sum(len(str(q["question"]).split()) for q in QUESTIONS)
        assert rows["roll/word_perplexity"].value == pytest.approx(math.exp(-sum(nats) / words))
        assert rows["roll/word_perplexity"].low is not None
    gap = {row.metric: row for row in ability_gap(
        modes["good"], modes["bad"], model_name="m", seed=0, resamples=100
    ).rows}  # fmt: skip
    assert {"pick/acc", "both/acc", "say/exact_match", "roll/bits_per_byte"} <= set(gap)


def test_the_same_seed_gives_the_same_examples_and_a_limit_the_first_items(tasks: Path) -> None:
    checkpoint = tiny_checkpoint(SCHEME)
    recipe = HarnessRecipe(tasks=("pick_more",), include_path=str(tasks), limit=4, num_fewshot=1)
    first = harness(checkpoint, SCHEME, "good", recipe, **OPTIONS)
    again = harness(checkpoint, SCHEME, "good", recipe, **OPTIONS)
    assert first == again
    assert first.evidence[0].items.names == tuple(f"pick_more/{n}" for n in range(4))


@pytest.mark.slow
def test_a_task_that_nobody_knows_is_told(tasks: Path) -> None:
    unknown = HarnessRecipe(tasks=("no_such_task",), include_path=str(tasks))
    with pytest.raises(RecipeError, match="no_such_task"):
        harness(tiny_checkpoint(SCHEME), SCHEME, "good", unknown, **OPTIONS)


def test_an_empty_answer_is_not_the_likeliest_of_all() -> None:
    model = model_of(tiny_checkpoint(SCHEME), "good")
    with pytest.raises(RecipeError, match="how likely an empty answer is"):
        model.loglikelihood(requests(("The cat", " sat"), ("The cat", "")))


@pytest.mark.parametrize(("by_size", "value"), [(True, 1 / 3), (False, 1 / 2)])
def test_a_group_weighs_as_it_says_and_not_as_its_value_lets_guess(
    by_size: bool, value: float
) -> None:
    """Where the tasks agree both ways of weighing give the value: modes must not differ in it."""
    from valence.measure.harness.results import _pooled

    def task(name: str, *right: float) -> Items:
        names = tuple(f"{name}/{n}" for n in range(len(right)))
        return Items(metric=name, names=names, tops=right, bottoms=(1.0,) * len(right), share=True)

    alike = _pooled("g", [task("a", 0, 0), task("b", 0)], 0.0, by_size=by_size)
    other = _pooled("g", [task("a", 0, 0), task("b", 1)], value, by_size=by_size)
    assert alike is not None and other is not None and alike.bottoms == other.bottoms
    assert (alike.share, other.share) == (by_size, by_size)
    assert _pooled("g", [task("a", 0, 0), task("b", 1)], 0.9, by_size=by_size) is None


def test_mistakes_are_told(tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tiny_checkpoint(SCHEME)
    recipe = HarnessRecipe(tasks=("pick",), include_path=str(tasks))
    with pytest.raises(ControlError):
        harness(checkpoint, SCHEME, "best", recipe, **OPTIONS)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingExtraError, match="harness"):
        harness(checkpoint, SCHEME, "good", recipe, **OPTIONS)
