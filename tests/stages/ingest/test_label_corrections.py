"""Corrected labels: in the export, the explanation and the card, without embedding again; and their bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, CurateError, DataError
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.store.explain import explain

ROWS = [
    {"id": f"r{number}", "text": f"text number {number} about {'ab'[number % 2]}", "label": "ab"[number % 2]}
    for number in range(40)
]


def settings(folder: Path, rows: Any = None, **more: Any) -> dict[str, Any]:
    rows = ROWS if rows is None else rows
    if isinstance(rows, pa.Table):
        pq.write_table(rows, folder / "pool.parquet")
        files = folder / "pool.parquet"
    else:
        files = folder / "pool.jsonl"
        files.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = {"files": str(files), "text": "text", "label": "label", "rows_per_shard": 9}
    pool |= {"id": "id", "corrections": str(folder / "corrections.csv"), **more.pop("input", {})}
    return {
        "curate": 1,
        "run": str(folder / "run"),
        "input": pool,
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "export": {"use": "jsonl", "add": ["id"]},
        **more,
    }


def run(data: dict[str, Any], executor: Any = None) -> pipeline.Summary:
    return pipeline.run(config_from_dict(data), executor or Serial())


def exported(folder: Path) -> dict[str, Any]:
    lines = [
        json.loads(line)
        for path in sorted((folder / "run/export/current/data").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return {line["curate_id"]: line.get("label") for line in lines}


def correct(folder: Path, text: str) -> None:
    (folder / "corrections.csv").write_text(text)


def test_rows_get_the_corrected_label_everywhere(tmp_path):
    correct(tmp_path, "id,label\nr3,a\nr4,a\nr39,new\n")
    run(settings(tmp_path))
    assert exported(tmp_path) == {row["id"]: row["label"] for row in ROWS} | {"r3": "a", "r39": "new"}
    lines = {name: explain(tmp_path / "run", name) for name in ("r3", "r4", "r39")}
    assert (lines["r3"].label, lines["r3"].corrected_from) == ("a", "b")
    assert (lines["r4"].label, lines["r4"].corrected_from) == ("a", None)  # it had the label
    assert "new (corrected, was b)" in str(lines["r39"])
    card = (tmp_path / "run/export/current/README.md").read_text()
    assert "The labels of 2 rows of the pool were corrected" in card
    assert "The labels of 2 rows of the pool were corrected" in (tmp_path / "run/report.html").read_text()


def test_a_correction_trains_the_proxy_again_but_embeds_nothing(tmp_path):
    scored = {
        "proxy": {"use": "logistic", "epochs": 2, "runs": 1},
        "score": [{"use": "aum"}, {"use": "length"}, {"use": "knn_disagreement"}],
        "cluster": {"use": "kmeans", "n_clusters": 2},
    }
    before = {f"{one.stage} {one.name}": one.fingerprint for one in run(settings(tmp_path, **scored)).records}
    correct(tmp_path, "id,label\nr3,a\n")
    after = {f"{one.stage} {one.name}": one.fingerprint for one in run(settings(tmp_path, **scored)).records}
    changed = {name for name in before if before[name] != after[name]}
    assert {"input input", "proxy logistic", "score aum", "score knn_disagreement"} <= changed
    assert not changed & {"embed hashing", "cluster kmeans", "score length"}


def test_the_same_bytes_with_workers_and_a_removed_file(tmp_path):
    correct(tmp_path, "id,label\nr3,a\nr39,new\n")
    shards = []
    for executor in (Serial(), Processes(2)):
        run(settings(tmp_path), executor)
        shards.append([path.read_bytes() for path in sorted((tmp_path / "run/input").glob("*.parquet"))])
        executor.close()
    assert shards[0] == shards[1]
    (tmp_path / "corrections.csv").unlink()
    run(settings(tmp_path))
    assert exported(tmp_path) == {row["id"]: row["label"] for row in ROWS}
    assert explain(tmp_path / "run", "r3").corrected_from is None


def test_a_file_that_does_not_exist_yet_is_a_warning(tmp_path):
    summary = run(settings(tmp_path))
    assert any("no file" in warning and "corrections.csv" in warning for warning in summary.warnings)


def test_unknown_ids_are_a_warning_in_every_run(tmp_path):
    correct(tmp_path, "id,label\nr3,a\n" + "".join(f"gone{number},a\n" for number in range(7)))
    for _ in range(2):
        (warning,) = run(settings(tmp_path)).warnings
        assert "7 corrected ids are not in the pool: 'gone0'" in warning


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("id,label\nr1,a\nr2,b\nr1,b\n", "the label of 'r1' is 'b' here, but 'a' in line 2", ":4"),
        ("id,label\nr1,\n", "no label", ":2"),
        ("id,label\n,a\n", "no id", ":2"),
        ("id,labels\nr1,a\n", "no column 'label'", ""),
        ("name,label\nr1,a\n", "no column 'id'", ""),
        ("id,label\nr1,a,c\n", "3 cells", ":2"),
        ("", "the file is empty", ""),
    ],
)
def test_bad_files_of_corrections(tmp_path, text, message, line):
    correct(tmp_path, text)
    with pytest.raises(DataError) as caught:
        run(settings(tmp_path))
    assert message in str(caught.value)
    assert f"corrections.csv{line}" in str(caught.value)


def test_a_table_without_rows_corrects_nothing(tmp_path):
    correct(tmp_path, "id,label\n")
    assert not run(settings(tmp_path)).warnings
    assert exported(tmp_path) == {row["id"]: row["label"] for row in ROWS}


def test_the_same_answer_twice_and_a_semicolon(tmp_path):
    correct(tmp_path, '\ufeffid;label\nr1;a\nr1;"a"\n')
    run(settings(tmp_path))
    assert exported(tmp_path)["r1"] == "a"


def test_labels_that_begin_like_formulas(tmp_path):
    correct(tmp_path, "id,label\nr1,'=sum\nr2,-1\nr3,''+x\n")
    run(settings(tmp_path))
    assert [exported(tmp_path)[name] for name in ("r1", "r2", "r3")] == ["=sum", "-1", "'+x"]


def numbers(kind: pa.DataType) -> pa.Table:
    labels = pa.array(["1", "2", None, "1"] * 10).cast(kind) if not pa.types.is_dictionary(kind) else None
    if labels is None:
        labels = pa.array(["1", "2", None, "1"] * 10).dictionary_encode()
    return pa.table({"id": [row["id"] for row in ROWS], "text": [row["text"] for row in ROWS], "label": labels})


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.int64(), pa.uint8(), pa.int8(), pa.float64(), pa.decimal128(5, 0)),
        *(pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_the_label_column_keeps_its_type(tmp_path, kind):
    correct(tmp_path, "id,label\nr0,2\nr2,1\n")
    run(settings(tmp_path, numbers(kind), export={"use": "parquet", "add": ["id"]}))
    table = pq.ParquetDataset(sorted((tmp_path / "run/export/current/data").glob("*.parquet"))).read()
    labels = dict(zip(table["curate_id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert [str(labels[name]).removesuffix(".0") for name in ("r0", "r1", "r2", "r3", "r6")] == [*"2211", "None"]
    assert explain(tmp_path / "run", "r2").corrected_from == ""
    before = pq.read_table(tmp_path / "pool.parquet").schema.field("label").type
    assert table.schema.field("label").type in (before, pa.string(), pa.large_string())


def test_a_label_of_another_type_is_an_error_with_its_line(tmp_path):
    correct(tmp_path, "id,label\nr0,2\nr2,two\n")
    with pytest.raises(DataError, match="'two' is not int64") as caught:
        run(settings(tmp_path, numbers(pa.int64())))
    assert "corrections.csv:3" in str(caught.value)


def test_a_class_label_is_a_number_of_a_class(tmp_path):
    feature = {"label": {"names": ["no", "yes", "maybe"], "_type": "ClassLabel"}}
    table = numbers(pa.int64()).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": feature}})})
    correct(tmp_path, "id,label\nr0,2\nr1,0\n")
    run(settings(tmp_path, table))
    assert [exported(tmp_path)[name] for name in ("r0", "r1")] == [2, 0]
    for label in ("3", "yes"):
        correct(tmp_path, f"id,label\nr0,2\nr1,{label}\n")
        with pytest.raises(DataError, match=f"'{label}' is not"):
            run(settings(tmp_path, table))


def test_rows_without_the_column_and_explicit_nulls(tmp_path):
    rows = [*ROWS[:20], *({"id": f"x{number}", "text": f"more text {number}"} for number in range(20))]
    rows[0] = rows[0] | {"label": None}
    correct(tmp_path, "id,label\nr0,b\nx3,b\nx19,a\n")
    run(settings(tmp_path, rows))
    labels = exported(tmp_path)
    assert [labels[name] for name in ("r0", "x3", "x19", "x4")] == ["b", "b", "a", None]


def test_a_column_without_any_label_has_no_type(tmp_path):
    correct(tmp_path, "id,label\nr0,b\n")
    rows = [row | {"label": None} for row in ROWS]
    with pytest.raises(DataError, match="its type is unknown") as caught:
        run(settings(tmp_path, rows))
    assert "input.types" in str(caught.value)
    run(settings(tmp_path, rows, input={"types": {"label": "string"}}))
    assert exported(tmp_path)["r0"] == "b"


def test_generated_ids(tmp_path):
    run(settings(tmp_path, input={"id": None, "corrections": None}))
    name = next(iter(exported(tmp_path)))
    before = exported(tmp_path)[name]
    correct(tmp_path, f"id,label\n{name},other\n")
    run(settings(tmp_path, input={"id": None}))
    assert exported(tmp_path)[name] == "other" != before


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"label": None}, "there are no labels"),
        ({"source": "label"}, "also input.source"),
        ({"text": "{text} is {label}"}, "also input.text"),
        ({"id": "label"}, "also input.id"),
    ],
)
def test_columns_that_cannot_be_corrected(tmp_path, pool, message):
    with pytest.raises(ConfigErrors, match=message):
        config_from_dict(settings(tmp_path, input=pool))


def test_a_nested_label_is_an_error(tmp_path):
    correct(tmp_path, "id,label\nr0,b\n")
    with pytest.raises(CurateError, match="label"):
        run(settings(tmp_path, [row | {"label": {"name": row["label"]}} for row in ROWS]))


def test_test_files_are_not_corrected(tmp_path):
    from curate.evaluation.evaluate import evaluate

    correct(tmp_path, "id,label\nr0,b\n")
    rows = [row | {"text": f"another {row['text']}"} for row in ROWS]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = settings(
        tmp_path, evaluate={"files": str(tmp_path / "test.jsonl"), "seeds": 1}, metrics=[{"use": "knn_probe"}]
    )
    run(data)
    evaluate(tmp_path / "run", Serial())
    (test,) = (tmp_path / "run/evaluate/test").iterdir()
    labels = pq.ParquetDataset(sorted((test / "input").glob("part-*.parquet"))).read()["label"].to_pylist()
    assert sorted(labels) == sorted(row["label"] for row in ROWS)
