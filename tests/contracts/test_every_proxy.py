"""The contract of proxies, tested for every proxy; a new file in the folder needs no edit here.

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
from curate.kernels.stats.softmax import softmax
from curate.plugins import registry
from curate.plugins.dynamics import Dynamics, compute_logits

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


def labeled(n, classes, seed):
    """Return (n, 6) unit rows around a direction of their class, and the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n).astype(np.int32)
    x = np.eye(6)[labels % 6] + 0.3 * rng.standard_normal((n, 6))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    x.flags.writeable = labels.flags.writeable = False
    return x, labels


def judged(name, x, labels, classes, seed=0):
    proxy = build(name)
    return predict(proxy, proxy.train(x, labels, classes, np.random.default_rng(seed)), x)


def predict(proxy, state, x):
    """Return the probabilities (runs × epochs, n, classes)."""
    steps = [(run, epoch) for run in range(proxy.runs) for epoch in range(proxy.epochs)]
    return np.stack([softmax(compute_logits(proxy, state, x, *step)) for step in steps])


@pytest.mark.parametrize("name", ALL)
def test_it_reads_labels_and_either_embeddings_or_a_log(name):
    assert declared(name).reads in ({"label", "embedding"}, {"label", "log"})


@every_trained_proxy
@given(n=st.integers(1, 40), classes=st.integers(2, 5), seed=st.integers(0, 99))
def test_one_matrix_of_probabilities_an_epoch_and_run(name, n, classes, seed):
    result = judged(name, *labeled(n, classes, seed), classes)
    proxy = build(name)
    assert result.shape == (proxy.runs * proxy.epochs, n, classes)
    assert result.dtype == np.float32
    assert (result >= 0).all()
    np.testing.assert_allclose(result.sum(axis=2), 1, atol=1e-4)


@every_trained_proxy
def test_the_network_is_trained(name):
    x, labels = labeled(300, 5, 1)
    result = judged(name, x, labels, 5)
    assert (result[-1].argmax(axis=1) == labels).mean() > 0.95


@every_trained_proxy
def test_same_seed_same_bytes_on_any_number_of_threads(name, monkeypatch):
    rows, result = labeled(5_000, 5, 2), set()
    for count in ("1", "1", "4"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        result.add(judged(name, *rows, 5).tobytes())
    assert len(result) == 1


@every_trained_proxy
def test_the_result_of_a_row_does_not_depend_on_other_rows(name):
    x, labels = labeled(50, 4, 3)
    proxy = build(name)
    state = proxy.train(x, labels, 4, np.random.default_rng(0))
    complete = predict(proxy, state, x)
    parts = [predict(proxy, state, x[part]) for part in (slice(0, 1), slice(1, 50))]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), complete, rtol=1e-4, atol=1e-6)


@every_trained_proxy
def test_training_continues_from_a_fitted_state(name):
    x, labels = labeled(300, 5, 1)
    proxy = build(name)
    state = proxy.train(x, labels, 5, np.random.default_rng(0))
    longer = proxy.train(x, labels, 5, np.random.default_rng(1), state)
    losses = [
        Dynamics.from_probabilities(labels, predict(proxy, each, x)[None]).statistic("loss").mean(axis=2)[0]
        for each in (state, longer)
    ]
    assert losses[1][0] < losses[0][-1] + 0.05
    assert losses[1][-1] < losses[0][-1]


@pytest.mark.parametrize("name", [name for name in TRAINED if declared(name).input_gradients])
def test_input_gradients_equal_finite_differences(name):
    x, labels = labeled(40, 4, 3)
    proxy = build(name)
    state = proxy.train(x, labels, 4, np.random.default_rng(0))
    gradients = proxy.input_gradients(state, x, labels, 0, 1)
    assert (gradients.dtype, gradients.shape) == (np.float32, x.shape)
    rows, step = np.arange(40), 1e-3
    for column in range(x.shape[1]):
        moved = np.zeros_like(x)
        moved[:, column] = step
        up, down = (compute_logits(proxy, state, x + sign * moved, 0, 1)[rows, labels] for sign in (1, -1))
        error = np.abs((up - down) / (2 * step) - gradients[:, column])
        assert np.median(error) < 0.01  # a unit may switch on or off within the step
        assert (error < 0.05).mean() > 0.9


@every_trained_proxy
def test_fitted_state_is_arrays_without_objects(name):
    state = build(name).train(*labeled(20, 3, 0), 3, np.random.default_rng(0))
    assert all(isinstance(key, str) and isinstance(array, np.ndarray) for key, array in state.items())
    assert not any(array.dtype.hasobject for array in state.values())


@pytest.mark.parametrize("name", RECORDED)
def test_a_log_of_logits_equals_one_of_their_probabilities(name):
    logits = np.random.default_rng(0).standard_normal((8, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    result = [
        softmax(build(name).read(pa.table({kind: v.tolist()})).logits)
        for kind, v in (("logits", logits), ("probabilities", p))
    ]
    np.testing.assert_allclose(result[0], p, atol=1e-6)
    np.testing.assert_allclose(result[1], p, atol=1e-6)
    assert result[0].dtype == result[1].dtype == np.float32


# ---------------------------------------------------------------- golden results


def golden_result(name):
    """Return the last epoch of each run, on 12 rows from closed formulas."""
    i = np.arange(12)
    x = np.sin(np.outer(i + 1, [1.0, 1.7, 2.9, 4.3]))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    result = judged(name, x, (i % 3).astype(np.int32), 3)
    proxy = build(name)
    return result[proxy.epochs - 1 :: proxy.epochs].astype(float).round(4).tolist()


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
