"""Files on a web server, on loopback, and files of a hub, which is faked."""

from __future__ import annotations

import json
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate import paths
from curate.errors import CurateError, DataError, PluginError

pytest.importorskip("aiohttp")
fsspec = pytest.importorskip("fsspec")
pytest.importorskip("upath")
REGISTRY = sys.modules["fsspec.registry"]._registry

ROWS = [{"id": f"r{number}", "text": f"a text of row {number}", "tags": [f"t{number}"]} for number in range(30)]


class Handler(SimpleHTTPRequestHandler):
    """A web server that sends ranges, except those, the sizes or the times that a test turns off."""

    ranges = sizes = times = True

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range")
        if wanted is None or not self.ranges or not path.is_file():
            return super().send_head()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        size = path.stat().st_size
        stop = min(int(last) + 1 if last else size, size)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - int(first)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(path.read_bytes()[int(first) : stop])
        return None

    def send_header(self, keyword: str, value: str) -> None:
        if (self.sizes or keyword != "Content-Length") and (self.times or keyword != "Last-Modified"):
            super().send_header(keyword, value)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield served, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def run(folder: Path, files: Any, **pool: Any) -> Any:
    settings = {"run": str(folder / "run"), "embed": {"use": "hashing", "dimensions": 8}}
    pool = {"files": files, "text": "text", "id": "id", "rows_per_shard": 8, **pool}
    return curate.run({"curate": 1, **settings, "input": pool, "select": [{"use": "uniform", "keep_rate": 1.0}]})


def exported(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "run" / "export" / "current" / "data").sort_by("id").to_pylist()


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["a.jsonl", "a b é.json", "a.parquet", "a.arrow"])
def test_a_file_on_a_web_server_goes_in_and_out(tmp_path, server, name):
    served, url = server
    table = pa.Table.from_pylist(ROWS)
    target = served / name
    if name.endswith(".parquet"):
        pq.write_table(table, target, row_group_size=10)
    elif name.endswith(".arrow"):
        with pa.ipc.new_file(target, table.schema) as writer:
            writer.write_table(table, max_chunksize=10)
    else:
        target.write_text(lines(ROWS) if name.endswith("l") else json.dumps(ROWS))
    run(tmp_path, f"{url}/{name.replace(' ', '%20')}")
    assert exported(tmp_path) == sorted(ROWS, key=lambda row: row["id"])
    assert run(tmp_path, f"{url}/{name.replace(' ', '%20')}").unchanged


@pytest.mark.parametrize("times", [True, False])
def test_a_changed_file_is_read_again_also_if_the_server_sends_no_times(tmp_path, server, monkeypatch, times):
    served, url = server
    monkeypatch.setattr(Handler, "times", times)
    (served / "a.jsonl").write_text(lines(ROWS))
    run(tmp_path, f"{url}/a.jsonl")
    assert run(tmp_path, f"{url}/a.jsonl").unchanged
    (served / "a.jsonl").write_text(lines(ROWS).replace("text of row 1", "text of Row 1"))
    if times:
        import os

        os.utime(served / "a.jsonl", (1, 1))
    assert not run(tmp_path, f"{url}/a.jsonl").unchanged


def test_patterns_use_the_listing_of_the_server(tmp_path, server):
    served, url = server
    (served / "pool").mkdir()
    (served / "pool" / "a.jsonl").write_text(lines(ROWS[:10]))
    (served / "pool" / "b.jsonl").write_text(lines(ROWS[10:]))
    run(tmp_path, f"{url}/pool/*.jsonl")
    assert len(exported(tmp_path)) == 30


def test_a_server_that_sends_no_ranges_or_no_sizes_is_an_error_with_a_way_out(tmp_path, server, monkeypatch):
    served, url = server
    rng = np.random.default_rng(0)
    rows = [{"id": f"r{number}", "text": rng.bytes(600).hex()} for number in range(20_000)]
    (served / "a.jsonl").write_text(lines(rows))
    monkeypatch.setattr(Handler, "ranges", False)
    with pytest.raises(DataError, match="download the file, and read it from a disk"):
        run(tmp_path, f"{url}/a.jsonl", rows_per_shard=5_000)
    monkeypatch.setattr(Handler, "sizes", False)
    with pytest.raises(DataError, match="the server does not send the size of the file"):
        run(tmp_path, f"{url}/a.jsonl")


@pytest.mark.parametrize("name", ["missing.jsonl", "pool/", "page.html", "x.warc.gz"])
def test_a_url_without_rows_is_an_error(tmp_path, server, name):
    served, url = server
    (served / "pool").mkdir()
    (served / "page.html").write_text("<p>")
    (served / "x.warc.gz").write_bytes(b"")
    with pytest.raises(CurateError):
        run(tmp_path, f"{url}/{name}")


@pytest.mark.parametrize(
    ("url", "module", "message"),
    [
        ("https://h.example/a.jsonl", "aiohttp", r"needs the package 'aiohttp'.*\[http\]"),
        ("hf://datasets/x/y/a.jsonl", "huggingface_hub", r"needs the package 'huggingface_hub'.*\[hf\]"),
        ("https://h.example/a.jsonl", "upath", r"needs the package 'universal_pathlib'.*\[http\]"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, url, module, message):
    for name in [name for name in sys.modules if name.split(".")[0] == module or name == "fsspec.implementations.http"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    for protocol in [one for one in REGISTRY if one in ("http", "https", "hf")]:
        monkeypatch.delitem(REGISTRY, protocol)
    with pytest.raises(PluginError, match=message):
        paths.parse_path(url)


def test_files_of_a_hub_are_recognized_by_their_blob(tmp_path, monkeypatch):
    """Of a fake: a file system in memory that describes files as the hub does."""
    from fsspec.implementations.memory import MemoryFileSystem

    class Hub(MemoryFileSystem):
        protocol = "hf"
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.removeprefix("hf://").strip("/") if path.strip("/") else ""

        def unstrip_protocol(self, name: str) -> str:
            return "hf://" + name.lstrip("/")

        def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
            known = super().info(path, **kwargs)
            known.pop("created", None)
            return known | ({"blob_id": str(hash(self.cat_file(path)))} if known["type"] == "file" else {})

    monkeypatch.setitem(REGISTRY, "hf", Hub)
    hub = Hub()
    hub.pipe_file("/datasets/x/y/data/train-0.jsonl", lines(ROWS).encode())
    name = "hf://datasets/x/y/data/train-0.jsonl"
    run(tmp_path, name)
    assert exported(tmp_path) == sorted(ROWS, key=lambda row: row["id"])
    assert run(tmp_path, name).unchanged
    assert run(tmp_path, "hf://datasets/x/y/data/*.jsonl").rows_in == 30
    hub.pipe_file("/datasets/x/y/data/train-0.jsonl", lines(ROWS[:20]).encode())
    assert not run(tmp_path, name).unchanged
