"""Errors for users: a message, the location, a hint on what to do, and the exit code."""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

OK = 0
BUG = 1
CONFIG = 2
DATA = 3
PLUGIN = 4
GUARD = 5
HOOK = 6
LOCKED = 75
INTERRUPTED = 130
TERMINATED = 143


def escape_line(text: str) -> str:
    r"""Return a text on one line, with control characters escaped so that a terminal does not interpret them.

    >>> escape_line("red \x1b[31m\n")
    'red \\x1b[31m\\n'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    r"""Return a text of any number of lines, with control and text-direction characters escaped.

    >>> escape_controls("red \x1b[31m\n")
    'red \\x1b[31m\n'
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def summarize_names(names: Collection[str], limit: int = 20) -> str:
    """Return the first names as text for a message, each cut to 60 characters, since a damaged file may hold any name.

    >>> summarize_names(["id", "x" * 70], limit=1), summarize_names([])
    ('id and 1 more', 'none')
    """
    short_names = [name if len(name) <= 60 else f"{name[:59]}…" for name in names][:limit]
    return (", ".join(short_names) or "none") + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


class PanicError(Exception):
    """Panic of a native library, caused by a bug in it or in the call."""


@contextmanager
def convert_panics() -> Iterator[None]:
    """Convert the panic of a native library into an ordinary exception.

    Libraries written in Rust (Polars, tokenizers and others) raise a ``PanicException``. It is no ``Exception``, so
    handlers do not see it, and it cannot be sent from one process to another. A library in C (pandas and others) turns
    an exception raised by a signal handler into a ``SystemError``: this function raises the original exception again.

    Raises
    ------
    PanicError
        If the block raises a ``PanicException``.
    """
    try:
        yield
    except SystemError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
            raise error.__cause__ from None
        raise
    except Exception:
        raise
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise PanicError(str(error)) from error
        raise


class CurateError(Exception):
    """Error that stops a run, with a message for the user.

    Parameters
    ----------
    message : str
        Description of the problem, in one sentence without a full stop.
    where : str
        File, and the line or row in it (``pool/a.jsonl:12``); empty if no file is involved.
    hint : str
        What to do about it, ideally a command or a line to change.
    """

    exit_code = BUG

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message, where, hint)  # all three, so that the error survives pickling
        self.message = message
        self.where = where
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.where, self.hint)

    def __str__(self) -> str:
        location = f"{self.where}: " if self.where else ""
        hint = f"; {self.hint}" if self.hint else ""
        return escape_line(f"{location}{self.message}{hint}")


def _rebuild(cls: type[CurateError], message: str, where: str, hint: str) -> CurateError:
    return cls(message, where=where, hint=hint)


class ConfigError(CurateError):
    """Mistake in the configuration or on the command line."""

    exit_code = CONFIG


class ConfigErrors(ConfigError):  # noqa: N818 - plural on purpose: it contains several errors
    """All mistakes in one configuration, one per line."""

    @classmethod
    def join(cls, problems: list[ConfigError]) -> ConfigErrors:
        """Return one error with the messages of all problems."""
        return cls("\n".join(str(problem) for problem in problems))

    def __str__(self) -> str:
        return self.message


class CombinedError(CurateError):
    """Several problems, one per line, with the exit code of the first."""

    def __str__(self) -> str:
        return self.message


def combine_errors(problems: Sequence[CurateError]) -> CurateError:
    """Return one error for one or more problems."""
    if len(problems) == 1:
        return problems[0]
    error = CombinedError("\n".join(str(problem) for problem in problems))
    error.exit_code = problems[0].exit_code
    return error


class DataError(CurateError):
    """Input that is missing, empty, contradictory, or too dirty to process."""

    exit_code = DATA


class ShardError(DataError):
    """Shard that cannot be processed: the other shards are processed, and the run ends with exit code 3."""


class PluginError(CurateError):
    """Plugin that is unknown or broken, or that needs an extra that is not installed."""

    exit_code = PLUGIN


class PluginFailedError(PluginError):
    """Unexpected exception in a plugin, most likely a bug in the plugin."""


class GuardrailError(CurateError):
    """Result that must not be published; the published version is unchanged."""

    exit_code = GUARD


class AccountingError(GuardrailError):
    """Violation of rows in = kept + dropped + quarantined."""


class PublicationHookError(CurateError):
    """Failure of the upload or the command after a publication; the version stays published."""

    exit_code = HOOK


class LockedError(CurateError):
    """Run directory that is locked by another run."""

    exit_code = LOCKED


class RetryableError(CurateError):
    """Failure that may not happen again (a lost worker, a full queue); the task is tried three times."""

    exit_code = DATA


def missing_extra_error(package: str, extra: str, feature: str) -> PluginError:
    """Return the error for a plugin whose optional dependency is not installed."""
    return PluginError(
        f"{feature} needs the package {package!r}, which is not installed",
        hint=f"run: {install_command(extra)}",
    )


DISTRIBUTION = "curate-data"
"""Name of the distribution on package indexes, where ``curate`` belongs to another project."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra, from a package index or, in a checkout, from the checkout."""
    checkout = Path(__file__).parent.parent
    if not (checkout / "pyproject.toml").is_file():
        return f"pip install '{DISTRIBUTION}[{extra}]'"
    root = "." if Path.cwd() == checkout else checkout
    return f"pip install --editable {shlex.quote(f'{root}[{extra}]')}"


_MEMORY = ("failed to map segment", "cannot allocate memory", "can't start new thread", "launch worker thread")
"""Phrases in errors that the library loader and threads raise instead of a MemoryError."""


def out_of_memory_error(error: BaseException | None) -> DataError | None:
    """Return the error to raise instead of one that was caused by a lack of memory; None for any other error.

    It also recognizes libraries that cannot be loaded and threads that cannot start for lack of memory.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        worded = isinstance(error, Exception) and not isinstance(error, CurateError)
        if (
            isinstance(error, MemoryError)
            or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
            or (worded and any(words in str(error).lower() for words in _MEMORY))
        ):
            return DataError(
                f"out of memory: {type(error).__name__}: {error}".rstrip(": "),
                hint="use fewer --workers, a lower memory_limit or a smaller input.rows_per_shard, or give the process "
                "more memory (ulimit -v, the limit of the container or of the batch job)",
            )
        error = error.__cause__ or error.__context__
    return None
