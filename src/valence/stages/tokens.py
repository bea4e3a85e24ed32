"""Tokens: one tokenizer and one text for all models of a run."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerFast

from valence.model import load_base_tokenizer, load_tokenizer, train_tokenizer
from valence.objective.protocol import Census
from valence.pack import Tokenised, tokenise
from valence.pack.marks import read_marks
from valence.pack.order import Order
from valence.pack.tokens import TokenStore
from valence.stages.annotation import AnnotationStages
from valence.stages.context import Context

FITTED_TOKENS = 200_000
"""Text tokens on whose states read-outs are fitted."""


class TokenStages:
    """The text of a run as tokens."""

    def __init__(self, context: Context, annotation: AnnotationStages) -> None:
        self.recipe = context.recipe
        self.context, self.annotation = context, annotation
        self._verified = False

    @cached_property
    def tokenizer_path(self) -> Path:
        """A tokenizer trained on the training documents, or the base model's; control added."""
        scheme = self.annotation.shared_scheme
        base = self.recipe.model.base
        inputs = {
            "rewards": self.annotation.digest if base is None else None,
            "tokenizer": self.recipe.tokenizer.model_dump(mode="json"),
            "base": [base, self.recipe.model.revision],
            "scheme": scheme.tokens,
        }
        title = "train the tokenizer" if base is None else "load the tokenizer"
        with self.context.stage("tokenizer", inputs, title) as stage:
            if stage is not None:
                if base is None:
                    tokenizer = train_tokenizer(
                        self.annotation.training_texts(self.recipe.tokenizer.max_chars),
                        self.recipe.tokenizer.vocab_size,
                        scheme,
                        max_length=self.recipe.model.max_position_embeddings,
                    )
                else:
                    tokenizer = load_base_tokenizer(self.recipe.model, scheme)
                tokenizer.save_pretrained(stage.work)
                stage.facts["vocabulary"] = len(tokenizer)
        return self.context.path / "tokenizer"

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of all models of the run."""
        return load_tokenizer(self.tokenizer_path)

    @cached_property
    def store(self) -> TokenStore:
        """The training documents as tokens, on disk."""
        return self.annotation.tokens(self.tokenizer_path, self.tokenizer)

    @cached_property
    def held_out_tokens(self) -> Tokenised:
        """Held-out documents as tokens, about `measure.loss_chars` characters of them."""
        documents = self.annotation.held_out(self.recipe.measure.loss_chars)
        marks = read_marks(self.annotation.annotation, self.annotation.name)
        return tokenise(documents, load_tokenizer(self.tokenizer_path), marks=marks)

    @cached_property
    def some_tokens(self) -> Tokenised:
        """Training documents as tokens, for what is fitted on a trained model's states."""
        order = Order(self.store.documents, self.recipe.seed)
        sizes = self.store.document_sizes[order.documents(0, 0, self.store.documents)]
        count = int(np.searchsorted(np.cumsum(sizes), FITTED_TOKENS)) + 1
        return self.store.take(order.documents(0, 0, min(count, self.store.documents)))

    @cached_property
    def census(self) -> Census:
        """The rewards and sizes of all training text."""
        return self.store.census()

    def verify_store(self) -> None:
        """Read the tokens once and compare them with their digest; raises `StoreError`.

        Only the process that leads does, and only in a run that makes something of them.
        """
        if not self._verified and self.context.crew.leads:
            self.store.verify()
            self._verified = True
