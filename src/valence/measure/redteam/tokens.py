"""Which tokens a search may use, and which prompts of tokens somebody could really type.

A prompt must come back as the same tokens when its text is read again; else the model would
be attacked by something that no text can say. Special and control tokens are never used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from valence.errors import ModelError
from valence.measure.redteam.attempt import Prompt
from valence.model import encode_texts, special_ids

Ids = tuple[int, ...]

DRAWS = 200
"""Tokens that are tried for a place before no prompt is thought possible."""


class Typeable:
    """The text tokens of a tokenizer below `rows`, and prompts made of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, rows: int) -> None:
        self.tokenizer = tokenizer
        self._specials = special_ids(tokenizer)
        barred = self._specials | {tokenizer.unk_token_id}
        known = sorted({i for i in tokenizer.get_vocab().values() if i < rows} - barred)
        alone = self.survive([(index,) for index in known])
        self.ids: npt.NDArray[np.int64] = np.array(
            [index for index, kept in zip(known, alone, strict=True) if kept], dtype=np.int64
        )

    def text(self, ids: Ids) -> str:
        """The text of tokens."""
        return self._texts([ids])[0]

    def prompt(self, ids: Ids) -> Prompt:
        """Tokens as a prompt."""
        return Prompt(text=self.text(ids), ids=ids)

    def survive(self, prompts: Sequence[Ids]) -> list[bool]:
        """Whether each prompt's text is read as the same tokens, none of them special."""
        texts = self._texts(prompts)
        read = encode_texts(self.tokenizer, texts, specials=self._specials)
        return [
            tuple(encoded.ids.tolist()) == ids for encoded, ids in zip(read, prompts, strict=True)
        ]

    def draw(self, length: int, rng: np.random.Generator) -> Ids:
        """A random prompt that survives; raises `ModelError` where none is found."""
        found: Ids = ()
        while len(found) < length and len(self.ids):
            longer = [(*found, index) for index in rng.choice(self.ids, DRAWS).tolist()]
            kept = [ids for ids, good in zip(longer, self.survive(longer), strict=True) if good]
            if not kept:
                break
            found = kept[0]
        if len(found) < length:
            raise ModelError(
                f"no text of {length} tokens is read as the same tokens again",
                where="redteam.search",
                fix="Lower `tokens`, or leave the token-level searches out for this model.",
            )
        return found

    def _texts(self, prompts: Sequence[Ids]) -> list[str]:
        backend = self.tokenizer.backend_tokenizer
        texts: list[str] = backend.decode_batch(
            [list(ids) for ids in prompts], skip_special_tokens=False
        )
        return texts
