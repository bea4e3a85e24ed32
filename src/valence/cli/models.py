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
    guide: Annotated[
        list[str] | None,
        typer.Option(
            help="A guide, as in recipes: contrast, or '{rollback: {measure: verdict, threshold:"
            " 0.5}}'. Several work together."
        ),
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End a text before this.")] = None,
    stream: Annotated[bool, typer.Option(help="Show a text while it is written.")] = False,
) -> None:
    """Write texts with a trained model, in one of its modes, guided or not."""
    from transformers.utils import logging

    from valence.guide.guides import Ledger
    from valence.guide.release import Wishes
    from valence.guide.sample import sample_checkpoint
    from valence.recipe.load import read_value

    if prompt != prompt.encode(errors="replace").decode():  # Bytes that were no text.
        raise RecipeError("is not valid UTF-8", where="--prompt", fix="Give text.")
    if stream and count > 1:
        raise RecipeError("shows one text", where="--stream", fix="Leave --count out.")
    logging.disable_progress_bar()  # A model of one file is there at once.
    ledger = Ledger()

    def show(_: int, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    if stream:
        sys.stdout.write(prompt)
    texts = sample_checkpoint(
        model,
        mode=mode,
        guides=[read_value(each, where="--guide") for each in guide or ()],
        count=count,
        prompt=prompt,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        wishes=Wishes(on_text=show if stream else None, stops=tuple(stop or ())),
        ledger=ledger,
    )
    for index, text in enumerate(texts):
        if count > 1:
            err.rule(f"{index + 1} of {count}")
        sys.stdout.write("\n" if stream else prompt + text + "\n")
    if guide:
        err.print(
            f"{ledger.written:,} tokens went through the model to write, {ledger.looked:,} to look."
        )
