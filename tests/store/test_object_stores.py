"""A run, its input and its export in an object store: the same results, the same promises, no credentials anywhere.

The store is a real server of the S3 protocol on loopback.
"""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import curate
from curate import paths
from curate.config.loader import config_from_dict
from curate.errors import ConfigError, DataError, LockedError, PluginError
from curate.evaluation.compare import compare
from curate.evaluation.evaluate import evaluate
from curate.executors.serial import Serial
from curate.stages.ingest import stage
from curate.store import diff, explain, lock, npy, parquet_io, versions
from curate.store.relabel import relabel
from tests.judge.scripted_server import serve

pytestmark = pytest.mark.xdist_group("object stores")  # one server

SECRET = "marked/secret+of+nobody"


@pytest.fixture(scope="module")
def server():
    """The address of a server."""
    one = started()
    yield address(one)
    stop(one)


def started() -> Any:
    from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3 = create_backend_app("s3")  # moto's own server looks for the service anew at every request
    one = make_server("127.0.0.1", 0, s3, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=one.serve_forever, daemon=True).start()
    return one


def stop(one: Any) -> None:
    one.shutdown()
    one.server_close()


def address(one: Any) -> str:
    return f"http://127.0.0.1:{one.server_port}"


class Bucket:
    """A bucket, looked at through another client than the one under test."""

    def __init__(self, address: str) -> None:
        import boto3

        self.name = f"test-{uuid.uuid4().hex}"
        self.url = f"s3://{self.name}"
        self._client = boto3.client("s3", endpoint_url=address)
        self._client.create_bucket(Bucket=self.name)

    def put(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        return bytes(self._client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def names(self, prefix: str = "") -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)

    def export(self, run: str) -> dict[str, bytes]:
        """The files of the published version, by their names in it."""
        folder = f"{run}/export/{self.get(f'{run}/export/current').decode()}/"
        return {key.removeprefix(folder): self.get(key) for key in self.names(folder)}


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty bucket, and the environment in which it is found; temporary files go to ``tmp``."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    _forget_connections()
    yield Bucket(server)
    _forget_connections()


def _forget_connections() -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def settings(config):
    """A configuration that asks a server for little: two shards, no iterations."""

    def made(**sections: Any) -> dict[str, Any]:
        own = {"cluster": {"use": "column", "column": "topic"}, "export": {"use": "jsonl", "rows_per_file": 16}}
        data = config(**(own | sections))
        data["input"]["rows_per_shard"] = 40
        return data

    return made


def exported(run: str = "run") -> dict[str, bytes]:
    """The files of the version that a local run published."""
    folder = (Path(run) / "export" / "current").resolve()
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- the same results


def test_a_proxy_beyond_the_memory_limit_trains_in_a_store(pool, settings, bucket):
    sections = {"proxy": {"use": "logistic", "epochs": 2}, "score": [{"use": "el2n"}], "memory_limit": 1_000}
    curate.run(settings(**sections))
    curate.run(settings(**sections, run=f"{bucket.url}/run"))
    assert bucket.export("run") == exported()


def test_models_annotators_and_replies_of_a_judge_are_kept_in_a_store(pool, settings, bucket):
    with serve(lambda *_: "Grade: 3") as server:
        sections = {
            "plugins": [str(Path(__file__).parents[1] / "fake.py")],
            "annotate": [{"use": "fake"}],
            "model": {"use": "fake", "model": "m"},
            "judge": {"base_url": server.url, "model": "m"},
            "score": [{"use": "loss"}, {"use": "llm_judge"}],
        }
        curate.run(settings(**sections))
        asked = len(server.requests)
        curate.run(settings(**sections, run=f"{bucket.url}/run"))
        assert bucket.export("run") == exported()
        assert len(server.requests) == 2 * asked > 0
        changed = sections | {"score": [{"use": "llm_judge", "name": "again"}, {"use": "loss"}]}
        curate.run(settings(**changed, run=f"{bucket.url}/run"))
        assert len(server.requests) == 2 * asked
    assert any(key.startswith("run/judge/part-") for key in bucket.names("run/"))


def test_a_run_in_a_store_exports_the_same_bytes_as_a_local_one(pool, settings, bucket):
    curate.run(settings())
    done = curate.run(settings(run=f"{bucket.url}/run"))
    assert bucket.export("run") == exported()
    assert done.sentence() == (
        f"{bucket.url}/run: 60 rows in, 20 kept (33.3%); ≈ 290 of ≈ 885 tokens kept (estimated, 4 bytes of text each); "
        f"published in {bucket.url}/run/export/{done.version.name}, "
        f"report in {bucket.url}/run/report.html"
    )
    assert b"<html" in bucket.get("run/report.html")
    before = {key: bucket.get(key) for key in bucket.names("run/") if "manifest.json" not in key}
    assert curate.run(settings(run=f"{bucket.url}/run")).unchanged
    assert {key: bucket.get(key) for key in bucket.names("run/") if "manifest.json" not in key} == before
    assert [key for key in before if "/." in key] == ["run/.curate"]
    assert [(path.suffix, path.read_bytes()) for path in Path(tempfile.gettempdir()).iterdir()] == [(".lock", b"")]
    assert not Path("s3:").exists()

    with Path("pool/a.jsonl").open("a") as file:
        file.write('{"id": "new", "text": "a row of today", "topic": "t1"}\n')
    for run in ("run", f"{bucket.url}/run"):  # the vectors of all others are found again
        again = curate.run(settings(run=run))
        (embedded,) = (record for record in again.records if record.stage == "embed")
        assert embedded.result.encoded == 1
    assert bucket.export("run") == exported()


def test_labels_are_reviewed_and_corrected_in_a_store(pool, settings, bucket):
    data = settings(score=[{"use": "knn_disagreement"}], review={"rows": 3}, run=f"{bucket.url}/run")
    data["input"]["corrections"] = f"{bucket.url}/corrections.csv"
    assert any("no file" in warning for warning in curate.run(data).warnings)
    first, *others = bucket.get("run/review.csv").decode().splitlines()
    name = others[0].split(",")[1]
    bucket.put("run/review.csv", f"id,corrected_label\n{name},other\n".encode())
    run, answers, target = (
        paths.parse_path(f"{bucket.url}/{key}") for key in ("run", "run/review.csv", "corrections.csv")
    )
    assert relabel(run, answers, target).corrected == 1
    assert bucket.get("corrections.csv").decode() == f"id,label\n{name},other\n"
    curate.run(data)
    assert explain.explain(run, name).label == "other"
    assert explain.explain(run, name).corrected_from == others[0].split(",")[2]
    assert bucket.get("run/review.csv").decode().startswith(first)


def test_a_plan_of_epochs_has_a_folder_an_epoch_in_a_store_too(pool, settings, bucket):
    draws = str(Path(__file__).parents[1] / "stages" / "draws.py")
    planned = settings(plugins=[draws], select=[{"use": "draws", "keep": 20, "epochs": 2}])
    curate.run(planned)
    there = planned | {"run": f"{bucket.url}/run"}
    curate.run(there)
    assert bucket.export("run") == exported()
    (lost,) = bucket.names(f"run/export/{bucket.get('run/export/current').decode()}/data/epoch=001/train-00001-of-")
    bucket.delete(lost)
    curate.run(there)
    assert bucket.export("run") == exported()


@pytest.mark.exhaustive
def test_a_run_in_a_store_is_evaluated_and_compared_there(pool, settings, bucket):
    asked = {"metrics": [{"use": "knn_probe"}], "evaluate": {"holdout_rate": 0.4, "seeds": 2}}
    Path("test.jsonl").write_text('{"id": "t", "text": "a row of today", "topic": "t1", "source": "left"}\n')
    found = {}
    for run in ("run", f"{bucket.url}/run"):
        data = settings(run=run, **asked)
        curate.run(data)
        held_out = evaluate(paths.parse_path(run), Serial())
        tested = evaluate(paths.parse_path(run), Serial(), files=["test.jsonl"])
        compared = compare(config_from_dict(data), Serial(), prune_rates=[0.5])
        found[run] = [held_out.metrics, tested.metrics, {place: cell.values for place, cell in compared.cells.items()}]
    assert repr(found["run"]) == repr(found[f"{bucket.url}/run"])
    assert b"Models trained on the selection" in bucket.get("run/report.html")
    assert json.loads(bucket.get("run/evaluate/evaluate.json"))["run"] == f"{bucket.url}/run"
    assert json.loads(bucket.get("run/compare.json"))["rows"] == compared.rows
    assert not Path("s3:").exists()


def files_of(folder: Path) -> list[Path]:
    """The pool in every format, with vectors beside; the ids are in no order."""
    folder.mkdir()
    table = pa.table(
        {
            "id": [f"r{number * 37 % 60:04d}" for number in range(60)],
            "text": [f"text {number} of topic {number % 4}" for number in range(60)],
            "topic": [f"t{number % 4}" for number in range(60)],
            "source": ["left" if number % 3 else "right" for number in range(60)],
        }
    )
    parts = [table.slice(start, 12) for start in range(0, 60, 12)]
    lines = ["".join(json.dumps(row) + "\n" for row in part.to_pylist()).encode() for part in parts]
    (folder / "a.jsonl").write_bytes(lines[0])
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines[1]))
    with pa.CompressedOutputStream(str(folder / "c.jsonl.zst"), "zstd") as file:
        file.write(lines[2])
    pa.csv.write_csv(parts[3], folder / "d.csv")
    pq.write_table(parts[4], folder / "e.parquet", row_group_size=5)
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    for number, name in enumerate("abcde"):
        np.save(folder / f"{name}.npy", vectors[12 * number : 12 * number + 12])
    return sorted(folder.iterdir())


def test_input_in_a_store_is_read_in_every_format_by_two_processes_and_only_when_it_changed(
    bucket, settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for path in files_of(Path("mixed")):
        bucket.put(f"mixed/{path.name}", path.read_bytes())
    own = {"files": [f"mixed/*.{kind}" for kind in ("jsonl", "gz", "zst", "csv", "parquet")], "vectors": ".npy"}
    own |= {"id": "id", "text": "text", "label": "topic", "source": "source", "rows_per_shard": 21}
    there = own | {"files": [f"{bucket.url}/{pattern}" for pattern in own["files"]]}
    sections = {"embed": {"use": "column"}, "export": {"use": "jsonl", "add": ["rank", "cluster"]}}
    data = settings(**sections)
    data["select"] = [{"use": "exact_duplicates"}, *data["select"]]  # which reads texts
    curate.run(data | {"input": own})
    curate.run(data | {"input": there, "run": f"{bucket.url}/run"}, executor="processes", workers=2)
    data_of = [
        {name: body for name, body in one.items() if name.startswith("data/")}
        for one in (exported(), bucket.export("run"))
    ]
    assert data_of[0] == data_of[1] != {}

    scanned: list[str] = []
    scan = curate.stages.ingest.stage.readers.scan
    monkeypatch.setattr("curate.store.readers.scan", lambda path, rows: scanned.append(path.name) or scan(path, rows))
    changed = Path("mixed/a.jsonl").read_bytes().replace(b"text 3 ", b"text x ")  # of the same size
    bucket.put("mixed/a.jsonl", changed)
    assert not curate.run(data | {"input": there, "run": f"{bucket.url}/run"}).unchanged
    assert scanned == ["a.jsonl"]


# ---------------------------------------------------------------- the same promises


@pytest.mark.parametrize("use", ["jsonl", "datasets"])
def test_a_shuffled_export_of_splits_has_the_same_bytes_in_a_store(pool, settings, bucket, use):
    sections = {"split": {"shares": {"train": 0.6, "test": 0.4}}, "export": {"use": use, "shuffle": True}}
    sections["export"] |= {"rows_per_file": 5, "columns": ["id", "text"]}
    curate.run(settings(**sections))
    there = settings(**sections, run=f"{bucket.url}/run")
    curate.run(there)
    assert bucket.export("run") == exported()
    assert not [key for key in bucket.names("run/export/") if "/." in key]
    bucket.delete(next(key for key in bucket.names("run/export/") if "/data/" in key))
    curate.run(there)
    assert bucket.export("run") == exported()


def test_an_upload_to_a_hub_from_a_store_is_refused_before_the_run(pool, settings, bucket, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    data = settings(run=f"{bucket.url}/run", export={"use": "jsonl", "upload": {"repo": "org/name"}})
    with pytest.raises(ConfigError, match=r"export.upload: a version in an object store cannot be uploaded; set run"):
        curate.run(data)
    assert not bucket.names("run/input/")


def test_an_interrupted_run_goes_on_where_it_stopped(pool, settings, bucket, monkeypatch):
    curate.run(settings())
    put, uploaded = paths.upload, []

    def interrupted(file: Path, path: Path) -> None:
        if len(uploaded) == stop:
            raise KeyboardInterrupt
        uploaded.append(path)
        put(file, path)

    monkeypatch.setattr(paths, "upload", interrupted)
    for number in (2, 5, 5):
        stop = number
        uploaded.clear()
        with pytest.raises(KeyboardInterrupt):
            curate.run(settings(run=f"{bucket.url}/run"))
        assert not [key for key in bucket.names("run/") if key.endswith(("export/current", lock.NAME))]
        assert [path.suffix for path in Path(tempfile.gettempdir()).iterdir()] == [".lock"]
    monkeypatch.setattr(paths, "upload", put)
    curate.run(settings(run=f"{bucket.url}/run"))
    assert bucket.export("run") == exported()


def test_a_run_that_was_killed_is_resumed_and_its_lock_taken_over(command, pool, settings, bucket):
    Path("config.yaml").write_text(json.dumps(settings()))  # JSON is YAML
    curate.run("config.yaml")
    Path("config.yaml").write_text(json.dumps(settings(run=f"{bucket.url}/run")))
    killed = [sys.executable, "-m", "curate", "run", "config.yaml", "--executor", "serial"]
    running = subprocess.Popen(killed, stderr=subprocess.PIPE)
    try:
        while not bucket.names("run/embed/"):
            assert running.poll() is None
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate()
    assert bucket.names(f"run/{lock.NAME}")
    again = command("run", "config.yaml", "--log-format", "plain")
    assert again.returncode == 0, again.stderr
    assert f"took over the lock of a killed run: process {running.pid} on {socket.gethostname()}" in again.stderr
    assert not bucket.names(f"run/{lock.NAME}")
    assert bucket.export("run") == exported()


def silent(_: str) -> None: ...


HOLDER = """
import sys, time
from curate.paths import parse_path
from curate.store import lock
with lock.acquire(parse_path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(url: str, **environment: str):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_of_two_runs_on_this_host_the_second_is_refused(bucket):
    folder = paths.parse_path(f"{bucket.url}/run")
    with holder(str(folder)) as other:
        with pytest.raises(
            LockedError, match=rf"another run is using this run directory: process {other.pid} on "
        ) as refusal:
            lock.acquire(folder, silent).__enter__()
        assert refusal.value.exit_code == 75
        left = bucket.get(f"run/{lock.NAME}")
    notes: list[str] = []
    with lock.acquire(folder, notes.append):
        assert bucket.get(f"run/{lock.NAME}") != left
    assert [note.partition(", started")[0] for note in notes] == [
        f"took over the lock of a killed run: process {other.pid} on {socket.gethostname()}"
    ]
    assert not bucket.names()


def test_a_lock_that_nobody_here_can_judge_is_left_alone(bucket, tmp_path):
    """Another container's temporary folder is not ours: that its local lock looks free says nothing."""
    (tmp_path / "other").mkdir()
    folder = paths.parse_path(f"{bucket.url}/run")
    with holder(str(folder), TMPDIR=str(tmp_path / "other")) as other:
        with pytest.raises(LockedError) as refusal, lock.acquire(folder, silent):
            pass
        left = bucket.get(f"run/{lock.NAME}")
    assert bucket.get(f"run/{lock.NAME}") == left
    assert str(refusal.value) == (
        f"{folder}: another run is using this run directory, or left its lock: "
        f"process {other.pid} on {socket.gethostname()}, "
        f"started {json.loads(left)['started']}; make sure that it has ended, then delete {folder}/.curate.lock"
    )


def test_a_lock_that_was_given_to_another_is_not_let_go_of(bucket):
    with lock.acquire(paths.parse_path(f"{bucket.url}/run"), silent):
        bucket.put(f"run/{lock.NAME}", b"{}")
    assert bucket.get(f"run/{lock.NAME}") == b"{}"


@pytest.mark.exhaustive
def test_versions_are_kept_and_rolled_back(command, pool, settings, bucket):
    root = paths.parse_path(f"{bucket.url}/run") / versions.FOLDER
    published = []
    for keep in (10, 15, 20):
        export = {"use": "jsonl", "keep_versions": 1}
        curate.run(settings(run=f"{bucket.url}/run", select=[{"use": "top_k", "keep": keep}], export=export))
        published.append(bucket.get("run/export/current").decode())
    first, *newest = published
    assert versions.complete_versions(root) == newest
    assert not bucket.names(f"run/export/{first}")
    assert [line["rows"] for line in versions.read_history(root)] == [10, 15, 20]
    done = command("rollback", f"{bucket.url}/run", "--json")
    assert json.loads(done.stdout)["published"] == newest[0], done.stderr
    assert bucket.get("run/export/current").decode() == newest[0]
    bucket.delete(f"run/export/{newest[1]}/manifest.json")  # as if it was being written, or deleted
    refused = command("rollback", f"{bucket.url}/run", newest[1])
    assert (refused.returncode, f"cannot roll back: {newest[1]}/manifest.json is missing" in refused.stderr) == (
        3,
        True,
    )


def test_a_folder_in_a_store_is_a_run_s_from_its_first_object_on_and_nobody_else_s(pool, settings, bucket):
    url = f"{bucket.url}/run"
    bucket.put("run/config.yaml", b"mine")
    with pytest.raises(
        ConfigError, match=f"^{url}: the folder is not empty and not a run directory: it contains config.yaml"
    ):
        curate.run(settings(run=url))
    assert bucket.get("run/config.yaml") == b"mine"
    bucket.delete("run/config.yaml")
    with pytest.raises(DataError, match="no file matches"):
        curate.run(settings(run=url, input={"files": "nowhere/*", "text": "text"}))
    curate.run(settings(run=url))


def test_metrics_tell_of_a_run_in_a_store(command, pool, settings, bucket):
    Path("config.yaml").write_text(json.dumps(settings(run=f"{bucket.url}/run")))
    assert command("run", "config.yaml", "--metrics-file", "m.prom").returncode == 0
    told = Path("m.prom").read_text()
    labels = f'run="{bucket.url}/run"'
    assert f"curate_export_rows{{{labels}}} 20\n" in told
    assert (
        f'curate_rows_dropped_by_reason{{{labels},entry="top_k",reason="lower quality than the kept rows"}} 40\n'
        in told
    )


def test_explain_diff_plan_and_report_read_from_a_store_what_they_read_from_a_disk(command, pool, settings, bucket):
    there = settings(run=f"{bucket.url}/run")
    curate.run(settings())
    curate.run(there)
    here, away = (
        explain.explain(folder, "r0003").as_dict() for folder in (Path("run"), paths.parse_path(there["run"]))
    )
    assert away == here | {"run": there["run"]}
    found = diff.diff(Path("run"), paths.parse_path(there["run"]), 5)
    assert (found.churn.added, found.churn.removed, found.churn.kept) == (0, 0, 20)
    Path("config.yaml").write_text(json.dumps(there))
    planned = json.loads(command("plan", "config.yaml", "--json").stdout)
    assert {step["state"] for step in planned} == {"fresh"}
    bigger = command("plan", "config.yaml", "--set", "embed.dimensions=64", "--json")
    assert {step["disk"] > 0 for step in json.loads(bigger.stdout) if step["state"] != "fresh"} == {True}
    bucket.delete("run/report.html")
    assert command("report", "config.yaml").stdout == f"{bucket.url}/run/report.html\n"
    assert b"<html" in bucket.get("run/report.html")


# ---------------------------------------------------------------- credentials


def test_credentials_are_nowhere(command, pool, settings, bucket):
    Path("pool/c.jsonl").write_text('{"id": "x"}\n' * 2)  # without a text: set aside
    for path in Path("pool").iterdir():
        bucket.put(f"pool/{path.name}", path.read_bytes())
    data = settings(run=f"{bucket.url}/run", guard={"max_quarantine_rate": 0.5})
    data["input"]["files"] = f"{bucket.url}/pool/*.jsonl"
    Path("config.yaml").write_text(json.dumps(data))
    done = command("run", "config.yaml", "--log-format", "json", "--workers", "2")
    failed = command("run", "config.yaml", "--set", f"run=s3://{bucket.name}-missing/run", "--log-format", "json")
    assert (done.returncode, failed.returncode) == (0, 3), done.stderr
    told = [done.stdout, done.stderr, failed.stdout, failed.stderr]
    assert not [text for text in told if SECRET in text or SECRET.partition("/")[2] in text]
    assert len(bucket.names("run/")) > 20
    assert not [key for key in bucket.names() if SECRET.encode() in bucket.get(key)]
    written = [path for path in Path.cwd().rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("arguments", [["explain", "{}", "r1"], ["diff", "run", "{}"], ["init", "--files", "{}"]])
def test_a_url_with_credentials_is_refused_and_not_shown(command, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*(one.format(f"s3://nobody:{SECRET}@bucket/run") for one in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    told = "the URL contains credentials; remove them from the URL and set them in the environment"
    assert done.stderr == f"curate: s3://…: {told}\n"


# ---------------------------------------------------------------- stores that cannot be reached


def test_a_bucket_that_is_not_there_is_told(pool, settings, bucket):
    url = f"s3://{bucket.name}-missing"
    with pytest.raises(
        DataError, match=rf"{url}/run/\.curate: cannot reach the store: The specified bucket does not exist; check"
    ):
        curate.run(settings(run=f"{url}/run"))
    data = settings()
    data["input"]["files"] = f"{url}/*.jsonl"
    with pytest.raises(
        DataError, match=r"no file matches 's3://.*-missing/\*.jsonl'; check the name of the bucket or the URL"
    ):
        curate.run(data)
    with pytest.raises(ConfigError, match=f"{url}/run: this folder is not a run directory"):
        explain.explain(paths.parse_path(f"{url}/run"), "r1")


def test_a_server_that_does_not_answer_is_reported(command, pool, settings, bucket, monkeypatch):
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        Path("config.yaml").write_text(json.dumps(settings(run=f"{bucket.url}/run")))
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for arguments in (["run", "config.yaml"], ["plan", "config.yaml"], ["explain", f"{bucket.url}/run", "r1"]):
            _forget_connections()
            done = command(*arguments, "--json")
            assert (done.returncode, done.stdout) == (3, "")
            last = done.stderr.splitlines()[-1]
            assert last.startswith(f"curate: {bucket.url}/run")
            assert f'cannot reach the store: Could not connect to the endpoint URL: "{address}' in last
            assert last.endswith("(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL)")
            assert "Traceback" not in done.stderr


def test_a_server_that_disappears_in_the_middle_of_a_run_is_reported(pool, settings, bucket, monkeypatch):
    mortal = started()
    monkeypatch.setenv("AWS_ENDPOINT_URL", address(mortal))
    put = paths.upload

    def gone(file: Path, path: Path) -> None:
        put(file, path)
        if path.name == "manifest.json":
            stop(mortal)

    monkeypatch.setattr(paths, "upload", gone)
    with pytest.raises(DataError, match=f"{bucket.url}/run.*: cannot reach the store: Could not connect") as failure:
        curate.run(settings(run=f"{bucket.url}/run"))
    assert not failure.value.where.endswith(lock.NAME)


@pytest.mark.exhaustive
def test_a_store_that_is_too_busy_for_every_fifth_request_is_asked_again(pool, settings, bucket, monkeypatch):
    from werkzeug.wrappers import Response

    monkeypatch.delenv("AWS_MAX_ATTEMPTS")  # what this test file sets, so that failures come soon
    curate.run(settings())
    busy, requests, refused = started(), itertools.count(1), []
    answer = busy.app

    def sometimes(environ: Any, start_response: Any) -> Any:
        if next(requests) % 5:
            return answer(environ, start_response)
        refused.append(environ["PATH_INFO"])
        return Response("<Error><Code>SlowDown</Code></Error>", 503)(environ, start_response)

    busy.app = sometimes
    monkeypatch.setenv("AWS_ENDPOINT_URL", address(busy))
    _forget_connections()
    try:
        for path in pool.iterdir():
            bucket.put(f"pool/{path.name}", path.read_bytes())
        data = settings(run=f"{bucket.url}/run")
        data["input"]["files"] = f"{bucket.url}/pool/*.jsonl"
        curate.run(data)
    finally:
        stop(busy)
    assert len(refused) > 10
    data_files = [
        {name: body for name, body in one.items() if "data/" in name} for one in (bucket.export("run"), exported())
    ]
    assert data_files[0] == data_files[1] != {}


def test_an_object_that_is_missing_is_told_as_that(pool, settings, bucket, monkeypatch):
    data = settings()
    data["input"]["files"] = f"{bucket.url}/pool/a.jsonl"
    with pytest.raises(DataError, match=rf"no file matches '{bucket.url}/pool/a\.jsonl'"):
        curate.run(data)
    for path in pool.iterdir():
        bucket.put(f"pool/{path.name}", path.read_bytes())
    data["input"]["files"] = f"{bucket.url}/pool/*.jsonl"
    listed = stage.find_input_files

    def vanishes(config: Any) -> Any:
        found = listed(config)
        bucket.delete("pool/b.jsonl")
        return found

    monkeypatch.setattr(stage, "find_input_files", vanishes)
    with pytest.raises(
        DataError, match=rf"{bucket.url}/pool/b\.jsonl: .*(missing|is not there|no longer there|does not exist)"
    ):
        curate.run(data)


def test_a_denied_access_is_told(pool, settings, bucket, monkeypatch):
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from now on the server asks who it is
    with pytest.raises(DataError, match=rf"{bucket.url}/run: cannot reach the store: .*Access Key Id.*; check"):
        curate.run(settings(run=f"{bucket.url}/run"))
    data = settings()
    data["input"]["files"] = f"{bucket.url}/pool/*.jsonl"
    with pytest.raises(DataError, match=rf"cannot reach the store: .*Access Key Id.*; in {bucket.url}/pool/.*; check"):
        curate.run(data)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(
        PluginError, match=r"s3://bucket/run needs the package 'universal_pathlib'.*pip install .*\[s3\]'"
    ):
        paths.parse_path("s3://bucket/run")


def test_a_store_of_no_known_kind_is_refused():
    with pytest.raises(ConfigError, match=r"bogus://bucket/run: not a supported URL: .*bogus"):
        paths.parse_path("bogus://bucket/run")


# ---------------------------------------------------------------- other stores


def test_whatever_fsspec_knows_will_do(pool, settings):
    curate.run(settings())
    name = f"memory://{uuid.uuid4().hex}"
    curate.run(settings(run=f"{name}/run"))
    assert curate.run(settings(run=f"{name}/run")).unchanged
    folder = paths.parse_path(f"{name}/run/export")
    version = versions.published_version(folder)
    assert {file: (folder / str(version) / file).read_bytes() for file in exported()} == exported()


def test_an_object_is_there_when_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = paths.parse_path(f"memory://{uuid.uuid4().hex}/a.txt")

    def interrupted() -> None:
        with parquet_io.write_atomically(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not path.exists()
    with parquet_io.write_atomically(path) as partial:
        partial.write_text("whole")
        assert partial.suffix == ".txt"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["memory://{}", "file://{}", "{}"])
def test_rows_of_an_array_file(folder, tmp_path):
    array = np.arange(24, dtype=np.float16).reshape(6, 4)
    path = paths.parse_path(folder.format(tmp_path)) / "a.npy"
    with parquet_io.write_atomically(path) as partial, partial.open("wb") as file:
        np.save(file, array)
    assert npy.read_shape(path) == (6, 4)
    assert np.array_equal(npy.read_rows(path, 2, 5), array[2:5])
    assert len(npy.read_rows(path, 4, 9)) == 2


def test_an_array_that_cannot_be_read_by_rows_is_refused():
    path = paths.parse_path(f"memory://{uuid.uuid4().hex}/a.npy")
    with parquet_io.write_atomically(path) as partial, partial.open("wb") as file:
        np.save(file, np.ones((3, 2)).T.copy(order="F"))
    with pytest.raises(ValueError, match=r"save np\.ascontiguousarray"):
        npy.read_rows(path, 0, 1)


def test_a_local_run_loads_no_library_for_stores(pool, settings):
    Path("config.json").write_text(json.dumps(settings()))
    script = "import sys, curate; curate.run('config.json'); print({'fsspec', 'upath', 's3fs'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr
