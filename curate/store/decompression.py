"""Reading of compressed files; a truncated file is an error."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal, cast

Compression = Literal["", "gz", "zst", "bz2", "xz"]

SUFFIXES: dict[str, Compression] = {".gz": "gz", ".zst": "zst", ".zstd": "zst", ".bz2": "bz2", ".xz": "xz"}
"""Compression by the suffix of a file name."""

ERRORS: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""Exceptions that reading a damaged file raises."""

_BLOCK = 1 << 20
_PACKED = 1 << 10  # compressed bytes at a time: four bytes of zstd may expand to 128 KiB
_MAX_WINDOW = 1 << 31  # bytes, as of zstd --long=31, the largest that its format allows on 32 bits


@contextmanager
def open_decompressed(file: IO[bytes], compression: Compression) -> Iterator[IO[bytes]]:
    """Open the content of a compressed file, read a few megabytes at a time.

    Raises
    ------
    One of ``ERRORS``
        The file is damaged or truncated; raised when it is read.
    """
    if compression == "gz":
        with gzip.open(file) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif compression == "bz2":
        with bz2.open(file) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif compression == "xz":
        with lzma.open(file) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif compression == "zst":
        with io.BufferedReader(_Zstd(file), _BLOCK) as unpacked:
            yield unpacked
    else:
        yield file


class _Zstd(io.RawIOBase):
    """Reader of concatenated zstd frames."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame: Any = None
        self._packed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            if not self._fill():
                return 0
        count = min(len(buffer), len(self._plain))
        buffer[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def _fill(self) -> bool:
        """Decompress the next block; return False at the end of the file."""
        import zstandard

        packed = self._packed or self._file.read(_PACKED)
        self._packed = b""
        if not packed:
            if self._frame is not None:
                raise EOFError("the compressed file is truncated within a zstd frame")
            return False
        if self._frame is None:
            self._frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
        try:
            self._plain = memoryview(self._frame.decompress(packed))
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, None
        return True
