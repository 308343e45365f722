"""What goes wrong around a run is told with its place and its remedy, and has its own exit code."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
import curate.stages.report.prometheus
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, CurateError, DataError, PluginError, RetryableError, missing_extra_error
from curate.executors.serial import Serial
from curate.pipeline import plan
from curate.stages.ingest import stage as ingest_stage
from curate.store import versions

ROOT = Path("run/export")


def why(settings, stage):
    """What a plan says of a stage."""
    return next(step.reason for step in plan(config_from_dict(settings), Serial()) if step.stage == stage)


def plugin(kind, *lines, declared=""):
    """Write a plugin file ``mine.py`` of that kind with the lines of its class, and more in its decorator."""
    column = "OutputColumn(higher_is_better=True, unit='', range=(0, 9))"
    options = {"scorer": f", reads={{'text'}}, columns=({column},)", "clusterer": "", "embedder": "", "selector": ""}
    text = [
        "import os",
        "import signal",
        "from dataclasses import dataclass",
        "from pathlib import Path",
        "import numpy as np",
        "from curate.plugins.interfaces import OutputColumn, clusterer, embedder, scorer, selector",
        "from curate.plugins.results import Clustering, Selection",
        f"@{kind}(version=1{options[kind]}{declared})",
        "@dataclass(frozen=True, slots=True, kw_only=True)",
        "class Mine:",
        '    """A plugin in a file of its own."""',
        *(f"    {line}" for line in lines),
    ]
    Path("mine.py").write_text("\n".join(text) + "\n")
    return "./mine.py"


# ---------------------------------------------------------------- input files


@pytest.mark.parametrize("change", ["gone", "grown", "cut off"])
def test_a_file_that_changes_while_it_is_read_is_reported_and_nothing_is_published(pool, config, monkeypatch, change):
    curate.run(config())
    before, file = versions.published_version(ROOT), pool / "b.jsonl"
    file.write_text(file.read_text().replace("number", "nummer"))
    real, whole = ingest_stage.write_shards, file.read_text()

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
        patch.setattr(ingest_stage, "write_shards", meanwhile)
        curate.run(config())
    assert error.value.exit_code == 3
    assert versions.published_version(ROOT) == before
    file.write_text(whole)
    assert curate.run(config()).rows_in == 60
    assert versions.published_version(ROOT) != before


@pytest.mark.parametrize("change", ["mode", "link", "time", "copy"])
def test_a_stamp_that_changes_while_the_bytes_stay_does_not_end_a_run(pool, config, monkeypatch, change):
    real, file = ingest_stage.write_shards, pool / "b.jsonl"

    def meanwhile(task):
        if change == "mode":
            file.chmod(0o600)
        elif change == "link" and not (pool / "link").exists():
            (pool / "link").hardlink_to(file)
        elif change == "time":
            os.utime(file)
        else:
            shutil.copy(file, pool / "copy")
            (pool / "copy").replace(file)
        return real(task)

    monkeypatch.setattr(ingest_stage, "write_shards", meanwhile)
    assert curate.run(config()).rows_in == 60
    assert curate.run(config()).unchanged


@pytest.mark.parametrize("kind", ["parquet", "jsonl.gz"])
def test_a_file_that_is_half_written_is_reported(pool, config, kind):
    rows = [json.loads(line) for line in (pool / "b.jsonl").read_text().splitlines()]
    half = pool / f"c.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), half)
    else:
        half.write_bytes(gzip.compress((pool / "b.jsonl").read_bytes()))
    half.write_bytes(half.read_bytes()[:-20])
    settings = config()
    settings["input"]["files"] = "pool/*"
    with pytest.raises(DataError, match=rf"pool/c\.{kind}\S*: (not a complete Parquet|cannot read)") as error:
        curate.run(settings)
    assert error.value.exit_code == 3
    half.unlink()
    assert curate.run(settings).rows_in == 60


def test_a_csv_file_that_is_half_written_loses_one_row(pool, config):
    (pool / "c.csv").write_text('id,text,source\nc1,"some words",left\nc2,"the quote is never clo')
    settings = config(guard={"max_quarantine_rate": 0.1})
    settings["input"]["files"] = "pool/*"
    summary = curate.run(settings)
    assert summary.rows_in == 62
    assert summary.warnings[0].startswith("1 of 62 rows")
    table = pq.read_table("run/input/quarantine").to_pylist()
    assert [(row["file"], row["line"], row["record"]) for row in table] == [
        ("pool/c.csv", 3, 'c2,"the quote is never clo')
    ]


def test_a_line_that_is_half_written_is_quarantined_with_its_place(pool, config):
    path = pool / "b.jsonl"
    path.write_text(path.read_text()[:-40])
    summary = curate.run(config(guard={"max_quarantine_rate": 0.1}))
    assert summary.warnings[0].startswith("1 of 60 rows (1.67%) were quarantined; see run/input/quarantine")
    table = pq.read_table("run/input/quarantine").to_pylist()
    assert [(row["file"], row["line"]) for row in table] == [("pool/b.jsonl", 20)]


def test_a_file_that_may_not_be_read_is_reported(pool, config, monkeypatch):
    def refused(path, rows_per_shard):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ingest_stage.readers, "scan", refused)
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
    assert versions.published_version(ROOT) == versions.published_version(Path("alone/export"))


@pytest.mark.parametrize(
    ("kind", "lines", "told"),
    [
        (
            "embedder",
            ["def encode(self, texts):", "    return np.ones((1, 4), np.float32)"],
            r"returned float32 \(1, 4\)",
        ),
        ("embedder", ["def encode(self, texts):", "    return np.ones((len(texts), 4))"], "returned float64"),
        ("scorer", ["def score(self, batch, rng):", "    return np.ones(3, np.float32)"], r"returned float32 \(3,\)"),
        ("scorer", ["def score(self, batch, rng):", "    return [1.0] * len(batch)"], "gave list|failed"),
    ],
)
def test_a_plugin_that_returns_what_it_should_not_is_reported(pool, config, kind, lines, told):
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
    settings = config(plugins=[plugin("embedder", *lines, declared=", revision=True")], embed={"use": "mine"})
    curate.run(settings)
    assert curate.run(settings).unchanged
    Path("model").write_text("2")
    assert why(settings, "embed") == 'revision: "1" is now "2"'
    assert why(settings, "cluster") == "an earlier stage will run"
    before = versions.published_version(ROOT)
    curate.run(settings)
    assert versions.published_version(ROOT) != before
    plugin("embedder", *lines, "# edited", declared=", revision=True")
    assert "sha256" in why(config(plugins=["./mine.py"], embed={"use": "mine"}), "embed")


# ---------------------------------------------------------------- what follows the last stage


class PanicException(BaseException):
    """A panic, which is no ``Exception`` and cannot be pickled."""

    def __reduce__(self):
        raise TypeError("cannot pickle a panic")


def real(path):
    """What is behind a name of an open file or folder."""
    text = "" if isinstance(path, int) else os.fsdecode(path or ".")
    if not text.startswith("/proc/"):
        return path
    place = Path(text)
    return os.path.realpath(place if place.parent.name == "fd" else place.parent / ".")


class Faults:
    """Raises at the nth time that the run directory is written to since the export was written."""

    EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink")

    def __init__(self):
        self.begun, self.count, self.nth, self.error = False, 0, None, None
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if self.begun and event in self.EVENTS and not reads:
            path = real(arguments[0])
            below = isinstance(path, int) or (event in ("os.remove", "os.rmdir") and arguments[-1] != -1)
            if below or "run" in Path(os.fsdecode(path or ".")).parts:  # below: of a folder that is being deleted
                self.touch(f"{event} {path}")

    def touch(self, what):
        if not self.begun:
            return
        self.count += 1
        if self.count == self.nth:
            self.what = what
            raise self.error

    def run(self, settings, nth=None, error=None):
        """Run with one fault; the error that it raised, or what it did."""
        self.begun, self.count, self.nth, self.error, self.what = False, 0, nth, error, ""
        try:
            return curate.run(settings)
        except Exception as raised:
            return raised
        finally:
            self.begun = False


@pytest.fixture(scope="module")
def faults():
    return Faults()  # an audit hook stays for as long as the process


def seen():
    """What a reader sees: the published version with its files, and the report."""
    files = [path for path in (ROOT / "current").rglob("*") if path.is_file()] + [Path("run/report.html")]
    return (ROOT / "current").readlink(), {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lasting():
    """What must be the same however often a run was cut short: the export, its history, sketches, what is kept."""
    history = [{**line, "published": ""} for line in versions.read_history(ROOT)]
    return (
        seen()[0],
        history,
        versions.complete_versions(ROOT),
        sorted(path.name for path in Path("run/published").rglob("*")),
    )


@pytest.mark.parametrize(("kind", "every"), [("full", 1), ("panic", 3)])
def test_a_fault_at_any_touch_after_the_last_stage_leaves_all_of_the_old_or_all_of_the_new(
    pool, config, monkeypatch, faults, kind, every
):
    """The loop over every file that is written, renamed or deleted from the export's manifest on."""
    settings = config(
        select=[{"use": "exact_duplicates", "against": "published"}, {"use": "top_k", "keep": 20}],
        export={"use": "jsonl", "keep_versions": 1},
    )
    for module in (ingest_stage.paths, versions.parquet_io):
        monkeypatch.setattr(module.os, "fsync", lambda _, real=os.fsync: (faults.touch("fsync"), real(_))[1])
    real = curate.pipeline._publish

    def publish(*arguments, **options):
        faults.begun = True
        return real(*arguments, **options)

    monkeypatch.setattr(curate.pipeline, "_publish", publish)
    curate.run(settings)
    old = seen()
    settings["select"][1]["keep"] = 30
    shutil.copytree("run", "before", symlinks=True)
    done = faults.run(settings)
    expected, touches = lasting(), faults.count
    assert (done.kept, done.warnings) == (30, ())
    assert touches > 15
    ends = set()
    for nth in range(1, touches + 1, every):
        shutil.rmtree("run")
        shutil.copytree("before", "run", symlinks=True)
        error = OSError(errno.ENOSPC, "No space left on device") if kind == "full" else PanicException("index out of")
        done = faults.run(settings, nth, error)
        assert faults.what, nth
        if isinstance(done, Exception):
            assert seen() == old, faults.what
            assert not isinstance(done, DataError) or "nothing was published; the published version" in str(done)
        else:
            assert seen()[0] == expected[0], faults.what
            assert all("the export is published, but" in told for told in done.warnings)
        ends.add((type(done).__name__, bool(getattr(done, "warnings", ()))))
        assert not [path for path in Path("run").rglob(".*.partial.*") if path.is_file()], faults.what
        again = faults.run(settings)
        assert again.warnings == (), again
        assert lasting() == expected, faults.what
        assert "30" in Path("run/report.html").read_text()
        assert json.loads(Path("run/manifest.json").read_text())["export"] == f"export/{expected[0]}"
        assert faults.run(settings).unchanged
    assert ("Summary", True) in ends
    assert any(name != "Summary" for name, _ in ends)


@pytest.mark.parametrize("part", ["run_page.render", "dataset_card.card"])
@pytest.mark.parametrize("error", [PanicException("PyObject pointer is null"), RuntimeError("no"), DataError("no")])
def test_a_report_or_card_that_cannot_be_rendered_publishes_nothing(pool, config, command, monkeypatch, part, error):
    settings = config()
    Path("config.yaml").write_text(json.dumps(settings))

    def fails(*_):
        raise error

    for first in (True, False):
        if not first:
            curate.run("config.yaml")
            settings["select"][0]["keep"] = 30
            Path("config.yaml").write_text(json.dumps(settings))
        before = None if first else (seen(), versions.read_history(ROOT), Path("run/manifest.json").read_bytes())
        with monkeypatch.context() as patch:
            patch.setattr(f"curate.report.{part}", fails)
            done = command("run", "config.yaml", "--log-format", "plain")
        assert (done.returncode, done.stdout) == (3 if isinstance(error, DataError) else 1, "")
        assert "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        if isinstance(error, DataError):
            assert part.startswith("dataset_card") or last.endswith(
                "nothing was published; the published version and its report are unchanged"
            )
        else:
            assert last.startswith("curate: the published version is unchanged; please report the bug and attach ")
            log = Path(last.split(" attach ")[1])
            assert type(error).__name__ in log.read_text()
            log.unlink()
        assert (ROOT / "current").is_symlink() != first
        assert Path("run/report.html").exists() != first
        if before is not None:
            assert (seen(), versions.read_history(ROOT), Path("run/manifest.json").read_bytes()) == before
    assert curate.run("config.yaml").kept == 30
    assert "30" in Path("run/report.html").read_text()


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_panic_in_a_plugin_is_the_plugins_error(pool, config, command, executor):
    file = plugin(
        "scorer",
        "def score(self, batch, rng):",
        "    class PanicException(BaseException):",
        "        pass",
        "    raise PanicException('called `Option::unwrap()` on a `None` value')",
    )
    Path("config.yaml").write_text(json.dumps(config(plugins=[file], score=[{"use": "mine"}])))
    done = command("run", "config.yaml", "--executor", executor, "--workers", "2", "--log-format", "plain")
    assert done.returncode == 4
    assert "scorer 'mine' failed: PanicError: called `Option::unwrap()` on a `None` value" in done.stderr
    assert "Traceback" not in done.stderr
    Path(done.stderr.splitlines()[-1].removeprefix("curate: the traceback is in ")).unlink()


@pytest.mark.parametrize("fails", ["history", "switch"])
def test_a_rollback_that_cannot_be_written_changes_nothing(pool, config, monkeypatch, fails):
    curate.run(config())
    curate.run(config(select=[{"use": "top_k", "keep": 30}]))
    before, history = versions.published_version(ROOT), versions.read_history(ROOT)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(DataError, match="No space left on device"):
        patch.setattr(Path, "write_text" if fails == "history" else "symlink_to", full)
        versions.rollback(Path("run"), None, print)
    assert (versions.published_version(ROOT), versions.read_history(ROOT)) == (before, history)
    done = versions.rollback(Path("run"), None, print)
    assert [line["version"] for line in versions.read_history(ROOT)] == [done.published, before, done.published]
    assert [line["by"] for line in versions.read_history(ROOT)] == ["run", "run", "rollback"]


def test_the_report_is_of_the_answer_key_and_configuration_that_there_are_now(pool, config):
    def key(kind):
        Path("key.jsonl").write_text("".join(json.dumps({"id": f"r{n:04d}", "kind": kind}) + "\n" for n in range(9)))

    curate.run(config())
    export, page = seen()[0], Path("run/report.html")
    key("planted")
    settings = config(evaluate={"ground_truth": "key.jsonl"})
    assert curate.run(settings).unchanged
    assert "planted" in page.read_text()
    key("altered")
    assert curate.run(settings).unchanged
    assert "altered" in page.read_text()
    assert "planted" not in page.read_text()
    written = page.stat().st_mtime_ns
    assert curate.run(settings).unchanged
    assert page.stat().st_mtime_ns == written
    assert seen()[0] == export


def test_an_edited_version_that_cannot_be_copied_is_kept_and_leaves_no_half_copy(pool, config, monkeypatch):
    settings = config(export={"use": "jsonl", "rows_per_file": 5, "keep_versions": 1})
    curate.run(settings)
    first = versions.published_version(ROOT)
    (ROOT / first / "notes.txt").write_text("mine")
    settings["select"][0]["keep"] = 40
    curate.run(settings)
    settings["select"][0]["keep"] = 30
    real = ingest_stage.paths.copy

    def full(path, target):
        if path.name.startswith("train-00002"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(ingest_stage.paths, "copy", full)
        done = curate.run(settings)
    assert len(done.warnings) == 1
    assert "old versions of the export may remain (OSError: [Errno 28] No space left" in done.warnings[0]
    assert [path.name for path in ROOT.glob("*.edited-*")] == []
    assert (ROOT / first / "notes.txt").exists()
    assert versions.published_version(ROOT) != first
    assert "notes.txt" in str(sorted(path.name for path in (ROOT / first).iterdir()))
    again = curate.run(settings)
    assert "was edited after it was written; it is kept in" in again.warnings[0]
    assert (ROOT / f"{first}.edited-1" / "notes.txt").exists()
    assert not (ROOT / first).exists()


def test_metrics_that_cannot_be_written_after_the_switch_are_a_warning(pool, config, command, monkeypatch):
    def full(path, ending):
        raise DataError("cannot write: No space left on device", where=str(path))

    monkeypatch.setattr(curate.stages.report.prometheus, "write", full)
    Path("config.yaml").write_text(json.dumps(config()))
    done = command("run", "config.yaml", "--log-format", "plain", "--metrics-file", "curate.prom")
    assert done.returncode == 0
    assert "the metrics were not written: curate.prom: cannot write: No space left on device" in done.stderr
    assert (ROOT / "current").is_symlink()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3.00 GiB"),
        ImportError("libscipy.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        OSError(12, "Cannot allocate memory"),
        pa.ArrowMemoryError("malloc of size 64 failed"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("place", ["plugin", "driver", "extra"])
def test_short_memory_is_no_fault_of_a_plugin_and_no_bug(command, pool, config, monkeypatch, error, place):
    def fails(*_: object, **__: object) -> None:
        if place == "extra":
            raise missing_extra_error("polars", "polars", "this") from error
        raise error

    names = {"plugin": "plugins.scorers.length.Length.score", "driver": "store.manifest.save"}
    monkeypatch.setattr(f"curate.{names.get(place, 'store.manifest.save')}", fails)
    Path("config.yaml").write_text(json.dumps(config(score=[{"use": "length"}])))
    done = command("run", "config.yaml", "--log-format", "quiet")
    assert done.returncode == 3
    assert f"out of memory: {type(error).__name__}: " in done.stderr
    assert "use fewer --workers" in done.stderr
    assert "bug" not in done.stderr
    assert "failed:" not in done.stderr.replace("malloc of size 64 failed", "")


def test_a_file_or_a_folder_in_the_way_is_named_with_a_remedy_wherever_it_is(command, pool, config):
    Path("config.yaml").write_text(json.dumps(config()))
    assert command("run", "config.yaml", "--log-format", "quiet").returncode == 0
    shutil.copytree("run", "good", symlinks=True)
    good = Path("good")
    current = {path.relative_to(good).as_posix() for path in (good / "export/current").rglob("*")}
    names = [path.relative_to(good) for path in sorted(good.rglob("*"))]
    for name in [name for name in names if name.as_posix() not in current and name.as_posix() != "export/current"]:
        shutil.rmtree("run")
        shutil.copytree("good", "run", symlinks=True)
        path = "run" / name
        if path.is_dir():
            shutil.rmtree(path)
            path.write_text("a file")
        else:
            path.unlink()
            path.mkdir()
        Path("other.yaml").write_text(json.dumps(config(export={"use": "jsonl"})))
        done = command("run", "other.yaml", "--log-format", "quiet")
        assert done.returncode in (0, 3), (name, done.stderr)
        if done.returncode:
            told = done.stderr.splitlines()[-1]
            assert told.startswith(f"curate: {path}: "), told
            assert re.search(f"delete (it|the file|{path.parent})", told), told


def test_an_array_without_dimensions_is_refused(pool, config):
    for path in sorted(pool.iterdir()):
        np.save(path.with_suffix(".npy"), np.zeros((len(path.read_text().splitlines()), 0), np.float32))
    settings = config(embed={"use": "column"})
    settings["input"]["vectors"] = ".npy"
    with pytest.raises(
        DataError, match=r"cannot read the vectors of pool/a.jsonl in pool/a.npy: the array has no dimensions"
    ):
        curate.run(settings)


def test_the_name_of_an_entry_is_no_longer_than_that_of_a_folder(config, pool):
    with pytest.raises(ConfigErrors, match=r"score.0.name: must have at most 255 characters"):
        curate.run(config(score=[{"use": "length", "name": "x" * 256}]))
    assert curate.run(config(score=[{"use": "length", "name": "x" * 255}])).version


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"input": "folder"}, "input.files: the folder has no file of a known format; in folder"),
        ({"decontaminate": {"files": "folder"}}, "decontaminate.files: the folder has no file of a known format; in f"),
        ({"evaluate": {"ground_truth": "folder"}}, "evaluate.ground_truth: 'folder' is a folder; in "),
        ({"run": "file"}, "file: this is a file, but a directory is expected; move or delete it"),
        ({"run": "file/run"}, "file: this is a file, but a directory is expected; move or delete it"),
    ],
    ids=str,
)
def test_a_folder_that_the_configuration_names_as_a_file_is_reported(pool, config, sections, told):
    Path("folder").mkdir()
    Path("file").write_text("a file")
    settings = config(**{key: value for key, value in sections.items() if key != "input"})
    if "input" in sections:
        settings["input"]["files"] = sections["input"]
    with pytest.raises(CurateError) as failure:
        curate.run(settings)
    assert told in str(failure.value)
