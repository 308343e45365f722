"""The code in a card that reads the export does read it, for every export format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import curate
from curate.plugins import registry
from curate.plugins.fields import fields

FORMATS = [
    {"use": name} | ({"compression": value} if value else {})
    for name in registry.names("exporter")
    for value in (
        get_args(get_type_hints(registry.get("exporter", name).cls).get("compression")) or (None,)
        if "compression" in {field.name for field in fields(registry.get("exporter", name).cls)}
        else (None,)
    )
]


def snippets(export):
    """Run each code block of the card; return the rows that it loads."""
    datasets = pytest.importorskip("datasets")
    text = (export / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1).replace("path/to/this/folder", str(export))
    read = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", export.parent.parent / "cache")
        for piece in code.split("\n\n"):
            space: dict = {}
            exec(piece, space)
            rows = space["rows"]
            read[type(rows).__module__.partition(".")[0]] = (
                rows.to_list()
                if hasattr(rows, "to_list")
                else (rows.to_dicts() if hasattr(rows, "to_dicts") else [dict(row) for row in rows])
            )
    return read


def rows(count):
    """Return rows with columns that are null or empty throughout the first files."""
    for number in range(count):
        late = number >= count - 3
        yield {
            "id": f"r{number:03d}",
            "text": f"a text about number {number} and {number * 7}",
            "note": "x" if late else None,
            "count": number if late else None,
            "ratio": 0.5 if late else 1.0,
            "tags": ["t"] if late else [],
            "meta": {"url": "u" if late else None, "depth": [1] if late else None},
            "turns": [{"role": "user", "parts": ["p"] if late else []}],
            "never": None,
        }


def parsed(row: dict, use: str) -> dict:
    """Return a row with the values that a format stores as JSON texts, or in another member."""
    if use == "webdataset":
        return row["json"] | {"text": row["txt"]}
    nested = ("tags", "meta", "turns") if use == "csv" else ()
    return row | {name: json.loads(row[name]) for name in nested}


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("export", FORMATS, ids=lambda one: "-".join(one.values()))
def test_every_snippet_reads_every_row_in_its_type(tmp_path, monkeypatch, plain_map, export, epochs):
    monkeypatch.chdir(tmp_path)
    for name, extra in (("webdataset", "webdataset"), ("mds", "streaming")):
        if export["use"] == name:
            pytest.importorskip(extra)
    given = list(rows(20))
    Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    select = {"use": "uniform", "keep_rate": 1.0} if epochs == 1 else {"use": "rs2", "keep": 20, "epochs": 2}
    done = curate.run(
        {
            "curate": 1,
            "run": "run",
            "input": {"files": "pool.jsonl", "id": "id", "text": "text"},
            "embed": {"use": "hashing", "dimensions": 16},
            "cluster": {"use": "kmeans", "n_clusters": 1},
            "select": [select],
            "export": export | {"rows_per_file": 4},
        }
    )
    assert len(list(Path("run/export/current").rglob("train-*"))) == 5 * epochs
    if export.get("compression") == "zst":
        pytest.importorskip("zstandard")
    read = snippets(done.version)
    libraries = {"webdataset": {"webdataset"}, "mds": {"streaming"}, "datasets": {"datasets"}}
    assert set(read) == libraries.get(export["use"], {"datasets", "polars"})
    for library, result in read.items():
        plain = [{name: parsed(row, export["use"])[name] for name in given[0]} for row in result]
        assert sorted(plain, key=lambda row: row["id"]) == given, library
