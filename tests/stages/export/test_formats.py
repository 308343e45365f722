"""Every export format, written by a run and loaded back by the library of its trainers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import PluginError

ROWS = [
    {
        "id": ["a/b.c", "é 😀", "x" * 300, "d"][i % 4] + str(i),
        "text": f'line "{i}",\r\nnext\ttab',
        "note": None if i % 3 else "n",
        "blank": ["", None, "b"][i % 3],
        "n": i,
        "ratio": i / 4,
        "chat": [{"role": "user", "content": f"c{i}"}],
        "meta": {"lang": None if i % 2 else "en"},
        "=cmd": "=1+1",
    }
    for i in range(23)
]


def export(folder: Path, export: dict[str, Any], table: pa.Table | None = None, **changes: Any) -> Path:
    pool = folder / "pool.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS) if table is None else table, pool)
    data = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(pool), "id": "id", "text": "text", "rows_per_shard": 7},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "export": {"rows_per_file": 6, **export},
        **changes,
    }
    return Path(curate.run(data).version)


def by_number(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["n"])


def test_csv_is_read_back_with_nulls_empty_strings_and_line_breaks(tmp_path):
    version = export(tmp_path, {"use": "csv"})
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    tables = [
        pyarrow.csv.read_csv(path, parse_options=parse, convert_options=options)
        for path in sorted((version / "data").glob("*.csv"))
    ]
    rows = [row for table in tables for row in table.to_pylist()]
    for row in rows:
        row |= {name: json.loads(row[name]) for name in ("chat", "meta")}
    assert by_number(rows) == ROWS


def test_csv_is_read_back_by_a_run(tmp_path):
    version = export(tmp_path, {"use": "csv"})
    settings = {
        "curate": 1,
        "run": str(tmp_path / "again"),
        "input": {"files": f"{version}/data/*.csv", "id": "id", "text": "{text} {n}"},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "export": {"use": "jsonl"},
    }
    lines = next(Path(curate.run(settings).version).rglob("*.jsonl")).read_text().splitlines()
    rows = by_number([json.loads(line) for line in lines])
    expected = [{**row, "blank": row["blank"] or None} for row in ROWS]  # an empty cell is a null for this reader
    read = [{name: row.get(name) for name in ("id", "text", "note", "blank", "n", "ratio", "=cmd")} for row in rows]
    assert read == [{name: row[name] for name in read[0]} for row in expected]


def test_webdataset_is_read_back(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    table = pa.Table.from_pylist(ROWS).append_column("image", pa.array([b"\xff\xd8%d" % i for i in range(23)]))
    version = export(tmp_path, {"use": "webdataset", "rename": {"image": "jpg"}, "add": ["weight"]}, table)
    files = sorted(map(str, (version / "data").glob("*.tar")))
    samples = list(webdataset.WebDataset(files, shardshuffle=False))
    assert len({sample["__key__"] for sample in samples}) == 23
    rows = [json.loads(sample["json"]) | {"text": sample["txt"].decode()} for sample in samples]
    assert all(sample["jpg"] == b"\xff\xd8%d" % i for i, sample in enumerate(samples))
    assert {row.pop("curate_weight") for row in rows} == {1.0}
    assert rows == ROWS


def test_folder_is_loaded_from_disk_with_its_features(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = pa.Table.from_pylist(ROWS)
    label = {"n": {"names": [str(i) for i in range(23)], "_type": "ClassLabel"}}
    described = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": label}})})
    loaded = datasets.load_from_disk(str(export(tmp_path, {"use": "datasets"}, described) / "data" / "train"))
    assert list(loaded) == ROWS
    assert isinstance(loaded.features["n"], datasets.ClassLabel)


def test_each_epoch_of_a_folder_is_loaded(tmp_path):
    datasets = pytest.importorskip("datasets")
    version = export(tmp_path, {"use": "datasets"}, select=[{"use": "rs2", "keep": 10, "epochs": 2}])
    loaded = [datasets.load_from_disk(str(version / "data" / f"epoch=00{epoch}" / "train")) for epoch in range(2)]
    assert [len(each) for each in loaded] == [10, 10]


def test_mds_is_read_back(tmp_path):
    streaming = pytest.importorskip("streaming")
    version = export(tmp_path, {"use": "mds", "add": ["weight"]})
    rows = [dict(row) for row in streaming.LocalDataset(str(version / "data" / "train"))]
    assert {row.pop("curate_weight") for row in rows} == {1.0}
    assert rows == ROWS


def test_a_published_list_of_files_has_no_index(tmp_path):
    export(tmp_path, {"use": "datasets"})
    files = curate.get_published(str(tmp_path / "run")).files
    assert [Path(file).suffix for file in files] == [".arrow"] * 4


@pytest.mark.parametrize(
    ("use", "name", "message"),
    [
        ("csv", "image", "column 'image' is binary, which CSV cannot represent"),
        ("webdataset", "a/b", "binary column 'a/b' cannot be the name"),
        ("webdataset", "__key__", "binary column '__key__' cannot be the name"),
        ("webdataset", "json", "would have the same member, 'json'"),
        ("webdataset", "TXT", "would have the same member, 'txt'"),
    ],
)
def test_columns_that_a_format_cannot_represent_are_refused_before_the_run(tmp_path, use, name, message):
    if use == "webdataset":
        pytest.importorskip("webdataset")
    table = pa.Table.from_pylist(ROWS).append_column(name, pa.array([b"x"] * 23))
    with pytest.raises(PluginError, match=message):
        export(tmp_path, {"use": use}, table)
    assert not (tmp_path / "run" / "embed").exists()
