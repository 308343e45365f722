"""Tests that ``datasets`` reads several files with the features of a card, for every type and format."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.exporters.jsonl import Jsonl
from curate.plugins.exporters.parquet import Parquet
from curate.report.card_features import UnknownTypeError, column_overrides, describe_columns
from curate.report.dataset_card import Export, card
from tests.report.test_dataset_card import front, small

DAY, NOON, SPAN = dt.date(2024, 1, 2), dt.time(1, 2, 3), dt.timedelta(seconds=5)
MOMENT = dt.datetime(2024, 1, 2, 3, 4, 5)
RAW = b"x\xff"
CODED = base64.b64encode(RAW).decode()

# A type, a value, and the value as datasets reads it from Parquet and from JSON Lines, where that is another.
PLAIN: list[tuple] = [
    (pa.bool_(), True),
    *((kind, 3) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    (pa.int64(), 2**63 - 1),
    *((kind, 1.5) for kind in (pa.float16(), pa.float32(), pa.float64())),
    *((kind, "é") for kind in (pa.string(), pa.large_string(), pa.string_view())),
    (pa.dictionary(pa.int32(), pa.string()), "é"),
    *((kind, RAW, RAW, CODED) for kind in (pa.binary(), pa.large_binary(), pa.binary(2), pa.binary_view())),
    (pa.date32(), DAY),
    (pa.date64(), DAY),
    *((kind, NOON, NOON, "01:02:03") for kind in (pa.time32("s"),)),
    (pa.time32("ms"), NOON, NOON, "01:02:03.000"),
    (pa.time64("us"), NOON, NOON, "01:02:03.000000"),
    *((pa.timestamp(unit), MOMENT) for unit in ("s", "ms", "us", "ns")),
    *((pa.timestamp(unit, "UTC"), MOMENT.replace(tzinfo=dt.UTC)) for unit in ("s", "us")),
    (pa.timestamp("us", "+02:00"), MOMENT.replace(tzinfo=dt.UTC)),
    *((pa.duration(unit), SPAN) for unit in ("s", "ms", "us", "ns")),
    *((pa.decimal128(10, 2), Decimal("1.10")), (pa.decimal256(50, 2), Decimal("1.10"))),
    *((pa.decimal32(5, 2), Decimal("1.10")), (pa.decimal64(12, 2), Decimal("1.10"))),
]
NESTED: list[tuple] = [
    (pa.list_(pa.string()), ["é", None]),
    (pa.list_(pa.null()), []),
    (pa.large_list(pa.int64()), [1]),
    (pa.list_(pa.float32(), 2), [1.5, 2.0]),
    (pa.list_(pa.list_(pa.int64())), [[1], []]),
    (pa.list_(pa.binary(2)), [RAW], [RAW], [CODED]),
    (pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]), {"a": 1, "b": ["x"]}),
    (pa.list_(pa.struct([("a", pa.int64()), ("t", pa.timestamp("us"))])), [{"a": 1, "t": MOMENT}]),
    (pa.struct([("s", pa.struct([("d", pa.date32())]))]), {"s": {"d": DAY}}),
    (pa.uuid(), uuid.UUID(int=5).bytes, uuid.UUID(int=5).bytes, str(uuid.UUID(int=5))),
    (pa.json_(), '{"a":1}'),
]
JSON_ONLY: list[tuple] = [
    (pa.map_(pa.string(), pa.int64()), [("k", 1)], None, [{"key": "k", "value": 1}]),
    (pa.list_view(pa.int64()), [1]),
]
EVERY = [*PLAIN, *NESTED, *JSON_ONLY]


def array(kind, values):
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(values, kind)


def loaded(folder, kind, value, exporter):
    """Return the column that ``datasets`` reads from two files, of which the first has no values."""
    datasets = pytest.importorskip("datasets")
    (folder / "data").mkdir()
    for number, values in enumerate(([None, None], [value, None])):
        table = pa.table({"id": [f"{number}a", f"{number}b"], "x": array(kind, values)})
        exporter.write(table, folder / f"data/train-0000{number}-of-00002{exporter.suffix}")
    columns = {"id": pa.string(), "x": kind}
    told = describe_columns(columns, as_json=exporter.suffix == ".jsonl")
    (folder / "README.md").write_text(card(small(), Export(suffix=exporter.suffix, features=told)), encoding="utf-8")
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(folder / "cache"))["x"][:]


@pytest.mark.parametrize("of", ["parquet", "jsonl"])
@pytest.mark.parametrize("case", EVERY, ids=[str(case[0]) for case in EVERY])
def test_a_column_that_is_null_throughout_the_first_file_is_read_in_its_type(tmp_path, case, of):
    kind, value = case[:2]
    if case in JSON_ONLY and of == "parquet":
        with pytest.raises(UnknownTypeError, match="column 'x' is "):
            describe_columns({"x": kind}, as_json=False)
        return
    exporter = Parquet() if of == "parquet" else Jsonl()
    expected = case[2 + (of == "jsonl")] if len(case) == 4 else value
    assert loaded(tmp_path, kind, value, exporter) == [None, None, expected, None]


def test_a_column_without_a_value_is_null(tmp_path):
    assert loaded(tmp_path, pa.null(), None, Jsonl()) == [None] * 4


SCALARS = st.sampled_from([case[0] for case in PLAIN if not pa.types.is_decimal(case[0])])
KINDS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        st.tuples(inner, st.integers(1, 3)).map(lambda pair: pa.list_(*pair)),
        st.lists(
            st.tuples(st.text("ab: \n'", min_size=1), inner), min_size=1, max_size=3, unique_by=lambda one: one[0]
        ).map(pa.struct),
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), KINDS, min_size=1, max_size=4))
def test_random_schemas_go_through_yaml_as_the_library_writes_them(columns):
    datasets = pytest.importorskip("datasets")
    told = describe_columns(columns, as_json=False)
    text = card(small(), Export(suffix=".parquet", features=told))
    assert front(text)["dataset_info"]["features"] == told
    found = datasets.Features._from_yaml_list(told)
    nearest = {
        "string_view": pa.string(),
        "binary_view": pa.binary(),
        "fixed_size_binary[2]": pa.binary(),
        "date64[ms]": pa.date32(),
        "dictionary<values=string, indices=int32, ordered=0>": pa.string(),
    }

    def read_as(kind):
        if pa.types.is_struct(kind):
            return pa.struct([(field.name, read_as(field.type)) for field in kind])
        if pa.types.is_fixed_size_list(kind):
            return pa.list_(read_as(kind.value_type), kind.list_size)
        if pa.types.is_large_list(kind):
            return pa.large_list(read_as(kind.value_type))
        return pa.list_(read_as(kind.value_type)) if pa.types.is_list(kind) else nearest.get(str(kind), kind)

    expected = datasets.Features.from_arrow_schema(pa.schema([(name, read_as(kind)) for name, kind in columns.items()]))
    assert found == expected


def test_an_override_describes_a_column_in_more_detail_than_its_type():
    label = {"dtype": {"class_label": {"names": {"0": "no", "1": "yes"}}}}
    told = describe_columns({"y": pa.int64(), "n": pa.int64()}, as_json=True, known={"y": label})
    assert told == [{"name": "y", **label}, {"name": "n", "dtype": "int64"}]
    datasets = pytest.importorskip("datasets")
    assert datasets.Features._from_yaml_list(told)["y"] == datasets.ClassLabel(names=["no", "yes"])


DESCRIBED = {
    "label": "ClassLabel(names=['no', 'yes'])",
    "many": "List(ClassLabel(names=['a', 'b']))",
    "fixed": "List(ClassLabel(names=['a', 'b']), length=2)",
    "deep": "{'of': {'y': ClassLabel(names=['a']), 'n': Value('int64')}}",
    "image": "Image()",
    "images": "List(Image())",
    "raw": "Image(decode=False)",
    "sound": "Audio(sampling_rate=16000)",
    "plain": "Value('string')",
    "list": "List(Value('string'))",
}


@pytest.mark.parametrize("name", DESCRIBED)
@pytest.mark.parametrize("as_json", [True, False])
def test_the_features_of_the_input_are_those_of_the_export(name, as_json):
    datasets = pytest.importorskip("datasets")
    feature = eval(DESCRIBED[name], vars(datasets))
    given = datasets.Features({name: feature})
    found = column_overrides(json.loads(json.dumps(given.to_dict())), as_json=as_json)
    images = name in ("image", "images", "raw", "sound")
    assert set(found) == (set() if name in ("plain", "list") or (as_json and images) else {name})
    if found:
        told = describe_columns({name: pa.int64()}, as_json=as_json, known=found)
        assert datasets.Features._from_yaml_list(told) == given
