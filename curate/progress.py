"""Progress on stderr, as bars or as a line every few seconds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from curate.errors import escape_line

if TYPE_CHECKING:
    from rich.console import Console

    from curate.store.manifest import Record, StageResult

LogFormat = Literal["auto", "plain", "json", "quiet"]

INTERVAL = 5.0
"""Seconds between two lines of progress where there is no terminal."""


class Progress(Protocol):
    """Receiver of the progress, notes and warnings of a run."""

    def begin(self, what: str, total: int, unit: str = "rows") -> None:
        """``what`` begins; ``total`` of a unit (rows, bytes, files) are to be done."""

    def advance(self, units: int) -> None:
        """``units`` more are done."""

    def enter(self, stage: str, entry: str) -> None:
        """A step begins; what is told until ``leave`` is of it."""

    def leave(self, records: Sequence[Record[StageResult]], *, reused: bool) -> None:
        """The step is done, now or (``reused``) before; the select section with a record for each of its entries."""

    def note(self, message: str) -> None:
        """Something a person reading the log would want to know."""

    def warn(self, message: str) -> None:
        """Something a person should look into."""


class NullProgress:
    """No-op progress."""

    def begin(self, what: str, total: int, unit: str = "rows") -> None: ...
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
class Work:
    """Work under way, and how much of it is done."""

    what: str = ""
    total: int = 0
    unit: str = "rows"
    done: int = 0
    began: float = 0.0

    def advance(self, units: int) -> None:
        """Count units that are done; an estimated total is never exceeded."""
        self.done = min(self.total, self.done + units)

    @property
    def rate(self) -> float:
        """Units a second since the work began."""
        return self.done / max(time.monotonic() - self.began, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Time that the rest takes at this rate."""
        return (self.total - self.done) / self.rate if self.done else 0.0

    def amount(self, separator: str) -> str:
        """Amount done and rate, for people."""
        if self.unit == "bytes":
            done, total, rate = (f"{number / 2**20:,.1f}" for number in (self.done, self.total, self.rate))
            return f"{done}{separator}{total} MiB, {rate} MiB/s"
        rate = f"{self.rate:,.0f}" if self.rate >= 10 or not self.rate else f"{self.rate:.1f}"
        return f"{self.done:,}{separator}{self.total:,} {self.unit}, {rate} {self.unit}/s"


def format_duration(seconds: float) -> str:
    """Return a duration for people.

    >>> format_duration(5.4), format_duration(95), format_duration(4000)
    ('5 s', '1 min 35 s', '1 h 6 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class _Sink(Protocol):
    """Where what is told goes."""

    def begin(self, work: Work) -> None: ...
    def advance(self, work: Work, place: Mapping[str, str]) -> None: ...
    def emit(self, event: str, text: str, facts: Mapping[str, object]) -> None: ...
    def close(self) -> None: ...


class ConsoleProgress:
    """Progress on stderr, which also keeps the record of every step."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self.stage = self.entry = ""
        """The step under way."""

        self.work = Work()
        self.steps: list[tuple[Record[StageResult], bool]] = []
        """Every step that is done, and whether it was before."""

    def begin(self, what: str, total: int, unit: str = "rows") -> None:
        self.work = Work(what, total, unit, began=time.monotonic())
        self._sink.begin(self.work)

    def advance(self, units: int) -> None:
        self.work.advance(units)
        self._sink.advance(self.work, self._place())

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
        """The last word: how it went."""
        self.emit("end", message, exit_code=exit_code, **facts)

    def emit(self, event: str, text: str, **facts: object) -> None:
        self._sink.emit(event, text, {**self._place(), **facts})

    def _place(self) -> dict[str, str]:
        return {"stage": self.stage, "entry": self.entry} if self.stage else {}

    def close(self) -> None:
        self._sink.close()


class _Lines:
    """One line an event, as text or as JSON."""

    def __init__(self, style: Literal["plain", "json", "quiet"]) -> None:
        self._style = style
        self._told = time.monotonic()

    def begin(self, work: Work) -> None:
        self._told = work.began

    def advance(self, work: Work, place: Mapping[str, str]) -> None:
        now = time.monotonic()
        if now - self._told < INTERVAL:
            return
        self._told = now
        share = work.done / work.total if work.total else 1.0
        left = format_duration(work.seconds_left)
        text = f"{work.what}: {work.amount(' of ')} ({share:.0%}), about {left} left"
        facts = {"done": work.done, "total": work.total, "unit": work.unit}
        facts |= {"rate": round(work.rate, 1), "seconds_left": round(work.seconds_left, 1)}
        self.emit("progress", text, {**place, **facts})

    def emit(self, event: str, text: str, facts: Mapping[str, object]) -> None:
        if self._style == "json":
            with suppress(OSError):  # a log that cannot be written must not end a run
                line = {"time": round(time.time(), 3), "event": event, "message": text, **facts}
                print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201
        elif event == "end":
            _complain(text, facts)
        elif self._style == "plain" or event == "warning":
            with suppress(OSError):
                told = escape_line(f"warning: {text}" if event == "warning" else text)
                print(told, file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        pass


class _Bars:
    """One live bar, for the work at hand."""

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
        self._task = self._progress.add_task(work.what, total=work.total, amount=work.amount("/"))

    def advance(self, work: Work, place: Mapping[str, str]) -> None:  # noqa: ARG002
        self._progress.update(self._task, completed=work.done, amount=work.amount("/"))

    def emit(self, event: str, text: str, facts: Mapping[str, object]) -> None:
        if event == "end":
            self._progress.stop()
            _complain(text, facts)
        elif event == "warning":
            self._console.print(escape_line(f"warning: {text}"), style="yellow", markup=False, highlight=False)
        else:
            self._console.print(escape_line(text), style="dim", markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


def _complain(text: str, details: Mapping[str, object]) -> None:
    if details["exit_code"]:  # else the result on stdout says how it went
        print_error(text)


def print_error(message: str) -> None:
    """An error, for people: on stderr, as it is where there is no log of any style."""
    with suppress(OSError):  # where nobody reads it, the exit code still tells
        for line in message.splitlines():
            print(f"curate: {line}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def console_progress(style: LogFormat) -> Iterator[ConsoleProgress]:
    """What tells the progress in the style asked for; ``auto`` draws bars on a terminal and writes lines elsewhere."""
    sink: _Sink
    if style == "auto" and sys.stderr.isatty():
        from rich.console import Console

        sink = _Bars(Console(stderr=True))
    else:
        sink = _Lines("plain" if style == "auto" else style)
    told = ConsoleProgress(sink)
    try:
        yield told
    finally:
        told.close()
