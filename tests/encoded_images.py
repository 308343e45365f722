"""Images from closed formulas, encoded as PNG without Pillow, which an optional extra installs."""

from __future__ import annotations

import hashlib
import importlib.util
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest

from curate.kernels.types import Images

HAS_PILLOW = importlib.util.find_spec("PIL") is not None
needs_pillow = pytest.mark.skipif(not HAS_PILLOW, reason="needs the extra images")


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode RGB pixels (h, w, 3) uint8 as PNG."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@lru_cache(maxsize=256)
def picture(number: int) -> bytes:
    """Return the image with this number: coarse noise between a dark and a light color, of 20 to 43 pixels per side."""
    rng = np.random.default_rng(number)
    width, height = rng.integers(20, 44, 2).tolist()
    coarse = rng.random((6, 6))
    gray = coarse[np.arange(height)[:, None] * 6 // height, np.arange(width) * 6 // width]
    dark, light = rng.integers(0, 100, 3), rng.integers(156, 256, 3)
    return encode_png((dark + gray[..., None] * (light - dark)).astype(np.uint8))


def to_images(encoded: Sequence[bytes]) -> Images:
    """Return encoded images as plugins get them."""
    hashes = b"".join(hashlib.blake2b(data, digest_size=16).digest() for data in encoded)
    shapes = [struct.unpack(">II", data[16:24]) if data.startswith(b"\x89PNG") else (1, 1) for data in encoded]
    return Images(
        np.frombuffer(hashes, np.uint64).reshape(-1, 2), np.array(shapes, np.int32).reshape(-1, 2), encoded.__getitem__
    )


def pictures(numbers: Sequence[int]) -> Images:
    """Return the images with these numbers."""
    return to_images([picture(int(number)) for number in numbers])
