"""Whatever is read, written or deleted in a run directory lies in it, also if its folders change meanwhile."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from curate import no_follow, paths
from curate.errors import DataError
from curate.store import npz, parquet_io, versions

TABLE = pa.table({"id": ["a", "b"]})


def state(folder):
    """Names, kinds, bytes and times of everything in a folder."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("run")
    parquet_io.write(TABLE, folder / "stage" / "deep" / "part-00000.parquet", "f")
    parquet_io.write_text(folder / "stage" / "deep" / "a.json", "{}")
    with no_follow.protect(folder):
        yield folder


@pytest.fixture
def outside(tmp_path, run):
    """A folder that has everything that the one in the run has."""
    folder = tmp_path / "outside"
    parquet_io.write(TABLE, folder / "part-00000.parquet", "f")
    (folder / "a.json").write_text("{}")
    (folder / ".1.partial.x").write_text("mine")
    (folder / "deep").mkdir()
    before = state(folder)
    yield folder
    assert state(folder) == before


def used(folder):
    """Everything that is done with a folder of a run, each with a name."""
    file, table = folder / "a.json", folder / "part-00000.parquet"
    return {
        "read": lambda: paths.read_bytes(file),
        "read_json": lambda: parquet_io.read_json(file),
        "opened": lambda: paths.open_binary(file).__enter__(),
        "sha256": lambda: paths.hash_file(file),
        "parquet": lambda: parquet_io.read(table),
        "npz": lambda: npz.load(folder / "a.npz", "f"),
        "write_text": lambda: parquet_io.write_text(file, "x"),
        "write": lambda: parquet_io.write(TABLE, table, "g"),
        "named": lambda: parquet_io.write_atomically(table, keep_name=True).__enter__(),
        "staged": lambda: parquet_io.stage_text(file, "x").__enter__(),
        "unlink": lambda: paths.unlink(file),
        "move away": lambda: paths.move(file, folder.parent / "b.json"),
        "move to": lambda: paths.move(folder.parent.parent / "c.json", file),
        "copy": lambda: paths.copy(file, folder.parent / "b.json"),
        "copy to": lambda: paths.copy(folder.parent.parent / "c.json", file),
        "names": lambda: paths.list_names(folder),
        "sizes": lambda: paths.file_sizes(folder),
        "sync": lambda: parquet_io.sync_folder(folder),
        "published": lambda: versions._point(folder, "0123456789ab"),
    }


NAMES = list(used(Path("a/b/c")))


@pytest.mark.parametrize("where", ["stage", "stage/deep"])
@pytest.mark.parametrize("use", NAMES)
def test_a_folder_that_became_a_link_is_refused(run, outside, use, where):
    (run / "c.json").write_text("{}")
    (run / where).rename("aside")
    (run / where).symlink_to(outside if where == "stage/deep" else outside.parent / "aside")
    (outside.parent / "aside").mkdir(exist_ok=True)
    with pytest.raises(
        DataError,
        match="this is a symbolic link, which a run directory must not contain; replace it with what it points to",
    ):
        used(run / "stage" / "deep")[use]()


@pytest.mark.parametrize("use", ["read", "read_json", "opened", "sha256", "parquet", "copy"])
def test_a_file_that_became_a_link_is_not_read(run, outside, use):
    for name in ("a.json", "part-00000.parquet"):
        (run / "stage/deep" / name).unlink()
        (run / "stage/deep" / name).symlink_to(outside / name)
    with pytest.raises(DataError, match="this is a symbolic link"):
        used(run / "stage" / "deep")[use]()


@pytest.mark.parametrize("use", ["write_text", "write", "unlink", "staged"])
def test_a_link_in_the_place_of_a_file_is_replaced_or_deleted_itself(run, outside, use):
    folder = run / "stage" / "deep"
    for name in ("a.json", "part-00000.parquet", f".{os.getpid()}.partial.a.json"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(outside / "a.json")
    used(folder)[use]()


def test_deleting_a_folder_deletes_nothing_behind_a_link(run, outside):
    (run / "stage/deep/link").symlink_to(outside)
    paths.remove_directory(run / "stage")
    assert not (run / "stage").exists()
    (run / "stage").symlink_to(outside)
    with pytest.raises(DataError, match="run/stage: this is a symbolic link"):
        paths.remove_directory(run / "stage" / "deep")
    paths.remove_directory(run / "stage")
    (run / "other").symlink_to(outside)
    (run / ".1.partial.folder").mkdir()
    (run / ".1.partial.folder" / "x").write_text("half")
    (run / ".1.partial.link").symlink_to(outside)
    parquet_io.remove_partial_files(run)
    assert not list(run.glob(".1.partial.*"))


@pytest.mark.parametrize("named", [False, True])
def test_a_swap_while_a_file_is_written_leads_nowhere(run, outside, named):
    """The folder is the one that was opened, wherever it is by then; so is the file."""
    target = run / "stage" / "deep" / "new.json"
    with parquet_io.write_atomically(target, keep_name=named) as partial:
        Path("run/stage").rename("moved")
        Path("run/stage").mkdir()
        Path("run/stage/deep").symlink_to(outside)
        (Path("moved/deep") / "new.json").symlink_to(outside / "a.json")
        partial.write_text("whole")
    assert Path("moved/deep/new.json").read_text() == "whole"
    assert not Path("moved/deep/new.json").is_symlink()
    assert not list(Path("moved/deep").glob(".*"))


def test_a_half_written_file_that_is_replaced_by_a_link_is_not_written_through(run, outside):
    target = run / "stage" / "deep" / "new.json"
    with parquet_io.write_atomically(target) as partial:
        (half,) = target.parent.glob(".*.partial.new.json")
        half.unlink()
        half.symlink_to(outside / "a.json")
        partial.write_text("whole")


def test_a_program_that_an_exporter_starts_can_write_the_file(run):
    with parquet_io.write_atomically(run / "x.txt", keep_name=True) as partial:
        assert partial.name == "x.txt"
        assert partial.parent.stat().st_mode & 0o077 == 0
        subprocess.run(["cp", "run/stage/deep/a.json", str(partial)], check=True)
    assert (run / "x.txt").read_text() == "{}"


def test_what_is_no_file_is_told_and_not_waited_for(run):
    os.mkfifo(run / "stage" / "pipe")
    with pytest.raises(DataError, match="run/stage/pipe: this is neither a file nor a directory"):
        paths.read_bytes(run / "stage" / "pipe")
    with pytest.raises(IsADirectoryError, match="run/stage"):
        paths.read_bytes(run / "stage")
    with pytest.raises(FileNotFoundError, match="'run/stage/missing'"):
        paths.read_bytes(run / "stage" / "missing")
    with pytest.raises(FileNotFoundError, match="'run/none'"):
        paths.read_bytes(run / "none" / "missing")
    assert paths.list_names(run / "none") == set()


def test_the_run_directory_and_what_is_above_it_may_be_links(run):
    Path("shelf").mkdir()
    Path("shelf/link").symlink_to("../run")
    with no_follow.protect(Path("shelf/link")):
        assert parquet_io.read(Path("shelf/link/stage/deep/part-00000.parquet")).equals(TABLE)
        parquet_io.write_text(Path("shelf/link/new"), "x")
    assert (run / "new").read_text() == "x"


def test_outside_of_a_run_links_are_followed(run, outside, tmp_path):
    (tmp_path / "link").symlink_to(outside)
    assert paths.read_bytes(tmp_path / "link" / "a.json") == b"{}"
    assert paths.list_names(tmp_path / "link") >= {"a.json", "part-00000.parquet"}


def test_a_worker_knows_the_run_directories(run, outside):
    (run / "link").symlink_to(outside)
    folders = no_follow.protected_directories()
    assert folders == (run,)
    with pytest.raises(DataError, match="this is a symbolic link"):
        no_follow.call_protected(folders, paths.read_bytes, run / "link" / "a.json")


def test_without_names_for_open_files_the_way_is_still_checked(run, outside, monkeypatch):
    """As on macOS."""
    monkeypatch.setattr(no_follow, "_SELF", Path("nowhere"))
    parquet_io.write_text(run / "stage" / "b.json", "x")
    with parquet_io.write_atomically(run / "stage" / "c.txt", keep_name=True) as partial:
        partial.write_text("y")
    assert paths.read_bytes(run / "stage" / "b.json") + paths.read_bytes(run / "stage" / "c.txt") == b"xy"
    (run / "link").symlink_to(outside)
    for use in used(run / "link").values():
        with pytest.raises(DataError, match="this is a symbolic link"):
            use()


def test_no_descriptor_is_left_open(run, outside):
    before = len(list(Path("/proc/self/fd").iterdir()))
    (run / "link").symlink_to(outside)
    for folder in (run / "stage" / "deep", run / "link", run / "none"):
        for name, use in used(folder).items():
            if name not in ("opened", "named", "staged", "published"):
                with suppress(DataError, OSError):
                    use()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
