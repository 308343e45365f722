"""Context managers for a command, which report its progress, its errors and its metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from curate import errors, progress
from curate.cli.exit_codes import ERRORS, exit_code, explain_error
from curate.cli.options import LogStyle
from curate.progress import ConsoleProgress


class ReportedError(Exception):
    """Failure of a command that has already been reported to the user."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


@contextmanager
def report_progress(log: LogStyle) -> Iterator[ConsoleProgress]:
    """Yield the progress sink of a command, and report an error of the block in the log format."""
    with progress.console_progress(log.value) as sink:
        try:
            with errors.convert_panics():
                yield sink
        except ERRORS as error:
            message, code = explain_error(error)
            sink.end(code, message)
            raise ReportedError(code) from error


@contextmanager
def record_metrics(sink: ConsoleProgress, path: Path | None, *, overwrite: bool) -> Iterator[Callable[[str], None]]:
    """Write the metrics of the run in the block, even if it fails; call the yielded function with the run directory."""
    names: list[str] = []
    if path is None:
        yield names.append
        return
    from curate.stages.report import prometheus

    prometheus.check(path, overwrite=overwrite)
    begun = time.monotonic()

    def write(code: int, error: str = "") -> None:
        run, took = names[0] if names else None, time.monotonic() - begun
        step = {"stage": sink.stage, "entry": sink.entry}
        prometheus.write(
            path, prometheus.RunEnd(run=run, seconds=took, exit_code=code, steps=sink.steps, error=error, **step)
        )

    try:
        with errors.convert_panics():
            yield names.append
    except ERRORS as error:
        try:
            write(exit_code(error), type(error).__name__)
        except errors.CurateError as unwritten:  # the error of the run is more important
            sink.warn(f"the metrics were not written: {unwritten}")
        raise
    try:
        write(errors.OK)
    except errors.CurateError as unwritten:  # the publication is not undone
        sink.warn(f"the metrics were not written: {unwritten}")
