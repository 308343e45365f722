"""Bound on what a small file may expand to: a few kilobytes of gzip or Parquet can hold billions of rows."""

from __future__ import annotations

import io
from typing import IO, Any

from curate.errors import DataError

MOST_EXPANSION = 500
"""Most times its size that a file may expand to beyond ``FREE``; text compresses four to twenty times."""

FREE = 1 << 28
"""Bytes that any file may expand to, however small it is."""

REMARKABLE = 100
"""Expansion that is reported; there is no limit below ``MOST_EXPANSION``."""

ROW_BYTES = 256
"""Bytes that a row counts for besides its content: time and memory are spent even on an empty one."""


_BLOCK = 1 << 20


class Expansion:
    """Bytes and rows that a file has given so far, next to its size.

    Parameters
    ----------
    path : file, for the message
    size : its bytes
    remedy : how to store the same rows so that they are read all the same
    """

    def __init__(self, path: str, size: int, remedy: str) -> None:
        self._path, self._size, self._remedy = path, max(1, size), remedy
        self._bytes = self._rows = self._lines = 0

    def add(self, size: int = 0, *, rows: int = 0, lines: int = 0) -> None:
        """Count bytes, rows and lines; a row may have several lines, and a line several rows.

        Raises
        ------
        DataError : the file expands to too much
        """
        self._bytes, self._rows, self._lines = self._bytes + size, self._rows + rows, self._lines + lines
        expanded = self._bytes + ROW_BYTES * max(self._rows, self._lines)
        if expanded > max(FREE, MOST_EXPANSION * self._size):
            rows = max(self._rows, self._lines)
            raise DataError(
                f"{self._size:,} bytes, and the file expands to {self._bytes:,} or more in {rows:,} rows: beyond"
                f" {FREE >> 20} MiB, {MOST_EXPANSION} times its size is the limit, where a row counts for {ROW_BYTES}"
                " bytes at least",
                where=self._path,
                hint=f"is it what it should be? if so, {self._remedy}",
            )

    @property
    def ratio(self) -> int:
        """How many times its size the file has expanded to; 0 if that is nothing to report."""
        times = self._bytes // self._size
        return times if times > REMARKABLE and self._bytes > FREE // 4 else 0


class _Counted(io.RawIOBase):
    """Plain bytes of a compressed file, counted as they are read."""

    def __init__(self, file: IO[bytes], expansion: Expansion) -> None:
        self._file, self._expansion = file, expansion

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        self._expansion.add(len(block), lines=block.count(b"\n"))
        buffer[: len(block)] = block
        return len(block)


def counted(file: IO[bytes], expansion: Expansion) -> IO[bytes]:
    """Return a file whose bytes and lines are counted as they are read."""
    return io.BufferedReader(_Counted(file, expansion), _BLOCK)
