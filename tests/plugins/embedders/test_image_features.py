"""The light embedder of images: what its weights mean, and what it is good for on real images."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from curate.plugins.batches import Pool
from curate.plugins.embedders.image_features import ImageFeatures
from curate.plugins.selectors.coverage.k_center import KCenter
from tests.encoded_images import encode_png, needs_pillow, picture, pictures, to_images

pytestmark = needs_pillow
DATA = Path(os.environ.get("CURATE_DATA", "data"))
OMNIGLOT, MNIST = DATA / "omniglot-small" / "images_background_small1.zip", DATA / "mnist10k" / "mnist10k.npz"


def drawing(color, shape, side=40):
    """Return an image of a shape of a color on white."""
    y, x = np.mgrid[:side, :side] - side / 2
    inside = {"disc": x**2 + y**2 < 150, "bar": np.abs(x) < 4, "plank": np.abs(y) < 4}[shape]
    return encode_png(np.where(inside[..., None], color, 255).astype(np.uint8))


RED, BLUE = (200, 20, 20), (20, 20, 200)
DRAWINGS = [drawing(color, shape) for color in (RED, BLUE) for shape in ("disc", "bar", "plank")]


def cosines(encoded, **fields):
    vectors = ImageFeatures(**fields).encode(to_images(encoded))
    return (vectors @ vectors.T).astype(np.float64)


def test_the_similarity_is_the_weighted_mean_of_three_similarities():
    encoded = [picture(number) for number in range(6)]
    color, gradient, layout = (cosines(encoded, color_weight=c, layout_weight=w) for c, w in ((1, 0), (0, 0), (0, 1)))
    mixed = cosines(encoded, color_weight=0.5, layout_weight=0.3)
    np.testing.assert_allclose(mixed, 0.5 * color + 0.2 * gradient + 0.3 * layout, atol=1e-5)
    assert np.abs(color - gradient).max() > 0.05


def test_a_color_weight_of_1_ignores_shapes_and_of_0_ignores_colors():
    by_color = cosines(
        [drawing(RED, "bar"), drawing(RED, "plank"), drawing(BLUE, "bar")], color_weight=1, layout_weight=0
    )
    assert by_color[0, 1] > 0.99
    assert by_color[0, 2] < 0.9
    by_shape = cosines(DRAWINGS, color_weight=0)
    np.testing.assert_allclose(by_shape[:3, 3:].diagonal(), 1, atol=0.02)
    assert by_shape[1, 2] < 0.6


def test_images_of_single_colors_are_alike_but_for_their_colors():
    flat = [encode_png(np.full((5, 9, 3), color, np.uint8)) for color in (RED, RED, BLUE)]
    similar = cosines(flat)
    assert similar[0, 1] == pytest.approx(1)
    assert similar[0, 2] == pytest.approx(0.7, abs=1e-5)


def test_weights_beyond_1_are_refused():
    with pytest.raises(ValueError, match="layout_weight: must be at most 1 - color_weight"):
        ImageFeatures(color_weight=0.7, layout_weight=0.4)


def test_the_size_of_an_image_does_not_matter():
    assert cosines([drawing(RED, "disc"), drawing(RED, "bar")]).min() < 0.9
    pixels = np.kron(np.random.default_rng(0).integers(0, 255, (8, 8, 3)), np.ones((16, 16, 1)))
    assert cosines([encode_png(pixels.astype(np.uint8)), encode_png(pixels[::2, ::2].astype(np.uint8))]).min() > 0.98


def test_order_and_number_of_images_do_not_matter():
    embedder = ImageFeatures()
    both, reverse = embedder.encode(pictures(range(20))), embedder.encode(pictures(range(19, -1, -1)))
    assert both.tobytes() == reverse[::-1].tobytes()


@pytest.mark.slow
@pytest.mark.skipif(not OMNIGLOT.is_file(), reason="needs omniglot-small, in the folder that CURATE_DATA names")
def test_clusters_of_omniglot_are_characters():
    """136 characters, 20 drawings of each: the mutual information is 0.65, at chance 0.40."""
    with zipfile.ZipFile(OMNIGLOT) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        images = to_images([archive.read(name) for name in names])
    characters = np.unique([str(Path(name).parent) for name in names], return_inverse=True)[1]
    vectors = ImageFeatures(color_weight=0).encode(images)
    clusters = KMeans(136, n_init=1, random_state=0).fit_predict(vectors)
    chance = normalized_mutual_info_score(characters, np.random.default_rng(0).permutation(clusters))
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    assert normalized_mutual_info_score(characters, clusters) > chance + 0.2
    assert (characters[similar.argmax(axis=1)] == characters).mean() > 0.6


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_file(), reason="needs mnist10k, in the folder that CURATE_DATA names")
def test_k_center_covers_mnist_better_than_a_uniform_selection():
    digits = np.load(MNIST)["x"][:3_000].reshape(-1, 28, 28)
    images = to_images([encode_png(np.repeat(digit[..., None], 3, axis=2).astype(np.uint8)) for digit in digits])
    vectors = ImageFeatures(color_weight=0).encode(images)
    n = len(vectors)
    pool = Pool(vectors, np.zeros(n, np.float32), np.zeros(n, np.int32))
    rng = np.random.default_rng(0)
    chosen = KCenter().select(pool, 150, rng).indices

    def radius(rows):
        return float((1 - (vectors @ vectors[rows].T).max(axis=1)).max())

    uniform = [radius(rng.choice(n, 150, replace=False)) for _ in range(10)]
    assert radius(chosen) < 0.8 * min(uniform)


def test_the_modes_of_images_do_not_change_the_vector():
    from PIL import Image

    image = Image.open(io.BytesIO(picture(3))).convert("L")
    encoded = []
    for mode in ("L", "RGB", "RGBA", "LA"):
        file = io.BytesIO()
        image.convert(mode).save(file, "PNG")
        encoded.append(file.getvalue())
    assert cosines(encoded).min() > 0.9999
