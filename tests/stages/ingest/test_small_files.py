from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.config.model import InputConfig
from curate.errors import DataError
from curate.stages.ingest import shard_writer
from curate.store import parquet_io, small_files
from curate.store.records import Piece

EXAMPLES = int(os.environ.get("CURATE_EXAMPLES", "100"))

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([1 << 53, (1 << 60) + 1, 1 << 63, 0.5, 1e300, "", "a"]),
)
_NESTED = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("pq"), inner, max_size=2)
)
_SAME = st.fixed_dictionaries({"text": st.text("ab \0", max_size=3)}, optional={"id": st.text("xyz", max_size=2)})
_USUAL = st.fixed_dictionaries(
    {"text": st.sampled_from(["a", "b"])},
    optional={
        "n": st.none() | st.integers(0, 3),
        "s": st.none() | st.sampled_from(["p", "q"]),
        "f": st.just(0.5),
        "b": st.booleans(),
        "l": st.lists(st.integers(0, 3), min_size=1, max_size=2),
        "m": st.fixed_dictionaries({"k": st.just("v")}),
    },
)
_ODD = st.dictionaries(st.sampled_from(["text", "n", "s", "lang"]), _NESTED, max_size=4)
_LINES = st.one_of(
    _SAME.map(json.dumps),
    _USUAL.map(json.dumps),
    _USUAL.map(json.dumps),
    _ODD.map(json.dumps),
    st.sampled_from(
        [
            "",
            "  ",
            "{}",
            "[]",
            "{",
            "\ufeff{}",
            '{"text": "a", "n": NaN}',
            '{"text": "a", "n": 0.12345678901234567890}',
            '{"text": "12345678901234567890", "n": 12345678901234567890}',
            '{"text": "a", "text": "b"}',
            '{"_curate_x": 1, "text": "a"}',
            '{"text": ["a"]}',
        ]
    ),
)
_FILES = st.lists(
    st.tuples(st.sampled_from(["", "lang=en", "lang=de", "n=1"]), st.lists(_LINES, max_size=3)), min_size=1, max_size=8
)
_CONFIGS = st.fixed_dictionaries(
    {"text": st.sampled_from(["text", "{text}: {s}"])},
    optional={
        "id": st.sampled_from(["id", "n", "text"]),
        "source": st.sampled_from(["lang", "s", "m"]),
        "label": st.sampled_from(["n", "b"]),
        "types": st.fixed_dictionaries(
            {}, optional={"n": st.sampled_from(["int64", "string"]), "lang": st.just("string")}
        ),
        "tokens": st.just("n"),
    },
)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=_FILES, settings=_CONFIGS)
def test_small_files_together_are_read_as_each_by_itself(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, list[str]]], settings: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("pool")
    pieces = []
    for number, (below, lines) in enumerate(files):
        path = folder / below / f"{number}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8")
        pieces.append(Piece(str(path), number))
    together, by_itself = _read(folder / "together", pieces, settings), ""
    with _none_is_small():
        by_itself = _read(folder / "by-itself", pieces, settings)
    assert together == by_itself


@contextmanager
def _none_is_small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_files, "MAX_SMALL_BYTES", -2)
        yield


def _read(out: Path, pieces: list[Piece], settings: dict[str, Any]) -> object:
    """Return all that a task gives: its result, its shards and what it quarantined; or its error."""
    config = InputConfig(files="pool/*", **settings)
    counting = "column" if "tokens" in settings else "estimate"
    task = shard_writer.ReadTask(0, tuple(pieces), 8, config, counting, out / "in", out / "bad", "f")  # type: ignore[arg-type]
    try:
        done = shard_writer.write_shards(task)
    except DataError as error:
        return str(error)
    tables = [parquet_io.read(path) for path in done.paths]
    bad = [parquet_io.read(path).to_pylist() for path in sorted((out / "bad").glob("*"))]
    columns = {
        name: (list(each.kinds.items()), each.spans, each.cells, each.cells_file) for name, each in done.columns.items()
    }
    shards = [(table.schema.names, table.schema.types, table.to_pylist()) for table in tables]
    return shards, bad, list(columns.items()), done.sources, done.quarantined, done.files, done.kind_counts
