"""Sources that vary like the buyer's data are relevant, and others are diverse."""

from __future__ import annotations

import numpy as np
import pytest

from curate.errors import PluginError
from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.source_value import SourceValue

NAMES = ("alike", "buyer", "narrow")


def sources(rng, n=600, d=8):
    """Return three sources: two that vary in the same directions, and one that varies in another."""
    scale = np.array([[2, 1, 1, 0.5, 0.1, 0.1, 0.1, 0.1]] * 2 + [[0.1, 0.1, 0.1, 0.1, 2, 1, 1, 0.5]])
    groups = np.arange(n).astype(np.int32) % 3
    x = (rng.standard_normal((n, d)) * scale[groups]).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), groups


def score(x, groups, **fields):
    batch = ScoreBatch(embeddings=x, groups=groups, group_names=NAMES)
    return SourceValue(**{"buyer": "buyer", **fields}).score(batch, np.random.default_rng(0))


def test_all_rows_of_a_source_have_its_value():
    x, groups = sources(np.random.default_rng(0))
    groups[0] = -1
    result = score(x, groups)
    assert np.isnan(result.values[0]).all()
    alike, buyer, narrow = (result.values[groups == group] for group in range(3))
    for part in (alike, buyer, narrow):
        assert (part == part[0]).all()
    assert buyer[0] == pytest.approx([1, 0.001], abs=1e-6)
    assert alike[0, 0] > 0.7
    assert narrow[0, 0] < 0.3
    assert alike[0, 1] < narrow[0, 1]
    assert 4 <= result.facts["directions"] <= 8


def test_an_unknown_buyer_is_an_error_that_lists_the_sources():
    with pytest.raises(PluginError, match="no row of the pool has the source 'nobody'") as error:
        score(*sources(np.random.default_rng(0)), buyer="nobody")
    assert error.value.hint == "set `buyer` to one of 'alike', 'buyer', 'narrow'"


def test_a_buyer_whose_rows_are_the_same_gets_a_warning():
    x, groups = sources(np.random.default_rng(1), 12)
    x[groups == 1] = x[1]
    result = score(x, groups)
    assert np.isnan(result.values).all()
    assert result.warnings == ("the rows of 'buyer' are all the same, so that no source has a value",)
