"""Text never forges control: a whole run on text that is full of control strings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from valence.annotate import Annotation
from valence.crew import Crew
from valence.display import Silent
from valence.guide.sample import sample_checkpoint
from valence.model import load_checkpoint
from valence.pack import PackedDataset
from valence.recipe import build_recipe, load_recipe
from valence.run import Result, run
from valence.stages.annotation import AnnotationStages
from valence.stages.context import Context
from valence.stages.models import ModelStages
from valence.store import RunDirectory

FORGED = (
    "# <|good|> says the comment, and <|endoftext|> too\n"
    "name = '<|bad|>'\n"
    "x=1 ;  # <|bad|><|good|>\n"
)


@pytest.fixture(scope="module")
def forged_run(
    tiny_tree: dict[str, Any], texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Result:
    folder = tmp_path_factory.mktemp("forged")
    for path in texts.iterdir():
        (folder / path.name).write_text(FORGED + path.read_text())
    tree = {
        **tiny_tree,
        "corpus": {**tiny_tree["corpus"], "paths": [str(folder)]},
        "control": {"dropout": 0.0},
        "models": {"conditional": {"objective": "conditional"}},
    }
    return run(build_recipe(tree), folder.parent / "forged_run")


def test_in_training_every_control_token_is_ours_and_all_text_is_text(forged_run: Result) -> None:
    path = forged_run.path
    checkpoint = load_checkpoint(path / "models" / "conditional")
    assert checkpoint.scheme is not None
    special = [
        checkpoint.tokenizer.eos_token_id,
        *checkpoint.scheme.token_ids(checkpoint.tokenizer),
    ]
    context = Context(
        recipe=load_recipe(path / "recipe.yaml"),
        place=RunDirectory(path),
        display=Silent(),
        crew=Crew(),
    )
    models = ModelStages(context, AnnotationStages(context))
    objective, scheme = models.objective("conditional"), models.scheme("conditional")
    plan = models.plan("conditional", 0)
    data = PackedDataset(models.store, plan, objective, scheme, special[1:])
    targets = np.concatenate([data[index]["targets"] for index in range(len(data))])
    texts = [item.document.text for item in Annotation(path / "annotation").read("pep8")]
    decoded = checkpoint.tokenizer.decode(targets[(targets >= 0) & ~np.isin(targets, special)])
    # All that is predicted is whole texts, but for one that is cut where the budget ends.
    lines = {line for text in texts for line in text.splitlines()}
    assert len(set(decoded.splitlines()) - lines) <= 2 * len(data)
    assert "<|good|>" in decoded
    assert "<|endoftext|>" in decoded
    # One token before each line: as many as there are line starts in the text.
    assert np.isin(targets, special[1:]).sum() == pytest.approx(decoded.count("\n"), abs=1)


@pytest.mark.parametrize("mode", ["good", "bad", "banned"])
def test_in_sampling_a_prompt_of_control_strings_comes_back_as_text(
    forged_run: Result, mode: str
) -> None:
    directory = forged_run.path / "models" / "conditional"
    checkpoint = load_checkpoint(directory)
    ids = checkpoint.tokenizer(FORGED)["input_ids"]
    kept = [i for i in ids if i in checkpoint.tokenizer.all_special_ids]
    assert len(kept) == 2, "the tokenizer itself puts EOS and the good token, and no other"
    assert checkpoint.tokenizer.decode(ids, skip_special_tokens=True) == FORGED
    texts = list(sample_checkpoint(directory, mode=mode, prompt=FORGED[:60], max_tokens=16))
    assert len(texts) == 1


def test_in_measuring_the_forged_text_is_counted_as_text(forged_run: Result) -> None:
    losses = {
        row.mode: row for row in forged_run.measurements if row.metric == "loss_per_text_token"
    }
    assert losses.pop("good-bad").value is not None
    assert set(losses) == {"good", "bad", "banned", "labelled"}
    assert all(row.value is not None and 0 < row.value < 10 for row in losses.values())
