"""Leak between splits: rows of a held-out split that resemble rows of another split, next to a random division."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.kernels.linalg.cosines import similarity_threshold
from curate.kernels.parallel import block_slices, one_blas_thread
from curate.kernels.text.ngram_overlap import NgramIndex
from curate.kernels.types import Codes, Counts, Matrix, Rows
from curate.pool import embedding_matrix
from curate.pool.view import PoolView
from curate.report.report_data import Leak
from curate.stages.base import Context, raise_if_failed
from curate.store import parquet_io

_SAMPLE = 1_000
_NGRAM, _MIN_WORDS = 13, 8
_MIN_SIMILARITY = 0.95
_ROWS = 4_096
_KINDS = 2  # words, embeddings


@dataclass(frozen=True, slots=True)
class _Task:
    pool: PoolView
    number: int
    codes: bytes
    """Split of each row of the shard, int16; -1 for rows that were not selected."""

    first: int
    """Position of the first row of the shard in the pool."""

    n_splits: int
    sample: Path
    fingerprint: str


def measure(
    context: Context, pool: PoolView, rows: Rows, assigned: Codes, n_splits: int, folder: Path, fingerprint: str
) -> list[Leak | None]:
    """Measure the leak of each split but the first, on up to 1,000 of its rows; None for the first.

    A row resembles another if they share 13 consecutive words, or if the cosine of their embeddings is at least 0.95.

    Parameters
    ----------
    rows : ndarray of shape (n,)
        Selected rows of the pool.
    assigned : ndarray of shape (n,)
        Split of each of these rows.
    """
    order = np.random.default_rng(0).permutation(len(rows))
    drawn = [np.sort(order[assigned[order] == number][:_SAMPLE]) for number in range(1, n_splits)]
    sample = np.sort(np.concatenate(drawn))
    own = assigned[sample]
    path = folder / "sample.parquet"
    parquet_io.write(_read_sample(pool, rows[sample]), path, fingerprint)
    codes = np.full(len(pool), -1, np.int16)
    codes[rows] = assigned
    starts = np.cumsum((0, *pool.shard_sizes))
    tasks = [
        _Task(pool, number, codes[start:stop].tobytes(), start, n_splits, path, fingerprint)
        for number, start, stop in zip(pool.numbers, starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]
    parts, failed, _ = context.map("comparing the splits", _count, tasks, pool.shard_sizes)
    raise_if_failed(failed)
    counts: Counts = np.sum(parts, axis=0)  # kind, row of the sample, split
    shares = np.bincount(assigned, minlength=n_splits) / max(1, len(assigned))
    results: list[Leak | None] = [None]
    for number in range(1, n_splits):
        of_split = counts[:, own == number]
        similar = of_split.sum(axis=2)
        crossing = (similar > of_split[:, :, number]).sum(axis=1).tolist()
        expected = (1 - shares[number] ** similar).sum(axis=1).tolist()
        results.append(
            Leak(
                sampled=of_split.shape[1],
                words=crossing[0],
                random_words=round(expected[0], 1),
                similar=crossing[1],
                random_similar=round(expected[1], 1),
            )
        )
    return results


def _read_sample(pool: PoolView, rows: Rows) -> pa.Table:
    x = pool.read_vectors(None, rows)
    values = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    return pa.table(
        {
            "row": rows,
            "text": pa.array(list(chain.from_iterable(pool.texts().take(rows).blocks())), pa.string()),
            "embedding": values,
        }
    )


@lru_cache(maxsize=1)
def _sample(path: Path, fingerprint: str) -> tuple[Matrix, Rows, NgramIndex]:  # noqa: ARG001 - of the cache
    """Return the vectors, the rows and the n-grams of the sample."""
    table = parquet_io.read(path)
    index = NgramIndex.from_texts(table["text"].to_pylist(), _NGRAM, _MIN_WORDS)
    return embedding_matrix.to_matrix(table["embedding"]), table["row"].to_numpy(), index


def _count(task: _Task) -> Counts:
    """Count the rows of each split that resemble each row of the sample, (2, k, splits)."""
    queries, sampled, index = _sample(task.sample, task.fingerprint)
    codes = np.frombuffer(task.codes, np.int16).astype(np.int32)
    rows = np.flatnonzero(codes >= 0)
    counts = np.zeros((_KINDS, len(sampled), task.n_splits), np.int64)
    shard = task.pool.shard(task.number)
    texts = shard.read(("text",))["text"].take(pa.array(rows)).to_pylist()
    found, ngrams = index.find(texts)
    numbers = np.diff(index.offsets)[ngrams]
    row = np.repeat(found, numbers)
    query = index.texts[np.repeat(index.offsets[ngrams + 1] - np.cumsum(numbers), numbers) + np.arange(len(row))]
    query, row = np.unique(np.stack((query, row)), axis=1)
    is_other = rows[row] + task.first != sampled[query]
    np.add.at(counts[0], (query[is_other], codes[rows[row[is_other]]]), 1)
    x, threshold = shard.vectors(None), similarity_threshold(_MIN_SIMILARITY)
    with one_blas_thread():
        for block in block_slices(len(rows), _ROWS):
            is_similar = queries @ x[rows[block]].T >= threshold
            _, query, own = np.intersect1d(sampled - task.first, rows[block], assume_unique=True, return_indices=True)
            is_similar[query, own] = False
            if is_similar.any():
                of_split = np.eye(task.n_splits, dtype=np.float32)[codes[rows[block]]]
                counts[1] += (is_similar.astype(np.float32) @ of_split).astype(np.int64)
    return counts
