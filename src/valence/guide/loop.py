"""The decoding loop: seeded, batched sampling from a checkpoint in one of its modes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    StoppingCriteria,
)

from valence.control import ControlScheme, read_known_scheme
from valence.errors import ControlError, ModelError
from valence.guide.band import BandProcessor, NucleusProcessor, line_end_tokens
from valence.guide.cache import growing_cache
from valence.model import (
    Checkpoint,
    continuation,
    load_checkpoint,
    special_ids,
    start_ids,
    text_ids,
)
from valence.precision import Precision, autocast

UNGUIDED = ("none", "banned")
"""Modes without a forced token: for a model without a scheme, and for one with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the model wrote after a prompt: the text, whether it ended it, its text tokens."""

    text: str
    ended: bool
    tokens: int


class _TextBudget(StoppingCriteria):
    """Ends each row after so many text tokens; control tokens do not count."""

    def __init__(self, prompt_length: int, limit: int, control: torch.Tensor) -> None:
        self.prompt_length, self.limit, self.control = prompt_length, limit, control

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        new = input_ids[:, self.prompt_length :]
        return (~torch.isin(new, self.control)).sum(dim=1) >= self.limit


def modes_of(scheme: ControlScheme | None) -> tuple[str, ...]:
    """The modes a model can be sampled in, the preferred one first."""
    if scheme is None:
        return ("none",)
    return (*reversed(scheme.modes), "banned")


def generate(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    *,
    count: int,
    max_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    batch: int = 128,
    seed: int = 0,
    prompt: str = "",
    precision: Precision = "fp32",
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Written]:
    """Sample `count` continuations of a prompt (the start of a document by default) in a mode.

    `known` names the control tokens in the vocabulary, if there are any; neither they nor
    other special tokens are ever in the text. `max_tokens` counts text tokens. Raises
    `ControlError` for a mode the model does not know and `ModelError` for a prompt longer
    than its context.
    """
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    control_ids = known.token_ids(tokenizer) if known is not None else ()
    prefix, processor = _prepare(checkpoint, control_ids, mode)
    asked = text_ids(tokenizer, prompt)
    ids = torch.tensor([[*start_ids(tokenizer), *prefix, *asked]])
    context = _context(model, ids.shape[1], max_tokens)
    budget = _TextBudget(
        ids.shape[1], max_tokens, torch.tensor(control_ids, dtype=torch.long, device=model.device)
    )
    config = GenerationConfig(
        do_sample=True,
        # Temperature and top-p are the last of our own processors.
        top_k=0,
        # At the most a control token per text token.
        max_new_tokens=min(context - ids.shape[1], 2 * max_tokens),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    for start in range(0, count, batch):
        rows = min(batch, count - start)
        with (
            torch.random.fork_rng(),
            torch.inference_mode(),
            autocast(precision, model.device),
            _own_defaults(model),
        ):
            torch.manual_seed(seed * 1_000_003 + start)
            inputs = ids.repeat(rows, 1).to(model.device)
            output = model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                generation_config=config,
                logits_processor=LogitsProcessorList(
                    [processor, NucleusProcessor(temperature, top_p)]
                ),
                past_key_values=growing_cache(model),
                stopping_criteria=[budget],
            )
        for row in output[:, ids.shape[1] :].tolist():
            yield _written(tokenizer, asked, row, control_ids, max_tokens)
        if on_progress is not None:
            on_progress(start + rows, count)


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
    for written in generate(
        checkpoint,
        known,
        mode or modes_of(checkpoint.scheme)[0],
        count=count,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        prompt=prompt,
    ):
        yield written.text


def _context(model: PreTrainedModel, prompt: int, new: int) -> int:
    """How many tokens the model can hold; raises `ModelError` if these do not fit.

    A model without position embeddings has no limit: then twice what is asked.
    """
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    if limit is None:
        return prompt + 2 * new
    if prompt + new > limit:
        raise ModelError(
            f"{prompt} prompt tokens and {new} new ones do not fit the model's context of {limit}",
            fix="Shorten the prompt or lower max_tokens.",
        )
    return limit


@contextlib.contextmanager
def _own_defaults(model: PreTrainedModel) -> Iterator[None]:
    """Take the model's generation defaults away: `generate` would mix them into ours."""
    before = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = before


def _prepare(
    checkpoint: Checkpoint, control_ids: Sequence[int], mode: str
) -> tuple[list[int], BandProcessor]:
    """Tokens to put after the start of a document, and the processor, for a mode."""
    scheme, tokenizer = checkpoint.scheme, checkpoint.tokenizer
    eos_id, size = tokenizer.eos_token_id, _rows(checkpoint)
    if mode == "none" and scheme is not None:
        raise ControlError(
            "the model was trained with control tokens",
            fix=f"Its modes are: {', '.join(modes_of(scheme))}.",
        )
    banned = _never_text(tokenizer, size)
    if mode in UNGUIDED:
        return [], BandProcessor(banned, eos_id)
    if scheme is None:
        raise ControlError(
            f"the model has no control tokens, so it has no mode `{mode}`", fix="Use mode `none`."
        )
    forced = control_ids[scheme.band_of_mode(mode)]
    every = scheme.level == "segment" and scheme.placement == "every"
    if every and checkpoint.segmenter == "line":
        processor = BandProcessor(banned, eos_id, forced, line_end_tokens(tokenizer, size))
    elif every and not scheme.mask_loss:
        # Where a sentence ends is not for a single token to tell, but the model has learned it.
        processor = BandProcessor(banned, eos_id, forced, bands=control_ids)
    else:
        processor = BandProcessor(banned, eos_id)
    return [forced], processor


def _rows(checkpoint: Checkpoint) -> int:
    weight: torch.Tensor = checkpoint.model.get_output_embeddings().weight
    return weight.shape[0]


def _never_text(tokenizer: PreTrainedTokenizerFast, size: int) -> list[int]:
    """Special tokens but EOS, and rows of the model that are no token at all."""
    spare = set(range(size)) - set(tokenizer.get_vocab().values())
    return sorted((special_ids(tokenizer) | spare) - {tokenizer.eos_token_id})


def _written(
    tokenizer: PreTrainedTokenizerFast,
    prompt: Sequence[int],
    row: list[int],
    control_ids: Sequence[int],
    limit: int,
) -> Written:
    eos_id = tokenizer.eos_token_id
    kept = row[: row.index(eos_id)] if eos_id in row else row
    text = [token for token in kept if token not in control_ids]
    # A row that reached its limit is padded with EOS; the model did not write that one.
    ended = eos_id in row and len(text) < limit
    return Written(text=continuation(tokenizer, prompt, text), ended=ended, tokens=len(text))
