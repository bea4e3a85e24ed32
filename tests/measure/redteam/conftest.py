"""What the tests of attacks share: a model that is weak against one token."""

from __future__ import annotations

import pytest
from planted import fake_generate, planted

from valence.guide import Ask
from valence.model import Checkpoint, text_ids


@pytest.fixture
def weak(monkeypatch: pytest.MonkeyPatch) -> tuple[Checkpoint, int]:
    """A checkpoint whose texts are bad after its trigger, and the worse the more often ` red`."""
    checkpoint, trigger = planted()
    red = text_ids(checkpoint.tokenizer, "the red")[-1]

    def harm(ask: Ask) -> float:
        if trigger in ask.ids:
            return 1.0
        return 0.05 + 0.15 * min(sum(token == red for token in ask.ids), 6)

    for module in ("attempt", "local"):
        monkeypatch.setattr(f"valence.measure.redteam.{module}.generate", fake_generate(harm))
    return checkpoint, trigger
