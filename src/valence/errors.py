"""The one error family. A message says what was wrong, where, and what to do.

Each member also inherits the builtin that it replaces, so that code which expects
`ValueError` or `FileNotFoundError` keeps working. The command line prints a
`ValenceError` in one or two lines, without a traceback, and ends with `exit_code`.
"""

from __future__ import annotations


class ValenceError(Exception):
    """A mistake or a condition that the user can mend.

    `what` says what was wrong, `where` the file, key or stage, `fix` what to do next.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        head = f"{where}: {what}" if where else what
        super().__init__(f"{head}\n{fix}" if fix else head)

    def __str__(self) -> str:
        return str(self.args[0])


class RecipeError(ValenceError, ValueError):
    """A recipe has an unknown key, a wrong type, or values that contradict each other."""


class CorpusError(ValenceError, ValueError):
    """There is no text to work on: the corpus is empty, or every document was dropped."""


class BoundError(ValenceError, ValueError):
    """A bound cannot separate the segments: it puts all of them into one band."""


class ControlError(ValenceError, ValueError):
    """A control scheme does not fit its tokenizer, model or mode."""


class ScorerError(ValenceError, ValueError):
    """A scorer is unknown, or broke its contract."""


class ModelError(ValenceError, ValueError):
    """A model cannot be built, loaded or saved as asked."""


class TrainingError(ValenceError, ArithmeticError):
    """Training cannot go on, for instance because the loss is not finite."""


class NotFiniteError(ValenceError, ValueError):
    """A scorer gave NaN or an infinity where a reward should be."""


class MissingExtraError(ValenceError, ImportError):
    """An optional part is not installed."""


class MissingFileError(ValenceError, FileNotFoundError):
    """A file or directory that was named does not exist."""


class StoreError(ValenceError, OSError):
    """A file cannot be written or does not hold what it should: full disk, corrupt data."""


class RunExistsError(ValenceError, FileExistsError):
    """The output directory holds something else."""


class TooManyFailures(ValenceError):
    """The work is finished, and more of it failed than the user allows."""

    exit_code = 3


class Interrupted(ValenceError, KeyboardInterrupt):
    """The user stopped the work; what is finished is kept."""

    exit_code = 130


def missing_extra(what: str, extra: str) -> MissingExtraError:
    """The error for an optional part that is not installed, with the command that adds it."""
    return MissingExtraError(
        f"{what} is not installed", fix=f"It comes with: pip install 'valence[{extra}]'."
    )
