"""Held-out text from files: cut into documents, tokenised without rewards."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoints import SCHEME, TEXT, banned_by_hand, tiny_checkpoint
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from valence.data import Document, Items
from valence.errors import CorpusError, MissingFileError
from valence.measure.ability import read_text, text_loss, tokenise_text
from valence.measure.ability.texts import cut
from valence.pack import tokenise
from valence.recipe.ability import TextRecipe

WIKI = " \n = One Title = \n \n First text . \n = = Section = = \n more \n = B = \n Second . \n"
PARAGRAPHS = "One.\nStill one.\n\n \nTwo.\n\n\nThree.\n"


def document(text: str) -> Document:
    return Document(id="d", text=text, source="s")


def test_articles_begin_at_headings_and_sections_do_not() -> None:
    parts = [part.text for part in cut(document(WIKI), "auto")]
    assert len(parts) == 2
    assert parts[0].lstrip().startswith("= One Title =") and "Section" in parts[0]
    assert parts[1].startswith(" = B = ")


def test_paragraphs_begin_after_blank_lines() -> None:
    parts = [part.text for part in cut(document(PARAGRAPHS), "paragraph")]
    assert parts == ["One.\nStill one.\n\n \n", "Two.\n\n\n", "Three.\n"]


@given(
    st.lists(st.sampled_from([" = A = ", " = = A = = ", "", " ", "text", "é\r", "=", "\n"])),
    st.sampled_from(["auto", "article", "paragraph", "file"]),
)
def test_the_parts_of_a_file_join_to_it_and_none_is_empty(lines: list[str], how: str) -> None:
    text = "\n".join(lines) + "x"
    parts = cut(document(text), how)
    assert "".join(part.text for part in parts) == text
    assert all(part.text for part in parts)
    assert len({part.id for part in parts}) == len(parts)


def test_a_file_is_read_up_to_so_many_characters_and_bad_rows_are_counted(tmp_path: Path) -> None:
    rows = [json.dumps({"text": "a" * 10}) for _ in range(5)]
    (tmp_path / "rows.jsonl").write_text("\n".join([*rows[:2], "{", *rows[2:]]) + "\n")
    found = read_text(TextRecipe(path=str(tmp_path / "rows.jsonl")))
    assert (len(found.documents), found.unread) == (5, 1)
    some = read_text(TextRecipe(path=str(tmp_path / "rows.jsonl"), max_chars=25))
    assert len(some.documents) == 3
    (tmp_path / "wiki.txt").write_text(WIKI, encoding="utf-8")
    assert len(read_text(TextRecipe(path=str(tmp_path / "wiki.txt"))).documents) == 2
    assert len(read_text(TextRecipe(path=str(tmp_path / "wiki.txt"), documents="file")).documents)
    with pytest.raises(MissingFileError):
        read_text(TextRecipe(path=str(tmp_path / "none.txt")))
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(CorpusError):
        read_text(TextRecipe(path=str(tmp_path / "empty.txt")))


def test_a_path_alone_stands_for_a_text() -> None:
    assert TextRecipe.model_validate("a.txt") == TextRecipe(path="a.txt")


def test_text_without_rewards_is_left_out_unless_it_is_asked_for() -> None:
    checkpoint = tiny_checkpoint(SCHEME)
    tokenised = tokenise_text([document(TEXT)], checkpoint)
    assert np.isnan(tokenised.rewards).all() and len(tokenised.segments) == 5
    with pytest.raises(CorpusError):
        tokenise([], checkpoint.tokenizer)


def byte_oracle(mode: str, scheme: bool) -> tuple[float, int]:
    """Nats and tokens of TEXT, one token at a time."""
    checkpoint = tiny_checkpoint(SCHEME if scheme else None)
    tokenizer = checkpoint.tokenizer
    ids = SCHEME.token_ids(tokenizer)
    forced = {"bad": ids[0], "good": ids[1]}.get(mode)
    context, nats, count = [tokenizer.eos_token_id], 0.0, 0
    for line in TEXT.splitlines(keepends=True):
        context += [] if forced is None else [forced]
        for token in tokenizer(line, add_special_tokens=False)["input_ids"]:
            with torch.no_grad():
                scores = checkpoint.model(torch.tensor([context])).logits[0, -1]
            nats -= float(banned_by_hand(scores, ids, tokenizer.eos_token_id)[token])
            count += 1
            context.append(token)
    return nats, count


@pytest.mark.parametrize(
    ("mode", "scheme"), [("good", True), ("bad", True), ("banned", True), ("none", False)]
)
def test_loss_and_bits_of_text_without_rewards(mode: str, scheme: bool) -> None:
    checkpoint = tiny_checkpoint(SCHEME if scheme else None)
    tokenised = tokenise_text([document(TEXT), document("é ¿?\n")], checkpoint)
    found = text_loss(
        checkpoint, SCHEME, tokenised, mode,
        model_name="m", seed=0, window=128, resamples=100, data="wiki", failures=3,
    )  # fmt: skip
    nats, count = byte_oracle(mode, scheme)
    loss, bits = (each.items for each in found.evidence)
    assert isinstance(loss, Items) and isinstance(bits, Items)
    assert loss.tops[0] == pytest.approx(nats, rel=1e-5) and loss.bottoms[0] == count
    assert bits.tops[0] == pytest.approx(nats / math.log(2), rel=1e-5)
    assert bits.bottoms == (len(TEXT.encode()), len("é ¿?\n".encode()))
    assert [row.metric for row in found.rows] == ["loss_per_text_token@wiki", "bits_per_byte@wiki"]
    assert {row.failures for row in found.rows} == {3}
    assert found.rows[1].value == pytest.approx(sum(bits.tops) / sum(bits.bottoms))


def test_a_foreign_model_needs_no_scheme_at_all() -> None:
    checkpoint = tiny_checkpoint()
    tokenised = tokenise_text([document(TEXT)], checkpoint)
    options = {"model_name": "m", "seed": 0, "resamples": 100}
    found = text_loss(checkpoint, None, tokenised, "none", window=128, **options)  # type: ignore[arg-type]
    ids = torch.tensor([[checkpoint.tokenizer.eos_token_id, *tokenised.ids.tolist()]])
    with torch.no_grad():
        expected = checkpoint.model(ids, labels=ids).loss.item()
    assert found.rows[0].value == pytest.approx(expected, rel=1e-5)
    assert (found.rows[0].low, found.rows[0].high, found.rows[0].count) == (None, None, 1)


@given(st.integers(5, 60), st.lists(st.text("ab \n.", min_size=1, max_size=40), min_size=1))
def test_every_token_is_predicted_once_whatever_the_window(window: int, texts: list[str]) -> None:
    """A model that predicts without looking back gives one loss for all windows."""
    checkpoint = tiny_checkpoint(SCHEME)
    bias = torch.linspace(-3, 3, len(checkpoint.tokenizer))

    class Blind(torch.nn.Module):
        device = torch.device("cpu")

        def get_output_embeddings(self) -> torch.nn.Embedding:
            return torch.nn.Embedding(len(bias), 1)

        def forward(self, input_ids: torch.Tensor, **_: object) -> object:
            logits = bias.expand(*input_ids.shape, -1).clone()
            return type("Output", (), {"logits": logits})

    blind = replace(checkpoint, model=Blind())  # type: ignore[arg-type]
    tokenised = tokenise_text([document(text) for text in texts], checkpoint)
    found = text_loss(
        blind, SCHEME, tokenised, "good",
        model_name="m", seed=0, window=window, resamples=100,
    )  # fmt: skip
    tokenizer = checkpoint.tokenizer
    logs = banned_by_hand(bias, SCHEME.token_ids(tokenizer), tokenizer.eos_token_id)
    loss = found.evidence[0].items
    assert isinstance(loss, Items)
    assert sum(loss.tops) == pytest.approx(-logs[tokenised.ids].sum(), rel=1e-4)


def test_text_that_a_tokenizer_cannot_spell_is_a_failure_and_no_cheap_text() -> None:
    checkpoint = tiny_checkpoint()
    words = Tokenizer(WordLevel({"<eos>": 0, "<unk>": 1, "cat": 2, "dog": 3}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<eos>", bos_token="<eos>", unk_token="<unk>"
    )
    lossy = replace(checkpoint, tokenizer=tokenizer)
    texts = ["cat dog cat", "nobody knows any", "dog cat", "cat or dog"]
    found = text_loss(
        lossy, None, tokenise_text([document(text) for text in texts], lossy), "none",
        model_name="m", seed=0, window=16, resamples=100, failures=1,
    )  # fmt: skip
    assert {(row.count, row.failures) for row in found.rows} == {(2, 3)}
    bits = found.evidence[1].items
    assert isinstance(bits, Items) and bits.bottoms == (11.0, 7.0)
