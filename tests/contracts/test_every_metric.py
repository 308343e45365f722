"""The contract of metrics, tested for every metric; a new file in the folder needs no edit here.

Run as a script, this file writes the golden results again: ``python tests/contracts/test_every_metric.py``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from pathlib import Path

import annotated_types
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.parallel import THREADS_VARIABLE
from curate.plugins import registry
from curate.plugins.batches import MetricInput
from curate.plugins.fields import fields
from curate.plugins.results import MetricResult
from curate.pool import embedding_matrix

ALL = registry.names("metric")
GOLDEN = Path(__file__).parents[1] / "golden"
SUPPLIED = {
    "embedding": ("embeddings",),
    "cluster": ("cluster",),
    "label": ("label",),
    "source": ("source",),
    "content": ("content",),
    "tokens": ("tokens",),
    "text": ("texts",),
}
TESTED = {"embedding": "test_embeddings", "label": "test_label", "text": "test_texts"}
CLASSES = ("a", "b", "c", "d")
SAME_AS_THE_POOL = {
    "coverage.mean_distance": 0,
    "coverage.radius": 0,
    "coverage.cluster_rate": 1,
    "mauve": 1,
    "mauve.frontier_integral": 0,
    "sliced_wasserstein": 0,
    "optimal_transport": 0,
    "mmd": 0,
    "neighborhood.recall": 1,
    "neighborhood.density": 1,
    "neighborhood.coverage": 1,
    "balance.label_distance": 0,
    "balance.labels_missing": 0,
    "balance.source_distance": 0,
    "balance.sources_missing": 0,
    "tokens.rate": 1,
}
"""The value that theory gives for a selection of every row."""


# ---------------------------------------------------------------- building an instance and a trial for it


def declared(name):
    return registry.get("metric", name).traits


def build(name):
    record = registry.get("metric", name)
    return record.cls(**record.traits.example)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def trial_of(name, parts, chosen, weight=None):
    """Return inputs with only what the metric reads; arrays are read-only."""
    reads = declared(name).reads
    supplied = {part for read in reads for part in SUPPLIED.get(read, ())}
    supplied |= {TESTED[read] for read in reads if "test" in reads and read in TESTED}
    given = {part: parts[part] for part in supplied} | {"selected": np.asarray(chosen, np.intp), "weight": weight}
    for array in given.values():
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return MetricInput(n=len(parts["embeddings"]), classes=CLASSES if "label" in reads else (), **given)


def make_parts(n, seed, *, d=5, twins=False, tests=9):
    """Return n rows and some test rows; with ``twins`` the second half repeats the first."""
    rng = np.random.default_rng(seed)
    rows = np.arange(n) % ((n + 1) // 2) if twins else np.arange(n)
    words = np.array(["alpha", "beta", "gamma", "delta", "x"])
    texts = [" ".join(words[rng.integers(0, 5, 1 + int(rng.integers(4)))]) + f" {i}" for i in range(n)]
    return {
        "embeddings": unit(rng.standard_normal((n, d)))[rows],
        "cluster": rng.integers(-1, 3, n).astype(np.int32)[rows],
        "label": rng.integers(-1, 3, n).astype(np.int32)[rows],
        "source": rng.integers(0, 2, n).astype(np.int32)[rows],
        "content": rows.astype(np.int32),
        "tokens": rng.integers(1, 9, n).astype(np.int32)[rows],
        "texts": [texts[row] for row in rows],
        "test_embeddings": unit(rng.standard_normal((tests, d))),
        "test_label": rng.integers(0, 4, tests).astype(np.int32),
        "test_texts": [" ".join(words[rng.integers(0, 5, 3)]) + "!" for _ in range(tests)],
    }


def choice(n, share, seed):
    return np.random.default_rng(seed).permutation(n)[: max(1, int(share * n))]


def permuted(parts, chosen, rows):
    """Return the pool in the order ``rows``, and the positions of the selected rows in it."""
    moved = dict(parts)
    for part in ("embeddings", "cluster", "label", "source", "content", "tokens"):
        moved[part] = parts[part][rows]
    moved["texts"] = [parts["texts"][row] for row in rows]
    return moved, np.argsort(rows)[chosen]


def measure(name, trial, seed=0):
    return build(name).measure(trial, np.random.default_rng(seed))


def contents(trial):
    values = [getattr(trial, field.name) for field in dataclasses.fields(trial)]
    return [value.tobytes() if isinstance(value, np.ndarray) else repr(value) for value in values]


def comparable(measured):
    return (
        {name: float(value).hex() for name, value in measured.values.items()},
        None if measured.hits is None else measured.hits.tobytes(),
        measured.notes,
    )


def check(name, measured, tests):
    """Check the properties that hold for every result."""
    columns = declared(name).measures
    assert isinstance(measured, MetricResult)
    assert list(measured.values) == [column.name for column in columns]
    for column, value in zip(columns, measured.values.values(), strict=True):
        assert type(value) is float, column.name
        low, high = column.range
        assert math.isnan(value) or (low <= value <= high and math.isfinite(value)), (column.name, value)
    if any(math.isnan(value) for value in measured.values.values()):
        assert measured.notes, "a number that is not defined says why"
    assert all(note and not note.endswith(".") for note in measured.notes)
    if measured.hits is not None:
        assert measured.hits.dtype == np.bool_
        assert measured.hits.shape == (tests,)
        assert measured.values["accuracy"] == measured.hits.mean()


every_metric = pytest.mark.parametrize("name", ALL)
every_learner = pytest.mark.parametrize("name", [name for name in ALL if declared(name).learns])
sizes = st.integers(1, 40)
seeds = st.integers(0, 2**16)


# ---------------------------------------------------------------- what comes out


@every_metric
@given(n=sizes, d=st.integers(1, 6), seed=seeds, share=st.floats(0, 1), twins=st.booleans(), weighted=st.booleans())
def test_declared_numbers_in_declared_order_within_their_ranges(name, n, d, seed, share, twins, weighted):
    chosen = choice(n, share, seed)
    weight = np.linspace(0.5, 2, len(chosen), dtype=np.float32) if weighted else None
    check(name, measure(name, trial_of(name, make_parts(n, seed, d=d, twins=twins), chosen, weight), seed), tests=9)


@every_metric
@given(n=sizes, seed=seeds, share=st.floats(0, 1))
def test_same_seed_same_answer_any_if_nothing_is_drawn_and_inputs_untouched(name, n, seed, share):
    trial = trial_of(name, make_parts(n, seed), choice(n, share, seed))
    before = contents(trial)
    again = seed if declared(name).random else seed + 1
    assert comparable(measure(name, trial, seed)) == comparable(measure(name, trial, again))
    assert contents(trial) == before


@pytest.mark.slow
@every_metric
def test_any_number_of_threads_gives_the_same_bytes(name, monkeypatch):
    """9,001 rows, and 1,100 test rows, are more than one block for every metric."""
    trial = trial_of(name, make_parts(9_001, 5, d=8, tests=1_100), choice(9_001, 0.3, 5))
    answers = set()
    for count in ("1", "3"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        answers.add(repr(comparable(measure(name, trial))))
    assert len(answers) == 1


@every_metric
@given(n=st.integers(2, 40), seed=seeds, share=st.floats(0, 1), twins=st.booleans())
def test_another_order_of_the_pool_changes_nothing(name, n, seed, share, twins):
    parts, chosen = make_parts(n, seed, twins=twins), choice(n, share, seed)
    rows = np.random.default_rng(seed + 1).permutation(n)
    here = measure(name, trial_of(name, parts, chosen), seed)
    there = measure(name, trial_of(name, *permuted(parts, chosen, rows)), seed)
    np.testing.assert_allclose(list(there.values.values()), list(here.values.values()), rtol=1e-4, atol=1e-5)
    assert there.notes == here.notes


@pytest.mark.slow
@every_metric
def test_another_order_of_a_pool_that_is_sampled_changes_nothing(name):
    parts, chosen = make_parts(5_000, 3, d=6), choice(5_000, 0.9, 3)
    rows = np.random.default_rng(4).permutation(5_000)
    here = measure(name, trial_of(name, parts, chosen))
    there = measure(name, trial_of(name, *permuted(parts, chosen, rows)))
    np.testing.assert_allclose(list(there.values.values()), list(here.values.values()), rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- storage in float16


def from_float16(x):
    """Return unit rows as later stages read them from float16 storage."""
    values = pa.array(x.astype(np.float16).ravel())
    return embedding_matrix.to_matrix(pa.FixedSizeListArray.from_arrays(values, x.shape[1]))


@pytest.mark.parametrize("name", [name for name in ALL if "embedding" in declared(name).reads])
def test_values_of_rows_stored_in_float16_are_near_those_of_float32(name):
    """Half of the rows repeat others, which are chosen: equal rows must stay equal."""
    parts = make_parts(80, 3, d=16, twins=True, tests=20)
    stored = {key: from_float16(value) if "embeddings" in key else value for key, value in parts.items()}
    result, exact = (measure(name, trial_of(name, each, range(40))).values for each in (stored, parts))
    assert result == pytest.approx(exact, rel=1e-2, abs=2e-3, nan_ok=True)  # what is trained amplifies rounding
    if name == "coverage":
        assert (result["radius"], exact["radius"]) == (0, 0)


# ---------------------------------------------------------------- the ends


@every_metric
@pytest.mark.parametrize("n", [12, pytest.param(6_000, marks=pytest.mark.slow)])
def test_a_choice_of_everything_is_the_pool(name, n):
    measured = measure(name, trial_of(name, make_parts(n, 7, d=6), choice(n, 1, 7)))
    for column, value in measured.values.items():
        expected = SAME_AS_THE_POOL.get(".".join(filter(None, (name, column))))
        if expected is not None:
            assert value == pytest.approx(expected, abs=2e-3), column


def test_theory_speaks_of_columns_that_exist():
    columns = {".".join(filter(None, (name, c.name))) for name in ALL for c in declared(name).measures}
    assert set(SAME_AS_THE_POOL) <= columns


@every_metric
@pytest.mark.parametrize("n", [1, 2, 30])
def test_one_chosen_row(name, n):
    check(name, measure(name, trial_of(name, make_parts(n, 2), [n - 1])), tests=9)


@every_metric
@pytest.mark.parametrize("k", [1, 2, 30])
def test_rows_that_are_all_the_same(name, k):
    parts = make_parts(30, 2, twins=True)
    for part, value in parts.items():
        if not part.startswith("test"):
            parts[part] = [value[0]] * 30 if part == "texts" else np.repeat(value[:1], 30, axis=0)
    check(name, measure(name, trial_of(name, parts, np.arange(k))), tests=9)


@every_metric
def test_no_labels_and_no_clusters(name):
    parts = make_parts(20, 2)
    parts["label"], parts["cluster"] = np.full(20, -1, np.int32), np.full(20, -1, np.int32)
    check(name, measure(name, trial_of(name, parts, np.arange(9))), tests=9)


@every_learner
def test_no_test_rows(name):
    measured = measure(name, trial_of(name, make_parts(20, 2, tests=0), np.arange(9)))
    assert all(math.isnan(value) for value in measured.values.values())
    assert measured.notes


@every_learner
def test_training_weights_count(name):
    parts = make_parts(60, 8)
    chosen, weight = np.arange(50), np.where(np.arange(50) < 25, 20, 0.01).astype(np.float32)
    plain, weighted = (measure(name, trial_of(name, parts, chosen, w)).values for w in (None, weight))
    assert plain != weighted


@every_learner
def test_equal_weights_are_omitted(name):
    parts, chosen = make_parts(60, 8), np.arange(50)
    plain, weighted = (
        measure(name, trial_of(name, parts, chosen, w)).values for w in (None, np.full(50, 3, np.float32))
    )
    np.testing.assert_allclose(list(weighted.values()), list(plain.values()), rtol=1e-5)


# ---------------------------------------------------------------- a target


every_comparison = pytest.mark.parametrize("name", [name for name in ALL if "target" in declared(name).optional])


def compare(name, x, chosen, target, seed=0):
    """Compare some rows with target rows."""
    record = registry.get("metric", name)
    metric = record.cls(**record.traits.example, reference="target")
    trial = MetricInput(n=len(x), selected=np.asarray(chosen, np.intp), embeddings=x, target=target)
    return metric.measure(trial, np.random.default_rng(seed))


@every_comparison
@given(n=sizes, m=st.integers(0, 30), d=st.integers(2, 6), seed=seeds, share=st.floats(0, 1))
def test_a_comparison_with_a_target_says_what_each_part_of_it_contributes(name, n, m, d, seed, share):
    x, target = make_parts(n, seed, d=d)["embeddings"], make_parts(m, seed + 1, d=d)["embeddings"] if m else None
    target = np.zeros((0, d), np.float32) if target is None else target
    chosen = choice(n, share, seed)
    result = compare(name, x, chosen, target)
    check(name, result, tests=0)
    if m < 3:
        assert all(math.isnan(value) for value in result.values.values())
        assert len(chosen) == 1 or f"{m} test rows" in result.notes[0]
    elif result.parts is not None:
        for column, value in result.values.items():
            assert len(result.parts[column]) == min(m, 10)
            assert result.parts[column].mean() == pytest.approx(value, abs=1e-9)
    rows, others = np.random.default_rng(seed).permutation(n), np.random.default_rng(seed).permutation(m)
    again = compare(name, x[rows], np.argsort(rows)[chosen], target[others])
    np.testing.assert_allclose(list(again.values.values()), list(result.values.values()), rtol=1e-4, atol=1e-5)


@every_comparison
def test_rows_like_the_target_are_nearer_to_it_than_the_pool(name):
    rng = np.random.default_rng(0)
    pool = unit(rng.standard_normal((300, 8)) + np.repeat(np.eye(8)[:3] * 6, 100, axis=0))
    target = unit(rng.standard_normal((60, 8)) + np.eye(8)[0] * 6)
    near, uniform = compare(name, pool, np.arange(100), target), compare(name, pool, np.arange(0, 300, 3), target)
    for column in declared(name).measures:
        better = near.values[column.name] - uniform.values[column.name]
        difference = near.parts[column.name] - uniform.parts[column.name]
        assert (better > 0) == column.higher_is_better
        assert abs(better) > 4 * difference.std(ddof=1) / math.sqrt(len(difference))


# ---------------------------------------------------------------- what is declared


@every_metric
def test_columns_have_names_units_and_ranges(name):
    columns = declared(name).measures
    assert columns
    assert len({column.name for column in columns}) == len(columns)
    for column in columns:
        assert column.unit
        assert column.range[0] < column.range[1]
        assert not column.name or column.name.isidentifier()


@every_metric
def test_reads_only_fields_of_the_inputs_and_test_rows_if_and_only_if_it_is_a_probe(name):
    reads = declared(name).reads
    assert reads
    assert reads <= {*SUPPLIED, "test"}
    assert ("test" in reads) == declared(name).learns


@every_metric
def test_numbers_are_bounded(name):
    for field in fields(registry.get("metric", name).cls):
        if any(kind in repr(field.type) for kind in ("int", "float")):
            sides = (annotated_types.Ge, annotated_types.Gt, annotated_types.Le, annotated_types.Lt)
            marks = getattr(field.type, "__metadata__", ()) or typing.get_args(field.type)[0].__metadata__
            assert any(isinstance(mark, sides) for mark in marks), f"{field.name} has no bound"


# ---------------------------------------------------------------- golden results


def golden_result(name):
    """Return 60 rows from closed formulas, independent of library versions; every fifth is a near-duplicate."""
    i = np.arange(60)
    source = np.where(i % 5 == 4, i - 2, i)
    x = np.sin(np.outer(source + 1, [1.0, 1.7, 2.9, 4.3])) + 0.02 * np.cos(np.outer(i, [3.0, 1.0, 2.0, 5.0]))
    test = np.sin(np.outer(np.arange(12) + 0.5, [1.0, 1.7, 2.9, 4.3]))
    parts = {
        "embeddings": unit(x),
        "cluster": (i % 4 - 1).astype(np.int32),
        "label": np.digitize(x[:, 0], [-0.5, 0.5]).astype(np.int32),
        "source": (i % 7 // 4).astype(np.int32),
        "content": source.astype(np.int32),
        "tokens": (i % 9 + 1).astype(np.int32),
        "texts": [f"row {row} of {row % 7} and {row % 3}" for row in source],
        "test_embeddings": unit(test),
        "test_label": np.digitize(test[:, 0], [-0.5, 0.5]).astype(np.int32),
        "test_texts": [f"row {row} or {row % 5}" for row in range(12)],
    }
    values = measure(name, trial_of(name, parts, np.arange(0, 60, 2))).values
    return {column: None if math.isnan(value) else round(value, 6) for column, value in values.items()}


def golden_files():
    for path in sorted(GOLDEN.glob("*.json")):
        if json.loads(path.read_text())["kind"] == "metric":
            yield pytest.param(path, id=path.stem)


GOLDEN_TOLERANCE = {"mlp_probe": 0.05}
"""Relative tolerances above the usual one: the loss of a network has many minima, and processors find other ones."""


@pytest.mark.parametrize("path", list(golden_files()))
def test_golden_result_changes_only_with_the_version(path):
    name, version = path.stem.rsplit(".v", 1)
    assert declared(name).version == int(version), "a new version: write the golden results again (see the top)"
    expected = json.loads(path.read_text())["result"]
    result, rtol = golden_result(name), GOLDEN_TOLERANCE.get(name, 2e-3)
    assert list(result) == list(expected)
    np.testing.assert_allclose(
        np.array(list(result.values()), float), np.array(list(expected.values()), float), rtol=rtol, atol=1e-4
    )


def write_golden():
    for name in ALL:
        for old in GOLDEN.glob(f"{name}.v*.json"):
            if json.loads(old.read_text())["kind"] == "metric":
                old.unlink()
        text = json.dumps({"kind": "metric", "result": golden_result(name)}, allow_nan=False)
        (GOLDEN / f"{name}.v{declared(name).version}.json").write_text(text + "\n")


if __name__ == "__main__":
    write_golden()
