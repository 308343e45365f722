"""What people and programs see: results on stdout; progress on stderr, as bars or as a line every few seconds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from rich.console import Console

Style = Literal["auto", "plain", "json", "quiet"]

EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal."""


class Teller(Protocol):
    """Hears how far the work has come, and tells it."""

    def begin(self, what: str, total: int) -> None: ...
    def advance(self, units: int) -> None: ...
    def note(self, message: str) -> None: ...
    def warn(self, message: str) -> None: ...
    def close(self) -> None: ...


class _Lines:
    """One line an event, as text or as JSON."""

    def __init__(self, style: Literal["plain", "json", "quiet"]) -> None:
        self._style = style
        self._what, self._total, self._done = "", 0, 0
        self._began = self._told = time.monotonic()

    def begin(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._began = self._told = time.monotonic()

    def advance(self, units: int) -> None:
        self._done += units
        now = time.monotonic()
        if now - self._told < EVERY:
            return
        self._told = now
        left = (now - self._began) / self._done * (self._total - self._done) if self._done else 0.0
        share = self._done / self._total if self._total else 1.0
        text = f"{self._what}: {self._done:,} of {self._total:,} ({share:.0%}), about {left:.0f} s left"
        self._tell("progress", text, done=self._done, total=self._total, seconds_left=round(left, 1))

    def note(self, message: str) -> None:
        self._tell("note", message)

    def warn(self, message: str) -> None:
        self._tell("warning", message)

    def close(self) -> None:
        pass

    def _tell(self, event: str, text: str, **facts: float) -> None:
        if self._style == "quiet" and event != "warning":
            return
        if self._style == "json":
            line = json.dumps({"time": round(time.time(), 3), "event": event, "message": text, **facts})
        else:
            line = f"warning: {text}" if event == "warning" else text
        with suppress(OSError):  # a log that cannot be written must not end a run
            print(line, file=sys.stderr, flush=True)  # noqa: T201


class _Bars:
    """One live bar, for the work at hand."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._progress.start()
        self._task = self._progress.add_task("", visible=False)

    def begin(self, what: str, total: int) -> None:
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total)

    def advance(self, units: int) -> None:
        self._progress.advance(self._task, units)

    def note(self, message: str) -> None:
        self._console.print(message, style="dim", markup=False, highlight=False)

    def warn(self, message: str) -> None:
        self._console.print(f"warning: {message}", style="yellow", markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


@contextmanager
def teller(style: Style) -> Iterator[Teller]:
    """What tells the progress in the style asked for; ``auto`` draws bars on a terminal and writes lines elsewhere."""
    told: Teller
    if style == "auto" and sys.stderr.isatty():
        from rich.console import Console

        told = _Bars(Console(stderr=True))
    else:
        told = _Lines("plain" if style == "auto" else style)
    try:
        yield told
    finally:
        told.close()


# ---------------------------------------------------------------- results


def show_json(data: Any) -> None:
    """Data on stdout, for programs."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str), flush=True)  # noqa: T201


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: columns on a terminal, tab-separated in a pipe."""
    if not sys.stdout.isatty():
        for row in (header, *rows):
            print("\t".join(" ".join(str(cell).split()) for cell in row), flush=True)  # noqa: T201
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, title in enumerate(header):
        numbers = rows and all(_is_number(row[column]) for row in rows)
        table.add_column(title, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


def _is_number(cell: str) -> bool:
    return str(cell).replace(",", "").replace(".", "").isdecimal()
