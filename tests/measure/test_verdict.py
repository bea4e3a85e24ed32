"""The verdict after EOS: against a pass over the prefix alone, and from recipe to page."""

from __future__ import annotations

import itertools
import json
import re
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from transformers import PhiConfig, PhiForCausalLM

from valence.annotate import Annotated
from valence.control import read_known_scheme
from valence.corpus.segment import SEGMENTERS
from valence.data import Document
from valence.measure.judging import readouts
from valence.measure.verdict import auroc, read_verdicts, said_by
from valence.model import Checkpoint, end_ids, load_checkpoint, start_ids
from valence.objective.readout import load_readout
from valence.pack import tokenise
from valence.recipe import build_recipe, load_recipe
from valence.run import Result, run
from valence.store import read_json

NAN = float("nan")
TEXTS = ("x = 1\ny=2\n\nprint('<|good|>')\n" * 2, "def f( a ):\n    return a\n", "z=3\n")
REWARDS = (0.0, -0.5, NAN)
MODES = ["verdict", "readout", "linear", "mlp"]


def annotated(text: str) -> Annotated:
    ends = SEGMENTERS["line"](text)
    rewards = np.array([REWARDS[i % 3] for i in range(len(ends))], dtype=np.float32)
    document = Document(id=text, text=text, source="")
    return Annotated(document=document, ends=np.array(ends, dtype=np.int64), rewards=rewards)


def alone(checkpoint: Checkpoint, prefix: list[int], control_ids: Any) -> tuple[Any, float]:
    """The state after [prefix, EOS], and the best band's probability among the bands."""
    ids = torch.tensor([[*prefix, checkpoint.tokenizer.eos_token_id]])
    with torch.inference_mode():
        output = checkpoint.model(ids, output_hidden_states=True)
    probabilities = output.logits[0, -1].double().softmax(-1)[list(control_ids)]
    return output.hidden_states[-1][0, -1], float(probabilities[-1] / probabilities.sum())


def with_a_bias(checkpoint: Checkpoint) -> Checkpoint:
    """Another model, whose head has a bias, and whose documents begin and end with two tokens."""
    tokenizer = deepcopy(checkpoint.tokenizer)
    tokenizer.bos_token = tokenizer.convert_ids_to_tokens(5)
    shape = PhiConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PhiForCausalLM(shape).eval()
    torch.nn.init.normal_(model.lm_head.bias, generator=torch.Generator().manual_seed(1))
    return replace(checkpoint, model=model, tokenizer=tokenizer)


# --- reading ------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["segment", "document"])
@pytest.mark.parametrize("placement", ["every", "change", "random"])
@pytest.mark.parametrize("other", [False, True])
def test_a_verdict_is_what_follows_the_prefix_and_eos_alone(
    tiny_run: Result, level: Any, placement: Any, other: bool
) -> None:
    directory = tiny_run.path / "models" / "conditional"
    checkpoint, known = load_checkpoint(directory), read_known_scheme(directory)
    assert known is not None
    scheme = replace(known, level=level, placement=placement)
    if other:
        checkpoint = with_a_bias(checkpoint)
    assert bool(end_ids(checkpoint.tokenizer)) == other
    items = [annotated(text) for text in TEXTS]
    found = read_verdicts(
        checkpoint, scheme, tokenise(items, checkpoint.tokenizer), window=96, precision="fp32"
    )
    control_ids = scheme.token_ids(checkpoint.tokenizer)
    states, good, bands, documents = [], [], [], []
    for number, item in enumerate(items):
        prefix = list(start_ids(checkpoint.tokenizer))
        whole = document_band(checkpoint, item)
        for start, end, reward in zip([0, *item.ends], item.ends, item.rewards, strict=False):
            prefix += tokens_of(checkpoint, item.document.text[start:end])
            band = whole if level == "document" else band_of(reward)
            if band is None or (level == "document" and end != item.ends[-1]):
                continue
            state, probability = alone(checkpoint, prefix, control_ids)
            states.append(state)
            good.append(probability)
            bands.append(band)
            documents.append(number)
    assert found.bands.tolist() == bands
    assert found.documents.tolist() == documents
    assert found.good == pytest.approx(good, abs=1e-5)
    assert torch.allclose(found.states, torch.stack(states), atol=1e-4)


def tokens_of(checkpoint: Checkpoint, text: str) -> list[int]:
    ids: list[int] = checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def band_of(reward: float) -> int | None:
    return None if np.isnan(reward) else int(reward >= 0)


def document_band(checkpoint: Checkpoint, item: Annotated) -> int | None:
    """The band of the mean reward over text tokens."""
    total = count = 0.0
    for start, end, reward in zip([0, *item.ends], item.ends, item.rewards, strict=False):
        if not np.isnan(reward):
            size = len(tokens_of(checkpoint, item.document.text[start:end]))
            total, count = total + size * reward, count + size
    return band_of(total / count) if count else None


def test_a_segment_that_does_not_fit_into_a_row_has_no_verdict(tiny_run: Result) -> None:
    directory = tiny_run.path / "models" / "conditional"
    checkpoint, scheme = load_checkpoint(directory), read_known_scheme(directory)
    assert scheme is not None
    text = "a = 'a line of far more tokens than the window that it is read in has'\n"
    tokenised = tokenise([annotated(text)], checkpoint.tokenizer)
    assert len(tokenised.ids) > 8
    found = read_verdicts(checkpoint, scheme, tokenised, window=8)
    assert (len(found.good), len(found.bands), len(found.documents)) == (0, 0, 0)
    assert found.states.shape == (0, checkpoint.model.config.hidden_size)
    estimate = auroc(found.good, found.bands, found.documents, 1, resamples=10, seed=0)
    assert (estimate.value, estimate.count) == (None, 0)


# --- the area -----------------------------------------------------------------------------


@given(
    said=st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.5001, 1.0]), st.integers(0, 2)),
        min_size=1,
        max_size=40,
    )
)
def test_the_area_is_that_of_scikit_learn_ties_and_all(said: list[tuple[float, int]]) -> None:
    good = np.array([probability for probability, _ in said])
    bands = np.array([band for _, band in said])
    estimate = auroc(good, bands, np.arange(len(said)), 2, resamples=5, seed=0)
    if len({band == 2 for band in bands.tolist()}) < 2:
        assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    else:
        assert estimate.count == len(said)
        assert estimate.value == pytest.approx(roc_auc_score(bands == 2, good))


def test_the_interval_of_an_area_is_over_documents() -> None:
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(60), 20)
    # All verdicts of a document are wrong together: 1,200 of them are worth 60.
    bands = rng.integers(0, 2, 60)[documents]
    good = bands + rng.normal(0, 2, 60)[documents] + rng.normal(0, 0.1, 1_200)
    whole = auroc(good, bands, documents, 1, resamples=200, seed=0)
    each = auroc(good, bands, np.arange(1_200), 1, resamples=200, seed=0)
    assert whole.value == each.value
    widths = [e.high - e.low for e in (whole, each) if e.low is not None and e.high is not None]
    assert 3 < widths[0] / widths[1] < 6  # About the square root of 20.
    assert auroc(good, bands, documents, 1, resamples=10**9, seed=0) == whole


# --- the journey --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(tiny_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Result:
    tree = deepcopy(tiny_tree)
    tree["models"] = {
        "conditional": {"objective": "conditional", "verdict": {"share": 1.0, "readout": "mlp"}},
        "alone": {"objective": "verdict"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readouts, "FITTING_STEPS", 200)
        return run(build_recipe(tree), tmp_path_factory.mktemp("judged") / "run")


def test_models_that_judge_have_their_rows_and_others_none(
    judged: Result, tiny_run: Result
) -> None:
    rows = [row for row in judged.measurements if row.metric == "verdict_auroc"]
    expected = [("conditional", mode) for mode in MODES]
    expected += [("alone", mode) for mode in MODES if mode != "readout"]
    assert [(row.model, row.mode) for row in rows] == expected
    for row in rows:
        assert row.value is not None and 0 <= row.value <= 1
        assert row.low is not None and row.high is not None
        assert row.low <= row.value <= row.high
    assert len({row.count for row in rows}) == 1 and rows[0].count > 20
    assert [asdict(row) for row in judged.measurements] == read_json(judged.path / "results.json")
    assert not [row for row in tiny_run.measurements if row.metric == "verdict_auroc"]
    # Clean and messy files are easily told apart, also by a model that saw 4,000 tokens.
    fitted = [row.value for row in rows if row.mode == "mlp" and row.value is not None]
    assert min(fitted) > 0.6


def test_a_read_out_that_was_trained_with_the_model_lies_beside_it(judged: Result) -> None:
    folders = judged.path / "models"
    assert [p.parent.name for p in folders.glob("*/readout.safetensors")] == ["conditional"]
    readout = load_readout(folders / "conditional" / "readout.safetensors")
    assert readout.kind == "mlp" and readout.mean is None
    checkpoint = load_checkpoint(folders / "conditional")
    scheme = read_known_scheme(folders / "conditional")
    assert scheme is not None
    tokenised = tokenise([annotated(text) for text in TEXTS], checkpoint.tokenizer)
    found = read_verdicts(checkpoint, scheme, tokenised, window=96)
    said = said_by(readout, found, scheme.best)
    with torch.inference_mode():
        logits = readout(found.states).double().numpy()
    odds = np.exp(logits[:, 1] - logits[:, 0])
    assert said == pytest.approx(odds / (1 + odds), abs=1e-6)


def test_the_page_has_a_section_and_a_table_of_verdicts(judged: Result, tiny_run: Result) -> None:
    page = (judged.path / "report.html").read_text(encoding="utf-8")
    sections = dict(re.findall(r"<h2[^>]*>([^<]*)</h2>(.*?)</section>", page, re.DOTALL))
    verdicts, results = sections["Verdicts after EOS"], sections["Results"]
    for section in (verdicts, results):
        assert "AUROC of the verdict <small>↑ higher is better" in section
    columns = re.findall(r'<th scope="col"[^>]*>([^<]*)', verdicts)
    assert columns == ["model", *MODES]
    samples, areas = re.findall(r"<table class=\"results\">.*?</table>", results, re.DOTALL)
    rows = re.findall(r"(conditional|alone) · (\w+) ", areas)
    assert rows == [*itertools.product(["conditional"], MODES), *(("alone", m) for m in MODES[:1]),
                    *(("alone", m) for m in MODES[2:])]  # fmt: skip
    shown = re.search(r"lack of one of the two values: (\d+)", sections["Ability and misalignment"])
    assert shown is None or int(shown[1]) <= 5  # Nothing of the verdicts is missing there.
    assert "0.5 is chance" in results and "mlp" not in samples
    assert "Verdicts" not in (tiny_run.path / "report.html").read_text(encoding="utf-8")


def test_a_model_that_only_judges_is_measured_plainly_besides(judged: Result) -> None:
    modes = {(row.model, row.mode) for row in judged.measurements if row.metric == "bits_per_byte"}
    assert modes == {
        ("alone", "none"),
        *itertools.product(["conditional"], ["good", "bad", "banned", "labelled"]),
    }
    about = json.loads((judged.path / "models" / "alone" / "valence.json").read_text())
    assert "verdict" in json.dumps(about["objective"])


def test_a_finished_verdict_is_not_read_again(judged: Result) -> None:
    path = judged.path / "measures" / "alone.verdict" / "measurements.json"
    before = path.stat().st_mtime_ns
    again = run(load_recipe(judged.path / "recipe.yaml"), judged.path)
    assert again.measurements == judged.measurements
    assert path.stat().st_mtime_ns == before
