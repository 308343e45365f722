"""The contract of exporters, tested for every exporter; a new file in the folder needs no edit here."""

import dataclasses
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pyarrow as pa
import pytest

from curate.errors import PluginError
from curate.plugins import registry
from curate.plugins.interfaces import get_traits

NAMES = registry.names("exporter")


def variants(name: str) -> list[Any]:
    """Return the exporter at its defaults, and with each value of its Literal fields."""
    plugin = registry.get("exporter", name)
    hints = get_type_hints(plugin.cls)
    required = dict(plugin.traits.example)
    words = [
        {field.name: word}
        for field in dataclasses.fields(plugin.cls)
        if get_origin(hints[field.name]) is Literal
        for word in get_args(hints[field.name])
        if word != field.default
    ]
    return [plugin.cls(**required, **choice) for choice in [{}, *words]]


def is_missing(name: str) -> bool:
    """Return whether the library of an exporter is not installed."""
    plugin = registry.get("exporter", name)
    try:
        return bool(plugin.traits.check and plugin.cls(**plugin.traits.example).check())
    except PluginError:
        return True


EXPORTERS = [
    pytest.param(exporter, id=repr(exporter), marks=pytest.mark.skipif(is_missing(name), reason="needs its extra"))
    for name in NAMES
    for exporter in variants(name)
]
every_exporter = pytest.mark.parametrize("exporter", EXPORTERS)

ROWS = [
    {"id": "a", "text": "plain", "score": 0.25, "n": 1, "tags": ["x", "y"], "meta": {"lang": "en", "page": "iv"}},
    {"id": "b", "text": 'é 😀 "quoted" \\ \n\t\u2028 <b>', "score": None, "n": -(2**62), "tags": [], "meta": None},
    {"id": "c", "text": "", "score": -1e300, "n": None, "tags": None, "meta": {"lang": None, "page": None}},
]
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.large_string(),
        "score": pa.float64(),
        "n": pa.int64(),
        "tags": pa.list_(pa.string()),
        "meta": pa.struct([("lang", pa.string()), ("page", pa.string())]),
    }
)


def table() -> pa.Table:
    return pa.Table.from_pylist(ROWS, SCHEMA)


def write(exporter: Any, rows: pa.Table, folder: Path, name: str = "train-00000-of-00001") -> Path:
    path = folder / (name + exporter.suffix)
    traits = get_traits(type(exporter))
    exporter.write(rows, path, **({"keys": [f"key {row}" for row in range(len(rows))]} if traits.keys else {}))
    return path


def is_refused(call: Callable, *arguments: Any) -> bool:
    """Return whether a call refuses the column ``odd`` by name."""
    try:
        call(*arguments)
    except PluginError as error:
        assert "column 'odd'" in str(error)
        assert error.hint
        return True
    except pa.ArrowException:
        return True
    return False


def trainer_reads(path: Path, cache: Path) -> list[dict[str, Any]]:
    """Return the rows as ``datasets`` loads them for a trainer."""
    datasets = pytest.importorskip("datasets")
    if path.name.endswith(".zst"):
        pytest.importorskip("zstandard", reason="datasets needs it for .zst")
    builder = "parquet" if path.suffix == ".parquet" else "json"
    loaded = datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(cache))
    return list(loaded)


def polars_reads(path: Path, cache: Path) -> list[dict[str, Any]]:
    import polars as pl

    read = pl.read_parquet if path.suffix == ".parquet" else pl.read_ndjson
    return read(path).to_dicts()


def known(exporter: Any) -> bool:
    return exporter.suffix == ".parquet" or exporter.suffix.startswith(".jsonl")


@every_exporter
class TestEveryExporter:
    @pytest.mark.parametrize("reads", [trainer_reads, polars_reads])
    def test_what_is_written_is_read_back(self, exporter: Any, reads: Callable, tmp_path: Path) -> None:
        """Unicode, nulls, extremes and nested values come back from the readers that trainers use."""
        if not known(exporter):
            pytest.skip(f"its own test reads {exporter.suffix} back")
        assert reads(write(exporter, table(), tmp_path), tmp_path / "cache") == ROWS

    def test_the_same_table_gives_the_same_bytes(self, exporter: Any, tmp_path: Path) -> None:
        """The bytes depend neither on the file name nor on the number of writes."""
        first = write(exporter, table(), tmp_path, "first").read_bytes()
        assert write(exporter, table(), tmp_path, "second").read_bytes() == first

    def test_bytes_do_not_depend_on_chunks(self, exporter: Any, tmp_path: Path) -> None:
        rows = pa.concat_tables([table()] * 700).combine_chunks()
        cut = pa.concat_tables([rows.slice(0, 1), rows.slice(1, 1_500), rows.slice(1_501)])
        assert write(exporter, rows, tmp_path, "a").read_bytes() == write(exporter, cut, tmp_path, "b").read_bytes()

    def test_no_rows_give_a_file_that_reads_as_no_rows(self, exporter: Any, tmp_path: Path) -> None:
        path = write(exporter, table().slice(0, 0), tmp_path)
        assert path.is_file()
        if path.suffix == ".parquet":
            assert polars_reads(path, tmp_path) == []

    def test_the_table_is_left_as_it_was(self, exporter: Any, tmp_path: Path) -> None:
        rows = table()
        write(exporter, rows, tmp_path)
        assert rows.equals(table())

    def test_types_beyond_json_are_written_or_refused_by_name(self, exporter: Any, tmp_path: Path) -> None:
        rows = pa.table(
            {"raw": [b"\xff", None], "day": [dt.date(2024, 1, 1), None], "nan": [float("nan"), float("inf")]}
        )
        try:
            assert write(exporter, rows, tmp_path).stat().st_size > 0
        except PluginError as error:
            assert "column 'raw'" in str(error)
            assert error.hint

    def test_refusals_of_types_are_known_before_the_run(self, exporter: Any, tmp_path: Path) -> None:
        """``check_types`` refuses a column exactly if ``write`` does, and the message names the column."""
        nested = [pa.array([{"a": [1, None]}]), pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))]
        union = pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])
        arrays = [
            *nested,
            union,
            pa.array([b"x"]),
            pa.array([b"xy"], pa.binary(2)),
            pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
            pa.array(["a"]).dictionary_encode(),
            pa.array(['{"a": 1}'], pa.json_()),
            pa.nulls(1),
            pa.array([Decimal("1.50")]),
            pa.array([1], pa.timestamp("ns", "Asia/Tokyo")),
            pa.array([dt.time(1, 2)]),
            pa.array([dt.timedelta(1)]),
            pa.array([1.5], pa.float16()),
            pa.array(["a"], pa.string_view()),
            pa.array([[1.5, 2]], pa.list_(pa.float32(), 2)),
            pa.array([2**64 - 1], pa.uint64()),
        ]
        for array in arrays:
            schema = pa.schema([pa.field("id", pa.string(), False), pa.field("odd", array.type, array.null_count > 0)])
            rows = pa.table([pa.array(["a"]), array], schema=schema)
            with_check = get_traits(type(exporter)).types
            checked = is_refused(exporter.check_types, schema) if with_check else None
            written = is_refused(write, exporter, rows, tmp_path)
            assert checked in (written, None), array.type

    def test_the_suffix_starts_with_a_dot(self, exporter: Any) -> None:
        assert exporter.suffix.startswith(".")
        assert "/" not in exporter.suffix
