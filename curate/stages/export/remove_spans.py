"""Removal of repeated spans from the export: found once among all chosen rows, removed when the rows are written.

Memory: that of ``find_repeated_windows``, and the texts of one shard.
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
"""Folder in the run directory with the spans to remove from the texts of each shard."""

VERSION = 1
"""Version of the definition of a repeated span."""


def find(context: Context, source: Inputs, selected: SelectOutput, min_words: int) -> None:
    """Find the runs of words that occur repeatedly in the text columns of the chosen rows, and write them to disk.

    Each string is a separate text, in the order of the pool and of the columns. The first copy of
    a run is kept.
    """
    folder, paths_to_text = context.folder / FOLDER, text_paths(context.config.input)
    targets = [parquet_io.shard_path(folder, shard) for shard in range(len(source.shards))]
    inputs = {
        "version": VERSION,
        "min_words": min_words,
        "columns": [way[0] if len(way) == 1 else way for way in paths_to_text],
    }
    key = manifest.fingerprint({**inputs, "input": source.fingerprint, "select": selected.fingerprint})
    if all(is_current_shard(path, key) for path in targets):
        return
    sizes = np.zeros(len(targets), np.int64)

    def texts() -> Iterator[list[str]]:
        context.progress.begin("searching for repeated spans", sum(source.shards))
        for shard, count in enumerate(source.shards):
            chosen = selected.read(shard, ["selected"])["selected"].to_pylist()
            strings = _strings(source.read(shard, (), root_columns(paths_to_text)), paths_to_text, chosen)
            sizes[shard] = len(strings)
            yield strings
            context.progress.advance(count)

    for obsolete in set(paths.list_names(folder)) - {path.name for path in targets}:
        paths.unlink(folder / obsolete)
    text, first, end = find_repeated_spans(find_repeated_windows(texts, min_words))
    begins = np.concatenate(([0], np.cumsum(sizes)))
    cuts = np.searchsorted(text, begins)
    for shard, path in enumerate(targets):
        spans = slice(cuts[shard], cuts[shard + 1])
        columns = [pa.array(part.astype(np.int32)) for part in (text[spans] - begins[shard], first[spans], end[spans])]
        table = schemas.check(pa.table(columns, schema=schemas.CUTS), schemas.CUTS, str(path))
        parquet_io.write(table, path, key, compression="zstd")


def _strings(table: pa.Table, paths_to_text: Sequence[TextPath], chosen: Sequence[bool]) -> list[str]:
    """Return every string at the paths, in the order of ``cut``; "" for rows that are not chosen."""
    strings: list[str] = []

    def note(row: int, text: str) -> str:
        strings.append(text if chosen[row] else "")
        return text

    map_strings(table, paths_to_text, note)
    return strings


def cut(
    table: pa.Table, paths_to_text: Sequence[TextPath], path: Path, chosen_rows: Iterable[int]
) -> tuple[pa.Table, Counts]:
    """Remove the spans that ``find`` wrote to disk from the rows of a shard.

    Parameters
    ----------
    table : pa.Table
        All rows of the shard.
    ways : paths to the strings, the same as for ``find``
    path : Path
        File written by ``find``.
    wanted : rows to change; others stay unchanged

    Returns
    -------
    table : pa.Table
        Table with the same rows, columns and types.
    counts : Counts
        Number of changed ``rows``, removed ``spans`` and ``words``, and ``empty`` rows, which have no word left.
    """
    runs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for text, first, end in zip(*(column.to_pylist() for column in parquet_io.read(path).columns), strict=True):
        runs[text].append((first, end))
    number, rows = itertools.count(), frozenset(chosen_rows)
    counts: Counter[str] = Counter()
    changed_rows: set[int] = set()
    with_text: set[int] = set()

    def change(row: int, text: str) -> str:
        spans = runs.get(next(number), ())
        if spans and row in rows:
            changed_rows.add(row)
            counts.update(spans=len(spans), words=sum(end - first for first, end in spans))
            text = remove_spans(text, spans)
        if text and not text.isspace():
            with_text.add(row)
        return text

    table = map_strings(table, paths_to_text, change)
    counts.update(rows=len(changed_rows), empty=len(changed_rows - with_text))
    return table, total([counts])


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of the counts of several tables; a row counts once for every epoch that has it."""
    counts = list(counts)
    return {name: sum(each.get(name, 0) for each in counts) for name in ("rows", "spans", "words", "empty")}
