"""Images of every kind are decoded upright and in RGB; bad ones get a reason, and no exception or warning."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

from curate.kernels.images import codec
from curate.kernels.images.codec import ImageFacts, decode_image, inspect_image
from curate.kernels.parallel import THREADS_VARIABLE

Image = pytest.importorskip("PIL.Image", reason="needs the extra images")

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
COLORS = Image.fromarray(PIXELS)
LOSSLESS = ("PNG", "GIF", "BMP", "TIFF", "PPM")
FORMATS = (*LOSSLESS, "JPEG", "WEBP")


def encode(image, name="PNG", **options):
    encoded = io.BytesIO()
    image.save(encoded, name, **options)
    return encoded.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_its_name_and_size(name):
    data = encode(COLORS, name)
    assert inspect_image(data) == ImageFacts(60, 40, name)
    decoded = np.asarray(decode_image(data), np.float64)
    assert decoded.shape == (40, 60, 3)
    if name in ("PNG", "BMP", "TIFF", "PPM"):
        np.testing.assert_array_equal(decoded, PIXELS)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_truncated_image_gets_a_reason(name, tenths):
    data = encode(COLORS, name)
    reason = inspect_image(data[: len(data) * tenths // 10])
    assert isinstance(reason, str)
    assert reason.startswith("its image is ")
    assert "bytes not processed" not in reason, "the numbers of bytes differ, so equal reasons could not be counted"


@pytest.mark.parametrize("data", [b"hello", b"<svg/>", b"%!PS-Adobe", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n", bytes(100)])
def test_other_files_are_no_images(data):
    assert isinstance(inspect_image(data), str)


def test_no_bytes_are_no_image():
    assert inspect_image(b"") == "its image is empty"


@pytest.mark.parametrize("side", [10_000, 50_000])
def test_a_bomb_is_not_decoded(side, monkeypatch):
    data = encode(Image.new("1", (side, side)))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("it was decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "more than 89,478,485" in inspect_image(data)


def test_bytes_beyond_the_limit_are_not_decoded(monkeypatch):
    monkeypatch.setattr(codec, "MAX_BYTES", 10)
    assert "more than 10" in inspect_image(encode(COLORS))


def test_no_warning_reaches_the_user():
    bomb, palette = encode(Image.new("1", (10_000, 10_000))), encode(COLORS.convert("P"), transparency=b"\0" * 9)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        list(codec.map_images(inspect_image, [bomb, palette]))
        list(codec.map_images(decode_image, [palette]))
    assert not seen


def gray(levels):
    return np.asarray(decode_image(encode(Image.fromarray(levels), "TIFF")))[..., 0]


def test_gray_levels_of_16_bits_are_reduced_and_not_clipped():
    levels = np.arange(0, 65_536, 64, dtype=np.uint16).reshape(32, 32)
    np.testing.assert_array_equal(gray(levels), levels >> 8)


def test_gray_levels_of_32_bits_are_scaled():
    levels = np.linspace(-3, 5, 64, dtype=np.float32).reshape(8, 8)
    levels[0, 0] = np.nan
    decoded = gray(levels)
    assert (decoded.min(), decoded.max()) == (0, 255)
    assert (np.diff(decoded.ravel()[1:].astype(int)) >= 0).all()
    np.testing.assert_array_equal(gray(np.full((4, 4), 7, np.int32)), 0)


def test_transparent_pixels_are_white():
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (200, 0, 0, 255))
    assert np.asarray(decode_image(encode(image))).tolist() == [[[255, 255, 255], [200, 0, 0]]]
    assert np.asarray(decode_image(encode(Image.new("P", (1, 1)), transparency=0))).tolist() == [[[255, 255, 255]]]
    assert np.asarray(decode_image(encode(Image.new("LA", (1, 1), (9, 0))))).tolist() == [[[255, 255, 255]]]


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("P", (3, 2), color) for color in (0, 1)]
    for frame in frames:
        frame.putpalette([10, 20, 30, 250, 250, 250])
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert inspect_image(data) == ImageFacts(3, 2, "GIF")
    assert np.asarray(decode_image(data))[0, 0].tolist() == [10, 20, 30]


def test_cmyk_becomes_rgb():
    data = encode(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = np.asarray(decode_image(data))[0, 0].tolist()
    assert red > 240
    assert max(green, blue) < 20


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_data_say(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(COLORS, "PNG", exif=exif)
    size = (40, 60) if orientation >= 5 else (60, 40)
    assert inspect_image(data) == ImageFacts(*size, "PNG")
    assert decode_image(data).size == size
    if orientation == 3:
        np.testing.assert_array_equal(np.asarray(decode_image(data)), PIXELS[::-1, ::-1])


def test_a_large_jpeg_is_decoded_at_a_reduced_size_and_keeps_its_facts():
    data = encode(COLORS.resize((3_000, 2_000)), "JPEG")
    assert inspect_image(data) == ImageFacts(3_000, 2_000, "JPEG")
    width, height = decode_image(data, 128).size
    assert 128 <= min(width, height) < 600


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_thin_images_have_thumbnails(size):
    small = Image.open(io.BytesIO(codec.encode_thumbnail(encode(Image.new("RGB", size)), 32)))
    assert max(small.size) <= 32


def test_the_grid_has_a_tile_for_each_image():
    red, blue = (encode(Image.new("RGB", (20, 10), color)) for color in ("red", "blue"))
    encoded, columns = codec.encode_grid([red, blue, red], 16)
    grid = Image.open(io.BytesIO(encoded))
    assert (columns, grid.size) == (2, (32, 32))
    assert grid.getpixel((8, 8))[0] > 200
    assert grid.getpixel((24, 8))[2] > 200
    assert min(grid.getpixel((24, 24))) > 200, "a tile without an image is white"
    assert codec.encode_grid([], 16)[1] == 1


def test_results_are_in_order_on_any_number_of_threads(monkeypatch):
    images = [encode(Image.new("RGB", (1 + number, 1))) for number in range(100)]
    for threads in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, threads)
        assert [facts.width for facts in codec.map_images(inspect_image, images)] == list(range(1, 101))
