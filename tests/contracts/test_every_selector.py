"""The contract of selectors, tested for every selector; a new file in the folder needs no edit here.

Run as a script, this file writes the golden results again: ``python tests/contracts/test_every_selector.py``.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from itertools import product
from pathlib import Path

import annotated_types
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.parallel import THREADS_VARIABLE
from curate.kernels.types import Texts
from curate.plugins import registry
from curate.plugins.batches import Pool, TargetRows
from curate.plugins.interfaces import ConfigReference, is_random
from curate.plugins.results import Selection
from curate.pool import embedding_matrix
from tests.encoded_images import HAS_PILLOW, pictures
from tests.fake_models import ScriptedJudge, reply_by_content

ALL = [
    name
    for name in registry.names("selector")
    if HAS_PILLOW or not (reads := registry.get("selector", name).traits.reads) & {"image"} or "text" in reads
]
GOLDEN = Path(__file__).parents[1] / "golden"
LISTS = "states"
"""A column of this name holds lists of integers; any other holds numbers, some of them missing."""

ALL_FOR_QUALITY = {"diversity_weight": 0.0, "quality_weight": 1.0}
SIDES = {
    annotated_types.Ge: (lambda bound, step: bound - step, lambda bound: bound.ge),
    annotated_types.Gt: (lambda bound, step: bound, lambda bound: bound.gt),
    annotated_types.Le: (lambda bound, step: bound + step, lambda bound: bound.le),
    annotated_types.Lt: (lambda bound, step: bound, lambda bound: bound.lt),
}


# ---------------------------------------------------------------- building an instance and a pool for it


def build(name, **fields):
    record = registry.get("selector", name)
    return record.cls(**{**record.traits.example, **fields})


def declared(name):
    return registry.get("selector", name).traits


def markers(annotation):
    """Return all ``Annotated`` metadata of an annotation, also inside ``X | None``."""
    result = list(getattr(annotation, "__metadata__", ()))
    return result + [mark for inner in typing.get_args(annotation) for mark in markers(inner)]


def annotations(cls):
    return {f.name: typing.get_type_hints(cls, include_extras=True)[f.name] for f in dataclasses.fields(cls)}


def is_score(annotation):
    return any(isinstance(mark, ConfigReference) and mark.target == "score" for mark in markers(annotation))


def make_pool(plugin, reads, n, seed, *, d=5, twins=False, levels=None):
    """Return a pool with only what ``plugin`` reads.

    ``twins`` makes the first half of the rows equal; ``levels`` is the number of different qualities and scores.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    if twins:
        x[: (n + 1) // 2] = x[:1]
    x /= np.linalg.norm(x, axis=1, keepdims=True)

    def numbers():
        values = rng.permutation(n) - n / 2 if levels is None else rng.integers(-1, levels - 1, n)
        return (values / 7).astype(np.float32)

    quality, cluster = numbers(), rng.integers(-1, 3, n).astype(np.int32)
    scores, better, frame = {}, {}, None
    if "scores" in reads:
        for field, annotation in annotations(type(plugin)).items():
            value = getattr(plugin, field)
            if value is not None and is_score(annotation):
                for one in value if isinstance(value, tuple) else (value,):
                    scores[one], better[one] = numbers(), bool(rng.integers(2))
    if "frame" in reads and plugin.columns():
        columns = {name: [None if i % 5 == 3 else v for i, v in enumerate(numbers())] for name in plugin.columns()}
        frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float32))
        if LISTS in columns:
            states = rng.integers(0, 3, (n, 8)).tolist()
            frame = frame.with_columns(pl.Series(LISTS, states, dtype=pl.List(pl.Int64)))
    words = rng.integers(0, 3, (n, 9))
    if twins:
        words[: (n + 1) // 2] = words[:1]
    return Pool(
        x if "embedding" in reads else x[:, :0],
        quality if "quality" in reads else np.zeros(n, np.float32),
        cluster if "cluster" in reads else np.zeros(n, np.int32),
        scores,
        better,
        frame,
        Texts.from_list([" ".join(f"w{word}" for word in row) for row in words], block=16) if "text" in reads else None,
        images=pictures(words @ np.arange(9) % 50) if "image" in reads else None,
        judge=ScriptedJudge(reply_by_content) if "judge" in reads else None,
        target=target_rows(d) if "target" in reads else None,
    )


def target_rows(d):
    """Return five target rows of two tasks from a closed formula."""
    x = np.cos(np.outer(np.arange(1, 6), np.arange(1, d + 1) ** 1.2))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    texts = ("w0 w1 row", "w1 w1 many", "the row", "", "w2 the the")
    return TargetRows(x.astype(np.float32), np.full(5, -1, np.int32), (np.arange(5) // 3).astype(np.int32), texts)


def run(name, pool, budget, seed=0, **fields):
    budget = budget if declared(name).budgeted else None
    return build(name, **fields).select(pool, budget, np.random.default_rng(seed)).check(len(pool), budget)


def arrays(selection):
    result = {f.name: getattr(selection, f.name) for f in dataclasses.fields(selection)}
    result |= {f"epochs.{number}": rows for number, rows in enumerate(selection.epochs or ())}
    return {name: value for name, value in result.items() if isinstance(value, np.ndarray)}


def contents(pool):
    kept = [pool.embeddings, pool.quality, pool.cluster, *pool.scores.values()]
    texts = None if pool.texts is None else [text for block in pool.texts.blocks() for text in block]
    return [a.tobytes() for a in kept], None if pool.frame is None else pool.frame.write_json(), texts


@st.composite
def cases(draw):
    """Generate arguments of make_pool and a budget, including n = 0, equal rows, ties, and budgets 0 and n."""
    n = draw(st.integers(0, 40))
    shape = {"d": draw(st.integers(1, 6)), "twins": draw(st.booleans()), "levels": draw(st.sampled_from([None, 1, 3]))}
    return n, draw(st.integers(0, 2**16)), shape, draw(st.integers(0, n))


def every_selector_that_is(trait):
    return pytest.mark.parametrize("name", [name for name in ALL if getattr(declared(name), trait)])


DEDUPLICATING = [name for name in ALL if hasattr(registry.get("selector", name).cls, "min_similarity")]
every_selector = pytest.mark.parametrize("name", ALL)


# ---------------------------------------------------------------- what comes out


@every_selector
@given(case=cases(), seed=st.integers(0, 99))
def test_exactly_the_budget_each_row_once_and_all_arrays_of_the_right_length(name, case, seed):
    n, pool_seed, shape, budget = case
    pool = make_pool(build(name), declared(name).reads, n, pool_seed, **shape)
    selection = run(name, pool, budget, seed)
    assert isinstance(selection, Selection)
    assert selection.indices.dtype == np.intp
    assert selection.gain.dtype == np.float32
    if declared(name).budgeted:
        assert [len(rows) for rows in selection.epochs or (selection.indices,)] == [budget] * len(
            selection.epochs or "1"
        )


ODD = {
    "all rows identical": lambda x: np.repeat(x[:1], len(x), axis=0),
    "rows along one line, both ways": lambda x: np.sign(x[:, :1]) * x[:1],
    "one dimension": lambda x: np.sign(x[:, :1]),
    "every similarity to other rows negative": lambda x: _simplex(len(x)),
}
"""Embeddings of which there are fewer different ones, or fewer dimensions, than a budget may ask for."""


def _simplex(n):
    centered = np.eye(n) - 1 / n
    return centered / np.linalg.norm(centered, axis=1, keepdims=True)


@pytest.mark.slow
@every_selector
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_degenerate_pools_give_the_budget_and_finite_numbers(name, odd):
    """Rank below the budget, constant scores, clusters of one row, negative similarities."""
    n = 12
    for levels, cluster in product((1, None), (np.zeros(n), np.arange(n), np.full(n, -1))):
        plain = make_pool(build(name), declared(name).reads, n, seed=3, levels=levels)
        x = plain.embeddings if not plain.embeddings.size else odd(plain.embeddings).astype(np.float32)
        target = None if plain.target is None else target_rows(x.shape[1])
        pool = dataclasses.replace(plain, embeddings=x, cluster=cluster.astype(np.int32), target=target)
        for budget in (0, 1, 7, n):
            selection = run(name, pool, budget)
            assert np.isfinite(selection.gain).all()
            assert selection.weight is None or (np.isfinite(selection.weight) & (selection.weight >= 0)).all()


@every_selector_that_is("budgeted")
@pytest.mark.parametrize("n", [1, 2, 17])
def test_budget_of_all_keeps_all_and_budget_of_none_keeps_none(name, n):
    pool = make_pool(build(name), declared(name).reads, n, seed=1)
    assert sorted(run(name, pool, n).indices.tolist()) == list(range(n))
    assert run(name, pool, 0).indices.tolist() == []


@every_selector
@given(case=cases())
def test_dropped_rows_have_a_reason_and_representatives_are_chosen_rows(name, case):
    n, pool_seed, shape, budget = case
    pool = make_pool(build(name), declared(name).reads, n, pool_seed, **shape)
    selection = run(name, pool, budget)
    dropped = np.setdiff1d(np.arange(n), selection.indices)
    reason = np.zeros(n, np.int16) if selection.reason is None else selection.reason
    assert all(selection.reasons[i].strip() for i in reason[dropped])
    if selection.representative is not None:
        representatives = selection.representative
        assert (representatives[selection.indices] == -1).all(), "a selected row has a representative"
        represented = np.flatnonzero(representatives >= 0)
        assert np.isin(representatives[represented], selection.indices).all()
        assert np.isnan(selection.similarity[representatives < 0]).all()
        assert not np.isnan(selection.similarity[represented]).any()
        if "embedding" in declared(name).reads:
            cosine = (pool.embeddings[represented] * pool.embeddings[representatives[represented]]).sum(axis=1)
            np.testing.assert_allclose(selection.similarity[represented], cosine, atol=1e-5)


@pytest.mark.parametrize("name", DEDUPLICATING)
@given(case=cases())
def test_the_curve_of_thresholds_goes_through_what_was_kept(name, case):
    """That is at the entry's own threshold, in hundredths."""
    n, pool_seed, shape, _ = case
    plugin = build(name)
    selection = run(name, make_pool(plugin, declared(name).reads, n, pool_seed, **shape), None)
    assert selection.retention.threshold == plugin.min_similarity
    assert selection.retention.kept()[round(100 * plugin.min_similarity)] == len(selection.indices)
    assert selection.retention.kept() == sorted(selection.retention.kept())


@every_selector
@given(case=cases(), seed=st.integers(0, 99))
def test_same_seed_same_bytes_any_if_nothing_is_drawn_and_inputs_untouched(name, case, seed):
    n, pool_seed, shape, budget = case
    pool = make_pool(build(name), declared(name).reads, n, pool_seed, **shape)
    before = contents(pool)
    again = seed if is_random(build(name)) else seed + 1
    first, second = (arrays(run(name, pool, budget, one)) for one in (seed, again))
    assert {key: a.tobytes() for key, a in first.items()} == {key: a.tobytes() for key, a in second.items()}
    assert contents(pool) == before


@pytest.mark.slow
@every_selector
def test_any_number_of_threads_gives_the_same_bytes(name, monkeypatch):
    """9,001 rows are more than one block for every selector."""
    pool = make_pool(build(name), declared(name).reads, 9_001, seed=5, d=8)
    results = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv(THREADS_VARIABLE, threads)
        results.append({key: a.tobytes() for key, a in arrays(run(name, pool, 300)).items()})
    assert results[0] == results[1] == results[2]


# ---------------------------------------------------------------- storage in float16


def from_float16(x):
    """Return unit rows as later stages read them from float16 storage."""
    values = pa.array(x.astype(np.float16).ravel())
    return embedding_matrix.to_matrix(pa.FixedSizeListArray.from_arrays(values, x.shape[1]))


@pytest.mark.parametrize("name", [name for name in ALL if "embedding" in declared(name).reads])
def test_equal_rows_stored_in_float16_are_equal_to_a_selector(name):
    """As long as float16 may make them, they would be up to 0.0145 apart."""
    plain = make_pool(build(name), declared(name).reads, 60, seed=9, d=64, levels=1)
    x = np.tile(from_float16(plain.embeddings[:30]), (2, 1))
    selection = run(name, dataclasses.replace(plain, embeddings=x), 30)
    if selection.representative is not None:
        copies = np.flatnonzero(selection.representative >= 0)
        copies = copies[(x[copies] == x[selection.representative[copies]]).all(axis=1)]
        np.testing.assert_allclose(selection.similarity[copies], 1, atol=1e-6)


# ---------------------------------------------------------------- what was declared


@every_selector_that_is("prefix")
@given(case=cases(), smaller=st.floats(0, 1))
def test_prefix_a_smaller_budget_gives_the_first_rows_of_a_larger(name, case, smaller):
    n, pool_seed, shape, budget = case
    pool = make_pool(build(name), declared(name).reads, n, pool_seed, **shape)
    few = int(smaller * budget)
    long, short = run(name, pool, budget), run(name, pool, few)
    assert long.indices[:few].tolist() == short.indices.tolist()
    assert long.gain[:few].tobytes() == short.gain.tobytes()


@every_selector_that_is("equivariant")
@given(n=st.integers(1, 40), pool_seed=st.integers(0, 2**16), share=st.floats(0, 1))
def test_equivariance_another_order_of_the_pool_keeps_the_same_rows(name, n, pool_seed, share):
    """On pools without ties, which the order of the pool has to break."""
    pool = make_pool(build(name), declared(name).reads, n, pool_seed, d=6)
    shuffled = np.random.default_rng(pool_seed).permutation(n)
    here = run(name, pool, int(share * n)).indices.tolist()
    there = shuffled[run(name, pool.take(shuffled), int(share * n)).indices].tolist()
    if declared(name).budgeted:
        assert there == here
    else:
        assert sorted(there) == sorted(here)


# ---------------------------------------------------------------- fields, bounds, weights


@every_selector
def test_cost_guarantee_and_reference_are_described(name):
    """In the list of selectors; a plugin of your own may leave the first two out."""
    record = registry.get("selector", name)
    assert record.reference().strip()
    if record.origin.startswith("curate."):
        assert record.traits.cost
        assert record.traits.guarantee
        assert f"Cost: {record.traits.cost}. Guarantee: {record.traits.guarantee}." in record.description()


@every_selector
def test_numbers_are_bounded(name):
    for field, annotation in annotations(registry.get("selector", name).cls).items():
        base = typing.get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
        if base in (int, float):
            assert any(type(mark) in SIDES for mark in markers(annotation)), f"{field} has no bound"


def weights():
    return [(name, f) for name in ALL for f in annotations(registry.get("selector", name).cls) if f.endswith("_weight")]


@pytest.mark.parametrize(("name", "field"), weights())
def test_a_weight_runs_from_0_to_1(name, field):
    marks = markers(annotations(registry.get("selector", name).cls)[field])
    assert {annotated_types.Ge(0), annotated_types.Le(1)} <= set(marks)


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, field in weights() if field in ALL_FOR_QUALITY])
@given(case=cases())
def test_no_diversity_or_nothing_but_quality_is_top_k(name, field, case):
    n, pool_seed, shape, budget = case
    pool = make_pool(build(name), declared(name).reads, n, pool_seed, **shape)
    best = np.argsort(-pool.quality, kind="stable")[:budget]
    assert run(name, pool, budget, **{field: ALL_FOR_QUALITY[field]}).indices.tolist() == best.tolist()


# ---------------------------------------------------------------- golden results


def golden_result(name):
    plugin = build(name)
    selection = run(name, golden_pool(plugin, declared(name).reads), 12)
    return {
        key: [None if np.isnan(v) else round(v, 5) for v in a.tolist()] if a.dtype == np.float32 else a.tolist()
        for key, a in arrays(selection).items()
    }


def golden_pool(plugin, reads):
    """Return 60 rows from closed formulas, independent of library versions; every fifth is a near-duplicate."""
    i = np.arange(60)
    source = np.where(i % 5 == 4, i - 2, i)
    x = np.sin(np.outer(source + 1, [1.0, 1.7, 2.9, 4.3])) + 0.02 * np.cos(np.outer(i, [3.0, 1.0, 2.0, 5.0]))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    numbers = np.cos(0.7 * i + 0.3).astype(np.float32)
    values = [getattr(plugin, field) for field, annotation in annotations(type(plugin)).items() if is_score(annotation)]
    names = {one for value in values for one in (value if isinstance(value, tuple) else (value,))} - {None}
    columns = dict.fromkeys(plugin.columns() if "frame" in reads else (), numbers)
    if LISTS in columns:
        columns[LISTS] = ((7 * i[:, None] + i[None, :9] ** 2) // 5 % 3).tolist()
    return Pool(
        x if "embedding" in reads else x[:, :0],
        np.sin(1.3 * i).astype(np.float32),
        (i % 3).astype(np.int32),
        dict.fromkeys(names, numbers),
        dict.fromkeys(names, True),
        pl.DataFrame(columns) if columns else None,
        Texts.from_list([f"{'the ' * (s % 3)}row {s} of many rows" for s in source.tolist()])
        if "text" in reads
        else None,
        images=pictures(source) if "image" in reads else None,
        judge=ScriptedJudge(reply_by_content) if "judge" in reads else None,
        target=target_rows(x.shape[1]) if "target" in reads else None,
    )


def golden_files():
    for path in sorted(GOLDEN.glob("*.json")):
        if json.loads(path.read_text()).get("kind") == "selector" and path.stem.partition(".")[0] in ALL:
            yield pytest.param(path, id=path.stem)


@pytest.mark.parametrize("path", list(golden_files()))
def test_golden_result_changes_only_with_the_version(path):
    name, version = path.stem.rsplit(".v", 1)
    assert declared(name).version == int(version), "a new version: write the golden results again (see the top)"
    expected = json.loads(path.read_text())["result"]
    result = golden_result(name)
    assert result.keys() == expected.keys()
    for key, values in expected.items():
        if any(isinstance(value, float) for value in values):
            np.testing.assert_allclose(np.array(result[key], float), np.array(values, float), atol=3e-5, err_msg=key)
        else:
            assert result[key] == values, key


def write_golden():
    for name in ALL:
        for old in GOLDEN.glob(f"{name}.v*.json"):
            old.unlink()
        text = json.dumps({"kind": "selector", "result": golden_result(name)}, allow_nan=False)
        (GOLDEN / f"{name}.v{declared(name).version}.json").write_text(text + "\n")


if __name__ == "__main__":
    write_golden()
