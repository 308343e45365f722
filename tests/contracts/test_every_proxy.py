"""What every proxy is held to, whoever wrote it: a new file in the folder is picked up without an edit here.

Run as a script, this file writes the golden results again: ``python tests/contracts/test_every_proxy.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.parallel import THREADS_VARIABLE
from curate.plugins import registry

ALL = registry.names("proxy")
GOLDEN = Path(__file__).parents[1] / "golden"


def declared(name):
    return registry.get("proxy", name).traits


def build(name):
    plugin = registry.get("proxy", name)
    return plugin.cls(**plugin.traits.example)


TRAINED = [name for name in ALL if "log" not in declared(name).reads]
RECORDED = [name for name in ALL if "log" in declared(name).reads]
every_trained_proxy = pytest.mark.parametrize("name", TRAINED)


def labelled(n, classes, seed):
    """(n, 6) unit rows around a direction of their class, and the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n).astype(np.int32)
    x = np.eye(6)[labels % 6] + 0.3 * rng.standard_normal((n, 6))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    x.flags.writeable = labels.flags.writeable = False
    return x, labels


def judged(name, x, labels, classes, seed=0):
    proxy = build(name)
    return np.stack(list(proxy.predict(proxy.train(x, labels, classes, np.random.default_rng(seed)), x)))


@pytest.mark.parametrize("name", ALL)
def test_it_reads_labels_and_either_embeddings_or_a_log(name):
    assert declared(name).reads in ({"label", "embedding"}, {"label", "log"})


@every_trained_proxy
@given(n=st.integers(1, 40), classes=st.integers(2, 5), seed=st.integers(0, 99))
def test_one_matrix_of_probabilities_an_epoch_and_run(name, n, classes, seed):
    found = judged(name, *labelled(n, classes, seed), classes)
    proxy = build(name)
    assert found.shape == (proxy.runs * proxy.epochs, n, classes)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-4)


@every_trained_proxy
def test_it_learns(name):
    x, labels = labelled(300, 5, 1)
    found = judged(name, x, labels, 5)
    assert (found[-1].argmax(axis=1) == labels).mean() > 0.95


@every_trained_proxy
def test_same_seed_same_bytes_on_any_number_of_threads(name, monkeypatch):
    rows, found = labelled(5_000, 5, 2), set()
    for count in ("1", "1", "4"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        found.add(judged(name, *rows, 5).tobytes())
    assert len(found) == 1


@every_trained_proxy
def test_a_row_is_judged_alike_whatever_rows_are_beside_it(name):
    x, labels = labelled(50, 4, 3)
    proxy = build(name)
    state = proxy.train(x, labels, 4, np.random.default_rng(0))
    whole = np.stack(list(proxy.predict(state, x)))
    parts = [np.stack(list(proxy.predict(state, x[part]))) for part in (slice(0, 1), slice(1, 50))]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-6)


@every_trained_proxy
def test_what_is_learnt_is_arrays_without_objects(name):
    state = build(name).train(*labelled(20, 3, 0), 3, np.random.default_rng(0))
    assert all(isinstance(key, str) and isinstance(array, np.ndarray) for key, array in state.items())
    assert not any(array.dtype.hasobject for array in state.values())


@pytest.mark.parametrize("name", RECORDED)
def test_a_log_of_logits_and_one_of_their_probabilities_say_the_same(name):
    logits = np.random.default_rng(0).standard_normal((8, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = [
        build(name).probabilities(pa.table({kind: v.tolist()}))
        for kind, v in (("logits", logits), ("probabilities", p))
    ]
    np.testing.assert_allclose(found[0], p, atol=1e-6)
    np.testing.assert_allclose(found[1], p, atol=1e-6)
    assert found[0].dtype == found[1].dtype == np.float32


# ---------------------------------------------------------------- golden results


def golden_result(name):
    """The last epoch of each run, on 12 rows from closed formulas."""
    i = np.arange(12)
    x = np.sin(np.outer(i + 1, [1.0, 1.7, 2.9, 4.3]))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    found = judged(name, x, (i % 3).astype(np.int32), 3)
    proxy = build(name)
    return found[proxy.epochs - 1 :: proxy.epochs].astype(float).round(4).tolist()


@every_trained_proxy
def test_golden_result_changes_only_with_the_version(name):
    path = GOLDEN / f"{name}.v{declared(name).version}.json"
    assert path.exists(), "a new version: write the golden results again (see the top)"
    np.testing.assert_allclose(golden_result(name), json.loads(path.read_text())["result"], atol=3e-4)


def write_golden():
    for name in TRAINED:
        for old in GOLDEN.glob(f"{name}.v*.json"):
            if json.loads(old.read_text())["kind"] == "proxy":
                old.unlink()
        text = json.dumps({"kind": "proxy", "result": golden_result(name)}, allow_nan=False)
        (GOLDEN / f"{name}.v{declared(name).version}.json").write_text(text + "\n")


if __name__ == "__main__":
    write_golden()
