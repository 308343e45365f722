"""Bound on what a small file may expand to: a few kilobytes of gzip or Parquet can hold billions of rows."""

from __future__ import annotations

import io
from typing import IO, Any

from curate.errors import DataError

MAX_EXPANSION = 500
"""Most times its size that a file may expand to beyond ``FREE``; text compresses four to twenty times."""

FREE_BYTES = 1 << 27
"""Bytes that any file may expand to, however small it is."""

REPORTED_EXPANSION = 100
"""Expansion that is reported; there is no limit below ``MOST_EXPANSION``."""

ROW_BYTES = 256
"""Bytes that a row counts for besides its content: time and memory are spent even on an empty one."""


_BLOCK = 1 << 20


_VALUE_BYTES = 64
"""Bytes that a line, a list or an object counts for: a nested one costs less than a row."""


class Expansion:
    """Bytes and rows that a file has given so far, next to its size.

    Parameters
    ----------
    path : file, for the message
    size : its bytes
    remedy : how to store the same rows so that they are read
    """

    def __init__(self, path: str, size: int, remedy: str) -> None:
        self._path, self._size, self._remedy = path, max(1, size), remedy
        self._bytes = self._rows = self._values = 0

    def add(self, size: int = 0, *, rows: int = 0, values: int = 0) -> None:
        """Count bytes, rows, and values that take time and memory whatever their content: lines, lists and objects.

        Raises
        ------
        DataError : the file expands to too much
        """
        self._bytes, self._rows, self._values = self._bytes + size, self._rows + rows, self._values + values
        expanded = self._bytes + max(ROW_BYTES * self._rows, _VALUE_BYTES * self._values)
        if expanded > max(FREE_BYTES, MAX_EXPANSION * self._size):
            raise DataError(
                f"{self._size:,} bytes expand to more than {max(FREE_BYTES, MAX_EXPANSION * self._size):,}, where a row"
                f" counts for {ROW_BYTES} at least: the limit is {FREE_BYTES >> 20} MiB, or {MAX_EXPANSION} times the size"
                " of the file",
                where=self._path,
                hint=f"is it the right file? if so, {self._remedy}",
            )

    @property
    def ratio(self) -> int:
        """Bytes that the file has expanded to as a multiple of its size; 0 if that is not reported."""
        times = self._bytes // self._size
        return times if times > REPORTED_EXPANSION and self._bytes > FREE_BYTES // 2 else 0


class _Counted(io.RawIOBase):
    """Plain bytes of a compressed file, counted as they are read."""

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
    """Return a file whose bytes and values are counted as they are read."""
    return io.BufferedReader(_Counted(file, expansion), _BLOCK)
