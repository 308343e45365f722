"""Limit on the expansion of small files: a few kilobytes of gzip or Parquet can contain billions of rows."""

from __future__ import annotations

import io
from typing import IO, Any

from curate.errors import DataError

MAX_EXPANSION = 500
"""Largest allowed expansion of a file beyond ``FREE_BYTES``, as a multiple of its size; texts reach 4 to 20."""

FREE_BYTES = 1 << 27
"""Number of bytes that any file may expand to, however small it is."""

REPORTED_EXPANSION = 100
"""Expansion beyond which a file is reported; the limit is ``MAX_EXPANSION``."""

ROW_BYTES = 256
"""Number of bytes that a row counts for besides its content: even an empty row takes time and memory."""


_BLOCK = 1 << 20


_VALUE_BYTES = 64
"""Number of bytes that a line, a list or an object counts for: a nested one costs less than a row."""


class Expansion:
    """Number of bytes and rows read from a file so far, compared with its size.

    Parameters
    ----------
    path : str
        Path of the file, for messages.
    size : int
        Size of the file in bytes.
    remedy : str
        Instruction how to store the same rows in an accepted form.
    """

    def __init__(self, path: str, size: int, remedy: str) -> None:
        self._path, self._size, self._remedy = path, max(1, size), remedy
        self._bytes = self._rows = self._values = 0

    def add(self, size: int = 0, *, rows: int = 0, values: int = 0) -> None:
        """Count bytes, rows, and values that cost time and memory whatever their content: lines, lists and objects.

        Raises
        ------
        DataError
            The file expands beyond the limit.
        """
        self._bytes, self._rows, self._values = self._bytes + size, self._rows + rows, self._values + values
        expanded = self._bytes + max(ROW_BYTES * self._rows, _VALUE_BYTES * self._values)
        limit = max(FREE_BYTES, MAX_EXPANSION * self._size)
        if expanded > limit:
            raise DataError(
                f"the file of {self._size:,} bytes expands to more than {limit:,} bytes, counting at least {ROW_BYTES} "
                f"bytes per row; the limit is {FREE_BYTES >> 20} MiB or {MAX_EXPANSION} times the size of the file, "
                "whichever is larger",
                where=self._path,
                hint=f"check that it is the right file; if so, {self._remedy}",
            )

    @property
    def ratio(self) -> int:
        """Expansion so far as a multiple of the file's size; 0 below the reported expansion."""
        times = self._bytes // self._size
        return times if times > REPORTED_EXPANSION and self._bytes > FREE_BYTES // 2 else 0


class _CountingReader(io.RawIOBase):
    """Reader that counts the decompressed bytes of a file."""

    def __init__(self, file: IO[bytes], expansion: Expansion) -> None:
        self._file, self._expansion = file, expansion

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        self._expansion.add(len(block), values=block.count(b"\n") + block.count(b"{") + block.count(b"["))
        buffer[: len(block)] = block
        return len(block)


def count_expansion(file: IO[bytes], expansion: Expansion) -> IO[bytes]:
    """Wrap a file so that its bytes and values are counted as they are read."""
    return io.BufferedReader(_CountingReader(file, expansion), _BLOCK)
