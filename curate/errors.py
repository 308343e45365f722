"""The errors a user can meet: a message, where it happened, what to do, and the exit code."""

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
LOCKED = 75
INTERRUPTED = 130
TERMINATED = 143


def escape_line(text: str) -> str:
    r"""The text on one line, with whatever a terminal might obey written out.

    >>> escape_line("red \x1b[31m\n")
    'red \\x1b[31m\\n'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    r"""Return the text, of any lines, with control characters and those that turn its direction written out.

    >>> escape_controls("red \x1b[31m\n")
    'red \\x1b[31m\n'
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def summarize_names(names: Collection[str], most: int = 20) -> str:
    """Return names for a message: the first of them, each of at most 60 letters; a damaged file may have any.

    >>> summarize_names(["id", "x" * 70], most=1), summarize_names([])
    ('id and 1 more', 'none')
    """
    shown = [name if len(name) <= 60 else f"{name[:59]}…" for name in names][:most]
    return (", ".join(shown) or "none") + (f" and {len(names) - most:,} more" if len(names) > most else "")


class PanicError(Exception):
    """Panic of a native library: a bug in it, or in how it was called."""


@contextmanager
def convert_panics() -> Iterator[None]:
    """Raise the panic of a native library as an exception like any other.

    Libraries written in Rust (Polars, tokenizers and others) raise a ``PanicException`` that is no ``Exception``, so
    that handlers do not see it, and that cannot be sent from one process to another. A library in C (pandas and others)
    makes a ``SystemError`` of what a signal raises while it is at work: the signal's own exception is raised again.

    Raises
    ------
    PanicError
        In its place.
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
    """Stops the run.

    Parameters
    ----------
    message : what is wrong, in one sentence without a full stop
    where : the file, and the line or row in it, if there is one (``pool/a.jsonl:12``)
    hint : what to do about it, ideally a command or a line to change
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
        place = f"{self.where}: " if self.where else ""
        hint = f"; {self.hint}" if self.hint else ""
        return escape_line(f"{place}{self.message}{hint}")


def _rebuild(cls: type[CurateError], message: str, where: str, hint: str) -> CurateError:
    return cls(message, where=where, hint=hint)


class ConfigError(CurateError):
    """The configuration or the command line is wrong."""

    exit_code = CONFIG


class ConfigErrors(ConfigError):  # noqa: N818 - plural on purpose: it is several of them
    """Everything that is wrong with one configuration, a line each."""

    @classmethod
    def join(cls, problems: list[ConfigError]) -> ConfigErrors:
        return cls("\n".join(str(problem) for problem in problems))

    def __str__(self) -> str:
        return self.message


class CombinedError(CurateError):
    """Several problems, a line each; its exit code is that of the first."""

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
    """The input is missing, empty, contradictory, or too dirty to go on."""

    exit_code = DATA


class ShardError(DataError):
    """One shard cannot be processed: it is set aside, the others go on, and the run ends with exit code 3."""


class PluginError(CurateError):
    """A plugin is unknown, broken, or needs an extra that is not installed."""

    exit_code = PLUGIN


class PluginFailedError(PluginError):
    """A plugin raised what is not one of these errors: most likely there is a bug in it."""


class GuardrailError(CurateError):
    """The result is not one that may be published; nothing that was published before has changed."""

    exit_code = GUARD


class AccountingError(GuardrailError):
    """Rows in are not kept + dropped + quarantined."""


class LockedError(CurateError):
    """Another run holds the run folder."""

    exit_code = LOCKED


class RetryableError(CurateError):
    """May succeed when tried again (a lost worker, a full queue); tried three times."""

    exit_code = DATA


def missing_extra_error(package: str, extra: str, feature: str) -> PluginError:
    """Return the error for a plugin whose optional dependency is not installed."""
    return PluginError(
        f"{feature} needs the package {package!r}, which is not installed",
        hint=f"run: {install_command(extra)}",
    )


DISTRIBUTION = "curate-data"
"""Name on package indexes, where another project has the name ``curate``."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra, from a package index or, in a checkout, from there."""
    checkout = Path(__file__).parent.parent
    if not (checkout / "pyproject.toml").is_file():
        return f"pip install '{DISTRIBUTION}[{extra}]'"
    here = "." if Path.cwd() == checkout else checkout
    return f"pip install --editable {shlex.quote(f'{here}[{extra}]')}"


_MEMORY = ("failed to map segment", "cannot allocate memory", "can't start new thread", "launch worker thread")
"""Words of errors that are raised in place of a MemoryError, by the loader of libraries and by threads."""


def out_of_memory_error(error: BaseException | None) -> DataError | None:
    """Return the error to raise in place of one that too little memory caused; None if nothing says that it did.

    A library that cannot be loaded and a thread that cannot start are no faults of whoever asked for them.
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
                f"memory is short: {type(error).__name__}: {error}".rstrip(": "),
                hint="use fewer --workers, a lower memory_limit or smaller input.rows_per_shard, or allow the process "
                "more memory (ulimit -v, the limit of the container or of the batch job)",
            )
        error = error.__cause__ or error.__context__
    return None
