"""JSON Lines in, JSON Lines out: every row that is kept is the row that came, with its own keys at every depth.

``CURATE_EXAMPLES=2000 python -m pytest tests/properties/test_rows_as_they_came.py`` tries as many examples.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import DataError
from curate.executors.base import Executor
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.plugins.exporters.jsonl import write_jsonl
from curate.progress import NullProgress
from curate.stages.base import Context
from curate.stages.ingest.stage import ingest

EXAMPLES = int(os.environ.get("CURATE_EXAMPLES", settings().max_examples))
examples = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 1_000,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["null", "{}", "1", "[1]", "\n"]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**53 + 1, -(2**63), 2**63, 2**64 - 1, 2**64, 10**30, -(10**75)]),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
KEYS = st.sampled_from(["a", "b", "é", "", "a.b", "[]"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
DEEP = st.integers(1, 28).flatmap(lambda depth: st.sampled_from(["list", "object"]).map(lambda kind: deep(depth, kind)))
CALLS = st.lists(
    st.fixed_dictionaries(
        {"name": TEXTS},
        optional={"id": TEXTS, "args": st.dictionaries(KEYS, VALUES, max_size=3) | TEXTS | st.none()},
    ),
    max_size=2,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool"]), "content": TEXTS | st.none()},
        optional={"tool_calls": CALLS | st.none(), "name": TEXTS},
    ),
    max_size=3,
)
UNIFORM = st.fixed_dictionaries({"k": st.integers(0, 3), "tags": st.lists(TEXTS, max_size=2)})
COLUMNS = {"messages": MESSAGES, "args": VALUES, "x": VALUES | DEEP, "meta": UNIFORM | st.none(), "s": SCALARS}
ROWS = st.lists(st.fixed_dictionaries({}, optional=COLUMNS), min_size=1, max_size=5)


def deep(depth: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


@contextmanager
def pool(files: list[tuple[str, list[dict[str, Any]]]]) -> Iterator[Path]:
    """Yield a folder with a pool of files, which is deleted at the end."""
    with tempfile.TemporaryDirectory() as name, mock.patch.object(os, "fsync"):
        write(Path(name), files)
        yield Path(name)


def write(folder: Path, files: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Write files of rows, in the format that each file's name says; they replace those that are there."""
    (folder / "pool").mkdir(exist_ok=True)
    for old in (folder / "pool").iterdir():
        old.unlink()
    for name, rows in files:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        text = json.dumps(rows, indent=1) if name.endswith(".json") else lines
        (folder / "pool" / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


def exported(
    folder: Path,
    executor: Executor | None = None,
    *,
    batch: int = 8_192,
    run: str = "run",
    use: str = "jsonl",
    mask: tuple[str, ...] = (),
    **section: Any,
) -> bytes:
    """Export every row of a pool, and return the bytes of the files."""
    data = {
        "curate": 1,
        "run": str(folder / run),
        "input": {"files": f"{folder}/pool/*", **{"text": "text", **section}},
        "guard": {"max_quarantine_rate": 1.0, "max_empty_file_rate": 1.0},
        "embed": {"use": "hashing", "dimensions": 8},
        "cluster": {"use": "kmeans", "n_clusters": 1},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "export": {"use": use, "mask_pii": list(mask)},
    }
    with mock.patch("curate.store.json_records.MAX_BATCH_ROWS", batch):
        pipeline.run(config_from_dict(data), executor or Serial(), until="export")
    return b"".join(path.read_bytes() for path in sorted((folder / run / "export" / "current" / "data").iterdir()))


def same(found: Any, wanted: Any) -> bool:
    """Whether two parsed values are equal, and no boolean is a number."""
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict) and found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(same, found, wanted))
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def numbered(groups: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Return rows with a text and the number of the row."""
    number = iter(range(1_000))
    return [[{"text": "t", "row": next(number), **row} for row in rows] for rows in groups]


NAMES = st.permutations(["a.jsonl", "b.json", "c.jsonl.gz"])


def read_and_written(folder: Path, *, batch: int = 8_192, run: str = "run", **section: Any) -> bytes:
    """Write the rows of a pool as an export does, without the stages between."""
    data = {
        "curate": 1,
        "run": str(folder / run),
        "input": {"files": f"{folder}/pool/*", **section},
        "select": [{"use": "uniform", "keep": 1}],
    }
    with mock.patch("curate.store.json_records.MAX_BATCH_ROWS", batch):
        source, _ = ingest(Context(config_from_dict(data), Serial(), NullProgress()))
    tables = source.iterate_shards((), tuple(source.columns))
    nulls = [names for table in source.iterate_shards(("nulls",)) for names in table["nulls"].to_pylist()]
    write_jsonl(pa.concat_tables(tables), folder / f"{run}.jsonl", compression="none", nulls=nulls)
    return (folder / f"{run}.jsonl").read_bytes()


@examples
@given(
    st.lists(ROWS, min_size=1, max_size=3),
    NAMES,
    st.sampled_from(["text", "t{messages}{meta}{x}"]),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_every_row_that_is_kept_is_the_row_that_came(groups, names, text, batch, rows_per_shard):
    """However the records are cut into batches and shards."""
    groups = numbered(groups)
    everything = {row["row"]: row for rows in groups for row in rows}
    with pool(list(zip(names, groups, strict=False))) as folder:
        try:
            written = read_and_written(folder, text=text)
        except DataError as refused:
            column = str(refused).partition("column '")[2].partition("'")[0]
            if not re.search("all .* rows were quarantined|no input file has a column", str(refused)):
                assert column, refused
                assert not any(isinstance(row.get(column), dict | list) for row in everything.values()), refused
            return
        found = rows_of(written)
        assert all(same(row, everything[row["row"]]) for row in found), (found, everything)
        assert len(found) + quarantined(folder) == len(everything)
        cut = read_and_written(folder, batch=batch, run="cut", text=text, rows_per_shard=rows_per_shard)
        assert cut == written


@settings(examples, max_examples=max(3, EXAMPLES // 10))
@given(st.lists(MESSAGES, min_size=1, max_size=6))
def test_a_run_exports_every_row_as_it_came(chats):
    (rows,) = numbered([[{"messages": chat} for chat in chats]])
    with pool([("a.jsonl", rows)]) as folder:
        assert all(map(same, rows_of(exported(folder)), rows))


def rows_of(written: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.splitlines()]


def quarantined(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in (folder / "run" / "input" / "quarantine").glob("*.parquet"))


# ---------------------------------------------------------------- formats, workers and refreshes

CHAT: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "hi"}], "meta": {"k": 1}},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"args": {"city": "Ulm"}}]}], "meta": {"k": 2}},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"args": ["a", 1, {}]}]}], "note": None},
    {"messages": [], "meta": None, "note": "x"},
]
SAME = [{"messages": [{"role": "user", "content": f"hi {i}"}], "meta": {"k": i}} for i in range(4)]


@pytest.mark.parametrize("names", [("a.jsonl", "b.json", "c.jsonl.gz"), ("c.jsonl.gz", "a.json", "b.ndjson")])
def test_files_of_several_formats_and_shapes(names):
    groups = numbered([CHAT, SAME, [{"extra": {}}, {"extra": [[], {"a": None}]}]])
    with pool(list(zip(names, groups, strict=True))) as folder:
        everything = sorted((row for rows in groups for row in rows), key=lambda row: row["row"])
        assert sorted(rows_of(exported(folder)), key=lambda row: row["row"]) == everything


def test_a_shape_that_becomes_mixed_is_carried_as_in_a_fresh_run():
    same, chat = numbered([SAME, CHAT])
    with pool([("a.jsonl", same)]) as folder:
        assert rows_of(exported(folder)) == same
        assert pq.read_schema(folder / "run/input/part-00000.parquet").field("messages").type != pa.json_()
        write(folder, [("a.jsonl", same), ("b.jsonl", chat)])
        refreshed = exported(folder)
        assert rows_of(refreshed) == [*same, *chat]
        assert refreshed == exported(folder, run="fresh")
        write(folder, [("a.jsonl", same)])
        assert exported(folder) == exported(folder, run="again")


def test_two_workers_write_the_same_bytes():
    groups = numbered([CHAT, SAME, CHAT])
    with pool(list(zip(("a.jsonl", "b.jsonl", "c.json"), groups, strict=True))) as folder:
        alone = exported(folder, rows_per_shard=2)
        assert exported(folder, Processes(2), run="two", rows_per_shard=2) == alone


def test_parquet_has_json_texts_of_what_differs_and_types_of_what_does_not():
    (chat,) = numbered([CHAT])
    with pool([("a.jsonl", chat)]) as folder:
        table = pq.read_table(io.BytesIO(exported(folder, use="parquet")))
        assert table.schema.field("messages").type == pa.json_()
        assert table.schema.field("meta").type == pa.struct({"k": pa.int64()})
        texts = [json.loads(text) for text in table["messages"].to_pylist()]
        assert texts == [row["messages"] for row in chat]
        (folder / "pool" / "a.jsonl").rename(folder / "a.jsonl")
        pq.write_table(table, folder / "pool" / "a.parquet")
        again = rows_of(exported(folder, run="again"))
        assert [row["messages"] for row in again] == [row["messages"] for row in chat]


def test_a_template_over_a_column_sees_the_keys_of_each_row():
    with pool([("a.jsonl", [{"chat": [{"a": 1}]}, {"chat": [{"b": None}, {}]}])]) as folder:
        exported(folder, text="{chat}")
        texts = pq.read_table(folder / "run/input/part-00000.parquet")["_curate_text"].to_pylist()
        assert texts == ['[{"a":1}]', '[{"b":null},{}]']


def test_text_in_a_json_column_is_masked():
    rows = [{"chat": [{"from": "ann@example.org"}]}, {"chat": {"n": 10**20, "to": ["bob@example.org"]}}]
    with pool([("a.jsonl", rows)]) as folder:
        written = exported(folder, text="{chat}", mask=("email",))
    assert rows_of(written) == [{"chat": [{"from": "<EMAIL>"}]}, {"chat": {"n": 10**20, "to": ["<EMAIL>"]}}]
