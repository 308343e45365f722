"""Progress on stderr, as bars or as one line every few seconds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from curate.errors import escape_line

if TYPE_CHECKING:
    from rich.console import Console

    from curate.store.manifest import Record, StageResult

LogFormat = Literal["auto", "plain", "json", "quiet"]

INTERVAL = 5.0
"""Seconds between two lines of progress where there is no terminal."""


class Progress(Protocol):
    """Receiver of the progress, notes and warnings of a run."""

    def begin(self, task: str, total: int, unit: str = "rows") -> None:
        """Begin a task of ``total`` units (rows, bytes, files)."""

    def advance(self, units: int) -> None:
        """Count ``units`` more units of the current task as done."""

    def enter(self, stage: str, entry: str) -> None:
        """Enter a step; all calls until ``leave`` belong to it."""

    def leave(self, records: Sequence[Record[StageResult]], *, reused: bool) -> None:
        """Leave the step, which ran now or was ``reused``; the select stage passes one record per entry."""

    def note(self, message: str) -> None:
        """Log a message for information."""

    def warn(self, message: str) -> None:
        """Log a message about something that needs attention."""


class NullProgress:
    """No-op progress."""

    def begin(self, task: str, total: int, unit: str = "rows") -> None: ...
    def advance(self, units: int) -> None: ...
    def enter(self, stage: str, entry: str) -> None: ...
    def leave(self, records: Sequence[Record[StageResult]], *, reused: bool) -> None: ...
    def note(self, message: str) -> None: ...
    def warn(self, message: str) -> None: ...


class NestedProgress:
    """Progress of a nested run, without stage events."""

    def __init__(self, progress: Progress) -> None:
        self.begin, self.advance = progress.begin, progress.advance
        self.note, self.warn = progress.note, progress.warn

    def enter(self, stage: str, entry: str) -> None: ...
    def leave(self, records: Sequence[Record[StageResult]], *, reused: bool) -> None: ...


@dataclass(slots=True)
class RowProgress:
    """Progress in rows of a scorer that reports shares of its work."""

    progress: Progress
    rows: int
    share: float = 0.0
    reported: int = 0

    def advance(self, share: float) -> None:
        """Report a further share; more than all of it counts as all."""
        self.share = min(1.0, self.share + share)
        rows = round(self.share * self.rows)
        self.progress.advance(rows - self.reported)
        self.reported = rows


@dataclass(slots=True)
class Work:
    """Current task, and how much of it is done."""

    name: str = ""
    total: int = 0
    unit: str = "rows"
    done: int = 0
    began: float = 0.0

    def advance(self, units: int) -> None:
        """Count finished units, but never more than the total, which may be an estimate."""
        self.done = min(self.total, self.done + units)

    @property
    def rate(self) -> float:
        """Units per second since the task began."""
        return self.done / max(time.monotonic() - self.began, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Estimated seconds until the task is done."""
        return (self.total - self.done) / self.rate if self.done else 0.0

    def amount(self, separator: str) -> str:
        """Return the amount done and the rate as text."""
        if self.unit == "bytes":
            done, total, rate = (f"{number / 2**20:,.1f}" for number in (self.done, self.total, self.rate))
            return f"{done}{separator}{total} MiB, {rate} MiB/s"
        rate = f"{self.rate:,.0f}" if self.rate >= 10 or not self.rate else f"{self.rate:.1f}"
        return f"{self.done:,}{separator}{self.total:,} {self.unit}, {rate} {self.unit}/s"


def format_duration(seconds: float) -> str:
    """Return a duration as text.

    >>> format_duration(5.4), format_duration(95), format_duration(4000)
    ('5 s', '1 min 35 s', '1 h 6 min')
    """
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class _Sink(Protocol):
    """Output of ConsoleProgress."""

    def begin(self, work: Work) -> None: ...
    def advance(self, work: Work, step: Mapping[str, str]) -> None: ...
    def emit(self, event: str, text: str, facts: Mapping[str, object]) -> None: ...
    def close(self) -> None: ...


class ConsoleProgress:
    """Progress on stderr, which also collects the record of every step."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self.stage = self.entry = ""
        """Stage and entry of the current step."""

        self.work = Work()
        self.steps: list[tuple[Record[StageResult], bool]] = []
        """Record of every finished step, and whether the step was reused."""

    def begin(self, task: str, total: int, unit: str = "rows") -> None:
        self.work = Work(task, total, unit, began=time.monotonic())
        self._sink.begin(self.work)

    def advance(self, units: int) -> None:
        self.work.advance(units)
        self._sink.advance(self.work, self._step())

    def enter(self, stage: str, entry: str) -> None:
        self.stage, self.entry = stage, entry

    def leave(self, records: Sequence[Record[StageResult]], *, reused: bool) -> None:
        for record in records:
            self.steps.append((record, reused))
            self.entry = record.name
            count = record.count
            text = f"{count.rows_in:,} rows in, {count.kept:,} kept in {record.seconds:.1f} s"
            self.emit(
                "step",
                f"{record.stage} {record.name}: {'unchanged, reused' if reused else text}",
                rows_in=count.rows_in,
                kept=count.kept,
                dropped=count.dropped,
                quarantined=count.quarantined,
                seconds=round(record.seconds, 3),
                reused=reused,
            )
        self.stage = self.entry = ""

    def note(self, message: str) -> None:
        self.emit("note", message)

    def warn(self, message: str) -> None:
        self.emit("warning", message)

    def end(self, exit_code: int, message: str, **facts: object) -> None:
        """Log the result of the command and its exit code."""
        self.emit("end", message, exit_code=exit_code, **facts)

    def emit(self, event: str, text: str, **facts: object) -> None:
        """Log an event with a text and additional fields."""
        self._sink.emit(event, text, {**self._step(), **facts})

    def _step(self) -> dict[str, str]:
        return {"stage": self.stage, "entry": self.entry} if self.stage else {}

    def close(self) -> None:
        self._sink.close()


class _Lines:
    """Output of one line per event, as text or as JSON."""

    def __init__(self, log_format: Literal["plain", "json", "quiet"]) -> None:
        self._log_format = log_format
        self._last_line = time.monotonic()

    def begin(self, work: Work) -> None:
        self._last_line = work.began

    def advance(self, work: Work, step: Mapping[str, str]) -> None:
        now = time.monotonic()
        if now - self._last_line < INTERVAL:
            return
        self._last_line = now
        share = work.done / work.total if work.total else 1.0
        remaining = format_duration(work.seconds_left)
        text = f"{work.name}: {work.amount(' of ')} ({share:.0%}), about {remaining} left"
        facts = {"done": work.done, "total": work.total, "unit": work.unit}
        facts |= {"rate": round(work.rate, 1), "seconds_left": round(work.seconds_left, 1)}
        self.emit("progress", text, {**step, **facts})

    def emit(self, event: str, text: str, facts: Mapping[str, object]) -> None:
        if self._log_format == "json":
            with suppress(OSError):  # failing to write the log must not end the run
                line = {"time": round(time.time(), 3), "event": event, "message": text, **facts}
                print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201
        elif event == "end":
            _print_failure(text, facts)
        elif self._log_format == "plain" or event == "warning":
            with suppress(OSError):
                line_text = escape_line(f"warning: {text}" if event == "warning" else text)
                print(line_text, file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        pass


class _Bars:
    """Output of one live progress bar, for the current task."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._progress.start()
        self._task = self._progress.add_task("starting", total=None, amount="")

    def begin(self, work: Work) -> None:
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(work.name, total=work.total, amount=work.amount("/"))

    def advance(self, work: Work, step: Mapping[str, str]) -> None:  # noqa: ARG002
        self._progress.update(self._task, completed=work.done, amount=work.amount("/"))

    def emit(self, event: str, text: str, facts: Mapping[str, object]) -> None:
        if event == "end":
            self._progress.stop()
            _print_failure(text, facts)
        elif event == "warning":
            self._console.print(escape_line(f"warning: {text}"), style="yellow", markup=False, highlight=False)
        else:
            self._console.print(escape_line(text), style="dim", markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


class _Cell:
    """Output of one line in the output cell of a notebook, which is updated a few times a second."""

    def __init__(self) -> None:
        display: Any = import_module("IPython.display")  # which runs the notebook, so it is installed
        self._pretty, self._last = display.Pretty, 0.0
        self._handle: Any = display.display(display.Pretty(""), display_id=True)

    def begin(self, work: Work) -> None:
        self._update(f"{work.name}: {work.amount(' of ')}")

    def advance(self, work: Work, step: Mapping[str, str]) -> None:  # noqa: ARG002
        now = time.monotonic()
        if now - self._last >= _CELL_INTERVAL:
            remaining = format_duration(work.seconds_left)
            self._update(f"{work.name}: {work.amount(' of ')}, about {remaining} left")
            self._last = now

    def emit(self, event: str, text: str, facts: Mapping[str, object]) -> None:  # noqa: ARG002
        if event == "warning":
            print(escape_line(f"warning: {text}"), file=sys.stderr)  # noqa: T201
        elif event == "step":
            self._update(text)

    def close(self) -> None:
        self._update("")

    def _update(self, text: str) -> None:
        if self._handle is not None:
            self._handle.update(self._pretty(escape_line(text)))


_CELL_INTERVAL = 0.2


def _in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def show_progress(shown: bool | None) -> Iterator[Progress]:
    """Yield the progress of a call from Python: in the output cell of a notebook, or on stderr if it is requested."""
    if shown or (shown is None and _in_notebook()):
        if not _in_notebook():
            with console_progress("auto") as console:
                yield console
            return
        progress = ConsoleProgress(_Cell())
        try:
            yield progress
        finally:
            progress.close()
        return
    yield NullProgress()


def _print_failure(text: str, details: Mapping[str, object]) -> None:
    if details["exit_code"]:  # a successful command prints its result on stdout
        print_error(text)


def print_error(message: str) -> None:
    """Print an error message on stderr, with "curate: " before each of its lines."""
    with suppress(OSError):  # stderr may be closed; the exit code still reports the failure
        for line in message.splitlines():
            print(f"curate: {line}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def console_progress(log_format: LogFormat) -> Iterator[ConsoleProgress]:
    """Yield the progress sink of a log format; ``auto`` draws bars on a terminal and writes plain lines elsewhere."""
    sink: _Sink
    if log_format == "auto" and sys.stderr.isatty():
        from rich.console import Console

        sink = _Bars(Console(stderr=True))
    else:
        sink = _Lines("plain" if log_format == "auto" else log_format)
    progress = ConsoleProgress(sink)
    try:
        yield progress
    finally:
        progress.close()
