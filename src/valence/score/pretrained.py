"""Pretrained models: found in a directory or on the hub, and loaded with care.

Weights are read from safetensors only, and no code that comes with a model is ever run.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from valence.errors import MissingFileError, ModelError, ScorerError, missing_extra

Dtype = Literal["auto", "fp32", "bf16"]
Head = Literal["classifier", "language"]

FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""What a model is made of: weights, configuration and tokenizer, no pickles and no code."""


def resolve(model: str, revision: str | None = None) -> Path:
    """The directory of a model: a local one, or `owner/name` fetched from the Hugging Face hub.

    A fetched one stays in the hub's own cache, one directory per revision.
    """
    directory = Path(model).expanduser()
    if directory.is_dir():
        return directory
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", model):
        raise MissingFileError(
            "no such model directory",
            where=model,
            fix="Give a directory, or a model of the Hugging Face hub as owner/name.",
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                model,
                revision=revision,
                allow_patterns=list(FILES),
                ignore_patterns=["*/*", "consolidated*"],
            )
        )
    except Exception as error:  # The library raises whatever its transport does.
        raise ModelError(
            f"is no directory here, and the hub does not give it ({_in_short(error)})",
            where=model,
            fix="Check the name and the connection, or download it and give its directory.",
        ) from None


def model_files(directory: Path) -> list[Path]:
    """The files that a model is made of, by name; raises `ModelError` if none has weights."""
    found = sorted(
        path
        for path in directory.iterdir()
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in FILES)
    )
    if not any(path.suffix == ".safetensors" for path in found):
        pickled = any(directory.glob("*.bin")) or any(directory.glob("*.pt*"))
        raise ModelError(
            "holds its weights only as pickles, which can run any code"
            if pickled
            else "holds no weights (no *.safetensors)",
            where=str(directory),
            fix="Convert them where you trust them: load the model with transformers and"
            " save_pretrained() it; or name a revision that has model.safetensors.",
        )
    return found


def pick_device(name: str) -> str:
    """`auto` is CUDA, else Apple's MPS, else the processor; raises `ScorerError` if absent."""
    import torch

    have = ["cpu"]
    if torch.backends.mps.is_available():
        have.append("mps")
    have.extend(["cuda"] * torch.cuda.is_available())
    have.extend(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    if name == "auto":
        return "cuda" if "cuda" in have else have[-1]
    if name not in have:
        raise ScorerError(
            f"there is no device `{name}`", where="device", fix=f"Here are: {', '.join(have)}."
        )
    return name


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer in a directory.

    Raises `ModelError`, also where it is not a fast one, and `MissingExtraError`.
    """
    from transformers import AutoTokenizer

    try:
        with _quietly():
            tokenizer = AutoTokenizer.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # The library raises whatever its parsers do.
        ready = (directory / "tokenizer.json").is_file() or not any(directory.glob("*.model"))
        if not ready and find_spec("sentencepiece") is None:
            raise missing_extra("sentencepiece, which reads this tokenizer,", "hub") from None
        raise _not_loaded(directory, "tokenizer", error) from None
    if not tokenizer.is_fast:
        raise ModelError(
            "has no fast tokenizer", where=str(directory), fix="Save it with a tokenizer.json."
        )
    return tokenizer


def load_model(directory: Path, head: Head, dtype: Dtype, device: str) -> tuple[Any, str]:
    """The model in eval mode, and what it computes in.

    `auto` is fp32, and bf16 on an accelerator where the weights were saved so. Raises
    `ModelError`, also where the weights of the head are missing and would be random.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    kind = AutoModelForCausalLM if head == "language" else AutoModelForSequenceClassification
    try:
        with _quietly():
            config = AutoConfig.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False
            )
            saved = str(config.dtype).removeprefix("torch.")
            half = dtype == "bf16" or (dtype == "auto" and device != "cpu" and saved == "bfloat16")
            model, report = kind.from_pretrained(
                directory,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.bfloat16 if half else torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # The library raises whatever its parsers do.
        raise _not_loaded(directory, "model", error) from None
    lacking = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
    if lacking:
        raise ModelError(
            f"has no trained weights for {', '.join(lacking[:3])}: it was not made for this",
            where=str(directory),
            fix=f"Name a model that was trained as a {kind.__name__.removeprefix('AutoModelFor')}.",
        )
    return model.eval().requires_grad_(False).to(device), "bf16" if half else "fp32"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """No progress bars and no reports on standard error: what matters becomes an error."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _not_loaded(directory: Path, what: str, error: Exception) -> ModelError:
    return ModelError(
        f"the {what} cannot be loaded ({_in_short(error)})",
        where=str(directory),
        fix="A file is missing, damaged or from another program; code in it is never run.",
    )


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
