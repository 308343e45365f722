"""Results on stdout as JSON, lines and tables."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from curate.errors import escape_line
from curate.progress import print_error

_FIGURE = re.compile(r"≈? ?[<>]?[+−-]?\.?\d")
"""Pattern for the beginning of a cell that contains a number."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ASCII = str.maketrans({"−": "-", "–": "-", "±": "+/-", "×": "x", "…": "..."})
"""ASCII replacements for signs that not every program can read."""


def show_json(data: object) -> None:
    """Print data as JSON on stdout.

    Control characters are escaped, and so are all characters outside ASCII if the encoding of stdout is not UTF-8.
    """
    plain = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    text = json.dumps(data, indent=2, ensure_ascii=plain, default=str)
    escaped = (char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)
    print("".join(escaped), flush=True)  # noqa: T201


def show_line(text: object) -> None:
    """Print one line of a result on stdout."""
    print(escape_line(str(text)), flush=True)  # noqa: T201


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], verbatim: Collection[str] = ()) -> None:
    """Print a table on stdout: aligned on a terminal, tab-separated with machine-readable numbers in a pipe.

    Parameters
    ----------
    header : sequence of str
        Titles of the columns.
    rows : sequence of sequences of str
        Cells, as a terminal shows them.
    verbatim : collection of str
        Titles of columns with texts from the data, such as ids, which are never treated as numbers.
    """
    if not sys.stdout.isatty():
        print("\t".join(_one_line(title).replace("≈ ", "~").translate(_ASCII) for title in header), flush=True)  # noqa: T201
        for row in rows:
            cells = (
                _one_line(cell) if title in verbatim else _plain(_one_line(cell))
                for title, cell in zip(header, row, strict=True)
            )
            print("\t".join(cells), flush=True)  # noqa: T201
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, title in enumerate(header):
        numbers = rows and all(_is_number(row[column]) for row in rows)
        table.add_column(title, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(Text(_one_line(cell)) for cell in row))
    Console().print(table)


def show_tables(tables: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]], lines: Sequence[str]) -> None:
    """Print tables on stdout, each followed by a blank line, and then lines."""
    for header, rows in tables:
        show_table(header, rows)
        show_line("")
    for line in lines:
        show_line(line)


@contextmanager
def tolerate_output_errors(done: object) -> Iterator[None]:
    """Warn, instead of failing, if the result of a command that has already published cannot be printed.

    Parameters
    ----------
    done : object
        Result of the command, for the warning.
    """
    try:
        yield
    except BrokenPipeError:  # the reader closed the pipe
        raise
    except OSError as error:
        print_error(escape_line(f"warning: the result cannot be printed: {error.strerror}; {done}"))
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - flushing the buffer at exit would fail again
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _one_line(cell: object) -> str:
    return escape_line(" ".join(str(cell).split()))


def _plain(cell: str) -> str:
    """Return a cell with a number in machine-readable ASCII; other cells are unchanged.

    >>> [_plain(cell) for cell in ("≈ 1,200", "−0.5 ± 0.1", "–", "a–b", "=1+1", "12.5 %")]
    ['1200', '-0.5 +/- 0.1', '-', 'a–b', '=1+1', '12.5 %']
    """
    if cell != "–" and not _FIGURE.match(cell):
        return cell
    return _THOUSANDS.sub("", cell.removeprefix("≈").lstrip()).translate(_ASCII)


def _is_number(cell: str) -> bool:
    """Return whether a cell contains a number, possibly with an interval: 1,234.5 or 0.4 ± 1.2."""
    return all(part.replace(",", "").replace(".", "").isdecimal() for part in str(cell).split(" ± "))
