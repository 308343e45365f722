"""Models that read images: a tiny CLIP that is built here."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import curate
from curate.errors import PluginError
from curate.kernels.parallel import THREADS_VARIABLE
from curate.plugins.embedders.sentence_transformers import SentenceTransformers
from tests import tiny_clip
from tests.encoded_images import needs_pillow, picture, pictures

pytestmark = [
    pytest.mark.slow,
    needs_pillow,
    pytest.mark.skipif(importlib.util.find_spec("sentence_transformers") is None, reason="needs sentence-transformers"),
    pytest.mark.xdist_group("configs"),  # one process loads the library
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_clip.build(tmp_path_factory.mktemp("clip")))


def test_images_get_the_vectors_of_the_library(model):
    import io

    from PIL import Image
    from sentence_transformers import SentenceTransformer

    vectors = SentenceTransformers(model=model, modality="image", device="cpu").encode(pictures(range(20)))
    decoded = [Image.open(io.BytesIO(picture(number))).convert("RGB") for number in range(20)]
    expected = SentenceTransformer(model, device="cpu").encode(decoded)
    assert vectors.shape == (20, 12)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert len(np.unique(vectors.round(4), axis=0)) == 20


def test_texts_and_images_have_vectors_of_the_same_space(model):
    texts = SentenceTransformers(model=model, device="cpu").encode(["a cat", "two dogs"])
    assert texts.shape == (2, 12)


def test_any_number_of_threads_gives_the_same_bytes(model, monkeypatch):
    embedder = SentenceTransformers(model=model, modality="image", device="cpu")
    found = set()
    for threads in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, threads)
        found.add(embedder.encode(pictures(range(40))).tobytes())
    assert len(found) == 1


def test_no_images_have_no_vectors(model):
    embedder = SentenceTransformers(model=model, modality="image", device="cpu")
    assert embedder.encode(pictures([])).shape == (0, 12)


def test_a_model_of_texts_is_refused(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)]).save_pretrained(str(tmp_path / "m"))
    with pytest.raises(PluginError, match=r"reads no images, but text.*set modality: text"):
        SentenceTransformers(model=str(tmp_path / "m"), modality="image").encode(pictures([1]))


def test_a_pool_is_selected_by_clip(model, tmp_path, monkeypatch, plain_map):
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(picture(number % 15))
    (tmp_path / "list.csv").write_text("image\n" + "".join(f"{number}.png\n" for number in range(20)))
    summary = curate.run(
        {
            "curate": 1,
            "run": "run",
            "input": {"files": "list.csv", "image": "image"},
            "embed": {"use": "sentence_transformers", "model": model, "modality": "image"},
            "cluster": {"use": "kmeans", "n_clusters": 2},
            "select": [{"use": "semdedup", "min_similarity": 0.999999}, {"use": "k_center", "keep": 5}],
        }
    )
    assert summary.kept == 5
    (semdedup,) = [entry for record in summary.records for entry in record.entries if entry.name == "semdedup"]
    assert sum(count.kept for count in semdedup.sources.values()) <= 15
