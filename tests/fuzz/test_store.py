"""Whatever a run folder holds: it is read, done again, or an error names what is wrong with it."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import CurateError, DataError
from curate.executors.serial import Serial
from curate.store import diff, explain, lock, manifest, npz, parquet_io, versions

fuzz = settings(deadline=None, derandomize=True)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["../../x", "/etc", "a", -1, 10**30]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["count", "rows"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def edited(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with some of them replaced or taken out."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(changed)))
        changed[start : start + draw(st.integers(0, 4) | st.just(len(changed)))] = draw(st.binary(max_size=4))
    return bytes(changed)


def changed_json(draw: st.DrawFn, data: Any) -> Any:
    """The data with one value in it replaced or taken out."""
    if isinstance(data, dict | list) and data and draw(st.integers(0, 4)):
        keys = list(data) if isinstance(data, dict) else list(range(len(data)))
        key = draw(st.sampled_from(keys))
        if not draw(st.integers(0, 5)):
            del data[key]
        else:
            data[key] = changed_json(draw, data[key])
        return data
    return draw(JSON)


def changed_table(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """The table with a column or a row less, or with a column of another type."""
    if not draw(st.integers(0, 3)):
        return table.slice(draw(st.integers(0, len(table))))
    place = draw(st.integers(0, table.num_columns - 1))
    if not draw(st.integers(0, 2)):
        return table.remove_column(place)
    others = [
        pa.nulls(len(table), pa.string()),
        pa.array([10**9] * len(table)),
        pa.array([[1.0]] * len(table), pa.list_(pa.float64())),
    ]
    others += [
        pa.array(["\x1b[31m"] * len(table)),
        pa.array([-5] * len(table), pa.int32()),
        pa.array([{"x": None}] * len(table)),
    ]
    return table.set_column(place, table.column_names[place], draw(st.sampled_from(others)))


# ---------------------------------------------------------------- single files


def bytes_of(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({parquet_io.FINGERPRINT: "f"}), file, compression="zstd")
    return file.getvalue()


SHARD = bytes_of(pa.table({"id": ["a", "b"], "x": [[1.5], None], "o": [{"p": 1}, None]}))


@fuzz
@given(
    edited(SHARD)
    | st.binary(max_size=50)
    | st.sampled_from([SHARD, bytes_of(pa.table([[1], [2]], names=["id", "id"])), b""])
)
def test_any_bytes_are_a_shard_or_an_error_that_names_it(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.parquet"
        path.write_bytes(data)
        assert parquet_io.is_current(path, "f") in (True, False)
        for read in (
            parquet_io.read,
            parquet_io.count_rows,
            parquet_io.read_schema,
            lambda path: parquet_io.read(path, ["x", "id"]).select(["id"]),
        ):
            try:
                read(path)
            except DataError as error:
                assert "part.parquet" in str(error)
                assert str(error).isprintable()


@cache
def fitted() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(3), curate_fingerprint=np.array("f"))
    return file.getvalue()


@fuzz
@given(st.data())
def test_any_bytes_are_arrays_or_nothing(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fitted.npz"
        path.write_bytes(data.draw(edited(fitted()) | st.binary(max_size=40)))
        assert isinstance(npz.load(path, "f"), dict | None)


@fuzz
@given(
    JSON.map(lambda data: json.dumps(data).encode())
    | st.binary(max_size=30)
    | st.sampled_from([b"[" * 9000, b'{"a":' * 9000])
)
def test_any_json_is_a_manifest_a_history_a_lock_or_nothing(data):
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "fsync"):
        root = Path(folder)
        for name in (manifest.NAME, versions.HISTORY, lock.NAME):
            (root / name).write_bytes(data)
        assert manifest.load(root) is None
        with contextlib.suppress(DataError):
            assert versions.read_history(root) == [] or b"publications" in data
        with lock.acquire(root, str):
            pass


# ---------------------------------------------------------------- a whole run folder


@cache
def finished() -> Path:
    """A small run, done twice so that there is a version to go back to."""
    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root)
    lines = [
        json.dumps({"id": f"r{n}", "text": f"text {n // 2}" if n < 8 else "", "source": "ab"[n % 2]}) for n in range(9)
    ]
    (root / "pool.jsonl").write_text("\n".join([*lines, "{"]))
    for keep in (2, 3):
        pipeline.run(config_from_dict(recipe(root, root / "run", keep)), Serial())
    return root


def recipe(root: Path, run: Path, keep: int) -> dict[str, Any]:
    return {
        "curate": 1,
        "run": str(run),
        "input": {
            "files": str(root / "pool.jsonl"),
            "id": "id",
            "text": "text",
            "source": "source",
            "rows_per_shard": 5,
        },
        "embed": {"use": "hashing", "dimensions": 8},
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "score": [{"use": "prototypicality"}],
        "select": [
            {"use": "where", "drop": "source = 'c'"},
            {"use": "semdedup", "min_similarity": 0.9},
            {"use": "top_k", "keep": keep},
        ],
        "guard": {"max_quarantine_rate": 1, "max_churn_rate": 1},
        "export": {"use": "jsonl"},
    }


@fuzz
@given(st.data())
def test_any_run_folder_is_safe_to_look_at_and_to_run_on(data):
    whole = finished()
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "fsync"):
        root = Path(folder) / "run"
        shutil.copytree(whole / "run", root, symlinks=True)
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".html")
        path = root / data.draw(st.sampled_from([path.relative_to(root).as_posix() for path in files]))
        kind = data.draw(st.integers(0, 3))
        if kind == 0 or path.suffix not in (".json", ".parquet"):
            path.write_bytes(data.draw(edited(path.read_bytes())))
        elif path.suffix == ".json":
            path.write_text(json.dumps(changed_json(data.draw, json.loads(path.read_text()))))
        else:
            pq.write_table(changed_table(data.draw, pq.read_table(path)), path)
        tampered = kind and path.suffix == ".parquet"  # whole shards of other rows: what is computed from them is too
        config = config_from_dict(recipe(whole, root, data.draw(st.sampled_from([3, 4]))))
        look = {
            "explain": lambda: list(
                explain.explain(root, data.draw(st.sampled_from(["r0", "r1", "r8", "x", "(" * 9]))).lines()
            ),
            "diff": lambda: list(diff.diff(root, whole / "run", 5).lines()),
            "rollback": lambda: str(versions.rollback(root, None, str)),
            "plan": lambda: pipeline.plan(config, Serial()),
            "report": lambda: pipeline.report(config),
            "run": lambda: pipeline.run(config, Serial()),
        }
        what = data.draw(st.sampled_from(["explain", "diff", "rollback", "plan"] if tampered else sorted(look)))
        try:
            look[what]()
        except CurateError as error:
            assert str(error).isprintable()
