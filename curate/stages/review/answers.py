"""Table of the labels to review for a spreadsheet, with an empty column for the answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import DataError
from curate.pool.view import PoolView
from curate.stages.base import Context
from curate.store import corrections, parquet_io
from curate.store.relabel import ANSWER

NAME = "review.csv"
"""File in the run directory."""

_TEXT = 200  # characters of a neighbor's text
_COLUMNS = ("rank", "id", "label", "suggested_label", ANSWER, "confidence", "text")


def write(context: Context, pool: PoolView, table: pa.Table, scores: Sequence[str]) -> None:
    """Write the table of the listed rows.

    Answers in an earlier table are kept while they differ from the label of the row, because no run has read them; a
    row with such an answer that is no longer listed follows the listed ones. A file that cannot be read stays.
    """
    path = context.folder / NAME
    answers: dict[str, str] = {}
    if parquet_io.exists(path):
        try:
            earlier = corrections.read(path, ANSWER, allow_empty=True)
        except DataError as error:
            context.progress.warn(f"{error}; the list of labels to review was not written: fix or delete the file")
            return
        answers = {name: one.label for name, one in earlier.by_id.items()}
    labels = dict(_read_labels(pool, answers))
    answers = {name: label for name, label in answers.items() if name in labels and labels[name] != label}
    if answers:
        context.progress.note(f"review: {len(answers):,} answers in {path} are kept; curate relabel adds them")
    header = [*_COLUMNS, *(f"rank_{name.removeprefix('-')}" for name in scores), "neighbors"]
    lines = [_line(line, answers.pop(line["id"], "")) for line in table.to_pylist()]
    for name, answer in answers.items():
        lines.append(["", name, labels[name] or "", "", answer, *[""] * (len(header) - 5)])
    parquet_io.write_text(path, corrections.format_table(header, lines))


def _line(line: dict[str, object], answer: str) -> list[str]:
    confidence, neighbors, ranks = line["confidence"], line["neighbors"], line["ranks"]
    near = [f"{one['label']} ({one['similarity']:.3f}): {_shorten(one['text'], _TEXT)}" for one in neighbors]  # type: ignore[attr-defined]
    return [
        str(line["rank"]),
        str(line["id"]),
        str(line["label"] or ""),
        str(line["suggestion"] or ""),
        answer,
        "" if confidence is None else f"{confidence:.3f}",
        _shorten(str(line["text"])),
        *(f"{rank:g}" for rank in ranks),  # type: ignore[attr-defined]
        " | ".join(near),
    ]


def _shorten(text: str, length: int | None = None) -> str:
    """Return a text on one line, cut to a number of characters."""
    line = " ".join(text.split())
    return line if length is None or len(line) <= length else f"{line[:length]}…"


def _read_labels(pool: PoolView, names: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the label of each row with one of these ids; reads one shard at a time."""
    requested = pa.array(list(names), pa.string())
    for shard in pool.shards() if names else ():
        table = shard.read(("id", "label"))
        found = table.filter(pc.is_in(table["id"], requested))
        yield from zip(found["id"].to_pylist(), found["label"].to_pylist(), strict=True)
