"""What a user says, in the tokens of a chat template.

The template's own special tokens stay special; what a user says never becomes one, whatever
it spells.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from valence.errors import ModelError
from valence.model.tokenizer import special_ids, start_ids, text_ids

_PLACE = "\ue000{}\ue001"
"""Stands for a text while the template is filled: characters for private use."""


def chat_ids(
    tokenizer: PreTrainedTokenizerFast, prompt: str, system: str | None = None
) -> tuple[int, ...]:
    """Token ids of a turn of the user, up to where the model answers.

    Without what starts a document (`chat_start`), which every prompt gets anyway. Raises
    `ModelError` for a tokenizer without a chat template, or one that does not take these turns.
    """
    if not tokenizer.chat_template:
        raise ModelError(
            "the tokenizer has no chat template, so the model was not made for chat",
            fix="Leave `chat` out: the prompt is then continued as text.",
        )
    said = [] if system is None else [("system", system)]
    said.append(("user", prompt))
    turns = [{"role": role, "content": _PLACE.format(n)} for n, (role, _) in enumerate(said)]
    try:
        filled = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # A template raises whatever it likes.
        raise ModelError(
            f"the chat template does not take these turns ({error})",
            fix="Leave `system` out, or mend the template.",
        ) from None
    ids: list[int] = []
    rest = str(filled)
    for number, (_, text) in enumerate(said):
        before, found, rest = rest.partition(_PLACE.format(number))
        if not found:
            raise ModelError(
                "the chat template drops or changes what is said",
                fix="Leave `chat` out, or mend the template.",
            )
        ids += [*_template_ids(tokenizer, before), *text_ids(tokenizer, text)]
    ids += _template_ids(tokenizer, rest)
    start = chat_start(tokenizer)
    return tuple(ids[len(start) :] if tuple(ids[: len(start)]) == start else ids)


def chat_start(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """What stands before a chat template: BOS, or nothing where the tokenizer has none.

    The EOS that stands for BOS before a document would be the end of a turn that nobody took.
    """
    return () if tokenizer.bos_token_id is None else start_ids(tokenizer)


def turn_ends(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """The special token that closes what the model says in the chat template, if one does.

    Many templates close a turn with another token than EOS (`<|eot_id|>`, `<end_of_turn>`). None
    where the template takes no such turn or drops what is said in it.
    """
    turns = [
        {"role": "user", "content": _PLACE.format(0)},
        {"role": "assistant", "content": _PLACE.format(1)},
    ]
    try:
        filled = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # A template raises whatever it likes.
        return ()
    closing = _template_ids(tokenizer, str(filled).partition(_PLACE.format(1))[2])
    special = special_ids(tokenizer)
    first = next((place for place, token in enumerate(closing) if token in special), None)
    if first is None or tokenizer.decode(closing[:first]).strip():
        return ()
    return (closing[first],)


def _template_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """A piece of the template itself, in which special tokens are meant."""
    backend = tokenizer.backend_tokenizer
    before = backend.encode_special_tokens
    backend.encode_special_tokens = False
    try:
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        return ids
    finally:
        backend.encode_special_tokens = before
