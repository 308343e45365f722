"""The upload of ``export.upload``, to a local server with the interface of the hub."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.errors import ConfigError, CurateError, PublicationHookError
from curate.store import versions

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

TOKEN = "hf_tokenOfNobody"


class Hub(ThreadingHTTPServer):
    """Server that keeps the files of one repository in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.repo: dict[str, Any] | None = None
        self.files: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.commits: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.fails: dict[str, int] = {}
        """Status of the answer by a part of the path."""

        self.ignored: tuple[str, ...] = ()


class Handler(BaseHTTPRequestHandler):
    """Answers to the requests of ``huggingface_hub``."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        path, hub = self.path.partition("?")[0], self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.requests.append(f"{self.command} {path}")
        *_, action, branch = path.split("/")
        failure = next((status for part, status in hub.fails.items() if part in path), None)
        if failure is not None:
            status, data = failure, {"error": "a failure"}
        elif action != "objects" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status, data = 401, {"error": "no token"}
        else:
            answers = {
                "repos": self._create,
                "branch": self._branch,
                "tree": self._tree,
                "preupload": self._preupload,
                "commit": self._commit,
                "objects": self._lfs if branch == "batch" else self._object,
            }
            status, data = answers.get(action, self._other)(branch, body)
        answer = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _other(self, branch: str, _: bytes) -> tuple[int, object]:
        if branch == "validate-yaml":
            return 200, {"errors": [], "warnings": []}
        return (404, {}) if self.server.repo is None else (200, {"id": "org/name", "sha": "0", "siblings": []})

    def _create(self, _: str, body: bytes) -> tuple[int, object]:
        hub, address = self.server, {"url": f"{self.server.address}/datasets/org/name"}
        if hub.repo is not None:
            return 409, {"error": "it exists", **address}
        hub.repo, hub.files["main"] = json.loads(body), {".gitattributes": b""}
        return 200, address

    def _branch(self, branch: str, _: bytes) -> tuple[int, object]:
        if branch in self.server.files:
            return 409, {"error": "it exists"}
        self.server.files[branch] = dict(self.server.files["main"])
        return 200, {}

    def _tree(self, branch: str, _: bytes) -> tuple[int, object]:
        files = self.server.files[branch].items()
        return 200, [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files]

    def _preupload(self, _: str, body: bytes) -> tuple[int, object]:
        answers = []
        for name in (one["path"] for one in json.loads(body)["files"]):
            mode = "lfs" if name.endswith((".parquet", ".arrow")) else "regular"
            ignored = bool(self.server.ignored) and name.endswith(self.server.ignored)
            answers.append({"path": name, "uploadMode": mode, "shouldIgnore": ignored})
        return 200, {"files": answers}

    def _lfs(self, _: str, body: bytes) -> tuple[int, object]:
        places = [
            {**one, "actions": {"upload": {"href": f"{self.server.address}/objects/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        return 200, {"transfer": "basic", "objects": places}

    def _object(self, oid: str, body: bytes) -> tuple[int, object]:
        self.server.objects[oid] = body
        return 200, {}

    def _commit(self, branch: str, body: bytes) -> tuple[int, object]:
        files = self.server.files[branch]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.server.commits.append(value)
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        return 200, {"commitUrl": f"{self.server.address}/datasets/org/name/commit/1", "commitOid": "1"}

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names of the standard library


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    """Return a hub without a repository, to which this environment belongs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # other tests of this process may have been offline
    sessions = importlib.import_module("huggingface_hub.utils._http")
    getattr(sessions, "reset_sessions", getattr(sessions, "close_session", None))()  # by the release of the library
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # for other processes; the server has no other protocol than LFS
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def settings(keep: int = 30, run: str = "run", **export: Any) -> dict[str, Any]:
    rows = [{"text": f"text {i}"} for i in range(40)]
    Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "curate": 1,
        "run": run,
        "input": {"files": "pool.jsonl", "text": "text"},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep": keep}],
        "export": {"use": "parquet", "rows_per_file": 10, "upload": {"repo": "org/name"}, **export},
    }


def contents(version: Path | str) -> dict[str, bytes]:
    folder = Path(version)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("use", ["parquet", "jsonl", "datasets"])
@pytest.mark.parametrize("branch", ["main", "nightly"])
def test_every_byte_of_a_version_arrives_in_one_commit(hub, use, branch):
    summary = curate.run(settings(use=use, upload={"repo": "org/name", "branch": branch}))
    assert hub.repo is not None
    assert (hub.repo["organization"], hub.repo["name"], hub.repo["type"]) == ("org", "name", "dataset")
    assert hub.repo.get("private") is True or hub.repo.get("visibility") == "private"  # by version of the library
    assert [commit["summary"] for commit in hub.commits] == [f"Upload version {Path(summary.version).name}"]
    assert hub.files[branch] == {".gitattributes": b""} | contents(summary.version)
    for oid, data in hub.objects.items():
        assert hashlib.sha256(data).hexdigest() == oid
    sent = len(hub.requests)
    assert curate.run(settings(use=use, upload={"repo": "org/name", "branch": branch})).unchanged
    assert len(hub.requests) == sent


def test_a_new_version_deletes_the_other_data_files_and_nothing_else(hub):
    curate.run(settings(keep=30))
    hub.files["main"] |= {"notes.md": b"of somebody", "data/train.csv": b"id\n"}
    second = curate.run(settings(keep=20))
    assert hub.files["main"] == {".gitattributes": b"", "notes.md": b"of somebody"} | contents(second.version)
    assert len(hub.commits) == 2


def test_files_that_were_added_to_a_version_are_not_uploaded(hub):
    first = curate.run(settings(upload=None))
    (Path(first.version) / "secret.txt").write_text("secret")
    curate.run(settings())
    assert "secret.txt" not in hub.files["main"]


def test_a_damaged_version_is_not_uploaded(hub):
    first = curate.run(settings(upload=None))
    file = next(Path(first.version).rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(PublicationHookError, match=r"org/name: the version is damaged: .* is corrupt"):
        curate.run(settings())
    assert not hub.requests


@pytest.mark.parametrize(
    ("part", "status", "remedy"),
    [
        ("/create", 401, "set HF_TOKEN to a token with write access"),
        ("/create", 500, "run again"),
        ("/tree", 403, "set HF_TOKEN"),
        ("/preupload", 500, "run again"),
        ("/batch", 500, "run again"),
        ("/commit", 500, "run again"),
        ("/commit", 403, "set HF_TOKEN"),
    ],
)
def test_a_failure_names_the_repository_and_is_repeated_by_the_next_run(hub, monkeypatch, part, status, remedy):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.fails = {part: status}
    ran = [sys.executable, "-c", "open('ran', 'w')"]
    for _ in range(2):
        with pytest.raises(PublicationHookError, match="cannot upload to org/name: ") as error:
            curate.run(settings(after=ran))
        assert str(status) in error.value.message
        assert remedy in str(error.value.hint)
        assert "the version is published" in str(error.value.hint)
        assert error.value.exit_code == 6
        assert TOKEN not in str(error.value)
    assert not hub.commits
    assert not Path("ran").exists()
    published = versions.published_version(Path("run/export"))
    hub.fails = {}
    assert curate.run(settings(after=ran)).unchanged
    assert hub.files["main"] == {".gitattributes": b""} | contents(f"run/export/{published}")
    assert Path("ran").exists()


def test_an_unreachable_hub_is_an_error_that_names_the_repository(hub, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
    with pytest.raises(PublicationHookError, match=r"cannot upload to org/name: .*(refused|connect)"):
        curate.run(settings())
    assert not Path("run/export/hook.json").exists()


def test_an_upload_whose_record_is_lost_is_repeated_with_the_same_content(hub):
    first = curate.run(settings())
    Path("run/export/hook.json").write_text("{")
    curate.run(settings())
    assert hub.files["main"] == {".gitattributes": b""} | contents(first.version)


def test_a_file_that_the_repository_ignores_is_an_error(hub):
    hub.ignored = (".parquet",)
    with pytest.raises(PublicationHookError, match=r"data/train-00000-of-00003.parquet is missing after the upload"):
        curate.run(settings())


def test_a_signed_address_in_an_error_is_not_shown(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)

    def fail(*_: object, **__: object) -> None:
        raise OSError("cannot put https://bucket.example.org/object?X-Amz-Signature=marked")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", fail)
    with pytest.raises(PublicationHookError, match="cannot upload to org/name") as error:
        curate.run(settings())
    assert "marked" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_dry_run_sends_nothing_and_an_upload_follows(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    Path("config.json").write_text(json.dumps(settings(upload={"repo": "org/name", "dry_run": True})))
    command = [sys.executable, "-m", "curate", "run", "config.json", "--executor", "serial", "--log-format", "json"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        version = versions.published_version(Path("run/export"))
        files = contents(f"run/export/{version}")
        size = sum(map(len, files.values()))
        expected = f"would upload version {version} ({len(files)} files, {size:,} bytes) to org/name, branch main"
        assert expected in done.stderr
    assert not hub.requests
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    curate.run(settings())
    assert len(hub.commits) == 1


def test_no_token_is_in_logs_and_files(hub):
    Path("config.json").write_text(json.dumps(settings()))
    command = [sys.executable, "-m", "curate", "run", "config.json", "--executor", "serial", "--log-format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    assert "/datasets/org/name/commit/1" in done.stderr
    assert "%|" not in done.stderr  # no progress bars of the library
    files = [path for path in Path("run").rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in done.stdout + done.stderr


def test_an_upload_that_is_certain_to_fail_is_an_error_before_the_run(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ConfigError, match=r"export.upload: there is no token .* HF_TOKEN"):
        curate.run(settings())
    with pytest.raises(ConfigError, match="Cannot have -- or"):
        curate.run(settings(upload={"repo": "org/na--me"}))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CurateError, match=r"needs the package 'huggingface_hub'.*\[hf\]"):
        curate.run(settings())
    assert not Path("run/input").exists()
    with pytest.raises(ConfigError, match='must have the form "org/name"'):
        curate.run(settings(upload={"repo": "name"}))


def test_settings_of_the_upload_do_not_change_the_version(hub):
    first = curate.run(settings())
    second = curate.run(settings(upload={"repo": "org/name", "branch": "other"}))
    assert first.version == second.version
    assert set(hub.files) == {"main", "other"}  # another branch is another upload
