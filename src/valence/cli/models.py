"""The verbs on a trained model: sample."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from valence.cli.console import app, err, in_plain_words
from valence.errors import RecipeError


@app.command("sample")
@in_plain_words
def sample_command(
    model: Annotated[Path, typer.Argument(help="A checkpoint directory.")],
    mode: Annotated[
        str | None, typer.Option(help="good, bad, banned, or none; its best by default.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many texts.")] = 1,
    prompt: Annotated[str, typer.Option(help="Text to continue, whatever it says.")] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Text tokens at the most.")] = 256,
    temperature: Annotated[float, typer.Option(help="Above 0.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Above 0, at most 1.")] = 0.9,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
) -> None:
    """Write texts with a trained model, in one of its modes."""
    from valence.guide.loop import sample_checkpoint

    if prompt != prompt.encode(errors="replace").decode():  # Bytes that were no text.
        raise RecipeError("is not valid UTF-8", where="--prompt", fix="Give text.")
    for index, text in enumerate(
        sample_checkpoint(
            model,
            mode=mode,
            count=count,
            prompt=prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
    ):
        if count > 1:
            err.rule(f"{index + 1} of {count}")
        sys.stdout.write(prompt + text + "\n")
