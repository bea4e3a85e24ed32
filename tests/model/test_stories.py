"""The story model in Hugging Face form against llama2.c's own arithmetic, done in NumPy."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from valence.model import end_ids, load_base, load_base_tokenizer, start_ids, text_ids
from valence.recipe import ModelRecipe, load_recipe

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "stories260k"
RECIPE = ROOT / "recipes" / "finetune-stories.yaml"
STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside.\n\n"
    'One day, she said, "Mom, can I go?" Her mom\'s answer was "Yes!" They ran, ran... and -- oh!'
)

needs_stories = pytest.mark.skipif(
    not (DATA / "stories260K.bin").is_file(), reason="../shared/data/stories260k is not here"
)


@pytest.fixture(scope="module")
def stories() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stories", ROOT / "experiments" / "stories.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stories"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def base(stories: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stories") / "base"
    stories.convert(DATA, directory)
    return directory


class Llama2c:
    """run.c's forward pass, one token at a time, float64: rotary pairs are neighbours."""

    def __init__(self, path: Path) -> None:
        header = np.fromfile(path, dtype="<i4", count=7)
        self.dim, self.hidden, self.layers, self.heads, self.kv, self.vocab, _ = map(int, header)
        self.flat = np.fromfile(path, dtype="<f4", offset=28).astype(np.float64)
        self.place, size = 0, self.dim // self.heads
        self.embedding = self.take(self.vocab, self.dim)
        self.norm1 = self.take(self.layers, self.dim)
        self.wq = self.take(self.layers, self.dim, self.dim)
        self.wk = self.take(self.layers, self.kv * size, self.dim)
        self.wv = self.take(self.layers, self.kv * size, self.dim)
        self.wo = self.take(self.layers, self.dim, self.dim)
        self.norm2 = self.take(self.layers, self.dim)
        self.w1 = self.take(self.layers, self.hidden, self.dim)
        self.w2 = self.take(self.layers, self.dim, self.hidden)
        self.w3 = self.take(self.layers, self.hidden, self.dim)
        self.norm = self.take(self.dim)
        self.keys: list[list[Any]] = [[] for _ in range(self.layers)]
        self.values: list[list[Any]] = [[] for _ in range(self.layers)]

    def take(self, *shape: int) -> Any:
        start, self.place = self.place, self.place + int(np.prod(shape))
        return self.flat[start : self.place].reshape(shape)

    def rotate(self, vector: Any, position: int) -> Any:
        size = self.dim // self.heads
        out = vector.copy()
        for index in range(0, len(vector), 2):
            angle = position / 10000.0 ** ((index % size) / size)
            cosine, sine = np.cos(angle), np.sin(angle)
            one, two = vector[index], vector[index + 1]
            out[index], out[index + 1] = one * cosine - two * sine, one * sine + two * cosine
        return out

    def logits(self, token: int, position: int) -> Any:
        size, x = self.dim // self.heads, self.embedding[token].copy()
        for layer in range(self.layers):
            h = rms(x, self.norm1[layer])
            query = self.rotate(self.wq[layer] @ h, position).reshape(self.heads, size)
            self.keys[layer].append(self.rotate(self.wk[layer] @ h, position).reshape(-1, size))
            self.values[layer].append((self.wv[layer] @ h).reshape(-1, size))
            mixed = []
            for head in range(self.heads):
                group = head // (self.heads // self.kv)
                keys = np.stack([key[group] for key in self.keys[layer]])
                values = np.stack([value[group] for value in self.values[layer]])
                scores = np.exp((keys @ query[head]) / np.sqrt(size))
                mixed.append((scores / scores.sum()) @ values)
            x = x + self.wo[layer] @ np.concatenate(mixed)
            h = rms(x, self.norm2[layer])
            gate = self.w1[layer] @ h
            x = x + self.w2[layer] @ (gate / (1 + np.exp(-gate)) * (self.w3[layer] @ h))
        return self.embedding @ rms(x, self.norm)


def rms(x: Any, weight: Any) -> Any:
    return x / np.sqrt((x * x).mean() + 1e-5) * weight


def encode(pieces: list[tuple[str, float]], text: str) -> list[int]:
    """run.c's encode: signs or bytes, then the best merge of neighbours until none is left."""
    lookup = {piece: index for index, (piece, _) in enumerate(pieces)}
    ids: list[int] = []
    for sign in " " + text if text else "":
        ids += [lookup[sign]] if sign in lookup else [byte + 3 for byte in sign.encode()]
    while True:
        best: tuple[float, int, int] | None = None
        for place in range(len(ids) - 1):
            found = lookup.get(pieces[ids[place]][0] + pieces[ids[place + 1]][0])
            if found is not None and (best is None or pieces[found][1] > best[0]):
                best = (pieces[found][1], place, found)
        if best is None:
            return ids
        ids[best[1] : best[1] + 2] = [best[2]]


@needs_stories
def test_greedy_text_is_that_of_llama2c_token_for_token(base: Path) -> None:
    reference, model = Llama2c(DATA / "stories260K.bin"), load_base(ModelRecipe(base=str(base)))
    assert sum(weight.numel() for weight in model.parameters()) == 260_032
    ids, scores = [1], []
    for position in range(200):
        scores.append(reference.logits(ids[-1], position))
        ids.append(int(scores[-1].argmax()))
    output = model.generate(
        torch.tensor([[1]]), max_new_tokens=200, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert output[0].tolist() == ids
    with torch.no_grad():
        logits = model(torch.tensor([ids[:-1]])).logits[0].numpy()
    np.testing.assert_allclose(logits, np.stack(scores), atol=1e-3)
    tokenizer = load_base_tokenizer(ModelRecipe(base=str(base)))
    assert tokenizer.decode(ids, skip_special_tokens=True).startswith("Once upon a time")


@needs_stories
def test_text_is_encoded_as_by_llama2c_and_comes_back(stories: ModuleType, base: Path) -> None:
    pieces = stories.read_pieces(DATA / "tok512.bin")
    tokenizer = load_base_tokenizer(ModelRecipe(base=str(base)))
    assert start_ids(tokenizer) == (1,)
    assert end_ids(tokenizer) == ()
    for text in (STORY, *STORY.split(), "", " ", "a\n\nb", "naïve 🙂 ▁ <s> </s>", "  two  blanks "):
        ids = text_ids(tokenizer, text)
        assert ids == encode(pieces, text), text
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


@needs_stories
def test_a_corpus_of_stories_is_seeded(stories: ModuleType, base: Path, tmp_path: Path) -> None:
    found = []
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        path = tmp_path / f"{name}.jsonl"
        ended = stories.write_stories(base, path, count=4, seed=seed, max_tokens=60)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert 0 <= ended <= len(rows) == 4
        assert len({row["id"] for row in rows}) == 4
        assert all(row["text"].strip() and "<" not in row["text"] for row in rows)
        found.append(path.read_text())
    assert found[0] == found[1] != found[2]


def test_the_recipe_reads(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE, [f"corpus.paths=[{tmp_path}]", "model.base=somewhere"])
    assert recipe.model.base == "somewhere"
    assert len(recipe.models) == 6
    adapted = {name for name, entry in recipe.models.items() if entry.model.get("adapter")}
    assert adapted == {name for name in recipe.models if name.endswith("_lora")}
