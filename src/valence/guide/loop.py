"""The decoding loop: seeded, batched sampling from a checkpoint in one of its modes."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import torch
from transformers import PreTrainedModel

from valence.control import ControlScheme, read_known_scheme
from valence.errors import ControlError, ModelError
from valence.guide.ask import Ask, Written, asks_for
from valence.guide.guides import Guides, Ledger
from valence.guide.lattice import Lattice
from valence.guide.modes import UNGUIDED, hold, modes_of
from valence.guide.pick import Picker, stream
from valence.guide.protocol import Guide, Site
from valence.guide.rows import Row, Rows
from valence.model import Checkpoint, continuation, load_checkpoint, start_ids
from valence.precision import Precision, autocast

__all__ = [
    "UNGUIDED",
    "Ask",
    "Written",
    "asks_for",
    "generate",
    "modes_of",
    "sample_checkpoint",
]

REFILL = 0.5
"""New texts are begun when so few of the batch's rows are left. Each time costs a pass over
their prompts, and what joins late is padded to the longest row."""


def generate(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    asks: Sequence[Ask],
    *,
    max_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    batch: int = 128,
    precision: Precision = "fp32",
    guides: Sequence[Guide] = (),
    ledger: Ledger | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Written]]:
    """Write a text for each ask in a mode; gives (number of the ask, text) as they are finished.

    `known` names the control tokens in the vocabulary, if there are any; neither they nor
    other special tokens are ever in the text. `max_tokens` counts text tokens. Temperature
    0 always takes the likeliest token. `guides` change the scores before the mode's own does,
    one after the other, and one of them may review what was written; `ledger` counts the
    tokens that went through the model.

    A text depends on its ask alone, not on the batch: each has chances of its own. Yet matrix
    products of another shape round differently, and where two tokens arrive at the same time
    but for that, a text goes another way. In fp32 this is rare (none in 100,000 tokens of the
    demo's model, batches of 7, 96 and 256); in bf16, which keeps three digits, it is not.
    Memory grows with `batch` times the longest text.

    Raises `ControlError` for a mode the model does not know or a guide that cannot guide it,
    and `ModelError` for a prompt longer than its context, before anything is written, and for a
    model without a cache.
    """
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    control_ids = known.token_ids(tokenizer) if known is not None else ()
    prefix, band = hold(checkpoint, control_ids, mode)
    before = (*start_ids(tokenizer), *prefix)
    context = _context(checkpoint, asks, len(before), max_tokens)
    picker = Picker(temperature=temperature, top_p=top_p)
    crew = Guides(
        guides,
        Site(
            checkpoint=checkpoint,
            known=known,
            mode=mode,
            band=band,
            control_ids=tuple(control_ids),
            asks=asks,
            write=lambda own: [
                text
                for _, text in sorted(
                    generate(checkpoint, known, mode, own, max_tokens=64), key=itemgetter(0)
                )
            ],
        ),
    )
    lattice = Lattice(model, context=context, eos_id=tokenizer.eos_token_id)
    rows = Rows(
        lattice,
        band,
        picker,
        crew.combine if guides else None,
        contexts=crew.contexts,
        control_ids=control_ids,
        max_text=max_tokens,
    )
    crew.watch(rows)
    # The longest prompts first: what joins later then always fits beside the rows there.
    order = sorted(range(len(asks)), key=lambda number: -len(asks[number].ids))
    waiting = deque(
        _rows_of(number, asks[number], before, max_tokens, context, model.device, crew.copies)
        for number in order
    )
    done = 0
    # The texts are handed out outside of the context: what is done with them is not our affair.
    while waiting or rows.rows:
        with _undisturbed(model, precision), crew.attached():
            if waiting and len(rows.rows) <= batch * (REFILL if rows.flexible else 0):
                rows.join(_next_group(waiting, batch - len(rows.rows), rows.flexible))
            else:
                crew.advance()
            crew.review()
            finished = rows.leave()
        if ledger is not None:
            ledger.written, ledger.looked = rows.steps, crew.looked
        for row in finished:
            if not row.dropped:
                done += 1
                yield row.number, _written(checkpoint, asks[row.number], row, control_ids)
        if finished and on_progress is not None:
            on_progress(done, len(asks))


def sample_checkpoint(
    directory: Path,
    *,
    mode: str | None = None,
    count: int = 1,
    prompt: str = "",
    max_tokens: int = 256,
    temperature: float = 1.0,
    top_p: float = 0.9,
    seed: int = 0,
) -> Iterator[str]:
    """Texts from a checkpoint directory in a mode, its preferred one by default.

    What `valence sample` does. Raises `MissingFileError`, `ModelError`, `ControlError`.
    """
    if not (math.isfinite(temperature) and temperature > 0 and 0 < top_p <= 1):
        raise ControlError(
            f"temperature {temperature} and top-p {top_p} cannot be used",
            fix="The temperature is above 0; top-p is above 0 and at most 1.",
        )
    checkpoint = load_checkpoint(directory)
    known = read_known_scheme(directory)
    if known is None:
        raise ControlError(
            "the directory has no valence.json, so its modes are unknown",
            where=str(directory),
            fix="Sample it with plain transformers, or train it with `valence run`.",
        )
    written = dict(
        generate(
            checkpoint,
            known,
            mode or modes_of(checkpoint.scheme)[0],
            asks_for(checkpoint.tokenizer, [prompt], per_prompt=count, seed=seed),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
        )
    )
    for number in range(count):
        yield written[number].text


def _context(checkpoint: Checkpoint, asks: Sequence[Ask], before: int, new: int) -> int:
    """How many tokens the model can hold; raises `ModelError` if some prompt's do not fit.

    A model without position embeddings has no limit: then twice what is asked.
    """
    prompt = max((ask.ids for ask in asks), key=len, default=())
    longest = before + len(prompt)
    config = checkpoint.model.config.get_text_config()
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if limit is None:
        return longest + 2 * new
    if longest + new > limit:
        begins = checkpoint.tokenizer.decode(list(prompt[:12]))
        raise ModelError(
            f"{longest} prompt tokens and {new} new ones do not fit the model's context of {limit}",
            where=f"prompt {begins + ' ...'!r}" if prompt else None,
            fix="Shorten the prompt or lower max_tokens.",
        )
    return limit


def _rows_of(
    number: int,
    ask: Ask,
    before: Sequence[int],
    max_tokens: int,
    context: int,
    device: torch.device,
    copies: int,
) -> list[Row]:
    """The rows that are written for an ask: each with chances of its own."""
    prompt = (*before, *ask.ids)
    seeds = [ask.seed] if copies == 1 else [(*ask.seed, 0, copy + 1) for copy in range(copies)]
    return [
        Row(
            number=number,
            prompt=prompt,
            chances=stream(seed, device),
            # At the most a control token per text token.
            limit=min(context - len(prompt), 2 * max_tokens),
        )
        for seed in seeds
    ]


def _next_group(waiting: deque[list[Row]], room: int, flexible: bool) -> list[Row]:
    """The rows that are begun together: of one length where the model needs it."""
    group = list(waiting.popleft())
    while waiting and len(group) + len(waiting[0]) <= room:
        if not flexible and len(waiting[0][0].prompt) != len(group[0].prompt):
            break
        group += waiting.popleft()
    return group


@contextlib.contextmanager
def _undisturbed(model: PreTrainedModel, precision: Precision) -> Iterator[None]:
    """No gradients, no dropout; the model is as it was whenever the caller has the word."""
    training = model.training
    if training:
        model.eval()
    try:
        with torch.inference_mode(), autocast(precision, model.device):
            yield
    finally:
        if training:
            model.train()


def _written(checkpoint: Checkpoint, ask: Ask, row: Row, control_ids: Sequence[int]) -> Written:
    text = [token for token in row.tokens if token not in control_ids]
    return Written(
        text=continuation(checkpoint.tokenizer, ask.ids, text), ended=row.ended, tokens=len(text)
    )
