"""The decoding loop: seeded, batched sampling from a checkpoint in one of its modes."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

import torch
from transformers import PreTrainedModel

from valence.control import ControlScheme
from valence.guide.ask import Ask, Written, asks_for
from valence.guide.guides import Guides, Ledger
from valence.guide.lattice import Lattice
from valence.guide.modes import UNGUIDED, hold, modes_of
from valence.guide.pick import Picker, stream
from valence.guide.protocol import Guide, Site
from valence.guide.release import Release, Wishes
from valence.guide.room import check_memory, context_of
from valence.guide.rows import Row, Rows
from valence.model import Checkpoint, start_ids
from valence.precision import Precision, autocast

__all__ = [
    "UNGUIDED",
    "Ask",
    "Written",
    "asks_for",
    "generate",
    "modes_of",
]

JOINING = 1.0
"""What it costs to have new texts join, beside reading their prompts, in steps of the batch."""


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
    wishes: Wishes | None = None,
    ends: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Written]]:
    """Write a text for each ask in a mode; gives (number of the ask, text) as they are finished.

    `known` names the control tokens in the vocabulary, if there are any; neither they nor
    other special tokens are ever in the text. `max_tokens` counts text tokens. Temperature
    0 always takes the likeliest token. `guides` change the scores before the mode's own does,
    one after the other, and one of them may review what was written; `ledger` counts the
    tokens that went through the model. A text ends with EOS, with one of `ends` (special tokens,
    such as those that close a turn of a chat), and with those that a model from elsewhere names in
    its generation config. Under `wishes` stand streaming, stops and cancelling; who
    closes the iterator cancels all.

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
    prefix, band = hold(checkpoint, control_ids, mode, ends=ends)
    prompts = [ask.prompt(start_ids(tokenizer), prefix) for ask in asks]
    context = context_of(checkpoint, asks, prompts, max_tokens)
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
            max_tokens=max_tokens,
            write=lambda own, under, tokens: [
                text
                for _, text in sorted(
                    generate(
                        checkpoint, known, mode, own, max_tokens=tokens, guides=under, ends=ends
                    ),
                    key=itemgetter(0),
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
    longest = max(map(len, prompts), default=0)
    each = crew.copies * rows.width
    check_memory(
        model,
        rows=max(min(batch, len(asks) * crew.copies), crew.copies) * rows.width,
        each=each,
        tokens=min(context, longest + 2 * max_tokens),
    )
    release = Release(tokenizer, asks, control_ids, wishes or Wishes())
    # The longest prompts first: what joins later then always fits beside the rows there.
    order = sorted(range(len(asks)), key=lambda number: -len(prompts[number]))
    waiting = deque(
        _rows_of(
            number, asks[number], prompts[number], max_tokens, context, model.device, crew.copies
        )
        for number in order
    )
    done = idle = 0
    # The texts are handed out outside of the context: what is done with them is not our affair.
    while waiting or rows.rows:
        with _undisturbed(model, precision), crew.attached():
            empty = batch - len(rows.rows)
            group = _next_group(waiting, empty, rows) if empty or not rows.rows else []
            # Places stay empty until that has cost as much as it costs to fill them.
            cost = JOINING * batch + sum(len(row.prompt) for row in group)
            if group and (not rows.rows or idle >= cost):
                for _ in range(len(group) // crew.copies):
                    waiting.popleft()
                rows.join(group)
                idle = 0
            else:
                idle += max(empty, 0) * rows.stride
                crew.advance(release)
            crew.review()
            finished = rows.leave()
        if ledger is not None:
            ledger.written, ledger.looked = rows.steps, crew.looked
        for row in rows.rows:
            release.give(row, crew.passed(row))
        for row in finished:
            if not row.dropped:
                done += 1
                release.give(row, last=True)
                yield row.number, _written(release, row, max_tokens)
        if finished and on_progress is not None:
            on_progress(done, len(asks))


def _rows_of(
    number: int,
    ask: Ask,
    prompt: tuple[int, ...],
    max_tokens: int,
    context: int,
    device: torch.device,
    copies: int,
) -> list[Row]:
    """The rows that are written for an ask: each with chances of its own."""
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


def _next_group(waiting: deque[list[Row]], room: int, rows: Rows) -> list[Row]:
    """The rows that can be begun together, as many as there is room for.

    Where nobody is, those of one ask even if there is not. Where the model needs it they are
    of one length, and alone.
    """
    group: list[Row] = []
    if rows.rows and not rows.flexible:
        return group
    for own in waiting:
        if len(group) + len(own) > room and (group or rows.rows):
            break
        if not rows.flexible and group and len(own[0].prompt) != len(group[0].prompt):
            break
        group += own
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


def _written(release: Release, row: Row, max_tokens: int) -> Written:
    return Written(
        text=release.text(row),
        ended=row.ended,
        tokens=row.text,
        no_room=not row.ended and row.text < max_tokens and len(row.tokens) >= row.limit,
    )
