"""The contract of clusterers, tested for every clusterer; a new file in the folder needs no edit here.

Run as a script, this file writes the golden results again: ``python tests/contracts/test_every_clusterer.py``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.parallel import THREADS_VARIABLE
from curate.kernels.types import Vectors
from curate.plugins import registry
from curate.plugins.interfaces import ConfigReference
from curate.plugins.results import Clustering

ALL = registry.names("clusterer")
GOLDEN = Path(__file__).parents[1] / "golden"


# ---------------------------------------------------------------- building an instance and vectors for it


def declared(name):
    return registry.get("clusterer", name).traits


def build(name):
    record = registry.get("clusterer", name)
    return record.cls(**record.traits.example)


def annotations(cls):
    return {f.name: typing.get_type_hints(cls, include_extras=True)[f.name] for f in dataclasses.fields(cls)}


def markers(annotation):
    """Return all ``Annotated`` metadata of an annotation, also inside ``X | Y``."""
    result = list(getattr(annotation, "__metadata__", ()))
    return result + [mark for inner in typing.get_args(annotation) for mark in markers(inner)]


def rows_of(n, d, seed, *, twins=False):
    """Return (n, d) read-only unit rows; with ``twins`` the first half are all equal."""
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: (n + 1) // 2] = x[:1]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x.flags.writeable = False
    return x


def fit(name, x, seed=0, block=65_536):
    return build(name).fit(Vectors.from_array(x, block), np.random.default_rng(seed))


every_fitted_clusterer = pytest.mark.parametrize("name", [n for n in ALL if declared(n).reads == {"embedding"}])
every_column_clusterer = pytest.mark.parametrize("name", [n for n in ALL if declared(n).reads == {"column"}])
sizes = st.integers(1, 60)
dimensions = st.integers(1, 6)
seeds = st.integers(0, 2**16)


# ---------------------------------------------------------------- what comes out


@every_fitted_clusterer
@given(n=sizes, d=dimensions, seed=seeds, twins=st.booleans())
def test_centroids_are_unit_rows_no_more_than_the_vectors(name, n, d, seed, twins):
    clustering = fit(name, rows_of(n, d, seed, twins=twins), seed)
    assert isinstance(clustering, Clustering)
    assert clustering.centroids.dtype == np.float32
    assert clustering.centroids.shape[1:] == (d,)
    assert 1 <= len(clustering.centroids) <= n
    np.testing.assert_allclose(np.linalg.norm(clustering.centroids, axis=1), 1, atol=1e-5)


@every_fitted_clusterer
def test_facts_are_finite_numbers(name):
    facts = fit(name, rows_of(50, 4, 0)).facts
    assert all(isinstance(fact, str) and math.isfinite(value) for fact, value in facts.items())
    json.dumps(dict(facts))


@every_fitted_clusterer
@given(n=sizes, d=dimensions, seed=seeds)
def test_same_seed_same_bytes_and_inputs_untouched(name, n, d, seed):
    x = rows_of(n, d, seed)
    before = x.tobytes()
    first, second = fit(name, x, seed), fit(name, x, seed)
    assert first.centroids.tobytes() == second.centroids.tobytes()
    assert dict(first.facts) == dict(second.facts)
    assert x.tobytes() == before


@pytest.mark.slow
@every_fitted_clusterer
def test_any_number_of_threads_gives_the_same_bytes(name, monkeypatch):
    x = rows_of(9_001, 8, 1)
    runs = set()
    for count in ("1", "4"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        runs.add(fit(name, x).centroids.tobytes())
    assert len(runs) == 1


@every_fitted_clusterer
def test_blocks_may_be_cut_anywhere(name):
    """Two groups far apart are found whether vectors come in one block or in many."""
    x = np.repeat(np.array([[1, 0, 0], [0, 0.6, 0.8]], np.float32), [30, 50], axis=0)
    for block in (1, 7, 80):
        similarity = x @ fit(name, x, block=block).centroids.T
        np.testing.assert_allclose(similarity.max(axis=1), 1, atol=1e-5)


@every_fitted_clusterer
def test_one_row_and_rows_that_are_all_the_same_are_one_cluster(name):
    row = rows_of(1, 5, 2)
    for n in (1, 2, 30):
        np.testing.assert_allclose(fit(name, np.tile(row, (n, 1))).centroids, row, atol=1e-5)


@every_column_clusterer
def test_a_column_clusterer_names_its_column_and_has_nothing_to_fit(name):
    cls = registry.get("clusterer", name).cls
    assert ConfigReference("column") in markers(annotations(cls)["column"])
    assert not hasattr(cls, "fit")


# ---------------------------------------------------------------- golden results


def golden_result(name):
    """Return centroids of 60 rows from closed formulas, independent of library versions."""
    x = np.sin(np.outer(np.arange(60) + 1, [1.0, 1.7, 2.9, 4.3]))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return fit(name, x).centroids.astype(float).round(5).tolist()


def golden_files():
    for path in sorted(GOLDEN.glob("*.json")):
        if json.loads(path.read_text())["kind"] == "clusterer":
            yield pytest.param(path, id=path.stem)


@pytest.mark.parametrize("path", list(golden_files()))
def test_golden_result_changes_only_with_the_version(path):
    name, version = path.stem.rsplit(".v", 1)
    assert declared(name).version == int(version), "a new version: write the golden results again (see the top)"
    expected = json.loads(path.read_text())["result"]
    np.testing.assert_allclose(golden_result(name), expected, atol=3e-5)


def write_golden():
    for name in ALL:
        if declared(name).reads == {"embedding"}:
            for old in GOLDEN.glob(f"{name}.v*.json"):
                old.unlink()
            text = json.dumps({"kind": "clusterer", "result": golden_result(name)}, allow_nan=False)
            (GOLDEN / f"{name}.v{declared(name).version}.json").write_text(text + "\n")


if __name__ == "__main__":
    write_golden()
