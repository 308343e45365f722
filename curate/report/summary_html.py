"""Summary of a run as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_COLUMNS = {"rows_in": "rows in", "kept": "kept", "dropped": "dropped", "quarantined": "quarantined"}


def render(sentence: str, accounting: Sequence[Mapping[str, object]], warnings: Sequence[str]) -> str:
    """Return a sentence, a table with one line for each step, and the warnings.

    Parameters
    ----------
    sentence : str
        Summary of the run.
    accounting : sequence of mapping
        Stage, name, row counts and seconds of each step.
    warnings : sequence of str
        Warnings of the run.
    """
    titles = ("step", *_COLUMNS.values(), "seconds")
    rows = [
        (f"{line['stage']} {line['name']}", *(f"{line[name]:,}" for name in _COLUMNS), f"{line['seconds']:.1f}")
        for line in accounting
    ]
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    notes = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f"<p>{escape(sentence)}</p><table><tr>{head}</tr>{body}</table>" + (f"<ul>{notes}</ul>" if notes else "")
