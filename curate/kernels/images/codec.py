"""Decoding of images with Pillow, which is imported when the first image is decoded.

Encoded images are hostile until they are decoded: a small file may expand to a huge image, and a decoder may fail in
any way. Only formats that Pillow decodes itself, without other programs, are opened.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.errors import missing_extra_error
from curate.kernels.parallel import block_slices, map_blocks

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
Result = TypeVar("Result")


class Indexed(Protocol[Item_co]):
    """Items that are read by their position."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Item_co: ...


Pixels = NDArray[np.uint8]
"""Pixels of an image: (height, width, 3) RGB or (height, width) gray levels, uint8."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Formats that are decoded, as far as the installed Pillow has them."""

MAX_PIXELS = 89_478_485
"""Largest number of pixels of an image: 256 MiB as RGB, from which Pillow suspects a decompression bomb."""

MAX_BYTES = 1 << 28
"""Largest size of an encoded image in bytes."""

_INSPECTED_SIDE = 256  # a JPEG image is inspected at a reduced size, for which all of its bytes are read
_BLOCK = 16  # images that a thread decodes at a time


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Format and size of an image, as it is displayed."""

    width: int
    height: int
    format: str


def inspect_image(data: bytes) -> ImageFacts | str:
    """Decode an image completely, and return its format and size, or why it cannot be decoded.

    Parameters
    ----------
    data : encoded image

    Returns
    -------
    the facts, or a reason such as "its image is empty"

    Notes
    -----
    Cost: that of decoding; a JPEG image is decoded at a reduced size. Call it within ``quiet``.
    """
    if not 0 < len(data) <= MAX_BYTES:
        return f"its image has {len(data):,} bytes, more than {MAX_BYTES:,}" if data else "its image is empty"
    image_library = _import_pillow()
    try:
        with _open(data) as image:
            if image.width * image.height > MAX_PIXELS:
                return _too_large(image.width, image.height)
            name = str(image.format)
            width, height = image.size
            if image.getexif().get(_ORIENTATION) in _SWAPPED:
                width, height = height, width
            image.draft("RGB", (_INSPECTED_SIDE, _INSPECTED_SIDE))
            image.load()
    except MemoryError:
        raise
    except image_library.UnidentifiedImageError:
        return f"its image is in none of the formats {', '.join(_formats())}"
    except image_library.Image.DecompressionBombError:
        return f"its image has more than {MAX_PIXELS:,} pixels"
    except Exception as error:  # a decoder may raise anything
        return f"its image is corrupt: {_describe(error)}"
    return ImageFacts(width, height, name)


def _too_large(width: int, height: int) -> str:
    return f"its image has {width:,} × {height:,} pixels, more than {MAX_PIXELS:,} in total"


def _describe(error: Exception) -> str:
    text = re.sub(r" \(\d+ bytes not processed\)", "", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 100 else f"{text[:100]}…"


_ORIENTATION = 0x0112
_SWAPPED = (5, 6, 7, 8)  # orientations that exchange width and height


def decode_image(data: bytes, min_side: int | None = None) -> Image:
    """Decode an image to RGB, upright and on white where it is transparent.

    The first frame of an animation is decoded. Gray levels of 16 bits are reduced to 8; those of 32 bits are scaled
    from their smallest to their largest value.

    Parameters
    ----------
    data : encoded image that ``inspect_image`` accepts
    min_side : a JPEG image may be decoded at a reduced size of at least that many pixels per side

    Returns
    -------
    image of Pillow in mode RGB
    """
    library = _import_pillow()
    with _open(data) as image:
        if min_side is not None:
            image.draft("RGB", (min_side, min_side))
        upright = library.ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I", "F")):
            upright = library.Image.fromarray(_to_8_bits(np.asarray(upright)))
        if upright.has_transparency_data:
            layered = upright.convert("RGBA")
            upright = library.Image.new("RGBA", layered.size, (255, 255, 255, 255))
            upright.alpha_composite(layered)
        result: Image = upright.convert("RGB")
        return result


def _to_8_bits(levels: NDArray[np.generic]) -> Pixels:
    """Reduce gray levels of more than 8 bits to 8."""
    if levels.dtype.itemsize == 2:
        return (levels.astype(np.uint16) >> 8).astype(np.uint8)
    finite = np.nan_to_num(levels.astype(np.float64), posinf=0, neginf=0)
    low, high = float(finite.min()), float(finite.max())
    return ((finite - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def encode_thumbnail(data: bytes, side: int) -> bytes:
    """Return a JPEG image of at most ``side`` pixels per side."""
    image = decode_image(data, side)
    image.thumbnail((side, side))
    return _encode_jpeg(image)


def encode_grid(images: Indexed[bytes], side: int) -> tuple[bytes, int]:
    """Return a JPEG image with a tile of ``side`` pixels per side for each image, row by row; and its columns."""

    def shrink(data: bytes) -> Image:
        image = decode_image(data, side)
        image.thumbnail((side, side))
        return image

    columns = max(1, math.isqrt(max(0, len(images) - 1)) + 1)
    rows = max(1, -(-len(images) // columns))
    grid: Image = _import_pillow().Image.new("RGB", (columns * side, rows * side), (255, 255, 255))
    for number, tile in enumerate(map_images(shrink, images)):
        left, top = number % columns * side, number // columns * side
        grid.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    return _encode_jpeg(grid), columns


def _encode_jpeg(image: Image) -> bytes:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=70, optimize=True)
    return encoded.getvalue()


def map_images(fn: Callable[[Item], Result], images: Indexed[Item]) -> Iterator[Result]:
    """Yield ``fn(image)`` for every image, in order, computed by threads.

    Parameters
    ----------
    fn : function of an encoded image (or its path), called from several threads
    images : n encoded images (or paths), read one by one

    Notes
    -----
    Memory: a few images per thread. Pillow releases the interpreter lock while it decodes.
    """

    def process(rows: slice) -> list[Result]:
        return [fn(images[row]) for row in range(rows.start, rows.stop)]

    with warnings.catch_warnings():  # entered here, because the filters belong to the process
        warnings.simplefilter("ignore")
        for block in map_blocks(process, block_slices(len(images), _BLOCK)):
            yield from block


def _open(data: bytes) -> Image:
    image: Image = _import_pillow().Image.open(BytesIO(data), formats=_formats())
    return image


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    library = _import_pillow()
    library.Image.init()
    return tuple(name for name in FORMATS if name in library.Image.OPEN)


class _Pillow:
    """Modules of Pillow."""

    def __init__(self) -> None:
        from PIL import Image, ImageOps, UnidentifiedImageError

        self.Image, self.ImageOps, self.UnidentifiedImageError = Image, ImageOps, UnidentifiedImageError


@lru_cache(maxsize=1)
def _import_pillow() -> _Pillow:
    """Return the modules of Pillow.

    Raises
    ------
    PluginError : if it is not installed
    """
    try:
        return _Pillow()
    except ImportError as error:
        raise missing_extra_error("pillow", "images", "reading images") from error
