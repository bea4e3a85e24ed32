"""A small real language model to go on from: stories260K, in Hugging Face form, and its stories.

    python experiments/stories.py convert runs/stories/base
    python experiments/stories.py sample runs/stories/base runs/stories/stories.jsonl --count 6000
    valence run recipes/finetune-stories.yaml --out runs/stories/run

260,032 parameters, trained on TinyStories (Eldan & Li 2023, arXiv 2305.07759) with karpathy's
llama2.c; its legacy file is seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads,
vocab_size, seq_len) and then float32 matrices. There token 1 both begins and ends a story, so
it is BOS and EOS of what is written here.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from valence.guide.ask import asks_for
from valence.guide.loop import generate
from valence.model import Checkpoint, load_base, load_base_tokenizer
from valence.recipe import ModelRecipe

DATA = Path("../shared/data/stories260k")
WEIGHTS, PIECES = "stories260K.bin", "tok512.bin"

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
FIRST_MERGED = 3 + 256
"""Before it are the special tokens and all bytes."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stories:
    """A llama2.c model: sizes and matrices, the layers' stacked, rotary pairs side by side."""

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    seq_len: int
    weights: dict[str, Floats]


def read_model(path: Path) -> Stories:
    """The sizes and matrices of a legacy llama2.c file with a shared output."""
    sizes = [int(size) for size in np.fromfile(path, "<i4", 7)]
    flat = np.fromfile(path, "<f4", offset=28)
    dim, hidden, layers, heads, kv_heads, vocabulary, _ = sizes
    kv_dim = dim // heads * kv_heads
    shapes = {
        "embedding": (vocabulary, dim),
        "attention_norm": (layers, dim),
        "wq": (layers, dim, dim),
        "wk": (layers, kv_dim, dim),
        "wv": (layers, kv_dim, dim),
        "wo": (layers, dim, dim),
        "ffn_norm": (layers, dim),
        "w1": (layers, hidden, dim),
        "w2": (layers, dim, hidden),
        "w3": (layers, hidden, dim),
        "norm": (dim,),
    }
    weights, start = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        weights[name] = flat[start : start + size].reshape(shape)
        start += size
    return Stories(**dict(zip(list(Stories.__slots__)[:7], sizes, strict=True)), weights=weights)


def read_pieces(path: Path) -> list[tuple[str, float]]:
    """Every token's text and score, by id."""
    data, place, found = path.read_bytes(), 4, []
    while place < len(data):
        score, size = struct.unpack_from("<fi", data, place)
        place += 8
        found.append((data[place : place + size].decode(), score))
        place += size
    return found


def convert_model(stories: Stories) -> LlamaForCausalLM:
    """The same function as a `LlamaForCausalLM`, with the same ids."""
    config = LlamaConfig(
        vocab_size=stories.vocab_size,
        hidden_size=stories.dim,
        intermediate_size=stories.hidden_dim,
        num_hidden_layers=stories.n_layers,
        num_attention_heads=stories.n_heads,
        num_key_value_heads=stories.n_kv_heads,
        max_position_embeddings=stories.seq_len,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(dict(_named(stories)), strict=False)
    model.tie_weights()
    return model.eval()


def _named(stories: Stories) -> Iterator[tuple[str, torch.Tensor]]:
    own = {name: torch.from_numpy(matrix.copy()) for name, matrix in stories.weights.items()}
    yield "model.embed_tokens.weight", own["embedding"]
    yield "model.norm.weight", own["norm"]
    for layer in range(stories.n_layers):
        at = f"model.layers.{layer}."
        yield f"{at}input_layernorm.weight", own["attention_norm"][layer]
        yield f"{at}post_attention_layernorm.weight", own["ffn_norm"][layer]
        yield f"{at}self_attn.q_proj.weight", _halves(own["wq"][layer], stories.n_heads)
        yield f"{at}self_attn.k_proj.weight", _halves(own["wk"][layer], stories.n_kv_heads)
        yield f"{at}self_attn.v_proj.weight", own["wv"][layer]
        yield f"{at}self_attn.o_proj.weight", own["wo"][layer]
        yield f"{at}mlp.gate_proj.weight", own["w1"][layer]
        yield f"{at}mlp.down_proj.weight", own["w2"][layer]
        yield f"{at}mlp.up_proj.weight", own["w3"][layer]


def _halves(matrix: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from pairs side by side to first and second halves, to be rotated."""
    rows, width = matrix.shape
    pairs = matrix.view(heads, rows // heads // 2, 2, width)
    return pairs.transpose(1, 2).reshape(rows, width).contiguous()


def convert_tokenizer(pieces: list[tuple[str, float]], context: int) -> PreTrainedTokenizerFast:
    """A fast tokenizer that encodes as llama2.c does.

    A blank goes before all text; each sign is a piece or its bytes; then of all neighbours
    that make a piece the one with the best score is merged, the leftmost first, until none is
    left. (Of two ways to make the same piece that overlap, the order may differ.)
    """
    names = [UNKNOWN, BEGIN, END, *(name for name, _ in pieces[3:])]
    ids = {name: index for index, name in enumerate(names)}
    merged = sorted(range(FIRST_MERGED, len(pieces)), key=lambda index: -pieces[index][1])
    merges = [
        (name[:cut], name[cut:])
        for name in (names[index] for index in merged)
        for cut in range(1, len(name))
        if name[:cut] in ids and name[cut:] in ids
    ]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token=UNKNOWN, byte_fallback=True))
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=BEGIN,
        extra_special_tokens=[END],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def convert(data: Path, directory: Path) -> None:
    """Write the model of a folder with llama2.c's files as a Hugging Face directory."""
    stories = read_model(data / WEIGHTS)
    convert_model(stories).save_pretrained(directory)
    pieces = read_pieces(data / PIECES)
    convert_tokenizer(pieces, stories.seq_len).save_pretrained(directory)


def write_stories(base: Path, path: Path, *, count: int, seed: int, max_tokens: int) -> int:
    """Sample stories from a model into a JSONL file; returns how many it ended itself.

    A story that ran into the length limit is kept as far as it got.
    """
    recipe = ModelRecipe(base=str(base))
    checkpoint = Checkpoint(
        model=load_base(recipe).eval(),
        tokenizer=load_base_tokenizer(recipe),
        scheme=None,
        segmenter="sentence",
    )
    asks = asks_for(checkpoint.tokenizer, [""], per_prompt=count, seed=seed)
    written = dict(
        generate(
            checkpoint, None, "none", asks, max_tokens=max_tokens,
            on_progress=lambda done, total: print(f"{done}/{total}", file=sys.stderr),
        )
    )  # fmt: skip
    ended = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for index, each in sorted(written.items()):
            row: dict[str, Any] = {"id": f"story-{seed}-{index:06d}", "text": each.text}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            ended += each.ended
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    verbs = parser.add_subparsers(dest="verb", required=True)
    first = verbs.add_parser("convert", help="write the Hugging Face directory")
    first.add_argument("directory", type=Path)
    first.add_argument("--data", type=Path, default=DATA)
    second = verbs.add_parser("sample", help="write a corpus of its stories")
    second.add_argument("base", type=Path)
    second.add_argument("path", type=Path)
    second.add_argument("--count", type=int, default=6000)
    second.add_argument("--seed", type=int, default=0)
    second.add_argument("--max-tokens", type=int, default=384)
    given = parser.parse_args()
    if given.verb == "convert":
        if not (given.data / WEIGHTS).is_file():
            sys.exit(f"{given.data} is not here: nothing is converted.")
        convert(given.data, given.directory)
        return
    ended = write_stories(
        given.base, given.path, count=given.count, seed=given.seed, max_tokens=given.max_tokens
    )
    print(f"{given.count} stories, {ended} of them ended by the model, in {given.path}")


if __name__ == "__main__":
    main()
