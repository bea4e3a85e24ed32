"""metrics.jsonl: what trainings log, one line an entry, whatever other logger listens."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

from valence.store import storage, write_text


class MetricsLog:
    """Appends training logs to metrics.jsonl; a model that starts again replaces its lines."""

    def __init__(self, path: Path, model: str, seed: int) -> None:
        self.path, self.model, self.seed = path, model, seed
        self.started = False

    def __call__(self, entry: dict[str, Any]) -> None:
        if not self.started:
            self._drop_from(entry["step"])
            self.started = True
        # JSON has no NaN; a norm that overflowed is not a number.
        plain = {k: v if math.isfinite(v or 0) else None for k, v in entry.items()}
        line = {"model": self.model, "seed": self.seed, **plain}
        with storage(self.path), self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, allow_nan=False) + "\n")

    def _drop_from(self, step: int) -> None:
        """Forget what an earlier attempt logged at or after the step we continue from."""
        if not self.path.is_file():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines()
        kept = []
        for line in lines:
            with contextlib.suppress(ValueError):  # A killed run may leave half a line.
                entry = json.loads(line)
                ours = (entry["model"], entry["seed"]) == (self.model, self.seed)
                if not (ours and entry["step"] >= step):
                    kept.append(line + "\n")
        write_text(self.path, "".join(kept))


def unwritten(entry: dict[str, Any]) -> None:
    """The log of a process that does not write."""
