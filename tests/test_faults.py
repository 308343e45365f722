"""What goes wrong around a run is told with its place and its remedy, and has its own exit code."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import DataError, PluginError, RetryableError
from curate.executors.serial import Serial
from curate.pipeline import plan
from curate.settings.config import from_data
from curate.stages import ingest
from curate.store import versions

ROOT = Path("run/export")


def why(settings, stage):
    """What a plan says of a stage."""
    return next(step.why for step in plan(from_data(settings), Serial()) if step.stage == stage)


def plugin(kind, *lines):
    """Write a plugin file ``mine.py`` of that kind with the lines of its class."""
    column = "ScoreColumn(higher_is_better=True, unit='', range=(0, 9))"
    options = {"scorer": f", reads={{'text'}}, columns=({column},)", "clusterer": "", "embedder": "", "selector": ""}
    text = [
        "import os",
        "import signal",
        "from dataclasses import dataclass",
        "from pathlib import Path",
        "import numpy as np",
        "from curate.plugins.kinds import ScoreColumn, clusterer, embedder, scorer, selector",
        "from curate.plugins.pool import Clustering, Selection",
        f"@{kind}(version=1{options[kind]})",
        "@dataclass(frozen=True, slots=True, kw_only=True)",
        "class Mine:",
        '    """A plugin in a file of its own."""',
        *(f"    {line}" for line in lines),
    ]
    Path("mine.py").write_text("\n".join(text) + "\n")
    return "./mine.py"


# ---------------------------------------------------------------- input files


@pytest.mark.parametrize("change", ["gone", "grown", "cut off"])
def test_a_file_that_changes_while_it_is_read_is_told_and_nothing_is_published(pool, config, monkeypatch, change):
    curate.run(config())
    before, file = versions.published(ROOT), pool / "b.jsonl"
    file.write_text(file.read_text().replace("number", "nummer"))
    real, whole = ingest.read, file.read_text()

    def meanwhile(task):
        if any(piece.path == "pool/b.jsonl" for piece in task.pieces) and file.exists() and file.read_text() == whole:
            if change == "gone":
                file.unlink()
            elif change == "grown":
                file.write_text(whole + whole.replace('"r', '"s'))
            else:
                file.write_text(whole[:-30])
        return real(task)

    told = "cannot read the file: .*No such file" if change == "gone" else "the file changed while it was read"
    with monkeypatch.context() as patch, pytest.raises(DataError, match=rf"pool/b\.jsonl: {told}") as error:
        patch.setattr(ingest, "read", meanwhile)
        curate.run(config())
    assert error.value.exit_code == 3
    assert versions.published(ROOT) == before
    file.write_text(whole)
    assert curate.run(config()).rows_in == 60
    assert versions.published(ROOT) != before


@pytest.mark.parametrize("kind", ["parquet", "jsonl.gz", "csv"])
def test_a_file_that_is_half_written_is_told(pool, config, kind):
    rows = [json.loads(line) for line in (pool / "b.jsonl").read_text().splitlines()]
    half = pool / f"c.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), half)
    elif kind == "csv":
        half.write_text('id,text,source\nc1,"some words",left\nc2,"the quote is never clo')
    else:
        half.write_bytes(gzip.compress((pool / "b.jsonl").read_bytes()))
    if kind != "csv":
        half.write_bytes(half.read_bytes()[:-20])
    settings = config()
    settings["input"]["files"] = "pool/*"
    with pytest.raises(DataError, match=rf"pool/c\.{kind}\S*: (not a whole Parquet|cannot read)") as error:
        curate.run(settings)
    assert error.value.exit_code == 3
    half.unlink()
    assert curate.run(settings).rows_in == 60


def test_a_line_that_is_half_written_is_set_aside_with_its_place(pool, config):
    path = pool / "b.jsonl"
    path.write_text(path.read_text()[:-40])
    summary = curate.run(config(guard={"max_quarantine_rate": 0.1}))
    assert summary.warnings[0].startswith("1 of 60 rows (1.67%) were set aside; see run/input/quarantine")
    table = pq.read_table("run/input/quarantine").to_pylist()
    assert [(row["file"], row["line"]) for row in table] == [("pool/b.jsonl", 20)]


def test_a_file_that_may_not_be_read_is_told(pool, config, monkeypatch):
    def refused(path, rows_per_shard):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ingest.formats, "scan", refused)
    with pytest.raises(DataError, match=r"pool/a\.jsonl: cannot read the file: Permission denied"):
        curate.run(config())


def test_a_file_whose_clock_went_back_is_read_again(pool, config):
    curate.run(config())
    path = pool / "b.jsonl"
    path.write_text(path.read_text().replace("number 4", "number 5"))  # as many bytes
    os.utime(path, (1, 1))
    assert why(config(), "input") == "files.pool/b.jsonl changed"


# ---------------------------------------------------------------- workers and plugins


def test_a_worker_that_always_dies_ends_the_run_with_a_hint_and_the_next_goes_on(pool, config):
    file = plugin(
        "scorer",
        "def score(self, batch, rng):",
        "    if not Path('memory').exists():",
        "        os.kill(os.getpid(), signal.SIGKILL)",  # as the kernel does when memory runs out
        "    return np.array([len(text) for text in batch.texts], np.float32)",
    )
    settings = config(plugins=[file], score=[{"use": "mine"}])
    with pytest.raises(RetryableError, match=r"a worker process died 3 times; .* use fewer --workers") as error:
        curate.run(settings, executor="processes", workers=2)
    assert error.value.exit_code == 3
    assert not ROOT.exists()
    assert not list(Path("run").rglob(".*.partial.*"))
    Path("memory").touch()
    curate.run(settings, executor="processes", workers=2)
    curate.run(settings | {"run": "alone"})
    assert versions.published(ROOT) == versions.published(Path("alone/export"))


@pytest.mark.parametrize(
    ("kind", "lines", "told"),
    [
        ("embedder", ["def encode(self, texts):", "    return np.ones((1, 4), np.float32)"], r"gave float32 \(1, 4\)"),
        ("embedder", ["def encode(self, texts):", "    return np.ones((len(texts), 4))"], "gave float64"),
        ("scorer", ["def score(self, batch, rng):", "    return np.ones(3, np.float32)"], r"gave float32 \(3,\)"),
        ("scorer", ["def score(self, batch, rng):", "    return [1.0] * len(batch)"], "gave list|failed"),
    ],
)
def test_a_plugin_that_returns_what_it_should_not_is_told(pool, config, kind, lines, told):
    section = {"embedder": {"embed": {"use": "mine"}}, "scorer": {"score": [{"use": "mine"}]}}[kind]
    with pytest.raises(PluginError, match=rf"{kind} 'mine' .*{told}") as error:
        curate.run(config(plugins=[plugin(kind, *lines)], **section))
    assert error.value.exit_code == 4
    assert not ROOT.exists()


def test_a_model_that_was_replaced_under_its_name_and_a_plugin_that_was_edited_are_noticed(pool, config):
    lines = [
        "def revision(self):",
        "    return Path('model').read_text()",
        "def encode(self, texts):",
        "    seed = int(self.revision())",
        "    return np.array([[len(text), text.count('a') + seed] for text in texts], np.float32)",
    ]
    Path("model").write_text("1")
    settings = config(plugins=[plugin("embedder", *lines)], embed={"use": "mine"})
    curate.run(settings)
    assert curate.run(settings).unchanged
    Path("model").write_text("2")
    assert why(settings, "embed") == 'revision: "1" is now "2"'
    assert why(settings, "cluster") == "a stage before it will run"
    before = versions.published(ROOT)
    curate.run(settings)
    assert versions.published(ROOT) != before
    plugin("embedder", *lines, "# edited")
    assert "sha256" in why(config(plugins=["./mine.py"], embed={"use": "mine"}), "embed")
