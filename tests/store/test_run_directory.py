"""Nothing that may be somebody's own is deleted or overwritten unless ``overwrite`` says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import curate
from curate.errors import ConfigError
from curate.store import lock, run_directory, versions


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def data(pool):
    """A folder of the user's that has names in it which a run would use."""
    for name in ("input/mine.jsonl", "input/part-00000.parquet", "input/incoming/x", "input/.y.partial", "config.yaml"):
        path = Path("data") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"my own {name}")
    return Path("data")


def test_a_folder_that_holds_other_files_is_refused_before_anything_in_it_is_touched(data, config):
    before = contents(data)
    message = (
        r"^data: the folder is not empty and not a run directory: it contains config\.yaml, input; set 'run' to another"
    )
    for _ in range(2):
        with pytest.raises(ConfigError, match=message):
            curate.run(config(run="data"))
    assert contents(data) == before


def test_overwrite_replaces_what_is_in_the_way_and_nothing_else(data, config):
    curate.run(config(run="data"), overwrite=True)
    for name in ("input/mine.jsonl", "input/incoming/x", "input/.y.partial"):
        assert (data / name).read_text() == f"my own {name}"
    assert curate.run(config(run="data")).unchanged  # it is a run's now


def test_many_names_are_counted(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(ConfigError, match=r"it contains 0\.txt, 1\.txt, 2\.txt, 3\.txt, 4\.txt and 3 more"):
        run_directory.claim(tmp_path, overwrite=False)


def test_an_empty_folder_and_one_of_a_run_killed_at_its_first_moment_are_taken(pool, config):
    Path("run").mkdir()
    run_directory.claim(Path("run"), overwrite=False)
    (Path("run") / lock.NAME).touch()
    curate.run(config())


def test_a_run_of_an_older_release_is_known_by_its_input(pool, config):
    curate.run(config())
    (Path("run") / lock.NAME).rename("run/.lock")
    assert curate.run(config()).unchanged


def test_report_and_rollback_leave_a_folder_that_is_no_run_as_it_is(data, config):
    from curate import pipeline
    from curate.config.loader import config_from_dict

    link = data / "export" / "current"
    (data / "export" / "0123456789ab").mkdir(parents=True)
    link.symlink_to("0123456789ab")
    before = contents(data)
    with pytest.raises(ConfigError, match="there is no finished run: the directory contains no run"):
        pipeline.report(config_from_dict(config(run="data")))
    with pytest.raises(ConfigError, match="no export is published here"):
        versions.rollback(data, None, lambda _: None)
    assert contents(data) == before


@pytest.mark.parametrize("files", ["run/input/*.parquet", "**/*.jsonl", "link/*.jsonl"])
def test_input_that_lies_in_the_run_folder_is_refused(pool, config, files):
    curate.run(config(export={"use": "jsonl"}))
    Path("link").symlink_to("run/export/current/data")
    before = contents(Path("run/input"))
    with pytest.raises(
        ConfigError, match=r"input\.files: the file is inside the run directory run, .*; in (run|link)/"
    ):
        curate.run(config(input=config()["input"] | {"files": files}))
    assert contents(Path("run/input")) == before


# ---------------------------------------------------------------- versions of the export


def published(config, keep: int) -> Path:
    export = {"use": "jsonl", "keep_versions": 1}
    folder = curate.run(config(select=[{"use": "top_k", "keep": keep}], export=export)).version
    assert folder is not None
    return folder


@pytest.mark.parametrize("edit", ["data", "README.md", "notes.txt"])
def test_an_old_version_that_was_edited_is_moved_and_not_deleted(pool, config, edit):
    first, whole = published(config, 10), published(config, 20)
    path = next((first / "data").iterdir()) if edit == "data" else first / edit
    path.write_text("my own work")
    published(config, 30)
    published(config, 40)
    aside = first.with_name(f"{first.name}.edited-1")
    assert (aside / path.relative_to(first)).read_text() == "my own work"
    assert not first.exists()
    assert not whole.exists()
    assert [path.name for path in Path("run/export").glob("*.edited-*")] == [aside.name]


def test_a_version_that_was_edited_and_is_needed_again_is_set_aside_each_time(pool, config):
    first = published(config, 10)
    good = contents(first)
    for number in (1, 2):
        published(config, 20 + number)
        (next((first / "data").iterdir())).write_text(f"edit {number}")
        published(config, 10)
        assert contents(first) == good
        aside = first.with_name(f"{first.name}.edited-{number}")
        assert next((aside / "data").iterdir()).read_text() == f"edit {number}"


def test_ids_beside_the_versions_are_deleted_only_if_they_are_a_version_s(pool, config):
    published(config, 10)
    mine = Path("run/export/mine.ids.parquet")
    shutil.copy("run/input/manifest.json", mine)
    published(config, 20)
    assert mine.exists()
