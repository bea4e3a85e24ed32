"""The standard library of the running Python, as documents: a corpus that everybody has."""

from __future__ import annotations

import io
import os
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

from valence.data import Document, Failure, Unread

# Installed packages are not the standard library; `encodings` and `pydoc_data` are tables
# that a program wrote.
EXCLUDED_DIRECTORIES = frozenset(
    {"site-packages", "dist-packages", "encodings", "pydoc_data", "__pycache__"}
)


def read_stdlib(
    root: Path | None = None, *, start: int = 0, stop: int | None = None
) -> Iterator[Document | Unread]:
    """The `.py` files below `root`, sorted by path, byte for byte; those from `start` to `stop`.

    `root` is the running Python's standard library unless given. A document's source is
    its POSIX path relative to `root`, its id "stdlib/" and that path. Line breaks and a
    byte order mark stay in the text. A file that cannot be read or decoded is `Unread`,
    of kind "unreadable", "unknown-encoding" or "not-utf-8" (kind "undecodable" where its
    PEP 263 cookie names another codec); the message starts with its path. Symbolic links
    that lead out of `root` are not followed.
    """
    root = (root or stdlib_root()).resolve()
    for source in stdlib_sources(root)[start:stop]:
        yield _read(root, source)


def stdlib_root() -> Path:
    """Where the running Python has its standard library."""
    return Path(sysconfig.get_path("stdlib")).resolve()


def stdlib_sources(root: Path) -> list[str]:
    """POSIX paths, relative to `root`, of the files that `read_stdlib` reads."""
    return sorted(_python_files(root))


def _python_files(root: Path) -> Iterator[str]:
    for directory, names, files in os.walk(root, followlinks=False):
        names[:] = [name for name in names if name not in EXCLUDED_DIRECTORIES]
        for name in files:
            path = Path(directory, name)
            if name.endswith(".py") and path.resolve().is_relative_to(root):
                yield path.relative_to(root).as_posix()


def _read(root: Path, source: str) -> Document | Unread:
    encoding = "utf-8"
    try:
        data = (root / source).read_bytes()
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        # "utf-8-sig" would swallow the byte order mark, and the text must go out as it came in.
        encoding = "utf-8" if encoding == "utf-8-sig" else encoding
        text = data.decode(encoding)
        text.encode("utf-8")  # some codecs (utf-7) can make lone surrogates
    except OSError as error:
        return _failure("unreadable", source, error)
    except UnicodeError as error:
        return _failure("not-utf-8" if encoding == "utf-8" else "undecodable", source, error)
    except (SyntaxError, LookupError) as error:
        # detect_encoding reports both a cookie that it does not know and bytes that are not
        # UTF-8 in the first two lines as a SyntaxError.
        unknown = "unknown encoding" in str(error) or isinstance(error, LookupError)
        return _failure("unknown-encoding" if unknown else "not-utf-8", source, error)
    return Document(id=f"stdlib/{source}", text=text, source=source)


def _failure(kind: str, source: str, error: Exception) -> Unread:
    failure = Failure(stage="read", kind=kind, message=f"{source}: {error}")
    return Unread(id=f"stdlib/{source}", source=source, failure=failure)
