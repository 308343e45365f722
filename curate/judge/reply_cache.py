"""Cache of the replies of a judge, by the content of the question, in a folder of the run directory.

Replies are appended in segments, each a Parquet file that is written at once, so a kill loses only the replies of the
last seconds. Memory: the replies, and about 200 bytes for each.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pyarrow as pa

from curate import paths
from curate.errors import DataError
from curate.store import parquet_io

SCHEMA = pa.schema(
    [
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("refused", pa.bool_(), nullable=False),
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("reply_tokens", pa.int32(), nullable=False),
    ]
)

_SEGMENT_ROWS = 2_000
_SEGMENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """Reply of a judge, and its cost."""

    text: str
    finish_reason: str = "stop"
    """Reason why the reply ends, in the words of the API: ``stop``, or ``length`` if it was cut off."""

    refused: bool = False
    """Whether the judge refused to reply; the text is its reason."""

    prompt_tokens: int = 0
    reply_tokens: int = 0


def hash_request(request: Mapping[str, object]) -> bytes:
    """Return the key of a request, (16 bytes)."""
    return hashlib.blake2b(orjson.dumps(request, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


@dataclass(slots=True)
class ReplyCache:
    """Replies in a folder; safe to use from several threads."""

    folder: Path
    warn: Callable[[str], None]
    replies: dict[bytes, Reply] = field(default_factory=dict)
    _new: dict[bytes, Reply] = field(default_factory=dict)
    _written: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, folder: Path, warn: Callable[[str], None]) -> ReplyCache:
        """Read the replies in a folder; a corrupt file is deleted with a warning, so its questions are sent again."""
        cache = cls(folder, warn)
        for path in paths.list_shards(folder):
            try:
                table = parquet_io.read(path, SCHEMA)
            except DataError as error:
                warn(f"judge: {error}; the file is deleted, and its questions are sent again")
                paths.unlink(path, missing_ok=True)
                continue
            columns = [table[name].to_pylist() for name in SCHEMA.names]
            cache.replies.update({key: Reply(*facts) for key, *facts in zip(*columns, strict=True)})
        return cache

    def add(self, key: bytes, reply: Reply) -> None:
        """Add a reply; it is on disk after a few seconds, or after ``flush``."""
        with self._lock:
            self.replies[key] = self._new[key] = reply
            if len(self._new) >= _SEGMENT_ROWS or time.monotonic() - self._written > _SEGMENT_SECONDS:
                self._write()

    def flush(self) -> None:
        """Write all replies that are not on disk, and join the segments if there are several."""
        with self._lock:
            self._write()
            segments = paths.list_shards(self.folder)
            if len(segments) > 1:
                self._new = dict(self.replies)
                self._write()
                for path in segments:
                    paths.unlink(path, missing_ok=True)

    def _write(self) -> None:
        if self._new:
            rows = [(key, *_facts(reply)) for key, reply in sorted(self._new.items())]
            columns = list(zip(*rows, strict=True))
            table = pa.table([pa.array(values, one.type) for values, one in zip(columns, SCHEMA, strict=True)], SCHEMA)
            numbers = [int(path.stem.removeprefix("part-")) for path in paths.list_shards(self.folder)]
            path = parquet_io.shard_path(self.folder, max(numbers, default=-1) + 1)
            parquet_io.write(table, path, "", compression="zstd")
            self._new = {}
        self._written = time.monotonic()


def _facts(reply: Reply) -> tuple[str, str, bool, int, int]:
    return reply.text, reply.finish_reason, reply.refused, reply.prompt_tokens, reply.reply_tokens
