"""The stamp of a file changes whenever its content does, and the identity of what a path holds is its content."""

from __future__ import annotations

import os
import re
import shutil
import time

import pytest

from curate import paths
from curate.errors import DataError

BLOCK = 1 << 16


def edited(path, at):
    """Change one byte in place and set back the time of the last write."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK])
def test_an_edit_with_its_old_time_restored_changes_the_stamp(tmp_path, size):
    path = tmp_path / "a"
    path.write_bytes(bytes(size))
    for at in {0, size // 2, size - 1}:
        before = paths.read_stamp(path)
        paths.wait_for_clock_tick([before])
        edited(path, at)
        assert paths.read_stamp(path)["modified"] == before["modified"]
        assert paths.read_stamp(path) != before


def test_another_file_under_the_name_has_another_stamp(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    shutil.copy2(tmp_path / "a", tmp_path / "b")
    before = paths.read_stamp(tmp_path / "a")
    (tmp_path / "b").replace(tmp_path / "a")
    after = paths.read_stamp(tmp_path / "a")
    assert after["inode"] != before["inode"]
    assert after["ends"] == before["ends"]


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1])
def test_both_ends_of_a_file_are_hashed_to_the_last_byte(tmp_path, size):
    """Where a file system keeps no time at all, the ends tell."""
    found = set()
    for at in (None, 0, min(size, BLOCK) - 1, max(0, size - BLOCK), size - 1):
        data = bytearray(size)
        if at is not None:
            data[at] = 1
        (tmp_path / "a").write_bytes(data)
        found.add((bytes(data), paths.read_stamp(tmp_path / "a")["ends"]))
    assert len({ends for _, ends in found}) == len({data for data, _ in found}) == len(found)


def test_after_settling_a_later_edit_has_another_time(tmp_path):
    path = tmp_path / "a"
    for number in range(20):
        path.write_bytes(bytes([number]))
        before = paths.read_stamp(path)
        paths.wait_for_clock_tick([before])
        path.write_bytes(bytes([number + 1]))
        assert paths.read_stamp(path)["changed"] > before["changed"]


@pytest.mark.parametrize(("changed", "waits"), [(-1, True), (-1_000_000_000, False), (3_600_000_000_000, False)])
def test_settling_waits_for_a_tick_and_never_for_a_clock_that_is_ahead(monkeypatch, changed, waits):
    slept = []
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000_001)
    monkeypatch.setattr(time, "sleep", slept.append)
    paths.wait_for_clock_tick(
        [{"changed": 5_000_000_001 + changed + 1 * (changed != -1)}, {"size": 3, "tag": "an object's"}]
    )
    assert bool(slept) == waits
    assert all(0 < seconds <= 2 for seconds in slept)


def test_the_content_of_a_folder_is_the_names_and_bytes_of_its_files(tmp_path):
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_bytes(b"one")
    (folder / "b").write_bytes(b"two")
    first = paths.hash_content(folder)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / ".cache").mkdir()
    (tmp_path / "copy" / ".cache" / "lock").write_text("x")
    assert paths.hash_content(tmp_path / "copy") == first
    changed = {first}
    for change in (
        lambda: edited(folder / "deep" / "a", 1),
        lambda: (folder / "b").rename(folder / "c"),
        lambda: (folder / "c").rename(folder / "deep" / "c"),
        lambda: (folder / "empty").write_bytes(b""),
    ):
        change()
        changed.add(paths.hash_content(folder))
    assert len(changed) == 5
    with pytest.raises(DataError, match="none: cannot read the file: No such file"):
        paths.hash_content(tmp_path / "none")


def test_the_content_of_an_object_and_of_a_folder_of_objects(tmp_path):
    pytest.importorskip("upath")
    (tmp_path / "a").write_bytes(b"one")
    remote = paths.parse_path("memory://contents")
    (remote / "model").mkdir(parents=True)
    (remote / "model" / "a").write_bytes(b"one")
    assert (
        paths.hash_content(remote / "model" / "a")
        == paths.hash_content(tmp_path / "a")
        == paths.hash_file(tmp_path / "a")
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "a").rename(tmp_path / "model" / "a")
    assert paths.hash_content(remote / "model") == paths.hash_content(tmp_path / "model")


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("s3://bucket/x", r" \(AWS_ACCESS_KEY_ID, .*\)$"),
        ("HF://datasets/x", r" \(HF_TOKEN\)$"),
        ("sftp://host/x", r"in the environment$"),
    ],
)
def test_a_store_that_cannot_be_reached_names_its_own_variables(url, variables):
    error = paths.unreachable_error(url, OSError("no route"))
    assert re.search(variables, error.hint)
    assert error.message == "cannot reach the store: no route"
