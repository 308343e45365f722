"""Exit codes and messages of errors."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from curate import errors, paths
from curate.executors.base import Terminated

_RESUMABLE = "run the same command again to continue"

_ENVIRONMENT = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOTEMPTY,
    errno.ENOMEM,
    errno.EEXIST,
    errno.EMFILE,
)
"""Errors caused by the environment and not by a bug: a full disk, a directory without write permission, …"""


_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
"""Errors for a file where a directory is expected, or the other way round."""

ERRORS = (Exception, KeyboardInterrupt, Terminated)


def exit_code(error: BaseException) -> int:
    """Return the exit code of an error."""
    match error:
        case KeyboardInterrupt():
            return errors.INTERRUPTED
        case Terminated():
            return errors.TERMINATED
        case errors.CurateError():
            return error.exit_code
        case OSError() if error.errno in _ENVIRONMENT:
            return errors.DATA
    return errors.BUG


def explain_error(error: BaseException) -> tuple[str, int]:
    """Return the message to print for an error, and the exit code."""
    if isinstance(error, Exception):
        error = errors.out_of_memory_error(error) or error
    code = exit_code(error)
    match error:
        case KeyboardInterrupt():
            return f"interrupted; {_RESUMABLE}", code
        case Terminated():
            return f"terminated; {_RESUMABLE}", code
        case errors.PluginFailedError():
            return f"{error}\nthe traceback is in {_save_log(error)}", code
        case errors.CurateError():
            return str(error), code
        case OSError() if code == errors.DATA:
            in_the_way = error.errno in _IN_THE_WAY and isinstance(error.filename, str)
            message = (
                paths.unwritable_error(Path(error.filename), error)
                if in_the_way
                else f"{error.filename or 'output'}: {error.strerror}"
            )
            return errors.escape_line(str(message)), code
    bug = errors.escape_line(f"this is a bug: {type(error).__name__}: {error}")
    return f"{bug}\nthe published version is unchanged; please report the bug and attach {_save_log(error)}", code


def _save_log(error: BaseException) -> str:
    """Save the information for a bug report in a temporary file, and return its path."""
    import platform
    import tempfile
    import traceback
    from importlib import metadata

    from curate.version import __version__

    packages = ("numpy", "polars", "pyarrow", "scikit-learn", "pydantic", "typer")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    text = (
        f"curate {__version__}, Python {platform.python_version()}, {platform.platform()}\n{versions}\n"
        f"command: {[paths.hide_secrets(word) for word in sys.argv]}\n\n{''.join(traceback.format_exception(error))}"
    )
    with tempfile.NamedTemporaryFile("w", prefix="curate-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(text)
    return file.name
