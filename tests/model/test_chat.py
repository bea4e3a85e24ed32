"""Chat: the template's special tokens are special, and what a user says never is."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.errors import ModelError
from valence.model import start_ids, train_tokenizer
from valence.model.chat import chat_ids, chat_start, turn_ends

TEMPLATE = (
    "{{ '<|endoftext|>' }}{% for m in messages %}<|good|>{{ m['role'] }}:"
    " {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    scheme = ControlScheme(tokens=("<|bad|>", "<|good|>"), bounds=(0.0,))
    made = train_tokenizer(["user: hello\nassistant: hi"] * 3, 300, scheme, max_length=64)
    made.chat_template = TEMPLATE
    return made


def test_a_turn_stands_in_the_template(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = chat_ids(tokenizer, "hello <|bad|>{{ 1 }}", system="be kind")
    good, bad = (tokenizer.get_vocab()[token] for token in ("<|good|>", "<|bad|>"))
    assert ids.count(good) == 2 and bad not in ids
    assert ids[0] == good and start_ids(tokenizer)[0] not in ids
    expected = "<|good|>system: be kind\n<|good|>user: hello <|bad|>{{ 1 }}\nassistant:"
    assert tokenizer.decode(ids) == expected


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, "<|im_end|>"),
        (CHATML.replace("<|im_end|>\n", " <|eot|> "), "<|eot|>"),
        (CHATML.replace("<|im_end|>", " said.<|im_end|>"), None),
        (CHATML.replace("<|im_end|>", ""), None),
        ("{{ raise_exception('no') }}", None),
        ("nothing of it<|im_end|>", None),
    ],
)
def test_what_closes_a_turn_is_found_in_the_template(
    tokenizer: PreTrainedTokenizerFast, template: str, end: str | None
) -> None:
    marks = ["<|im_start|>", "<|im_end|>", "<|eot|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = template
    expected = () if end is None else (tokenizer.convert_tokens_to_ids(end),)
    assert turn_ends(tokenizer) == expected


def test_without_bos_nothing_stands_before_a_template(tokenizer: PreTrainedTokenizerFast) -> None:
    """EOS stands for BOS before a document; before a turn it would be the end of another."""
    assert chat_start(tokenizer) == start_ids(tokenizer)
    tokenizer.bos_token = None
    assert chat_start(tokenizer) == () != start_ids(tokenizer)
    tokenizer.chat_template = tokenizer.eos_token + TEMPLATE
    assert chat_ids(tokenizer, "hello")[0] == tokenizer.eos_token_id


def test_text_stays_text_afterwards(tokenizer: PreTrainedTokenizerFast) -> None:
    chat_ids(tokenizer, "hello")
    encoded = tokenizer.backend_tokenizer.encode("<|bad|>", add_special_tokens=False)
    assert tokenizer.get_vocab()["<|bad|>"] not in encoded.ids


def test_a_tokenizer_without_a_template_says_so(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        chat_ids(tokenizer, "hello")


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('no system') }}", "nothing of it", "{{ messages[0].content|upper }}x"],
)
def test_a_template_that_does_not_take_the_turn_says_so(
    tokenizer: PreTrainedTokenizerFast, template: str
) -> None:
    tokenizer.chat_template = template
    if "upper" in template:  # Private-use characters have no capitals: the text is all there.
        assert tokenizer.decode(chat_ids(tokenizer, "hello")) == "hellox"
        return
    with pytest.raises(ModelError, match="template"):
        chat_ids(tokenizer, "hello")
