"""What is published is one whole version at any moment, in an order that is remembered, and one can go back."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

import curate
from curate.errors import ConfigError, DataError, LockedError
from curate.store import lock, parquet_io, versions

ROOT = Path("run/export")


def publish(config, keep: int, versions_kept: int = 3) -> str:
    """Publish an export of ``keep`` rows; its version."""
    export = {"use": "jsonl", "keep_versions": versions_kept}
    curate.run(config(select=[{"use": "top_k", "keep": keep}], export=export))
    version = versions.published_version(ROOT)
    assert version is not None
    return version


def rows() -> int:
    return sum(len(path.read_text().splitlines()) for path in (ROOT / "current" / "data").iterdir())


def silent(_: str) -> None: ...


# ---------------------------------------------------------------- the history


def test_every_publication_is_written_down_with_its_churn(pool, config):
    first, second = publish(config, 10), publish(config, 15)
    one, two = versions.read_history(ROOT)
    assert (one["version"], one["by"], one["rows"]) == (first, "run", 10)
    assert "churn_rate" not in one
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", one["published"])
    assert (two["version"], two["over"], two["added"], two["removed"]) == (second, first, 5, 0)
    assert two["churn_rate"] == 5 / 15


def test_a_run_that_changes_nothing_publishes_nothing(pool, config):
    publish(config, 10)
    before = (ROOT / versions.HISTORY).read_bytes()
    publish(config, 10)
    assert (ROOT / versions.HISTORY).read_bytes() == before


def test_versions_are_ordered_by_publication_not_by_the_times_of_folders(pool, config):
    first, second, third = (publish(config, keep) for keep in (10, 20, 30))
    os.utime(ROOT / first, (4e9, 4e9))
    os.utime(ROOT / second, (5e9, 5e9))
    assert versions.complete_versions(ROOT) == [first, second, third]
    fourth = publish(config, 40, versions_kept=2)
    assert versions.complete_versions(ROOT) == [second, third, fourth]
    assert not versions.ids_path(ROOT, first).exists()


def test_an_older_version_that_is_published_again_is_the_newest_and_is_not_rewritten(pool, config):
    first, second = publish(config, 10), publish(config, 20)
    written = (ROOT / first / "manifest.json").stat().st_mtime_ns
    assert publish(config, 10) == first
    assert (ROOT / first / "manifest.json").stat().st_mtime_ns == written
    assert versions.complete_versions(ROOT) == [second, first]


def test_a_version_whose_files_were_changed_is_written_again(pool, config):
    first, _ = publish(config, 10), publish(config, 20)
    (damaged,) = (ROOT / first / "data").iterdir()
    good = damaged.read_bytes()
    damaged.write_bytes(good + b"{}\n")
    assert publish(config, 10) == first
    assert damaged.read_bytes() == good
    assert not list(ROOT.glob(".*"))


def test_a_run_that_was_killed_before_it_wrote_the_publication_down_is_completed(pool, config):
    publish(config, 10)
    second = publish(config, 20)
    data = json.loads((ROOT / versions.HISTORY).read_text())
    (ROOT / versions.HISTORY).write_text(json.dumps({"publications": data["publications"][:1]}))
    assert publish(config, 20) == second
    assert [line["version"] for line in versions.read_history(ROOT)][1:] == [second]


def test_what_killed_runs_left_is_cleared_away_and_nothing_else(pool, config):
    first = publish(config, 10, versions_kept=2)
    orphan = ROOT / "0123456789ab"
    shutil.copytree(ROOT / first, orphan)  # whole, but killed before it was published
    half = ROOT / "ba9876543210" / "data" / "train-00000-of-00001.jsonl"
    half.parent.mkdir(parents=True)
    half.write_text("{}")
    (ROOT / "notes").mkdir()
    (ROOT / "notes" / "manifest.json").write_text("{}")
    second = publish(config, 20, versions_kept=1)
    assert versions.complete_versions(ROOT) == [first, second]
    assert not (ROOT / "ba9876543210").exists()
    assert (ROOT / "notes" / "manifest.json").exists()


# ---------------------------------------------------------------- what is published is not known


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-20])


def flipped(path):
    path.write_bytes(path.read_bytes().replace(b'"rows": 20', b'"rows": 21'))


def replaced(path):
    path.unlink()
    path.mkdir()


LOST = [
    *((versions.HISTORY, damage) for damage in (Path.unlink, cut_off, flipped, replaced)),
    *((versions.CURRENT, damage) for damage in (Path.unlink, replaced)),
]


@pytest.mark.parametrize(("name", "damage"), LOST, ids=[f"{name} {damage.__name__}" for name, damage in LOST])
def test_what_is_published_is_not_lost_silently_and_both_remedies_work(pool, config, command, name, damage):
    first, second = publish(config, 10), publish(config, 20)
    damage(ROOT / name)
    for keep in (20, 30):
        with pytest.raises(DataError, match=rf"run/export/{name}: .*curate rollback run VERSION .*{first}") as told:
            publish(config, keep)
        assert told.value.exit_code == 3
    for asked in (("diff", "run"), ("explain", "run", "r0000"), ("rollback", "run")):
        assert command(*asked).returncode == 3
    shutil.copytree("run", "other", symlinks=True)
    if (ROOT / name).is_dir():
        (ROOT / name).rmdir()  # what is in the way of a file is moved elsewhere, as the error says
    assert str(versions.rollback(Path("run"), second, silent)).startswith(f"run: published {second} again (20 rows)")
    assert versions.published_version(ROOT) == second
    assert publish(config, 30) == versions.published_version(ROOT)
    assert [line["version"] for line in versions.read_history(ROOT)][-2:] == [second, versions.published_version(ROOT)]
    shutil.rmtree("run")
    Path("other").rename("run")
    for each in (versions.HISTORY, versions.CURRENT):
        path = ROOT / each
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    assert publish(config, 20) == second
    assert [line["version"] for line in versions.read_history(ROOT)] == [second]


# ---------------------------------------------------------------- going back


def test_a_damaged_version_before_the_published_one_is_told(pool, config):
    first, second = publish(config, 10), publish(config, 20)
    (ROOT / first / "manifest.json").write_text("{")
    for version in (None, first):
        with pytest.raises(
            DataError, match=f"run/export/{first}: cannot roll back: {first}/manifest.json is missing or"
        ):
            versions.rollback(Path("run"), version, silent)
    assert versions.published_version(ROOT) == second


@pytest.mark.parametrize("name", ["explain", "diff", "path", "rollback"])
def test_a_file_in_the_place_of_all_versions_is_told(pool, config, command, name):
    publish(config, 10)
    shutil.rmtree(ROOT)
    ROOT.write_text("a file")
    done = command(name, "run", *(["r0000"] if name == "explain" else []))
    assert (done.returncode, done.stdout) == (3, "")
    assert "curate: run/export: expected a folder, found a file" in done.stderr


def test_rollback_publishes_the_version_before_and_again_the_one_before_that(pool, config):
    first, second, third = (publish(config, keep) for keep in (10, 20, 30))
    done = versions.rollback(Path("run"), None, silent)
    assert (done.published, done.previous, done.rows, rows()) == (second, third, 20, 20)
    assert str(done) == f"run: published {second} again (20 rows), in place of {third}"
    assert versions.rollback(Path("run"), None, silent).published == first
    assert rows() == 10
    with pytest.raises(
        ConfigError,
        match="current: no version before the published one is kept; pass one of these versions, oldest",
    ):
        versions.rollback(Path("run"), None, silent)
    assert versions.rollback(Path("run"), third, silent).published == third
    assert [line["by"] for line in versions.read_history(ROOT)] == ["run"] * 3 + ["rollback"] * 3


def test_rollback_to_an_unknown_version_lists_those_there_are(pool, config):
    first, second = publish(config, 10), publish(config, 20)
    with pytest.raises(ConfigError) as unknown:
        versions.rollback(Path("run"), "../../etc", silent)
    times = [line["published"] for line in versions.read_history(ROOT)]
    assert str(unknown.value) == (
        f"run/export/current: there is no version '../../etc'; pass one of these versions, oldest first: {first} "
        f"(10 rows, {times[0]}); "
        f"{second} (20 rows, {times[1]}, published now)"
    )
    assert versions.published_version(ROOT) == second


def test_the_next_run_publishes_again_and_says_that_it_changed_something(pool, config):
    first, second = publish(config, 10), publish(config, 20)
    assert versions.rollback(Path("run"), None, silent).published == first
    export = {"use": "jsonl", "keep_versions": 3}
    again = curate.run(config(select=[{"use": "top_k", "keep": 20}], export=export))
    assert not again.unchanged
    assert versions.published_version(ROOT) == second
    assert curate.run(config(select=[{"use": "top_k", "keep": 20}], export=export)).unchanged


def test_the_published_version_outlives_its_turn_after_a_rollback(pool, config):
    first, second, third = (publish(config, keep) for keep in (10, 20, 30))
    versions.rollback(Path("run"), first, silent)
    versions.delete_old_versions(ROOT, 1, silent)
    assert versions.complete_versions(ROOT) == [first, third]
    assert second not in versions.complete_versions(ROOT)
    assert rows() == 10


def test_a_version_is_kept_for_as_many_publications_after_it_was_replaced(pool, config):
    """The count begins when another takes its place, be it by a run or by a rollback."""
    first, second = (publish(config, keep, versions_kept=1) for keep in (10, 20))
    assert set(versions.complete_versions(ROOT)) == {first, second}
    versions.rollback(Path("run"), first, silent)
    third = publish(config, 30, versions_kept=1)  # replaces the first, which was published again
    assert set(versions.complete_versions(ROOT)) == {first, third}
    fourth = publish(config, 40, versions_kept=1)
    assert set(versions.complete_versions(ROOT)) == {third, fourth}


def test_a_rollback_to_the_published_version_changes_nothing_and_says_so(pool, config):
    first = publish(config, 10)
    before = (ROOT / versions.HISTORY).read_bytes()
    done = versions.rollback(Path("run"), first, silent)
    assert str(done) == f"run: {first} (10 rows) is already the published version"
    assert (ROOT / versions.HISTORY).read_bytes() == before


def test_a_rollback_waits_for_no_run(pool, config):
    publish(config, 10)
    publish(config, 20)
    with lock.acquire(Path("run"), silent), pytest.raises(LockedError, match="another run is using this run directory"):
        versions.rollback(Path("run"), None, silent)
    assert rows() == 20


def test_where_nothing_is_published_there_is_nothing_to_go_back_to(tmp_path):
    with pytest.raises(ConfigError, match="no export is published here; pass the run directory, as set by 'run:'"):
        versions.rollback(tmp_path / "nowhere", None, silent)
    assert not (tmp_path / "nowhere").exists()


def test_a_version_knows_its_rows(pool, config):
    version = publish(config, 10)
    inside = versions.read_ids(ROOT, version)["id"].to_list()
    (data_file,) = (ROOT / "current" / "data").iterdir()
    data = [json.loads(line)["id"] for line in data_file.read_text().splitlines()]
    assert inside == data
    assert versions.contains_row(ROOT, version, inside[3]) is True
    assert versions.contains_row(ROOT, version, "nobody") is False
    with pytest.raises(DataError, match="0123456789ab are unknown: the file is missing"):
        versions.contains_row(ROOT, "0123456789ab", "nobody")


# ---------------------------------------------------------------- a run directory that was copied


@pytest.fixture
def copied(pool, config):
    """A run directory copied with its links followed: ``current`` is a folder."""
    first, second = publish(config, 10), publish(config, 20)
    shutil.copytree("run", "original", symlinks=True)
    shutil.copytree("run", "copy", symlinks=False)
    shutil.rmtree("run")
    Path("copy").rename("run")
    assert (ROOT / "current").is_dir()
    assert not (ROOT / "current").is_symlink()
    return first, second


def test_a_copy_with_its_links_followed_is_the_version_that_it_is_a_copy_of(copied, config, command):
    assert versions.published_version(ROOT) == copied[1]
    assert [line["version"] for line in versions.read_history(ROOT)] == list(copied)
    assert f"in version {copied[1]}" in command("explain", "run", "r0000").stdout
    assert command("diff", "run").stdout.startswith(command("diff", "original").stdout.replace("original", "run")[:40])
    export = {"use": "jsonl", "keep_versions": 3}
    assert curate.run(config(select=[{"use": "top_k", "keep": 20}], export=export)).unchanged
    assert rows() == 20
    third = publish(config, 30)
    assert (ROOT / "current").readlink() == Path(third)
    assert rows() == 30
    assert versions.complete_versions(ROOT) == [*copied, third]
    assert sorted(path.name for path in ROOT.iterdir() if path.name.startswith((".", "current"))) == ["current"]


def test_a_copy_can_go_back(copied):
    assert versions.rollback(Path("run"), None, silent).published == copied[0]
    assert (ROOT / "current").readlink() == Path(copied[0])
    assert rows() == 10


@pytest.mark.parametrize("change", ["edited", "added", "no manifest"])
def test_a_folder_that_is_no_copy_of_a_version_is_not_replaced(copied, config, change):
    (data,) = (ROOT / "current" / "data").iterdir()
    if change == "edited":
        data.write_bytes(data.read_bytes() + b"{}\n")
    elif change == "added":
        (ROOT / "current" / "notes").write_text("mine")
    else:
        (ROOT / "current" / "manifest.json").unlink()
    before = {path: path.read_bytes() for path in (ROOT / "current").rglob("*") if path.is_file()}
    with pytest.raises(
        DataError, match=r"run/export/current: expected a link, found a folder .*; move it elsewhere or"
    ):
        publish(config, 30)
    assert {path: path.read_bytes() for path in (ROOT / "current").rglob("*") if path.is_file()} == before
    shutil.rmtree(ROOT / "current")
    versions.rollback(Path("run"), copied[1], silent)
    publish(config, 30)
    assert rows() == 30


# ---------------------------------------------------------------- a line that no switch followed


def test_a_line_of_the_history_counts_only_once_the_switch_followed(pool, config):
    first, second = publish(config, 10), publish(config, 20)
    line = versions.prepare_publication(ROOT, first, "rollback")
    assert line is not None
    parquet_io.write_json(
        ROOT / versions.HISTORY, {"publications": [*versions.read_history(ROOT), line]}
    )  # killed here
    assert [one["version"] for one in versions.read_history(ROOT)] == [first, second]
    assert versions.rollback(Path("run"), None, silent).published == first
    assert [one["version"] for one in versions.read_history(ROOT)] == [first, second, first]
    assert json.loads((ROOT / versions.HISTORY).read_text())["publications"] == versions.read_history(ROOT)
    again = publish(config, 20)
    assert again == second
    assert [one["by"] for one in versions.read_history(ROOT)] == ["run", "run", "rollback", "run"]


def test_a_history_that_lacks_the_published_version_is_named(pool, config):
    publish(config, 10)
    older = Path("run/export/history.json").read_bytes()
    publish(config, 20)
    Path("run/export/history.json").write_bytes(older)
    with pytest.raises(
        DataError, match=r"run/export/history\.json: the history lacks the published version \w+, .* unknown"
    ):
        versions.rollback(Path("run"), None, silent)
