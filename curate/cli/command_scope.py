"""Progress, metrics and errors of a command, from its begin to its end."""

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
    """The command failed, and that was told."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


@contextmanager
def report_progress(log: LogStyle) -> Iterator[ConsoleProgress]:
    """What hears of the progress, and how the block ended: an error is told in the style of the log."""
    with progress.console_progress(log.value) as told:
        try:
            with errors.convert_panics():
                yield told
        except ERRORS as error:
            message, code = explain_error(error)
            told.end(code, message)
            raise ReportedError(code) from error


@contextmanager
def record_metrics(told: ConsoleProgress, path: Path | None, *, overwrite: bool) -> Iterator[Callable[[str], None]]:
    """Write the metrics of the run in the block, however it ends; what is given wants to know the run's folder."""
    names: list[str] = []
    if path is None:
        yield names.append
        return
    from curate.stages.report import prometheus

    prometheus.check(path, overwrite=overwrite)
    begun = time.monotonic()

    def write(code: int, error: str = "") -> None:
        run, took = names[0] if names else None, time.monotonic() - begun
        place = {"stage": told.stage, "entry": told.entry}
        prometheus.write(
            path, prometheus.RunEnd(run=run, seconds=took, exit_code=code, steps=told.steps, error=error, **place)
        )

    try:
        with errors.convert_panics():
            yield names.append
    except ERRORS as error:
        try:
            write(exit_code(error), type(error).__name__)
        except errors.CurateError as unwritten:  # what the run failed of is more telling
            told.warn(f"the metrics are not written: {unwritten}")
        raise
    try:
        write(errors.OK)
    except errors.CurateError as unwritten:  # what was published stays published
        told.warn(f"the metrics are not written: {unwritten}")
