"""Selectors that compare with published rows: those stay, their duplicates go, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from curate.kernels.types import Texts
from curate.plugins import registry
from curate.plugins.batches import Pool, PublishedRows
from tests.encoded_images import HAS_PILLOW, pictures

READS = {name: registry.get("selector", name).traits.reads for name in registry.names("selector")}
REMEMBERING = [
    name
    for name, reads in READS.items()
    if registry.get("selector", name).traits.sketch is not None
    and (HAS_PILLOW or "image" not in reads or "text" in reads)
]
BY_TEXT = [name for name in REMEMBERING if "text" in READS[name]]


def build(name, **fields):
    record = registry.get("selector", name)
    return record.cls(**{**record.traits.example, **fields})


def pool_of(name, seeds, quality=None):
    """Return a pool in which rows with equal seeds are equal in everything that a selector reads."""
    reads, n = registry.get("selector", name).traits.reads, len(seeds)
    rows = [np.random.default_rng(seed) for seed in seeds]
    x = np.array([r.standard_normal(16) for r in rows], np.float32).reshape(n, 16)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    texts = [" ".join(f"w{word}" for word in r.integers(0, 10**6, 30)) for r in rows]
    return Pool(
        x if "embedding" in reads else x[:, :0],
        np.zeros(n, np.float32) if quality is None else np.asarray(quality, np.float32),
        np.zeros(n, np.int32),
        texts=Texts.from_list(texts, block=3) if "text" in reads else None,
        images=pictures(seeds) if "image" in reads else None,
    )


def against(selector, pool, published, held=(), parts=2):
    """Select from the pool, given the published sketches in several parts."""
    sketches = selector.sketch(published)
    cuts = np.linspace(0, len(sketches), parts + 1).astype(int)
    tables = [sketches.slice(start, stop - start) for start, stop in pairwise(cuts)]
    mask = np.zeros(len(pool), np.bool_)
    mask[list(held)] = True
    message = PublishedRows(mask, tuple(map(len, tables)), lambda part, names: tables[part].select(list(names)))
    return replace(pool, published=message)


def select(selector, pool):
    return selector.select(pool, None, np.random.default_rng(0)).check(len(pool), None)


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_copy_of_a_published_row_is_dropped_and_names_it(name):
    selector, pool = build(name), pool_of(name, [5, 1, 6, 3])
    result = select(selector, against(selector, pool, pool_of(name, [1, 2, 3])))
    assert sorted(result.indices) == [0, 2]
    assert result.representative.tolist() == [-1, 4 + 0, -1, 4 + 2]
    np.testing.assert_allclose(result.similarity[[1, 3]], 1, atol=1e-5)


@pytest.mark.parametrize("name", REMEMBERING)
def test_similar_published_rows_are_kept(name):
    """Rows 0 and 2 were published with the same content; row 1 is a new copy, and row 3 is new."""
    selector, pool = build(name), pool_of(name, [1, 1, 1, 4])
    result = select(selector, against(selector, pool, pool_of(name, [1, 1]), held=[0, 2]))
    assert sorted(result.indices) == [0, 2, 3]
    assert result.representative[1] in (4, 5)


@pytest.mark.parametrize("name", REMEMBERING)
@pytest.mark.parametrize("parts", [1, 3])
def test_with_nothing_published_all_is_as_it_was(name, parts):
    selector, pool = build(name), pool_of(name, [1, 2, 1, 3, 2])
    alone, reference = select(selector, pool), select(selector, against(selector, pool, pool_of(name, []), parts=parts))
    for field in ("indices", "gain", "representative", "similarity"):
        np.testing.assert_array_equal(getattr(alone, field), getattr(reference, field))


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_fully_published_pool_is_kept(name):
    selector, pool = build(name), pool_of(name, [1, 2, 1])
    result = select(selector, against(selector, pool, pool, held=[0, 1, 2]))
    assert sorted(result.indices) == [0, 1, 2]


@pytest.mark.parametrize("name", BY_TEXT)
@pytest.mark.parametrize("linkage", ["direct", "connected"])
@pytest.mark.parametrize("seed", range(6))
def test_same_as_one_pool_with_the_published_rows_first(name, linkage, seed):
    """Texts of few words, so that there are duplicates, and near-duplicates of all degrees."""
    fields = {} if name == "exact_duplicates" else {"min_similarity": 0.4, "ngram_size": 2, "linkage": linkage}
    selector, r = build(name, **fields), np.random.default_rng(seed)
    texts = [
        " ".join(f"w{word}" for word in row) for row in r.integers(0, 3, (60, 4 if name == "exact_duplicates" else 6))
    ]

    def pool(some):
        zeros = np.zeros(len(some), np.float32)
        return Pool(np.zeros((len(some), 0), np.float32), zeros, zeros.astype(np.int32), texts=Texts.from_list(some))

    published = [texts[row] for row in np.sort(select(selector, pool(texts[:30])).indices)]
    m, new = len(published), texts[30:]
    together = select(selector, pool([*published, *new]))
    reference = select(selector, against(selector, pool(new), pool(published)))
    representatives = together.representative[m:]
    expected = np.where(
        representatives < 0, -1, np.where(representatives < m, representatives + len(new), representatives - m)
    )
    assert reference.representative.tolist() == expected.tolist()
    assert (expected >= len(new)).any()
    np.testing.assert_array_equal(reference.similarity, together.similarity[m:])
