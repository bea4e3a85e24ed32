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
from judged_texts import TEXTS, alone, annotated, with_a_bias

from valence.annotate import Annotated
from valence.control import ControlScheme, read_known_scheme
from valence.guide.verdict import Floats, judge_by, verdict_of
from valence.measure.judging import readouts
from valence.measure.judging.states import Reader
from valence.model import Checkpoint, end_ids, load_checkpoint, start_ids
from valence.objective.readout import load_readout
from valence.pack import tokenise
from valence.pack.branches import JudgedUnits, join, judged_units
from valence.recipe import build_recipe, load_recipe
from valence.run import Result, run
from valence.store import read_json

MODES = ["verdict", "readout", "linear", "mlp"]


def read_ends(
    checkpoint: Checkpoint, scheme: ControlScheme, texts: tuple[str, ...], window: int
) -> tuple[torch.Tensor, JudgedUnits]:
    """States at the ends of units, and these units, of those that fit."""
    text = tokenise([annotated(each) for each in texts], checkpoint.tokenizer)
    units = judged_units(text, scheme)
    branches, _ = join([(np.arange(len(units.starts), dtype=np.int64), units.sizes)])
    states, read = Reader(checkpoint=checkpoint, window=window).states(text, units, branches)
    order = np.argsort(read)
    return states[torch.from_numpy(order)], units.take(branches.units[read[order]])


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
    found, units = read_ends(checkpoint, scheme, TEXTS, 96)
    said: Floats = verdict_of(checkpoint, scheme)(found)
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
    assert units.bands.tolist() == bands
    assert units.documents.tolist() == documents
    assert said == pytest.approx(good, abs=1e-5)
    assert torch.allclose(found, torch.stack(states), atol=1e-4)


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
    assert len(tokens_of(checkpoint, text)) > 8
    states, units = read_ends(checkpoint, scheme, (text,), 8)
    assert len(units.starts) == 0
    assert states.shape == (0, checkpoint.model.config.hidden_size)
    assert verdict_of(checkpoint, scheme)(states).shape == (0,)


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
    states, _ = read_ends(checkpoint, scheme, TEXTS, 96)
    said = judge_by(readout, scheme.best)(states)
    with torch.inference_mode():
        logits = readout(states).double().numpy()
    odds = np.exp(logits[:, 1] - logits[:, 0])
    assert said == pytest.approx(odds / (1 + odds), abs=1e-6)


def test_the_page_has_a_section_and_a_table_of_verdicts(judged: Result, tiny_run: Result) -> None:
    page = (judged.path / "report.html").read_text(encoding="utf-8")
    sections = dict(re.findall(r"<h2[^>]*>([^<]*)</h2>(.*?)</section>", page, re.DOTALL))
    verdicts, results = sections["Verdicts after EOS"], sections["Results"]
    (table,) = re.findall(r"<table class=\"results.*?</table>", verdicts, re.DOTALL)
    assert re.findall(r">(AUROC|at the end|ECE|Brier)</th>", table) == [
        "AUROC", "at the end", "ECE", "Brier",
    ]  # fmt: skip
    judges = [*itertools.product(["conditional"], [*MODES, "constant"])]
    judges += [("alone", mode) for mode in (*MODES, "constant") if mode != "readout"]
    assert re.findall(r"</i>(\w+) · (\w+)</th>", table) == judges
    areas = {
        (row.model, row.mode): row.value
        for row in judged.measurements
        if row.metric == "verdict_auroc"
    }
    shown = re.findall(r"</i>(\w+) · (\w+)</th><td>(?:<div[^>]*><b>([\d.]+)</b>)?", table)
    for model, mode, number in shown:
        area = areas.get((model, mode))
        assert number == "" if area is None else float(number) == pytest.approx(area, abs=5e-3)
    folded = re.findall(r"<table class=\"results\">.*?</table>", results, re.DOTALL)
    (numbers,) = (each for each in folded if "AUROC of the verdict <small>↑ higher" in each)
    assert re.findall(r"(conditional|alone) · (\w+) ", numbers) == judges
    shown = re.search(r"lack of one of the two values: (\d+)", sections["Ability and misalignment"])
    assert shown is None or int(shown[1]) <= 5  # Nothing of the verdicts is missing there.
    assert "0.5 is chance" in results and "mlp" not in folded[0]
    assert "Verdicts" not in (tiny_run.path / "report.html").read_text(encoding="utf-8")


def test_a_model_that_only_judges_is_measured_plainly_besides(judged: Result) -> None:
    modes = {(row.model, row.mode) for row in judged.measurements if row.metric == "bits_per_byte"}
    assert modes == {
        ("alone", "none"),
        *itertools.product(["conditional"], ["good", "bad", "banned", "labelled", "good-bad"]),
    }
    about = json.loads((judged.path / "models" / "alone" / "valence.json").read_text())
    assert "verdict" in json.dumps(about["objective"])


def test_a_finished_verdict_is_not_read_again(judged: Result) -> None:
    path = judged.path / "measures" / "alone.verdict" / "measurements.json"
    before = path.stat().st_mtime_ns
    again = run(load_recipe(judged.path / "recipe.yaml"), judged.path)
    assert again.measurements == judged.measurements
    assert path.stat().st_mtime_ns == before
