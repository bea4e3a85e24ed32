"""Control tokens for a model that has none: new tokens, and rows for them in its matrices."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from valence.control import ControlScheme, read_about, read_known_scheme, read_scheme
from valence.errors import ControlError
from valence.score.pretrained import load_tokenizer

INPUT_NOISE = 1.0
"""Noise on a new input row, in standard deviations of the old rows. With the little that is usual
for one new token, several of them begin as one vector and stay it for a whole short fine-tuning:
feedback then does nothing (LOG.md)."""
OUTPUT_NOISE = 0.01
"""The same for an output of its own: there the targets tell new rows apart from the first step."""


def extend_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    scheme: ControlScheme,
    *,
    seed: int,
) -> tuple[int, ...]:
    """Add a scheme's control tokens to tokenizer and model; returns their ids, worst first.

    A new row, of the input and of an output that is not tied to it, is the mean of the old
    rows and seeded noise, for an input as wide as the old rows are spread (Korbak et al. 2023,
    arXiv 2302.08582; Hewitt 2021, "Initializing new word embeddings for pretrained language
    models", for the mean). Rows that a padded vocabulary has to spare are used first, and no
    row is ever lost. Tokens that the model's own tokenizer has as special ones, all of them,
    keep their rows as they are; but for control tokens that it never learned, being a model of a
    run in which others did: nothing told those rows apart.
    The tokenizer may have been extended before (`extend_tokenizer`). Raises `ControlError`
    where a name is taken by another token.
    """
    before = tokenizer.get_vocab()
    extend_tokenizer(tokenizer, scheme)
    own = _own_vocabulary(model) or before
    ids = scheme.token_ids(tokenizer)
    fresh = [index for token, index in zip(scheme.tokens, ids, strict=True) if token not in own]
    rows = model.get_input_embeddings().weight.shape[0]
    used = torch.tensor(sorted(index for index in own.values() if index < rows))
    statistics = [_statistics(matrix, used) for matrix in _matrices(model)]
    if max(ids) >= rows:
        # It draws what we then replace.
        with torch.random.fork_rng():
            model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        matrices = zip(_matrices(model), statistics, strict=True)
        for at, (matrix, (mean, deviation)) in enumerate(matrices):
            noise = torch.randn(len(fresh), *mean.shape, generator=generator)
            noise *= OUTPUT_NOISE if at else INPUT_NOISE
            matrix[fresh] = (mean + deviation * noise).to(matrix)
    return ids


def extend_tokenizer(tokenizer: PreTrainedTokenizerFast, scheme: ControlScheme) -> None:
    """Add a scheme's control tokens to a tokenizer, where it does not have them all.

    Raises `ControlError` where a name is taken by another token.
    """
    vocabulary = tokenizer.get_vocab()
    if all(token in vocabulary for token in scheme.tokens):
        _check_present(tokenizer, scheme)
        return
    extras = list(tokenizer.extra_special_tokens)
    scheme.add_to(tokenizer)
    # Adding replaces the list of what decoding skips; the model's own tokens stay in it.
    tokenizer.add_special_tokens({"extra_special_tokens": [*extras, *scheme.tokens]})


def _own_vocabulary(model: PreTrainedModel) -> dict[str, int]:
    """The tokens that a loaded model has rows for, by the tokenizer beside its weights.

    The one at hand may have been extended already, for another model of the same run.
    """
    directory = Path(model.name_or_path)
    if not model.name_or_path or not (directory / "config.json").is_file():
        return {}
    vocabulary: dict[str, int] = load_tokenizer(directory).get_vocab()
    unlearned = _unlearned(directory)
    return {token: index for token, index in vocabulary.items() if token not in unlearned}


def _unlearned(directory: Path) -> frozenset[str]:
    """Control tokens that one of our models has and was never shown, neither to read nor to say.

    In training their outputs are only ever wrong, so that they become one vector.
    """
    known = read_known_scheme(directory)
    taught = read_scheme(directory) or read_about(directory).get("verdict")
    return frozenset() if known is None or taught is not None else frozenset(known.tokens)


def _check_present(tokenizer: PreTrainedTokenizerFast, scheme: ControlScheme) -> None:
    ids = scheme.token_ids(tokenizer)
    added = tokenizer.added_tokens_decoder
    ordinary = [t for t, i in zip(scheme.tokens, ids, strict=True) if not _special(added.get(i))]
    taken = {
        getattr(tokenizer, name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")
    }
    clash = sorted({*ordinary, *(taken & set(scheme.tokens))})
    if clash:
        raise ControlError(
            f"the vocabulary already has {clash}, and they stand for something else",
            where="control.tokens",
            fix="Name other control.tokens.",
        )


def _special(token: object) -> bool:
    return bool(getattr(token, "special", False))


def _matrices(model: PreTrainedModel) -> list[torch.Tensor]:
    """Everything with a row per token: the input, an output of its own, the output's bias."""
    weight, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    found = [weight]
    if head is not None and head.weight is not weight:
        found.append(head.weight)
    if head is not None and getattr(head, "bias", None) is not None:
        found.append(head.bias)
    return found


def _statistics(matrix: torch.Tensor, used: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows = matrix.detach()[used.to(matrix.device)].float().cpu()
    return rows.mean(dim=0), rows.std(dim=0)
