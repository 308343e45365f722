"""The contract of scorers, tested for every scorer; a new file in the folder needs no edit here.

Run as a script, this file writes the golden results again: ``python tests/contracts/test_every_scorer.py``.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.parallel import THREADS_VARIABLE
from curate.kernels.stats.softmax import softmax
from curate.kernels.types import Images
from curate.plugins import registry
from curate.plugins.batches import Retrievals, ScoreBatch, TargetRows
from curate.plugins.dynamics import Dynamics, HeldOut, Learner, ProxyModel, compute_logits
from curate.plugins.interfaces import ExampleFiles
from curate.plugins.language_models import take_rows
from curate.plugins.proxies.logistic import Logistic
from curate.plugins.proxies.mlp import MLP
from curate.plugins.results import Scores
from curate.pool import embedding_matrix
from curate.stages.summaries import add_summaries
from tests.encoded_images import needs_pillow, pictures
from tests.fake_models import ScriptedJudge, outputs_of, reply_by_content, run_fake_model

ALL = registry.names("scorer")
GOLDEN = Path(__file__).parents[1] / "golden"
SUPPLIED = {
    "text": ("texts",),
    "image": ("images",),
    "embedding": ("embeddings",),
    "cluster": ("cluster", "centroids"),
    "label": ("labels",),
    "dynamics": ("dynamics",),
    "features": (),
    "input_gradients": (),
    "held_out": ("held_out",),
    "learner": ("learner",),
    "group": ("groups", "group_names"),
    "column": ("column",),
    "retrievals": ("retrievals",),
    "target": ("target",),
    "model": ("outputs", "run_model"),
    "judge": ("judge",),
}
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "a",
    "word " * 40,
    "x = [i**2 for i in range(10)]\nprint(x)",
    "!!! ??? --- ###",
    "Größe und 東京, naïve café; 3.14",
    " \n\t ",
    "one line\none line\none line",
]


FEW = {
    "beta_shapley": {"trainings": 12},
    "data_banzhaf": {"trainings": 12},
    "data_oob": {"models": 40},
    "memorization": {"subsets": 16},
}
"""Fields with which a scorer trains a few models only."""

# ---------------------------------------------------------------- building an instance and a batch for it


def declared(name):
    return registry.get("scorer", name).traits


@lru_cache
def build(name):
    """Return an instance; a scorer that is fitted is fitted on texts that differ by field."""
    record = registry.get("scorer", name)
    built = record.cls(**record.traits.example, **FEW.get(name, {}))
    if not declared(name).fits:
        return built
    fields = [
        name
        for name, kind in annotations(record.cls).items()
        if any(isinstance(m, ExampleFiles) for m in markers(kind))
    ]
    examples = {name: example_texts(number) for number, name in enumerate(fields)}
    if "target" in declared(name).reads:
        examples["target"] = example_texts(len(fields))
    return built.restore(built.fit(examples, np.random.default_rng(0)))


def example_texts(number):
    """Return sixty texts from a closed formula, with different words for each ``number``."""
    return [" ".join(f"w{(i * k + i // 7) % (11 + 4 * number)}" for k in range(12)) for i in range(1, 61)]


def annotations(cls):
    return {f.name: typing.get_type_hints(cls, include_extras=True)[f.name] for f in dataclasses.fields(cls)}


def markers(annotation):
    """Return all ``Annotated`` metadata of an annotation, also inside ``X | Y``."""
    result = list(getattr(annotation, "__metadata__", ()))
    return result + [mark for inner in typing.get_args(annotation) for mark in markers(inner)]


def only_what_is_read(name, **parts):
    """Return a batch with only what the scorer reads; arrays are read-only."""
    for array in parts.values():
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    batch = ScoreBatch(**{part: parts[part] for reads in declared(name).reads for part in SUPPLIED[reads]})
    if declared(name).summarizes:
        batch = dataclasses.replace(batch, summary=build(name).summarize(batch))
    return batch


def make_batch(name, n, seed, *, twins=False, texts=None):
    """Return n rows; with ``twins`` the second half repeats the first."""
    rng = np.random.default_rng(seed)
    rows = np.arange(n) % ((n + 1) // 2) if twins else np.arange(n)
    x = rng.standard_normal((n, 6))
    centroids = rng.standard_normal((3, 6))
    texts = texts or [TEXTS[i % len(TEXTS)] + " more" * int(rng.integers(3)) for i in range(n)]
    labels = [None, "a", "b"]
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    codes = rng.integers(-1, 3, n).astype(np.int32)[rows]
    groups = rng.integers(-1, 3, n).astype(np.int32)
    groups[0] = 0  # the buyer
    return only_what_is_read(
        name,
        texts=[texts[row] for row in rows],
        images=pictures((rows + seed) % 50),
        embeddings=x[rows],
        cluster=rng.integers(-1, 3, n).astype(np.int32)[rows],
        centroids=(centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).astype(np.float32),
        labels=[labels[i] for i in rng.integers(0, 3, n)[rows]],
        groups=groups[rows],
        group_names=("manual", "tickets", "web"),
        column=[[None, ["logic"], ["logic", "style"], ["style", "units", "logic"]][row % 4] for row in rows + 1],
        retrievals=retrieved(rng, n),
        target=target_rows(6),
        outputs=tuple(outputs_of(one.request, rows + seed) for one in requests(name)),
        run_model=run_fake_model,
        judge=ScriptedJudge(reply_by_content),
        **trained(name, x[rows], codes),
    )


def requests(name):
    return build(name).requests() if "model" in declared(name).reads else ()


def retrieved(rng, n):
    """Return the log of four queries that retrieve all rows in some order."""
    rows = np.concatenate([rng.permutation(n) for _ in range(4)])
    return Retrievals(rows, np.arange(5) * n, rng.random(4 * n), n)


def target_rows(d):
    """Return five target rows from a closed formula, one without a label."""
    x = np.cos(np.outer(np.arange(1, 6), np.arange(1, d + 1) ** 1.2))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    texts = ("the lazy fox", "x = square(3)", "Größe 東京", "word one line", "!")
    labels, tasks = (np.arange(5) % 4 - 1).astype(np.int32), (np.arange(5) // 3).astype(np.int32)
    return TargetRows(x.astype(np.float32), labels, tasks, texts)


def trained(name, x, labels):
    """Return what a proxy supplies: a function of each row alone, apart from the learner.

    The network is the smallest with input gradients; the dynamics have only the statistics that are declared.
    """
    proxy = MLP(hidden_size=5, epochs=4, runs=2, batch_size=8)
    i = np.arange(12)
    example = np.sin(np.outer(i + 1, np.arange(1, x.shape[1] + 1) ** 1.3)).astype(np.float32)
    state = proxy.train(example, (i % 3).astype(np.int32), 3, np.random.default_rng(0))
    logits = np.array([[compute_logits(proxy, state, x, run, epoch) for epoch in range(4)] for run in range(2)])
    needs_network = {"features", "input_gradients"} & declared(name).reads
    dynamics = Dynamics.from_logits(labels, 3 * logits, ProxyModel(x, proxy, state) if needs_network else None)
    return {
        "dynamics": dataclasses.replace(dynamics, statistics=declared(name).statistics),
        "held_out": HeldOut(labels, 3, 2, lambda run: softmax(2 * logits[run, 1])),
        "learner": Learner(x, labels, 3, Logistic(epochs=3, batch_size=16)),
    }


def take(batch, rows):
    """Return the batch of ``rows``, in that order."""

    def part(field):
        value = getattr(batch, field)
        if value is None or field in ("centroids", "group_names", "target", "summary", "run_model", "judge"):
            return value
        if field == "outputs":
            return tuple(take_rows(one, rows) for one in value)
        if isinstance(value, Dynamics | HeldOut | Learner | Images | Retrievals):
            return value.take(rows)
        return value[rows] if isinstance(value, np.ndarray) else [value[row] for row in rows]

    return ScoreBatch(**{field.name: part(field.name) for field in dataclasses.fields(ScoreBatch)})


def score(name, batch, seed=0):
    result = build(name).score(batch, np.random.default_rng(seed))
    return result.values if isinstance(result, Scores) else result


def contents(batch):
    objects = ("dynamics", "held_out", "learner", "target", "summary", "run_model", "judge")
    values = [getattr(batch, field.name) for field in dataclasses.fields(batch) if field.name not in objects]
    if batch.dynamics is not None:
        values += [batch.dynamics.labels, batch.dynamics.probabilities(0, 0)]
    if batch.held_out is not None:
        values += [batch.held_out.labels, batch.held_out.probabilities(0)]
    if batch.target is not None:
        values += [batch.target.labels, batch.target.embeddings]
    if batch.learner is not None:
        values += [batch.learner.labels, batch.learner.embeddings]
    return [value.tobytes() if isinstance(value, np.ndarray) else repr(value) for value in values]


def marks(name):
    """Return the marks of a scorer's tests: what is fitted, is once."""
    return [pytest.mark.xdist_group(name), *([needs_pillow] if "image" in declared(name).reads else [])]


IN_GROUPS = [pytest.param(name, marks=marks(name)) for name in ALL]
every_scorer = pytest.mark.parametrize("name", IN_GROUPS)
sizes = st.integers(1, 40)
seeds = st.integers(0, 2**16)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- what comes out


@every_scorer
@given(n=sizes, seed=seeds, twins=st.booleans())
def test_one_float32_per_row_and_column_and_null_only_without_a_label_or_group(name, n, seed, twins):
    batch = make_batch(name, n, seed, twins=twins)
    result = score(name, batch)
    columns = len(declared(name).columns)
    assert result.dtype == np.float32
    assert result.shape in {(n, columns)} | ({(n,)} if columns == 1 else set())
    supplied = [one for one in (batch.dynamics, batch.held_out, batch.learner) if one is not None]
    unlabeled = supplied[0].labels < 0 if supplied else np.zeros(n, bool)
    if "label" in declared(name).reads:
        unlabeled = np.array([label is None for label in batch.labels])
    if {"embedding", "group"} <= declared(name).reads:  # compares groups with the first one
        unlabeled = batch.groups < 0
        if len(np.unique(batch.embeddings[batch.groups == 0], axis=0)) < 2:
            return  # which does not vary
    if {"embedding", "dynamics"} <= declared(name).reads:  # a regression scores rows without a label
        unlabeled = np.full(n, unlabeled.all())
    assert np.isnan(result[unlabeled]).all()
    x = batch.embeddings if batch.learner is None else batch.learner.embeddings
    if {"label", "learner"} & declared(name).reads and len(np.unique(x[~unlabeled], axis=0)) < 2:
        return  # there is no other labeled row
    if batch.learner is not None and len(np.unique(batch.learner.embeddings[~unlabeled], axis=0)) < 2:
        return
    assert np.isfinite(result[~unlabeled]).all()


@every_scorer
@given(n=sizes, seed=seeds, twins=st.booleans(), texts=st.lists(st.text(min_size=1), min_size=40, max_size=40))
def test_no_score_leaves_the_declared_range(name, n, seed, twins, texts):
    batch = make_batch(name, n, seed, twins=twins, texts=texts)
    result = score(name, batch).reshape(n, -1)
    for column, values in zip(declared(name).columns, result.T, strict=True):
        low, high = column.range
        there = values[~np.isnan(values)]
        assert ((low <= there) & (there <= high)).all(), column.name


@every_scorer
@given(n=sizes, seed=seeds)
def test_same_seed_same_bytes_and_inputs_untouched(name, n, seed):
    batch = make_batch(name, n, seed)
    before = contents(batch)
    assert score(name, batch, seed).tobytes() == score(name, batch, seed).tobytes()
    assert contents(batch) == before


@pytest.mark.slow
@every_scorer
def test_any_number_of_threads_gives_the_same_bytes(name, monkeypatch):
    batch = make_batch(name, 9_000, 1)
    runs = set()
    for count in ("1", "4"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        runs.add(score(name, batch).tobytes())
    assert len(runs) == 1


@pytest.mark.parametrize("name", [one for one in IN_GROUPS if "retrievals" not in declared(one.values[0]).reads])
@given(n=st.integers(2, 40), seed=seeds)
def test_rows_that_are_the_same_score_the_same(name, n, seed):
    """A log of retrievals knows copies by their ids, and may rank them differently."""
    result = score(name, make_batch(name, n, seed, twins=True))
    half = (n + 1) // 2
    same(result[half:], result[: n - half])


@pytest.mark.parametrize("name", [one for one in IN_GROUPS if declared(one.values[0]).summarizes])
@given(n=sizes, seed=seeds, cut=st.floats(0, 1))
def test_summaries_of_parts_add_up_to_that_of_all_rows(name, n, seed, cut):
    batch, size = make_batch(name, n, seed), int(cut * n)
    parts = [build(name).summarize(take(batch, rows)) for rows in np.split(np.arange(n), [size])]
    added = add_summaries(parts)
    assert added.keys() == batch.summary.keys()
    assert all((added[key] == batch.summary[key]).all() for key in added)
    assert all(np.issubdtype(values.dtype, np.integer) for values in added.values())


def samples(name):
    """Return whether the scorer may draw rows, so that another order of the rows changes the scores."""
    asks = {"model", "judge"} & declared(name).reads and declared(name).within == "corpus"
    return bool(asks) or "learner" in declared(name).reads


@pytest.mark.parametrize("name", [one for one in IN_GROUPS if not samples(one.values[0])])
@given(n=sizes, seed=seeds, twins=st.booleans())
def test_permuting_the_rows_permutes_the_scores(name, n, seed, twins):
    batch = make_batch(name, n, seed, twins=twins)
    rows = np.random.default_rng(seed).permutation(n)
    same(score(name, take(batch, rows)), score(name, batch)[rows])


@pytest.mark.parametrize("name", [one for one in IN_GROUPS if declared(one.values[0]).within == "shard"])
@given(n=sizes, seed=seeds)
def test_within_a_shard_the_other_rows_do_not_matter(name, n, seed):
    """Else the cut into shards would change the result."""
    batch = make_batch(name, n, seed)
    complete = score(name, batch)
    for row in range(n):
        same(score(name, take(batch, np.array([row]))), complete[[row]])


@every_scorer
@pytest.mark.parametrize("n", [1, 2])
def test_hardly_any_rows(name, n):
    assert len(score(name, make_batch(name, n, 3))) == n


# ---------------------------------------------------------------- storage in float16


def from_float16(x):
    """Return unit rows as later stages read them from float16 storage."""
    values = pa.array(x.astype(np.float16).ravel())
    return embedding_matrix.to_matrix(pa.FixedSizeListArray.from_arrays(values, x.shape[1]))


@pytest.mark.parametrize("name", [name for name in ALL if "embedding" in declared(name).reads])
def test_equal_rows_stored_in_float16_have_equal_scores_near_those_of_float32(name):
    batch = make_batch(name, 60, seed=4, twins=True)
    stored = dataclasses.replace(batch, embeddings=from_float16(batch.embeddings))
    result, exact = score(name, stored), score(name, batch)
    twins = [array.tolist() for array in (batch.cluster,) if array is not None]
    assert all(array[:30] == array[30:] for array in twins)
    np.testing.assert_allclose(result[:30], result[30:], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(result, exact, rtol=2e-3, atol=2e-3)


# ---------------------------------------------------------------- what is declared


@every_scorer
def test_columns_have_names_units_and_ranges(name):
    columns = declared(name).columns
    assert columns
    assert len({column.name for column in columns}) == len(columns)
    for column in columns:
        assert column.unit
        assert column.higher_means
        assert column.range[0] < column.range[1]
        assert not column.name or column.name.isidentifier()


@every_scorer
def test_its_cost_is_declared(name):
    assert declared(name).cost
    assert f"Cost: {declared(name).cost}." in registry.get("scorer", name).description()


@every_scorer
def test_reads_only_fields_of_a_batch(name):
    assert declared(name).reads
    assert declared(name).reads <= set(SUPPLIED)


# ---------------------------------------------------------------- golden results


def golden_result(name):
    """Return the result for 24 rows from closed formulas; every sixth repeats another."""
    i = np.arange(24)
    source = np.where(i % 6 == 5, i - 3, i)
    x = np.sin(np.outer(source + 1, [1.0, 1.7, 2.9, 4.3]))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    centroids = np.cos(np.outer(np.arange(3), [1.0, 2.0, 3.0, 5.0]))
    batch = only_what_is_read(
        name,
        images=pictures(source),
        texts=[f"{TEXTS[row % len(TEXTS)]} {'again ' * (row // len(TEXTS))}" for row in source],
        embeddings=x,
        cluster=(source % 4 - 1).astype(np.int32),
        centroids=(centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).astype(np.float32),
        labels=[[None, "a", "b"][row % 3] for row in source],
        target=target_rows(4),
        outputs=tuple(outputs_of(one.request, source) for one in requests(name)),
        run_model=run_fake_model,
        judge=ScriptedJudge(reply_by_content),
        **trained(name, x, (source % 4 - 1).astype(np.int32)),
        groups=(source % 4 - 1).astype(np.int32),
        group_names=("manual", "tickets", "web"),
        column=[[None, ["logic"], ["logic", "style"]][row % 3] for row in source],
        retrievals=Retrievals(
            np.argsort(np.sin(np.outer(i[:6] + 1, 7 * i + 1)), axis=1).ravel(),
            np.arange(7) * 24,
            np.cos(np.arange(144.0)),
            24,
        ),
    )
    result = score(name, batch).astype(float).round(5)
    return np.where(np.isnan(result), None, result).tolist()


def golden_files():
    for path in sorted(GOLDEN.glob("*.json")):
        if json.loads(path.read_text())["kind"] == "scorer":
            yield pytest.param(path, id=path.stem, marks=marks(path.stem.partition(".")[0]))


@pytest.mark.parametrize("path", list(golden_files()))
def test_golden_result_changes_only_with_the_version(path):
    name, version = path.stem.rsplit(".v", 1)
    assert declared(name).version == int(version), "a new version: write the golden results again (see the top)"
    expected = json.loads(path.read_text())["result"]
    result, wanted = (np.array(values, float) for values in (golden_result(name), expected))
    np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=3e-5)


def write_golden():
    for name in ALL:
        for old in GOLDEN.glob(f"{name}.v*.json"):
            old.unlink()
        text = json.dumps({"kind": "scorer", "result": golden_result(name)}, allow_nan=False)
        (GOLDEN / f"{name}.v{declared(name).version}.json").write_text(text + "\n")


if __name__ == "__main__":
    write_golden()
