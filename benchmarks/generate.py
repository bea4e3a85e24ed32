"""Our decoding loop against plain batched `generate()`: tokens per second.

    python benchmarks/generate.py [--quick] [--json FILE] [--rounds N]

The model of the packaged recipe `demo` with a vocabulary of 4,096 and fresh weights; only how
likely the end of a text is is set, by a hook on the head. Both sides sample at top-p 0.9 in
the same batches and turn tokens into text. Counted are tokens of texts, an end among them, not
what a text that has ended is padded with. Runs on CUDA where there is one, else on the processor.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import timing
import torch
from timing import Row
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from valence.guide import Ask, generate
from valence.model import Checkpoint, best_device, create_model
from valence.precision import keep_freed_memory
from valence.recipe import load_recipe

VOCABULARY = 4_096
EOS = 0
TOP_P = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is written: how many texts, after prompts how long, of how many tokens."""

    name: str
    texts: int
    batch: int
    max_tokens: int
    prompts: tuple[int, int] = (0, 0)
    """The shortest and the longest prompt, in tokens."""
    end: float = 0.0
    """How likely the model ends a text at each token."""


def cases(quick: bool) -> list[Case]:
    length, batch = (48, 32) if quick else (256, 128)
    texts = 3 * batch
    return [
        Case(name="all to the limit", texts=batch, batch=batch, max_tokens=length),
        Case(name="ends", texts=texts, batch=batch, max_tokens=length, end=4 / length),
        Case(
            name="mixed prompts",
            texts=texts,
            batch=batch,
            max_tokens=length // 2,
            prompts=(1, length),
        ),
        *(
            Case(name=f"batch {few}", texts=few, batch=few, max_tokens=length)
            for few in ((8,) if quick else (1, 8, 32))
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    options = timing.argument_parser(__doc__).parse_args(arguments)
    keep_freed_memory()
    recipe = load_recipe("demo")
    model = create_model(recipe.model, VOCABULARY, EOS, seed=0).to(best_device()).eval()
    checkpoint = Checkpoint(model=model, tokenizer=words(), scheme=None, segmenter="line")
    rows: list[Row] = []
    for case in cases(options.quick):
        hook = end_at(checkpoint, case.end)
        rounds = options.rounds or (1 if options.quick else 3)
        asks = asks_of(case)
        sides = {
            "valence": lambda c=case, a=asks: rate(ours, checkpoint, c, a),
            "generate()": lambda c=case, a=asks: rate(plain, checkpoint, c, a),
        }
        warm = Case(name="", texts=case.batch, batch=case.batch, max_tokens=4)
        ours(checkpoint, warm, asks[: case.batch])
        plain(checkpoint, warm, asks[: case.batch])
        seen = timing.interleaved(rounds, sides)
        rows += timing.compare(case.name, seen, "tokens/s", goal=">= 0.9, on CPU > 1.2")
        hook.remove()
    where = f"{best_device().type}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    timing.publish(f"model of `demo`, vocabulary {VOCABULARY}, fp32; {where}", rows, options.json)


def words() -> PreTrainedTokenizerFast:
    """A tokenizer of as many words; what they are does not matter."""
    table = {"<eos>": EOS} | {f"w{index}": index for index in range(1, VOCABULARY)}
    backend = Tokenizer(WordLevel(table, unk_token="w1"))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def end_at(checkpoint: Checkpoint, chance: float) -> torch.utils.hooks.RemovableHandle:
    """Let the model end a text with that chance at each token."""
    odds = torch.tensor(chance / (1 - chance)).log().item()

    def ends(_: object, __: object, scores: torch.Tensor) -> torch.Tensor:
        scores[..., EOS] = -torch.inf
        scores[..., EOS] = scores.logsumexp(dim=-1) + odds
        return scores

    head: torch.nn.Module = checkpoint.model.get_output_embeddings()
    return head.register_forward_hook(ends)


def asks_of(case: Case) -> list[Ask]:
    """Prompts of random words and lengths, in no order."""
    rng = random.Random(0)
    lengths = [rng.randint(*case.prompts) for _ in range(case.texts)]
    return [
        Ask(ids=tuple(rng.randrange(1, VOCABULARY) for _ in range(length)), seed=(0, number))
        for number, length in enumerate(lengths)
    ]


def rate(
    side: Callable[[Checkpoint, Case, Sequence[Ask]], int],
    checkpoint: Checkpoint,
    case: Case,
    asks: Sequence[Ask],
) -> float:
    """Tokens per second of a side."""
    timing.wait()
    started = time.perf_counter()
    tokens = side(checkpoint, case, asks)
    timing.wait()
    return tokens / (time.perf_counter() - started)


def ours(checkpoint: Checkpoint, case: Case, asks: Sequence[Ask]) -> int:
    """Write the texts with Valence; returns how many tokens they have."""
    found = generate(
        checkpoint,
        None,
        "none",
        asks,
        max_tokens=case.max_tokens,
        top_p=TOP_P,
        batch=case.batch,
    )
    return sum(each.tokens + each.ended for _, each in found)


def plain(checkpoint: Checkpoint, case: Case, asks: Sequence[Ask]) -> int:
    """Write the texts with transformers; returns how many tokens they have."""
    model, tokens = checkpoint.model, 0
    torch.manual_seed(0)
    for start in range(0, len(asks), case.batch):
        prompts = [[EOS, *ask.ids] for ask in asks[start : start + case.batch]]
        width = max(map(len, prompts))
        ids = torch.tensor([[*[EOS] * (width - len(each)), *each] for each in prompts])
        length = torch.tensor([len(each) for each in prompts])
        mask = torch.arange(width)[None] >= (width - length)[:, None]
        output = model.generate(
            ids.to(model.device),
            attention_mask=mask.long().to(model.device),
            do_sample=True,
            top_p=TOP_P,
            top_k=0,
            max_new_tokens=case.max_tokens,
            eos_token_id=EOS,
            pad_token_id=EOS,
        )
        written = output[:, width:].tolist()
        checkpoint.tokenizer.batch_decode(written, skip_special_tokens=True)
        tokens += sum(row.index(EOS) + 1 if EOS in row else len(row) for row in written)
    return tokens


if __name__ == "__main__":
    main()
