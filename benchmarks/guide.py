"""What guides cost: time for a text token against our plain loop, in the same batches.

    python benchmarks/guide.py [--quick] [--json FILE] [--rounds N]

The model of the packaged recipe `demo` with fresh weights and a tokenizer of its own, which ends a
line after 12 tokens or so (a hook on the head makes line breaks that likely). Each side writes
four times as many texts as a batch has rows, to the limit. Verdicts are asked of the same model,
which has no control tokens then; `contrast` and `steer` work in its good mode, against that mode
unguided. Rejection is by chance, so that its share is known; rejected tokens stand in the note.
Counted are text tokens that left. Runs on CUDA where there is one, else on the processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import timing
import torch
from timing import Row

from valence.control import ControlScheme
from valence.guide import (
    Ask,
    Contrast,
    Guide,
    Ledger,
    Rollback,
    Steer,
    Verdict,
    generate,
)
from valence.guide.band import line_end_tokens
from valence.guide.measures import Said
from valence.guide.rows import Row as Written
from valence.guide.rows import Rows
from valence.model import Checkpoint, best_device, create_model, train_tokenizer
from valence.precision import keep_freed_memory
from valence.recipe import load_recipe

SCHEME = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
TOP_P = 0.9
LINE = 12
"""Tokens of a line."""
REJECTED = 0.15
"""Chance of a line to be rejected."""


class Chance(Verdict):
    """The verdict is asked, and by chance some lines fail."""

    def __init__(self) -> None:
        super().__init__()
        self.rejected = 0

    def values(self, said: Sequence[Said], rows: Rows) -> list[float | None]:
        super().values(said, rows)
        found: list[float | None] = []
        failed: set[Written] = set()
        for each in said:
            if each.row in failed:
                found.append(1.0)
                continue
            ids = [each.row.number, each.end, *each.row.tokens[each.end - 4 : each.end]]
            fails = np.random.default_rng(ids).random() < REJECTED
            if fails:
                failed.add(each.row)
                self.rejected += len(each.row.tokens) - each.begin
            found.append(0.0 if fails else 1.0)
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the rows."""
    options = timing.argument_parser(__doc__).parse_args(arguments)
    keep_freed_memory()
    good = checkpoint()
    plain = replace(good, scheme=None)
    length = 48 if options.quick else 192
    rounds = options.rounds or (1 if options.quick else 3)
    rows: list[Row] = []
    for batch in (8,) if options.quick else (1, 8, 32):
        asks = [Ask(ids=(), seed=(0, number)) for number in range(4 * batch)]
        notes: dict[str, str] = {}

        def side(
            used: Checkpoint, mode: str, guide: Callable[[], Guide] | None, name: str,
            asks: list[Ask] = asks, notes: dict[str, str] = notes, batch: int = batch,
        ) -> Callable[[], float]:  # fmt: skip
            return lambda: seconds_per_token(used, mode, guide, asks, batch, length, notes, name)

        sides = {
            "plain": side(plain, "none", None, "plain"),
            "verdict": side(plain, "none", lambda: Rollback(Verdict(), 0.0), "verdict"),
            "rollback": side(
                plain, "none", lambda: Rollback(Chance(), 0.5, retries=99), "rollback"
            ),
            "good mode": side(good, "good", None, "good mode"),
            "contrast": side(good, "good", lambda: Contrast(1.0), "contrast"),
            "steer": side(good, "good", lambda: Steer(1.0), "steer"),
        }
        for each in sides.values():
            each()
        seen = timing.interleaved(rounds, sides)
        for name, against, goal in (
            ("verdict", "plain", "<= 1.10"),
            ("rollback", "plain", "<= 1.1 + rejected share"),
            ("contrast", "good mode", "<= 1.5 on CPU"),
            ("steer", "good mode", "<= 1.02"),
        ):
            rows.append(
                timing.ratio(
                    f"batch {batch}, time for a token",
                    seen[name],
                    seen[against],
                    of=name,
                    against=against,
                    goal=goal,
                    note=notes.get(name),
                )
            )
    where = f"{best_device().type}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    timing.publish(f"model of `demo`, lines of {LINE} tokens, fp32; {where}", rows, options.json)


def checkpoint() -> Checkpoint:
    """The demo's model with fresh weights, which ends lines."""
    recipe = load_recipe("demo")
    texts = ["import os\nprint(os.name)\n" * 4, "def add(a, b):\n    return a + b\n" * 4]
    tokenizer = train_tokenizer(texts, 400, SCHEME, max_length=512)
    model = create_model(recipe.model, 4_096, tokenizer.eos_token_id, seed=0)
    ends = line_end_tokens(tokenizer, 4_096).nonzero()[:, 0]
    words = torch.arange(3, len(tokenizer))
    words = words[~torch.isin(words, ends)]

    def shape(_: object, __: object, scores: torch.Tensor) -> torch.Tensor:
        kept = torch.full_like(scores, -torch.inf)
        kept[..., words] = scores[..., words].log_softmax(-1) + np.log(1 - 1 / LINE)
        kept[..., ends[:1]] = float(np.log(1 / LINE))
        return kept

    model.get_output_embeddings().register_forward_hook(shape)
    return Checkpoint(
        model=model.to(best_device()).eval(),
        tokenizer=tokenizer,
        scheme=SCHEME,
        segmenter="line",
        verdict=True,
    )


def seconds_per_token(
    used: Checkpoint,
    mode: str,
    guide: Callable[[], Guide] | None,
    asks: Sequence[Ask],
    batch: int,
    length: int,
    notes: dict[str, str],
    name: str,
) -> float:
    """Seconds for each text token that left."""
    ledger = Ledger()
    guides = [] if guide is None else [guide()]
    timing.wait()
    started = time.perf_counter()
    found = generate(
        used,
        SCHEME,
        mode,
        asks,
        max_tokens=length,
        top_p=TOP_P,
        batch=batch,
        guides=guides,
        ledger=ledger,
    )
    tokens = sum(each.tokens for _, each in found)
    timing.wait()
    seconds = time.perf_counter() - started
    measure = getattr(guides[0], "measure", None) if guides else None
    if isinstance(measure, Chance):
        notes[name] = f"{measure.rejected / tokens:.2f} rejected for each token that left"
    return seconds / tokens


if __name__ == "__main__":
    main()
