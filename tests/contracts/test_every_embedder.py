"""The contract of embedders, tested for every embedder; a new file in the folder needs no edit here.

Run as a script, this file writes the golden results again: ``python tests/contracts/test_every_embedder.py``.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.parallel import THREADS_VARIABLE
from curate.kernels.types import Images
from curate.plugins import registry
from curate.plugins.interfaces import ConfigReference
from curate.plugins.language_models import take_rows
from tests.encoded_images import needs_pillow, pictures
from tests.fake_models import outputs_of

ALL = registry.names("embedder")
GOLDEN = Path(__file__).parents[1] / "golden"
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "A fox is quick, and a dog is lazy.",
    "x = [i**2 for i in range(10)]\nprint(x)",
    "def square(x):\n    return x**2",
    "Größe und 東京, naïve café; 3.14",
    "東京は大きい",
    "!!! ??? --- ###",
    "🎉",
    "a",
    "word " * 40,
]


# ---------------------------------------------------------------- building an instance and input for it


def declared(name):
    return registry.get("embedder", name).traits


def build(name):
    record = registry.get("embedder", name)
    return record.cls(**record.traits.example)


def annotations(cls):
    return {f.name: typing.get_type_hints(cls, include_extras=True)[f.name] for f in dataclasses.fields(cls)}


def markers(annotation):
    """Return all ``Annotated`` metadata of an annotation, also inside ``X | Y``."""
    result = list(getattr(annotation, "__metadata__", ()))
    return result + [mark for inner in typing.get_args(annotation) for mark in markers(inner)]


def self_contained(name):
    """Return whether the plugin needs no downloaded model; those that do have separate tests."""
    return declared(name).reads == {"model"} or "model" not in annotations(registry.get("embedder", name).cls)


def values(name, rows):
    """Return ``rows`` rows of the embedder's input."""
    texts = [TEXTS[i % len(TEXTS)] + (f" {i}" if i >= len(TEXTS) else "") for i in range(rows)]
    if declared(name).reads == {"text"}:
        return texts
    if declared(name).reads == {"image"}:
        return pictures(range(rows))
    if declared(name).reads == {"model"}:
        requests = build(name).requests(target=False)
        return tuple(outputs_of(one.request, np.arange(rows)) for one in requests)
    return pa.array([[float(len(text)), float(i), 1.0] for i, text in enumerate(texts)], pa.list_(pa.float32()))


def take(rows, chosen):
    if isinstance(rows, tuple):
        return tuple(take_rows(outputs, np.array(chosen, np.intp)) for outputs in rows)
    if isinstance(rows, Images):
        return rows.take(np.array(chosen, np.intp))
    return rows.take(pa.array(chosen, pa.int64())) if isinstance(rows, pa.Array) else [rows[i] for i in chosen]


def encoder(name, sample, seed=0):
    plugin = build(name)
    return plugin.restore(plugin.fit(sample, np.random.default_rng(seed))) if declared(name).fits else plugin


def installed(name):
    return pytest.param(name, marks=[needs_pillow] if declared(name).reads == {"image"} else [])


every_embedder = pytest.mark.parametrize("name", ALL)
every_self_contained_embedder = pytest.mark.parametrize("name", [installed(n) for n in ALL if self_contained(n)])


# ---------------------------------------------------------------- what comes out


@every_self_contained_embedder
@given(rows=st.integers(1, 30), sample=st.integers(1, 30), seed=st.integers(0, 99))
def test_vectors_are_finite_float32_rows_none_of_them_zero(name, rows, sample, seed):
    vectors = encoder(name, values(name, sample), seed).encode(values(name, rows))
    assert vectors.dtype == np.float32
    assert vectors.ndim == 2
    assert len(vectors) == rows
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).all()


@every_self_contained_embedder
def test_no_rows_give_no_vectors_of_the_usual_length(name):
    embedder = encoder(name, values(name, 20))
    assert embedder.encode(values(name, 0)).shape == (0, embedder.encode(values(name, 3)).shape[1])


@every_self_contained_embedder
@given(order=st.permutations(range(12)), cut=st.integers(0, 12))
def test_a_vector_does_not_depend_on_other_rows(name, order, cut):
    embedder, rows = encoder(name, values(name, 20)), values(name, 12)
    expected = embedder.encode(rows)[list(order)]
    parts = [embedder.encode(take(rows, part)) for part in (list(order[:cut]), list(order[cut:]))]
    assert np.concatenate(parts).tobytes() == expected.tobytes()


@every_self_contained_embedder
def test_same_seed_same_bytes_on_any_number_of_threads(name, monkeypatch):
    rows, runs = values(name, 300), set()
    for count in ("1", "1", "4"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        runs.add(encoder(name, rows, 7).encode(rows).tobytes())
    assert len(runs) == 1


@every_self_contained_embedder
def test_fitted_state_is_arrays_without_objects(name):
    plugin = build(name)
    if not declared(name).fits:
        assert not hasattr(plugin, "fitted")
        return
    state = plugin.fit(values(name, 20), np.random.default_rng(0))
    assert all(isinstance(key, str) and isinstance(array, np.ndarray) for key, array in state.items())
    assert not any(array.dtype.hasobject for array in state.values())


@every_self_contained_embedder
def test_a_fitted_embedder_measures_drift_if_and_only_if_that_is_declared(name):
    assert hasattr(encoder(name, values(name, 20)), "fidelity") == declared(name).fidelity
    assert declared(name).fits or not declared(name).fidelity


@pytest.mark.parametrize("name", [name for name in ALL if declared(name).reads == {"column"}])
def test_a_column_embedder_names_its_column(name):
    assert ConfigReference("column") in markers(annotations(registry.get("embedder", name).cls)["column"])


@pytest.mark.parametrize("name", [name for name in ALL if not self_contained(name)])
def test_an_embedder_with_a_model_describes_it(name):
    assert declared(name).revision


# ---------------------------------------------------------------- how it is written


@every_embedder
def test_importing_it_loads_no_heavy_library(name):
    module = registry.get("embedder", name).cls.__module__
    heavy = "{'sklearn', 'torch', 'sentence_transformers', 'PIL'}"
    program = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == ""


# ---------------------------------------------------------------- golden results


def golden_result(name):
    """Return the cosines between the texts, which do not depend on a rotation of the vectors."""
    rows = values(name, len(TEXTS))
    vectors = encoder(name, rows).encode(rows).astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors @ vectors.T).round(4).tolist()


def golden_files():
    for path in sorted(GOLDEN.glob("*.json")):
        if json.loads(path.read_text())["kind"] == "embedder":
            yield pytest.param(path, id=path.stem, marks=installed(path.stem.partition(".")[0]).marks)


@every_self_contained_embedder
def test_every_embedder_has_a_golden_result(name):
    assert (GOLDEN / f"{name}.v{declared(name).version}.json").exists(), "write the golden results (see the top)"


@pytest.mark.parametrize("path", list(golden_files()))
def test_golden_result_changes_only_with_the_version(path):
    name, version = path.stem.rsplit(".v", 1)
    assert declared(name).version == int(version), "a new version: write the golden results again (see the top)"
    np.testing.assert_allclose(golden_result(name), json.loads(path.read_text())["result"], atol=3e-4)


def write_golden():
    for name in ALL:
        if self_contained(name):
            for old in GOLDEN.glob(f"{name}.v*.json"):
                if json.loads(old.read_text())["kind"] == "embedder":
                    old.unlink()
            text = json.dumps({"kind": "embedder", "result": golden_result(name)}, allow_nan=False)
            (GOLDEN / f"{name}.v{declared(name).version}.json").write_text(text + "\n")


if __name__ == "__main__":
    write_golden()
