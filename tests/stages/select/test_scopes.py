"""Where a selector runs does not change what it selects: for every selector, workers agree with one process."""

from __future__ import annotations

import inspect
import json
import os
import random
import signal
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.kernels.types import Texts
from curate.plugins import registry
from curate.plugins.batches import Pool, PublishedRows
from curate.plugins.interfaces import get_scope
from curate.pool import embedding_matrix
from curate.progress import NullProgress
from curate.stages.base import Context
from curate.stages.select import row_partitions, selection_files, shard_pass, sketch_tasks
from curate.stages.select.entry_runner import EntryRunner
from curate.stages.select.incumbents import Incumbents
from curate.stages.select.run_selector import build_pool, choose
from curate.store import parquet_io
from tests.encoded_images import HAS_PILLOW, picture

N = 240
OPTIONS = {
    "minhash": {"min_similarity": 0.5, "ngram_size": 2},
    "repeated_spans": {"min_words": 4, "min_repeated_rate": 0.4},
    "semdedup": {"min_similarity": 0.9, "n_probe": 1},
    "c4_quality": {"min_sentences": None, "page_phrases": ["word7"]},
    "fineweb_quality": {"min_terminal_line_rate": None, "short_line_length": 60},
    "gopher_quality": {"min_words": 5, "min_stop_words": None},
    "where": {"drop": "score_length < 9 OR stars = 3"},
    "markov": {"column": "states"},
}


def sentences():
    """Texts with copies, near-copies, spans of others, and a template that most share."""
    rng = random.Random(5)
    words = [f"word{number}" for number in range(90)]
    texts = [" ".join(rng.choices(words, k=rng.randint(2, 25))) for _ in range(N // 3)]
    for number in range(N // 3, N):
        other = rng.choice(texts).split()
        if number % 4 == 0:
            other[rng.randrange(len(other))] = rng.choice(words)
        if number % 4 == 1:
            other += rng.choice(texts).split()
        if number % 4 == 2:
            other = f"the same long words of one template that many rows share until number {number % 9}".split()
        texts.append(" ".join(other))
    rng.shuffle(texts)
    return texts


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool in shards of 29 rows, with its context."""
    folder = tmp_path_factory.mktemp("scopes")
    rng = random.Random(8)
    rows = [
        {
            "id": f"r{number}",
            "text": text,
            "stars": rng.choice([1, 2, 3, None]),
            "topic": rng.choice(["news", "code", "chat", None]),
            "states": rng.choices([1, 2, 3], k=4),
            "image": f"{zlib.crc32(text.encode()) % 60}.png",
            "extra": {"kind": rng.choice("xy")} if number % 2 else {"other": 1},
        }
        for number, text in enumerate(sentences())
    ]
    for number in range(60):
        (folder / f"{number}.png").write_bytes(picture(number % 50))
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    target = [{"text": f"{row['text']} again", "image": row["image"]} for row in rows[:9]]
    (folder / "target.jsonl").write_text("".join(json.dumps(row) + "\n" for row in target))
    settings = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(folder / "pool.jsonl"), "text": "text", "label": "topic", "rows_per_shard": 29},
        "embed": {"use": "hashing", "dimensions": 24},
        "cluster": {"use": "kmeans", "n_clusters": 5},
        "judge": {"base_url": "http://localhost/v1", "model": "m"},
        "target": {"files": str(folder / "target.jsonl"), "label": None},
        "score": [{"use": "length"}, {"use": "prototypicality"}],
        "select": [{"use": "top_k", "keep": 20}],
    }
    if HAS_PILLOW:
        settings["input"] |= {"image": "image"}
    context = pipeline.make_context(config_from_dict(settings), Serial(), NullProgress())
    view = pipeline.build_pool(context)
    assert len(view.numbers) == 9
    return context, view


def entry_of(made, name, **fields):
    plugin = registry.get("selector", name)
    options = {"use": name, **OPTIONS.get(name, {})}
    options |= {key: value for key, value in plugin.traits.example.items() if key not in options}
    if "by" in options:
        options["by"] = ["prototypicality", "-length"] if isinstance(options["by"], tuple) else "prototypicality"
    budget = {"keep": 24} if plugin.traits.budgeted else {}
    settings = {**made[0].config.resolved, "select": [{**options, **budget, **fields}]}
    return config_from_dict(settings).select[0]


def plain(selection):
    """A selection as data that can be compared."""
    n = None if selection.reason is None else len(selection.reason)
    kept = np.zeros(0 if n is None else n, bool)
    reasons = None if n is None else [selection.reasons[code] for code in selection.reason]
    if n is not None:
        kept[selection.indices] = True
        reasons = [None if stays else reason for stays, reason in zip(kept, reasons, strict=True)]
    order = np.argsort(selection.indices)
    arrays = {
        name: None if value is None else np.asarray(value).tobytes()
        for name, value in {
            "gain": selection.gain[order],
            "weight": None if selection.weight is None else selection.weight[order],
            "similarity": selection.similarity,
            "nearest": None if selection.retention is None else selection.retention.nearest,
        }.items()
    }
    epochs = None if selection.epochs is None else [np.sort(rows).tolist() for rows in selection.epochs]
    representative = None if selection.representative is None else selection.representative.tolist()
    return np.sort(selection.indices).tolist(), arrays, reasons, representative, epochs


def run(made, entry, folder, *, executor=None, rows=None, incumbents=None, published=None):
    """Return the selection of the workers, and that of one process."""
    context, pool = made
    if executor is not None:
        context = replace(context, executor=executor)
    before = np.arange(len(pool)) if rows is None else rows
    runner = EntryRunner(context, pool, folder, "f")
    result = runner.run([entry], before, incumbents, published).selection
    expected = choose(made[1], before, entry, context.config.seed, incumbents, published)
    if expected.representative is None and result.representative is not None:  # merging fills it
        assert (result.representative < 0).all()
        result = replace(result, representative=None)
    if expected.similarity is None and result.similarity is not None:
        assert np.isnan(result.similarity).all()
        result = replace(result, similarity=None)
    if expected.reason is None:
        expected = replace(expected, reason=np.zeros(len(before), np.int16))
    if result.reason is None:
        result = replace(result, reason=np.zeros(len(before), np.int16))
    return result, expected


ALL = [name for name in registry.names("selector") if HAS_PILLOW or name != "perceptual_hash"]


DIVIDED = [name for name in ALL if "judge" not in registry.get("selector", name).traits.reads]
"""Selectors but those that ask a judge, which run in one process."""


@pytest.mark.parametrize("name", DIVIDED)
def test_workers_give_the_selection_of_one_process(made, tmp_path, name):
    entry = entry_of(made, name)
    some = np.flatnonzero(np.random.default_rng(3).random(len(made[1])) < 0.8)
    result, expected = run(made, entry, tmp_path, rows=some)
    assert plain(result) == plain(expected)
    assert 0 < len(result.indices) < len(some)


@pytest.mark.slow
@pytest.mark.parametrize("within", ["topic", "cluster", "label", "stars"])
@pytest.mark.parametrize("name", DIVIDED)
def test_groups_give_the_selection_of_one_process(made, tmp_path, name, within):
    entry = entry_of(made, name, within=within)
    result, expected = run(made, entry, tmp_path)
    assert plain(result) == plain(expected)
    assert result.indices.tolist() == expected.indices.tolist() or not entry.budget


@pytest.mark.parametrize("name", ["facility_location", "k_center", "top_k", "deita"])
def test_groups_keep_published_rows_as_one_process_does(made, tmp_path, name):
    published = np.random.default_rng(4).random(len(made[1])) < 0.2
    entry = entry_of(made, name, within="cluster")
    result, expected = run(made, entry, tmp_path, incumbents=Incumbents(published, 0.9))
    assert result.indices.tolist() == expected.indices.tolist()
    assert plain(result) == plain(expected)


@pytest.mark.parametrize("options", [{}, {"keep": "first"}, {"linkage": "connected"}])
@pytest.mark.parametrize("name", [name for name in ALL if name in ("exact_duplicates", "minhash", "perceptual_hash")])
def test_published_rows_come_first_as_in_one_process(made, tmp_path, name, options):
    if name == "exact_duplicates" and "linkage" in options:
        pytest.skip("an option of minhash")
    entry = entry_of(made, name, **options)
    view = made[1]
    is_published = np.random.default_rng(4).random(len(view)) < 0.2
    rows = np.flatnonzero(is_published)
    sketches = entry.spec.build().sketch(build_pool(view, rows, entry))
    parts = [sketches.slice(0, 5), sketches.slice(5)]
    published = PublishedRows(
        is_published, tuple(map(len, parts)), lambda number, names: parts[number].select(list(names))
    )
    result, expected = run(made, entry, tmp_path, published=published)
    assert plain(result) == plain(expected)
    assert (result.representative >= len(view)).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gopher_quality", "minhash", "facility_location"])
def test_partitions_of_any_size_give_the_same(made, tmp_path, name, monkeypatch):
    """Every component and every group in a partition of its own, and keys in many ranges."""
    monkeypatch.setattr(sketch_tasks, "_KEYS_PER_TASK", 50)
    monkeypatch.setattr(sketch_tasks, "_KEYS_PER_ROW_GROUP", 3)
    monkeypatch.setattr(row_partitions, "rows_per_partition", lambda *_: 1)
    fields = {} if get_scope(entry_of(made, name).spec.build()) != "pool" else {"within": "topic"}
    result, expected = run(made, entry_of(made, name, **fields), tmp_path)
    assert plain(result) == plain(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"n_probe": 2},
        {"n_probe": 3, "keep": "best_quality"},
        {"n_probe": 9, "keep": "nearest"},
        {"max_cluster_rows": 9},
        {"max_cluster_rows": 4, "keep": "best_quality", "n_probe": 1},
        {"min_similarity": 0.4, "n_probe": 4},
        {"min_similarity": -1},
    ],
)
def test_cells_of_many_partitions_give_the_same(made, tmp_path, monkeypatch, options):
    real = row_partitions.pack
    monkeypatch.setattr(row_partitions, "pack", lambda sizes, _: real(sizes, 1))
    result, expected = run(made, entry_of(made, "semdedup", **{"min_similarity": 0.8, **options}), tmp_path)
    assert plain(result) == plain(expected)
    assert result.retention.sample == expected.retention.sample


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("facility_location", {"n_partitions": 4}),
        ("k_center", {"n_partitions": 3}),
        ("submodular", {"optimizer": "distributed", "n_partitions": 5}),
        ("k_center", {"n_partitions": 300}),
    ],
)
def test_two_rounds_give_the_same(made, tmp_path, name, options):
    result, expected = run(made, entry_of(made, name, **options), tmp_path)
    assert result.indices.tolist() == expected.indices.tolist()
    assert plain(result) == plain(expected)
    assert (tmp_path / name / "selected").is_dir()


@pytest.mark.parametrize(
    ("name", "fields"), [("minhash", {}), ("repeated_spans", {}), ("k_center", {"within": "cluster"})]
)
def test_a_partition_larger_than_memory_is_mapped_from_disk(made, tmp_path, monkeypatch, name, fields):
    context, pool = made
    (tmp_path / "scratch").mkdir()
    small = replace(pool, memory_limit=100, scratch=tmp_path / "scratch")
    mapped = []
    real = embedding_matrix.allocate_mapped
    monkeypatch.setattr(embedding_matrix, "allocate_mapped", lambda *given: mapped.append(given) or real(*given))
    result, expected = run((context, small), entry_of(made, name, **fields), tmp_path)
    assert mapped
    assert plain(result) == plain(expected)


@pytest.mark.parametrize("within", [None, "topic"])
@pytest.mark.parametrize(
    "name",
    ["c4_quality", "exact_duplicates", "minhash", "repeated_spans", "semdedup", "moderate", "k_center", "uniform"],
)
def test_shards_without_a_row_that_reaches_the_entry(made, tmp_path, name, within):
    rows = np.concatenate([np.arange(29, 58), np.arange(100, 105), np.arange(210, 240)])
    fields = {"within": within} if within else {}
    result, expected = run(made, entry_of(made, name, **fields), tmp_path, rows=rows)
    assert plain(result) == plain(expected)


def test_more_groups_than_rows_in_a_group(made, tmp_path):
    entry = entry_of(made, "facility_location", within="text", keep=100)
    result, expected = run(made, entry, tmp_path)
    assert plain(result) == plain(expected)


def test_a_text_that_most_rows_share_has_one_line_in_the_index(tmp_path):
    entry = config_from_dict(
        {"curate": 1, "run": "r", "input": {"files": "x", "text": "t"}, "select": [{"use": "minhash"}]}
    )
    texts = Texts.from_list(
        ["the same words in many rows of the pool"] * 50_000 + ["a text that no other row has at all"]
    )
    quality = np.zeros(50_001, np.float32)
    pool = Pool(np.zeros((50_001, 0), np.float32), quality, np.zeros(50_001, np.int32), texts=texts)
    files = sketch_tasks.SketchFiles(tmp_path, "f", (0,))
    sketches = entry.select[0].spec.build().sketch(pool)
    sketch_tasks.write_sketches(files, "part-00000", entry.select[0], sketches, quality)
    rows = parquet_io.read(files.path("keys", "part-00000"), ["row"])["row"].to_pylist()
    assert set(rows) == {0, 50_000}
    assert len(rows) < 50
    assert parquet_io.count_rows(files.path("edges", "part-00000")) == 49_999


@pytest.mark.slow
def test_worker_processes_give_the_same(made, tmp_path):
    executor = Processes(2)
    try:
        for name in ("where", "minhash", "repeated_spans", "k_center", "semdedup", "moderate"):
            fields = {"within": "cluster"} if name == "k_center" else {}
            result, expected = run(made, entry_of(made, name, **fields), tmp_path / name, executor=executor)
            assert plain(result) == plain(expected)
    finally:
        executor.close()


class Killer:
    """Kills the worker that first comes by, when its task is done and its result unknown."""

    def __init__(self, fn, mark):
        self.fn, self.mark = fn, mark

    def __call__(self, task):
        done = self.fn(task)
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "label"),
    [("minhash", {}, "linking"), ("k_center", {"within": "cluster"}, "selecting"), ("semdedup", {}, "searching")],
)
def test_a_worker_that_dies_in_a_partition(made, tmp_path, monkeypatch, name, fields, label):
    mark = tmp_path / "killed"
    real = Context.map

    def murderous(self, text, fn, tasks, sizes, unit="rows"):
        return real(self, text, Killer(fn, str(mark)) if label in text else fn, tasks, sizes, unit)

    monkeypatch.setattr(Context, "map", murderous)
    monkeypatch.setattr(row_partitions, "pack", lambda sizes, _, real=row_partitions.pack: real(sizes, 1))
    executor = Processes(2)
    try:
        result, expected = run(made, entry_of(made, name, **fields), tmp_path, executor=executor)
    finally:
        executor.close()
    assert mark.exists()
    assert plain(result) == plain(expected)


def test_a_condition_that_needs_other_rows_sees_all_of_them(made, tmp_path):
    for drop in ("score_length > AVG(score_length)", "COUNT(*) > 200 AND stars = 1", "extra.kind = 'x'"):
        result, expected = run(made, entry_of(made, "where", drop=drop), tmp_path / str(len(drop)))
        assert plain(result) == plain(expected)
        assert 0 < len(result.indices) < N


def test_filters_and_a_sketch_share_one_pass_over_the_texts(made, tmp_path, monkeypatch):
    context, pool = made
    reads = []
    real = type(pool.inputs).read

    def read(inputs, shard, roles=(), columns=()):
        if "text" in roles:
            reads.append(shard)
        return real(inputs, shard, roles, columns)

    monkeypatch.setattr(type(pool.inputs), "read", read)
    names = ("gopher_quality", "c4_quality", "where", "minhash")
    entries = [entry_of(made, name) for name in names]
    runner = EntryRunner(context, pool, tmp_path, "f")
    before = expected = np.arange(len(pool))
    for number in range(len(entries)):
        before = before[np.sort(runner.run(entries[number:], before, None, None).selection.indices)]
    assert reads == list(pool.numbers)
    monkeypatch.undo()
    for entry in entries:
        expected = expected[np.sort(choose(made[1], expected, entry, context.config.seed).indices)]
    assert before.tolist() == expected.tolist()


def test_work_that_is_done_is_not_done_again(made, tmp_path, monkeypatch):
    entry = entry_of(made, "minhash")
    first, expected = run(made, entry, tmp_path)
    for module, name in ((shard_pass, "write_sketches"), (selection_files, "save"), (sketch_tasks.partitions, "write")):
        monkeypatch.setattr(module, name, None)
    again, _ = run(made, entry, tmp_path)
    assert plain(first) == plain(again) == plain(expected)


@pytest.mark.parametrize("name", ALL)
def test_every_selector_declares_its_scope(name):
    assert "    scope=" in Path(inspect.getfile(registry.get("selector", name).cls)).read_text()
