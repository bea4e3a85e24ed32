"""Chat: the template's special tokens are special, and what a user says never is."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from valence.control import ControlScheme
from valence.errors import ModelError
from valence.model import start_ids, train_tokenizer
from valence.model.chat import chat_ids

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
