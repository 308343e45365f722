"""Repeated spans of the export: found once among all chosen rows, and cut out where these are written.

Memory: see ``find_repeated_windows``, and the texts of one shard.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate import paths
from curate.config.template_syntax import TextPath
from curate.kernels.text.span_index import find_repeated_spans, find_repeated_windows, remove_spans
from curate.pool.stage_outputs import SelectOutput
from curate.stages.base import Context, is_current_shard
from curate.stages.export.map_strings import map_strings, root_columns, text_paths
from curate.store import manifest, parquet_io, schemas
from curate.store.inputs import Inputs

Counts = Mapping[str, int]

FOLDER = "cut"
"""In a run's folder: what is cut out of the texts of each shard."""

VERSION = 1
"""Of what counts as a repeated span."""


def find(context: Context, source: Inputs, selected: SelectOutput, min_words: int) -> None:
    """Write down which runs of words stand a second time, or more often, in the text columns of the chosen rows.

    Each string is a text of its own, in the order of the pool, of a row in the order of its columns. The first copy of
    a run is not cut.
    """
    folder, ways = context.folder / FOLDER, text_paths(context.config.input)
    targets = [parquet_io.shard_path(folder, shard) for shard in range(len(source.shards))]
    made_from = {
        "version": VERSION,
        "min_words": min_words,
        "columns": [way[0] if len(way) == 1 else way for way in ways],
    }
    key = manifest.fingerprint({**made_from, "input": source.fingerprint, "select": selected.fingerprint})
    if all(is_current_shard(path, key) for path in targets):
        return
    sizes = np.zeros(len(targets), np.int64)

    def texts() -> Iterator[list[str]]:
        context.progress.begin("looking for repeated spans", sum(source.shards))
        for shard, count in enumerate(source.shards):
            chosen = selected.read(shard, ["selected"])["selected"].to_pylist()
            found = _strings(source.read(shard, (), root_columns(ways)), ways, chosen)
            sizes[shard] = len(found)
            yield found
            context.progress.advance(count)

    for left_over in set(paths.list_names(folder)) - {path.name for path in targets}:
        paths.unlink(folder / left_over)
    text, first, end = find_repeated_spans(find_repeated_windows(texts, min_words))
    begins = np.concatenate(([0], np.cumsum(sizes)))
    cuts = np.searchsorted(text, begins)
    for shard, path in enumerate(targets):
        own = slice(cuts[shard], cuts[shard + 1])
        columns = [pa.array(part.astype(np.int32)) for part in (text[own] - begins[shard], first[own], end[own])]
        table = schemas.check(pa.table(columns, schema=schemas.CUTS), schemas.CUTS, str(path))
        parquet_io.write(table, path, key, compression="zstd")


def _strings(table: pa.Table, ways: Sequence[TextPath], chosen: Sequence[bool]) -> list[str]:
    """Return every string that the paths lead to, in the order of ``cut``; "" in place of those of other rows."""
    found: list[str] = []

    def note(row: int, text: str) -> str:
        found.append(text if chosen[row] else "")
        return text

    map_strings(table, ways, note)
    return found


def cut(table: pa.Table, ways: Sequence[TextPath], path: Path, wanted: Iterable[int]) -> tuple[pa.Table, Counts]:
    """The rows of a shard without what ``find`` wrote down for it.

    Parameters
    ----------
    table : all rows of the shard
    ways : to the strings, as ``find`` took them
    path : of what was written down
    wanted : the rows that count; others stay as they are

    Returns
    -------
    table : with the same rows, columns and types
    counts : ``rows`` that were changed, ``spans`` and ``words`` that were cut, and the ``empty`` rows that have no word
        left
    """
    runs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for text, first, end in zip(*(column.to_pylist() for column in parquet_io.read(path).columns), strict=True):
        runs[text].append((first, end))
    number, rows = itertools.count(), frozenset(wanted)
    counts: Counter[str] = Counter()
    changed_rows: set[int] = set()
    left: set[int] = set()

    def change(row: int, text: str) -> str:
        own = runs.get(next(number), ())
        if own and row in rows:
            changed_rows.add(row)
            counts.update(spans=len(own), words=sum(end - first for first, end in own))
            text = remove_spans(text, own)
        if text and not text.isspace():
            left.add(row)
        return text

    table = map_strings(table, ways, change)
    counts.update(rows=len(changed_rows), empty=len(changed_rows - left))
    return table, total([counts])


def total(counts: Iterable[Counts]) -> Counts:
    """The counts of several tables as those of one; a row that several epochs have counts in each."""
    counts = list(counts)
    return {name: sum(each.get(name, 0) for each in counts) for name in ("rows", "spans", "words", "empty")}
