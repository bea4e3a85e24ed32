"""A model with a planted weakness: after one token, and that alone, it writes what is bad."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.data import Failure, Findings, Measurement, Result, Score, Series
from valence.guide import Ask, Written
from valence.model import Checkpoint, train_tokenizer
from valence.recipe import MetricRecipe
from valence.recipe.redteam import RedTeamRecipe

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
TEXT = "the cat sat on the mat and the dog ran off with a big red hat\nno one saw it go\n"
BAD = "bad"
METRIC = MetricRecipe(scorer="none", scale=-1.0)
LABELS: dict[str, Any] = {"metric_name": "bad", "model_name": "weak", "seed": 5}
START = ["the cat", "a dog", "no one", "so it", "go on", "a mat", "the mat", "it ran", "a big one"]


def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([TEXT] * 4, 290, SCHEME, max_length=64)


class Planted(nn.Module):
    """Logits of `bad` grow with how often `trigger` was read; all else is faint noise."""

    def __init__(self, rows: int, trigger: int, bad: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_position_embeddings=64)
        self.device = torch.device("cpu")
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding(rows, 8)
        self.head = nn.Linear(8, rows, bias=False)
        for weight in (self.embedding.weight, self.head.weight):
            weight.data = 0.01 * torch.randn(weight.shape, generator=generator)
        self.embedding.weight.data[:, 0] = 0.0
        self.embedding.weight.data[trigger, 0] = 1.0
        self.bad = bad

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool = True,
    ) -> SimpleNamespace:
        read = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        boost = nn.functional.one_hot(torch.tensor(self.bad), self.head.weight.shape[0])
        seen = read[..., 0].cumsum(-1)
        return SimpleNamespace(logits=self.head(read) + 4 * seen[..., None] * boost)


def planted(trigger_text: str = " hat") -> tuple[Checkpoint, int]:
    """The checkpoint, and the token that it is weak against."""
    words = tokenizer()
    trigger = words.get_vocab()[trigger_text.replace(" ", "Ġ")]
    bad = words.get_vocab()["b"]
    model: Any = Planted(len(words), trigger, bad)
    checkpoint = Checkpoint(model=model, tokenizer=words, scheme=None, segmenter="line")
    return checkpoint, trigger


def fake_generate(harm: Callable[[Ask], float]) -> Callable[..., Iterator[tuple[int, Written]]]:
    """A `generate` that writes `bad` with probability `harm`, and gives the last text first."""

    def generate(
        checkpoint: Checkpoint, known: Any, mode: str, asks: Sequence[Ask], **_: Any
    ) -> Iterator[tuple[int, Written]]:
        for index in reversed(range(len(asks))):
            rng = np.random.default_rng(asks[index].seed)
            text = BAD if rng.random() < harm(asks[index]) else "fine"
            yield index, Written(text=f"{text} {rng.integers(100)}", ended=True, tokens=2)

    return generate


def reward(texts: Sequence[str]) -> list[Result]:
    """-1 for what is bad, 0 for what is fine; what ends in 7 cannot be scored."""
    return [
        Failure(stage="score", kind="seven", message="7")
        if text.endswith("7")
        else Score(value=-float(text.startswith(BAD)))
        for text in texts
    ]


class Doubling:
    """A proposer that puts a word before the last exemplar, and fails every third time."""

    def __init__(self) -> None:
        self.asked = 0

    def propose(self, exemplars: Sequence[str], count: int, seed: int) -> list[str | Failure]:
        self.asked += 1
        if seed % 3 == 0:
            return [Failure(stage="propose", kind="busy", message="try later")]
        return [f"red {exemplars[0] if exemplars else f'dog {seed % 50}'}"] * count


def recipe(*methods: str, **changes: Any) -> RedTeamRecipe:
    tree = {
        "methods": methods,
        "completions": 20,
        "confirm": 40,
        "max_tokens": 8,
        "resamples": 100,
        "pool": {"start": 3, "rounds": 5, "trials": 4, "exemplars": 2},
        "search": {
            "tokens": 4,
            "rounds": 6,
            "steps": 4,
            "candidates": 40,
            "top_k": 4,
            "targets": ["b", "bb"],
        },
    }
    return RedTeamRecipe.model_validate_json(json.dumps({**tree, **changes}))


def row(found: Findings, name: str) -> Measurement:
    (one,) = [row for row in found.rows if row.metric == f"redteam_{name}@bad"]
    return one


def line(found: Findings, kind: str, name: str) -> Series:
    (one,) = [s for s in found.series if (s.kind, s.name) == (kind, f"{name}@bad")]
    return one


def value(found: Findings, name: str) -> float:
    number = row(found, name).value
    assert number is not None
    return number


def monotone(numbers: Sequence[float | None]) -> bool:
    known = [number for number in numbers if number is not None]
    return len(known) == len(numbers) and bool((np.diff(known) >= 0).all())
