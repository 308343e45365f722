"""Results on stdout, as JSON, lines and tables."""

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
"""Beginning of a cell with a number."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ASCII = str.maketrans({"−": "-", "–": "-", "±": "+/-", "×": "x", "…": "..."})
"""Signs of ours that not every program reads."""


def show_json(data: object) -> None:
    """Print data as JSON on stdout, for programs.

    What a terminal might obey is escaped as JSON has it, and so is everything beyond ASCII where stdout has no UTF-8.
    """
    plain = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    text = json.dumps(data, indent=2, ensure_ascii=plain, default=str)
    print("".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text), flush=True)  # noqa: T201


def show_line(text: object) -> None:
    """One line of a result on stdout."""
    print(escape_line(str(text)), flush=True)  # noqa: T201


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], verbatim: Collection[str] = ()) -> None:
    """A table on stdout: columns on a terminal; in a pipe tab-separated, a line each, with numbers that programs read.

    Parameters
    ----------
    header, rows : the cells, as a terminal shows them
    verbatim : titles of columns with texts of the user's, such as ids, in which nothing is a number
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
    """Tables on stdout, a blank line after each, and then lines."""
    for header, rows in tables:
        show_table(header, rows)
        show_line("")
    for line in lines:
        show_line(line)


@contextmanager
def tolerate_output_errors(done: object) -> Iterator[None]:
    """Print the result of a command that has published: a stdout that cannot be written is a warning, and no error.

    Parameters
    ----------
    done : what the command did, for the warning
    """
    try:
        yield
    except BrokenPipeError:  # the reader has had enough
        raise
    except OSError as error:
        print_error(escape_line(f"warning: the result cannot be printed: {error.strerror}; {done}"))
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - what is left in the buffer would fail again at the end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _one_line(cell: object) -> str:
    return escape_line(" ".join(str(cell).split()))


def _plain(cell: str) -> str:
    """Return a cell with a number as programs read it, in ASCII; other cells stay.

    >>> [_plain(cell) for cell in ("≈ 1,200", "−0.5 ± 0.1", "–", "a–b", "=1+1", "12.5 %")]
    ['1200', '-0.5 +/- 0.1', '-', 'a–b', '=1+1', '12.5 %']
    """
    if cell != "–" and not _FIGURE.match(cell):
        return cell
    return _THOUSANDS.sub("", cell.removeprefix("≈").lstrip()).translate(_ASCII)


def _is_number(cell: str) -> bool:
    """Digits, maybe with an interval: 1,234.5 or 0.4 ± 1.2."""
    return all(part.replace(",", "").replace(".", "").isdecimal() for part in str(cell).split(" ± "))
