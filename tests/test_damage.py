"""What is cut off, zeroed, changed or deleted in a run folder is made anew by the next run, or named by its error."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import curate
from curate import paths
from curate.config.loader import config_from_dict
from curate.errors import DataError
from curate.executors.serial import Serial
from curate.pipeline import plan, report, run
from curate.pool import model_outputs
from curate.progress import NullProgress
from curate.store import parquet_io, versions
from curate.store.explain import explain

FAKE = Path(__file__).with_name("fake.py")
"""Plugins of several kinds, for which no model and no judge is needed."""

STAGES = (
    "input",
    "annotate/fake",
    "model/fake-loss",
    "embed/column",
    "cluster",
    "proxy",
    "held_out",
    "target",
    "score/length",
    "select",
    "split",
)


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def padded(data: bytes) -> bytes:
    return data + b"garbage"


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


def flip(path: Path) -> None:
    """Change one byte of the values of every column of a Parquet file."""
    data = bytearray(path.read_bytes())
    columns = pq.read_metadata(path).row_group(0)
    for column in map(columns.column, range(columns.num_columns)):
        first = column.dictionary_page_offset or column.data_page_offset
        data[first + column.total_compressed_size - 1] ^= 255
    path.write_bytes(data)


@pytest.fixture
def settings(pool, config, monkeypatch):
    """A configuration over vectors of which some cannot be used."""
    monkeypatch.setattr(model_outputs, "PART_ROWS", 10)
    for path in sorted(pool.iterdir()):
        vectors = np.eye(6, dtype=np.float32)[np.arange(len(path.read_text().splitlines())) % 6]
        vectors[[3, 17]] = 0
        np.save(path.with_suffix(".npy"), vectors)

    def made(keep=20):
        data = config(
            embed={"use": "column"},
            proxy={"use": "logistic", "epochs": 2},
            target={"files": "pool/*.jsonl", "label": "topic"},
            plugins=[str(FAKE)],
            annotate=[{"use": "fake"}],
            model={"use": "fake", "model": "m"},
            score=[{"use": "length"}, {"use": "prototypicality"}, {"use": "consistency"}, {"use": "loss"}],
            select=[{"use": "top_k", "keep": keep, "quality": "length"}],
            split={"shares": {"train": 0.6, "test": 0.4}},
            guard={"max_quarantine_rate": 0.2},
        )
        data["input"]["vectors"] = ".npy"
        return data

    return made


def state():
    """The ledger, the lists of rows set aside, and the published export."""
    run = Path("run")
    files = [
        *run.glob("select/part-*"),
        *run.glob("split/*.parquet"),
        *run.rglob("quarantine/part-*"),
        *run.glob("export/current/**/*"),
    ]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files) if path.is_file()}


def why(settings, file):
    """What a plan says of the stage that the file belongs to."""
    return next(step.reason for step in plan(config_from_dict(settings), Serial()) if step.stage == file.split("/")[0])


@pytest.mark.parametrize("damage", [truncated, zeroed])
def test_a_half_written_shard_of_a_stage_that_was_done_is_seen_and_made_again(settings, damage):
    first = curate.run(settings())
    before = state()
    for stage in STAGES:
        path, beside = Path("run") / stage / "part-00001.parquet", Path("run") / stage / "part-00000.parquet"
        good, untouched = path.read_bytes(), beside.stat().st_mtime_ns
        path.write_bytes(damage(good))
        assert why(settings(), stage) == "part-00001.parquet is corrupt"
        again = curate.run(settings())
        assert path.read_bytes() == good
        assert [record.count for record in again.records] == [record.count for record in first.records]
        if stage not in ("input", "annotate/fake", "held_out", "target", "select", "split"):  # these are made at once
            assert beside.stat().st_mtime_ns == untouched
    assert state() == before


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("cluster/centroids.parquet", "centroids.parquet is corrupt"),
        ("embed/column/quarantine/part-00000.parquet", "quarantine/part-00000.parquet is corrupt"),
        ("export/current/data/train-*.parquet", r"\w+/data/train-00000-of-00001.parquet is corrupt"),
        ("export/current/manifest.json", r"\w+/manifest.json is missing or corrupt"),
        ("export/*.ids.parquet", r"\w+\.ids\.parquet is corrupt"),
        *(
            (f"{stage}/manifest.json", "manifest.json is corrupt, or from another release")
            for stage in (*STAGES, "export")
        ),
    ],
)
def test_a_half_written_file_next_to_the_shards_is_seen_and_made_again(settings, pattern, told):
    curate.run(settings())
    before = state()
    (path,) = Path("run").glob(pattern)
    path.write_bytes(truncated(path.read_bytes()))
    assert re.match(told, why(settings(), pattern))
    curate.run(settings())
    assert state() == before
    assert why(settings(), pattern) == ""


FITS = ["embed/lsa/fitted.npz", "embed/lsa/fit.json", "cluster/centroids.parquet", "cluster/fit.json"]


@pytest.mark.parametrize("file", FITS)
@pytest.mark.parametrize("damage", [truncated, zeroed, padded, None])
def test_a_fit_that_is_lost_is_fitted_again_only_from_the_same_pool_or_when_its_folder_is_deleted(
    settings, pool, file, damage
):
    fitted = settings() | {"embed": {"use": "lsa", "dimensions": 8}}
    curate.run(fitted)
    path, before = Path("run") / file, state()

    def break_it():
        path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))

    break_it()
    if path.name == "fit.json":
        with pytest.raises(DataError, match=rf"{path}: .*; restore the file from a backup, or delete {path.parent}: "):
            curate.run(fitted)
        shutil.rmtree(path.parent)
    curate.run(fitted)
    assert state() == before
    more = (pool / "b.jsonl").read_text().replace("number 41", "number forty-one")
    (pool / "b.jsonl").write_text(more)
    break_it()
    with pytest.raises(DataError, match=rf"{path.parent}.*; restore the file from a backup, or delete {path.parent}: "):
        curate.run(fitted)
    shutil.rmtree(path.parent)
    curate.run(fitted)
    assert state() != before


@pytest.mark.parametrize("stage", STAGES)
def test_bytes_that_changed_in_a_shard_are_reported_when_they_are_read_and_deleting_it_fixes_the_run(
    settings, stage, monkeypatch
):
    monkeypatch.setattr(parquet_io, "_ENDS", 16)  # as if the shards were large: their middle is not sealed
    curate.run(settings())
    path = Path("run") / stage / "part-00001.parquet"
    good = path.read_bytes()
    flip(path)
    changed = settings() | {"export": {"use": "parquet", "add": ["cluster", "scores"]}}  # reads the ledger and scores
    if stage not in ("select", "split"):
        changed["select"] = [{"use": "k_center", "keep": 20}]  # reads vectors; writes the ledger
    if stage == "target":
        changed["score"] = [{"use": "tracin"}]
    if stage.startswith("model"):
        changed["score"] = [{"use": "perplexity_lm"}]
    if stage.startswith("annotate"):
        changed["select"] = [{"use": "uniform", "keep": 5, "within": "fake"}]
    if stage in ("proxy", "held_out"):
        changed["score"] = [{"use": "aum"}, {"use": "consistency", "name": "other"}]
    with pytest.raises(
        DataError,
        match=rf"{path}: cannot read the shard: .*CRC.*; delete the file and run again; the next run rewrites it",
    ) as told:
        curate.run(changed)
    assert told.value.exit_code == 3
    path.unlink()
    curate.run(settings())
    assert path.read_bytes() == good


def test_a_version_that_is_damaged_is_not_gone_back_to(settings):
    for keep in (10, 20):
        curate.run(settings(keep))
    root = Path("run/export")
    now, (old,) = (
        versions.published_version(root),
        [name for name in versions.complete_versions(root) if name != versions.published_version(root)],
    )
    path = min((root / old / "data").iterdir())
    flip(path)
    with pytest.raises(DataError, match=rf"cannot roll back: {old}/data/\S+ is corrupt"):
        versions.rollback(Path("run"), None, print)
    assert versions.published_version(root) == now


# ---------------------------------------------------------------- what a footer or a manifest says is not believed


def test_rows_that_only_a_footer_loses_are_noticed(settings):
    """A footer has no checksum of its own: one that leads to fewer rows would be believed."""
    curate.run(settings())
    before = state()
    for stage in (*STAGES, "cluster/centroids.parquet", "embed/column/quarantine"):
        path = Path("run") / stage
        path = path if path.suffix else path / "part-00000.parquet"
        good = path.read_bytes()
        table = pq.read_table(path)
        pq.write_table(table.slice(1), path)  # whole, with the fingerprint of the other
        pq.read_table(path)
        assert why(settings(), stage) == f"{path.relative_to(Path('run') / folder_of(stage))} is corrupt"
        curate.run(settings())
        assert path.read_bytes() == good
    assert state() == before


def folder_of(stage):
    return "/".join(part for part in stage.split("/") if part not in ("quarantine", "centroids.parquet"))


def test_a_digit_that_changed_in_a_manifest_reaches_no_card(settings):
    curate.run(settings())
    before = state()
    for manifest in sorted(Path("run").rglob("manifest.json")):
        good = manifest.read_bytes()
        for place in [match.start() for match in re.finditer(rb"[0-9]", good)][::97]:
            data = bytearray(good)
            data[place] ^= 1
            manifest.write_bytes(data)
            curate.run(settings())
        assert state() == before


def test_a_card_that_changed_is_written_again(settings):
    curate.run(settings())
    before = state()
    card = next(Path("run/export").glob("*/README.md"))
    card.write_text(card.read_text()[:-30])
    assert why(settings(), "export").endswith("README.md is corrupt")
    curate.run(settings())
    kept = {name: value for name, value in state().items() if ".edited-" not in name}
    assert kept == before


def test_a_run_that_verifies_reads_what_is_published(settings):
    curate.run(settings())
    before = state()
    (data,) = Path("run/export", versions.published_version(Path("run/export"))).glob("data/train-*")
    flip(data)
    assert curate.run(settings()).unchanged
    with pytest.raises(AssertionError):
        assert state() == before
    curate.run(settings(), verify=True)
    assert state() == before


@pytest.mark.parametrize("damage", ["gone", "half", "other kinds"])
def test_nothing_is_quoted_where_it_is_not_known_what_is_masked(settings, pool, command, damage):
    curate.run(settings() | {"export": {"use": "parquet", "mask_pii": ["email"]}})
    path = Path("run/mask.json")
    if damage == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text()[:-9] if damage == "half" else path.read_text().replace("email", "phone"))
    told = command("explain", "run", "r0000")
    assert (told.returncode, told.stdout) == (3, "")
    assert "run/mask.json: the list of masked personal data is" in told.stderr
    assert "run again" in told.stderr
    curate.run(settings() | {"export": {"use": "parquet", "mask_pii": ["email"]}})
    assert command("explain", "run", "r0000").returncode == 0


UNREAD = ("annotate/fake", "model/fake-loss", "proxy", "held_out", "target")
"""Stages whose shards no command that only reads needs."""


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in UNREAD])
def test_commands_that_only_read_report_what_is_damaged(settings, command, stage):
    curate.run(settings())
    for path in (Path("run") / stage / "manifest.json", Path("run") / stage / "part-00001.parquet"):
        good = path.read_bytes()
        path.write_bytes(truncated(good))
        told = command("explain", "run", "r0030")
        assert told.returncode == 3
        assert str(path) in told.stderr
        assert "run again" in told.stderr
        path.write_bytes(good)
    assert command("explain", "run", "r0030").returncode == 0


@pytest.mark.parametrize("file", ["export/history.json", "select/manifest.json", "cluster/fit.json", "mask.json"])
def test_a_file_that_may_not_be_read_is_not_called_corrupt(settings, monkeypatch, file):
    curate.run(settings())
    before, real = state(), paths.read_bytes

    def read(path):
        if path.as_posix() == f"run/{file}":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(paths, "read_bytes", read)
    reads = partial(explain, Path("run"), "r0030") if file == "mask.json" else partial(curate.run, settings(10))
    with pytest.raises(DataError, match=rf"run/{file}: cannot read the file: Permission denied$"):
        reads()
    assert state() == before


class Listening(NullProgress):
    """Progress that keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_a_fitted_state_that_was_written_for_another_step_is_told(pool, config):
    settings = config(embed={"use": "lsa", "dimensions": 4})
    curate.run(settings)
    shutil.copyfile("run/embed/lsa/fit.json", "run/cluster/fit.json")
    listening = Listening()
    run(config_from_dict(settings), Serial(), listening)
    assert listening.warnings == [
        "run/cluster/fit.json is corrupt: the fitted state is lost, and is fitted again to the current pool"
    ]


def test_an_evaluation_whose_folder_is_empty_is_told(pool, config):
    curate.run(config())
    Path("run/evaluate").mkdir()
    listening = Listening()
    report(config_from_dict(config()), listening)
    assert any("run/evaluate/evaluate.json is missing" in warning for warning in listening.warnings)
