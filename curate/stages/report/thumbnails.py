"""Small images for the report, as data URIs of limited size."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial

from curate.kernels.images.codec import encode_grid, encode_thumbnail, map_images
from curate.kernels.types import Images

_SIDES = (96, 64, 48, 32)
_TILES = (32, 24, 16)
"""Pixels per side that are tried until the encoded images fit."""


def encode(images: Images, max_bytes: int) -> Sequence[str]:
    """Return a thumbnail of each image as a data URI; "" for all if even the smallest exceed ``max_bytes`` in total."""
    for side in _SIDES:
        encoded = list(map_images(partial(encode_thumbnail, side=side), images))
        if sum(map(len, encoded)) <= max_bytes:
            return [_data_uri(one) for one in encoded]
    return [""] * len(images)


def encode_atlas(images: Images, max_bytes: int) -> tuple[str, int]:
    """Return one image with a square tile for each image, row by row, as a data URI; and its number of columns.

    The URI is "" if even the smallest tiles exceed ``max_bytes``.
    """
    for side in _TILES:
        encoded, columns = encode_grid(images, side)
        if len(encoded) <= max_bytes:
            return _data_uri(encoded), columns
    return "", 1


def _data_uri(encoded: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
