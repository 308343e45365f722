"""Search for near-duplicates in the cells of clusters on the workers, exactly as in one process.

The rows that reach the entry are divided by cluster on disk once; each task has a partition of complete clusters.

1. Tasks split the clusters into cells. The driver numbers the cells, and ranks the rows.
2. Tasks find the cells that each row searches, and write the rows that search cells of other partitions.
3. Tasks search their cells, for their rows and for those of other partitions.
4. The driver decides which rows are kept. For rows whose most similar earlier row was dropped, tasks search once more,
   among kept rows.
5. Tasks compare the ends of chains, and a sample of the rows with all rows.

Memory: a task holds a partition, about as many rows as a shard has or one larger cluster, and the rows of others that
search it. The driver holds about 60 bytes a row, and the means of all cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.kernels.neighbors.cells import Cells, SplitClusters, nearby_cells, number_cells, rank_rows
from curate.kernels.neighbors.nearest_predecessor import Nearest
from curate.kernels.neighbors.retention import RecallSample
from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, FittedState, Flags, Matrix, Rows, Vector
from curate.plugins.interfaces import CellSelector
from curate.plugins.results import Selection
from curate.pool import embedding_matrix
from curate.stages import partitions
from curate.stages.base import Context, plugin_call, raise_if_failed
from curate.stages.select import row_partitions
from curate.stages.select.row_partitions import RowPartitions
from curate.store import npz, parquet_io

_PAIRS = 65_536


def select_by_cells(context: Context, before: Rows, rows_of: RowPartitions) -> tuple[Selection, int]:
    """Select among the rows ``before``.

    Returns
    -------
    selection : Selection
        Selection among ``before``.
    peak_memory : int
        Highest peak memory of a worker, in bytes.
    """
    return _Driver(context, before, rows_of).run()


@dataclass(frozen=True, slots=True)
class _Task:
    rows: RowPartitions
    number: int
    count: int
    """Number of partitions."""

    is_masked: bool = False
    """Whether a search is restricted to the rows of the file of masks."""

    def save(self, kind: str, arrays: FittedState) -> None:
        npz.save(_path(self.rows, kind, self.number), self.rows.fingerprint, arrays)

    def load(self, kind: str) -> FittedState:
        return _load(self.rows, kind, self.number)

    def is_done(self, kind: str) -> bool:
        return npz.load(_path(self.rows, kind, self.number), self.rows.fingerprint) is not None

    @property
    def selector(self) -> CellSelector:
        selector: CellSelector = self.rows.entry.spec.build()
        return selector


def _path(rows_of: RowPartitions, kind: str, number: int) -> Path:
    return rows_of.path(kind, number).with_suffix(".npz")


def _load(rows_of: RowPartitions, kind: str, number: int) -> FittedState:
    return npz.load_required(_path(rows_of, kind, number), rows_of.fingerprint)


# ---------------------------------------------------------------- the driver


class _Driver:
    def __init__(self, context: Context, before: Rows, rows_of: RowPartitions) -> None:
        self.context, self.before, self.rows_of = context, before, rows_of
        self.selector: CellSelector = rows_of.entry.spec.build()
        self.members: list[Rows] = []
        """Rows of each partition, as positions in ``before``."""

        self.sample: Rows = np.zeros(0, np.intp)
        """Rows compared with all others, to measure how many duplicates are missed."""

        self.peak = 0

    def run(self) -> tuple[Selection, int]:
        cluster = self._divide()
        self._map("splitting clusters", _split)
        cells = self._number_cells(cluster)
        self._map("searching clusters", _search)
        nearest, cosine = self._collect("nearest", cells)
        found = nearest.row.copy()

        def search_kept(queries: Flags, members: Flags) -> Nearest:
            self._save("masks", 0, {"queries": np.packbits(queries), "members": np.packbits(members)})
            self._map("searching clusters again", _search, is_masked=True)
            again, cosine_again = self._collect("nearest-kept", cells)
            changed = queries & (again.row >= 0)
            found[changed], cosine[changed] = again.row[changed], cosine_again[changed]
            return again

        _, representative, similarity = self.selector.decide(cells, nearest, search_kept)
        cosine, missed = self._measure(cells, representative, found, cosine)
        selection = self.selector.conclude(representative, cosine, similarity, missed)
        return selection.check(len(self.before), None), self.peak

    def _map(self, label: str, work: Callable[[_Task], None], *, is_masked: bool = False) -> None:
        entry = self.rows_of.entry
        tasks = [_Task(self.rows_of, number, len(self.members), is_masked) for number in range(len(self.members))]
        sizes = list(map(len, self.members))
        _, failed, peak = self.context.map(f"{label} with {entry.name}", work, tasks, sizes)
        raise_if_failed(failed)
        self.peak = max(self.peak, peak)

    def _save(self, kind: str, number: int, arrays: FittedState) -> None:
        npz.save(_path(self.rows_of, kind, number), self.rows_of.fingerprint, arrays)

    def _divide(self) -> Codes:
        """Divide the rows by cluster, and return the cluster of each."""
        pool, entry = self.rows_of.pool, self.rows_of.entry
        cluster = pool.cluster[self.before]
        _, code = np.unique(cluster, return_inverse=True)
        rows = max(pool.shard_sizes)  # in smaller partitions, more rows search cells of others
        partition = row_partitions.pack(np.bincount(code).astype(np.int64), rows)[code]
        label = f"dividing rows by cluster for {entry.name}"
        self.peak = self.rows_of.divide(self.context, self.before, partition, cluster, None, label)
        order = np.argsort(partition, kind="stable")
        count = int(partition.max(initial=-1)) + 1
        self.members = np.split(order, np.searchsorted(partition[order], np.arange(1, count))) if count else []
        return cluster

    def _number_cells(self, cluster: Codes) -> Cells:
        """Return the cells of all partitions, the rank of the rows, and the cells that each row searches."""
        n, entry = len(self.before), self.rows_of.entry
        splits = [_load(self.rows_of, "split", number) for number in range(len(self.members))]
        first_rows = [
            rows[np.unique(split["cell"], return_index=True)[1][-len(split["means"]) :]]
            for rows, split in zip(self.members, splits, strict=True)
        ]
        first = np.concatenate([np.zeros(0, np.intp), *first_rows])
        order = number_cells(first, cluster[first])
        numbers = np.split(np.argsort(order), np.cumsum(list(map(len, first_rows)))[:-1])
        dimensions = self.rows_of.pool.embedding(entry.embedding).dimensions
        means = np.concatenate([np.zeros((0, dimensions), np.float32), *(split["means"] for split in splits)])[order]
        cell, copy_of, keys = np.full(n, -1, np.int32), np.full(n, -1, np.intp), np.zeros(n)
        for rows, split, number in zip(self.members, splits, numbers, strict=True):
            local, copies = split["cell"], split["copy_of"]
            cell[rows] = np.where(local < 0, -1, number.astype(np.int32)[local])
            copy_of[rows] = np.where(copies < 0, -1, rows[copies])
            keys[rows] = split["keys"]
        rank = rank_rows(keys, cell)
        of_partition = [np.full(len(number), position, np.int32) for position, number in enumerate(numbers)]
        partition = np.concatenate([np.zeros(0, np.int32), *of_partition])[order]
        nearby = nearby_cells(means, self.selector.n_probe)
        self._save("directory", 0, {"means": means, "nearby": nearby, "partition": partition})
        width = max(1, min(self.selector.n_probe, len(means)))
        cells = Cells(cell, np.full((n, width), -1, np.int32), rank, copy_of)
        self.sample = self.selector.draw_sample(cells)
        in_sample = np.zeros(n, np.bool_)
        in_sample[self.sample] = True
        for position, (rows, number) in enumerate(zip(self.members, numbers, strict=True)):
            arrays = {"numbers": number, "rank": rank[rows], "rows": rows, "sample": np.flatnonzero(in_sample[rows])}
            self._save("numbers", position, arrays)
        self._map("finding nearby clusters", _probe)
        for position, rows in enumerate(self.members):
            cells.probed_cells[rows] = _load(self.rows_of, "probed", position)["probed"]
        return cells

    def _collect(self, kind: str, cells: Cells) -> tuple[Nearest, Vector]:
        """Return the most similar earlier row of each row over all partitions, and the cosine of the two."""
        nearest = Nearest.empty(cells.rank)
        cosine = np.full(len(self.before), np.nan, np.float32)
        for number in range(len(self.members)):
            found = _load(self.rows_of, kind, number)
            rows, candidates = found["rows"], found["nearest"]
            nearest.offer(rows, found["similarity"], candidates)
            taken = (nearest.row[rows] == candidates) & (candidates >= 0)
            cosine[rows[taken]] = found["cosine"][taken]
        return nearest, cosine

    def _measure(
        self, cells: Cells, representative: Rows, found: Rows, cosine: Vector
    ) -> tuple[Vector, RecallSample | None]:
        """Return the cosine of each row to its representative, and how many duplicates of a sample were not compared.

        Rows at the end of a chain were not compared with their representative. Tasks compare them if both are in one
        partition, the driver if not.
        """
        cosine = np.where(representative < 0, np.float32(np.nan), cosine)
        partition, local = np.full(len(cosine) + 1, -1), np.zeros(len(cosine), np.intp)
        for number, rows in enumerate(self.members):
            partition[rows], local[rows] = number, np.arange(len(rows))
        is_end = (representative >= 0) & (representative != found)
        together = is_end & (partition[:-1] == partition[representative])
        self._compare_apart(np.flatnonzero(is_end & ~together), representative, cosine)
        if not len(self.sample) and not together.any():
            return cosine, None
        self._save("sample", 0, {"vectors": self._read_sample()})
        for number, rows in enumerate(self.members):
            ends = rows[together[rows]]
            self._save("chains", number, {"row": local[ends], "representative": local[representative[ends]]})
        self._map("measuring duplicates", _measure)
        measured = [_load(self.rows_of, "measured", number) for number in range(len(self.members))]
        for rows, part in zip(self.members, measured, strict=True):
            cosine[rows[together[rows]]] = part["cosine"]
        if not len(self.sample):
            return cosine, None
        a = np.concatenate([rows[part["row"]] for rows, part in zip(self.members, measured, strict=True)])
        b = self.sample[np.concatenate([part["query"] for part in measured])]
        in_cells = cells.cell[a] >= 0
        return cosine, self.selector.count_missed(cells, self.sample, a[in_cells], b[in_cells])

    def _compare_apart(self, missing: Rows, representative: Rows, cosine: Vector) -> None:
        """Set the cosines of rows to representatives in other partitions."""
        for block in block_slices(len(missing), _PAIRS):
            rows = missing[block]
            both, position = np.unique(np.concatenate((rows, representative[rows])), return_inverse=True)
            x = self.rows_of.pool.read_vectors(self.rows_of.entry.embedding, self.before[both])
            cosine[rows] = _cosines(x, *np.split(position, 2))

    def _read_sample(self) -> Matrix:
        """Return the vectors of the sample, in its order."""
        parts = [_load(self.rows_of, "probed", number)["vectors"] for number in range(len(self.members))]
        positions = [rows[_load(self.rows_of, "numbers", number)["sample"]] for number, rows in enumerate(self.members)]
        return np.concatenate(parts)[np.argsort(np.concatenate(positions))]


# ---------------------------------------------------------------- the tasks


def _split(task: _Task) -> None:
    """Split the clusters of a partition into cells."""
    if task.is_done("split"):
        return
    pool = task.rows.read(task.number).pool
    with plugin_call(task.rows.entry.spec, task.rows.entry.name):
        split = task.selector.split(pool)
    keys = split.sort_keys(pool.quality, task.selector.keep)
    task.save("split", {"cell": split.cell, "copy_of": split.copy_of, "keys": keys, "means": split.means})


def _probe(task: _Task) -> None:
    """Find the cells that each row searches, and write the rows that search cells of other partitions."""
    queries = task.rows.path("queries", task.number)
    if task.is_done("probed") and parquet_io.is_current(queries, task.rows.fingerprint):
        return
    split, directory, numbers = task.load("split"), _load(task.rows, "directory", 0), task.load("numbers")
    pool = task.rows.read(task.number).pool
    cells = SplitClusters(split["cell"], split["copy_of"], split["keys"], split["means"])
    probed = cells.probe(
        pool.embeddings, numbers["numbers"], directory["means"], directory["nearby"], task.selector.n_probe
    )
    partition = np.append(directory["partition"], -1)[probed]
    row, slot = np.nonzero((partition >= 0) & (partition != task.number))
    values = pa.array(pool.embeddings[row].ravel())
    table = pa.table(
        {
            "row": numbers["rows"][row],
            "rank": numbers["rank"][row],
            "cell": probed[row, slot],
            "embedding": pa.FixedSizeListArray.from_arrays(values, pool.embeddings.shape[1]),
        }
    )
    partitions.write(queries, task.rows.fingerprint, table, partition[row, slot])
    task.save("probed", {"probed": probed, "vectors": pool.embeddings[numbers["sample"]]})


def _search(task: _Task) -> None:
    """Find the most similar earlier row, in the cells of a partition, of each row that searches them."""
    kind = "nearest-kept" if task.is_masked else "nearest"
    if task.is_done(kind):
        return
    split, numbers = task.load("split"), task.load("numbers")
    own = task.rows.read(task.number).pool.embeddings
    n, local_of = len(own), np.full(len(_load(task.rows, "directory", 0)["partition"]) + 1, -1, np.int32)
    local_of[numbers["numbers"]] = np.arange(len(numbers["numbers"]))
    other = _read_queries(task)
    other_rows, first, position = np.unique(other["row"].to_numpy(), return_index=True, return_inverse=True)
    vectors = embedding_matrix.to_matrix(other["embedding"]) if len(other) else own[:0]
    probed = np.full((n + len(other_rows), task.load("probed")["probed"].shape[1]), -1, np.int32)
    probed[:n] = local_of[task.load("probed")["probed"]]
    by_row = np.argsort(position, kind="stable")
    slot = 1 + np.arange(len(other)) - np.searchsorted(position[by_row], position[by_row])  # slot 0: members
    probed[n + position[by_row], slot] = local_of[other["cell"].to_numpy()[by_row]]
    rows = np.concatenate((numbers["rows"], other_rows))
    rank = np.concatenate((numbers["rank"], other["rank"].to_numpy()[first]))
    ranked = np.flatnonzero(rank >= 0)
    local_rank = np.full(len(rank), -1, np.intp)
    local_rank[ranked[np.argsort(rank[ranked])]] = np.arange(len(ranked))
    none = np.full(len(rows), -1)
    cell = np.concatenate((split["cell"], none[n:].astype(np.int32)))
    cells = Cells(cell, probed, local_rank, none)
    queries = members = None
    if task.is_masked:
        masks = _load(task.rows, "masks", 0)
        queries, members = (np.unpackbits(masks[name])[rows].astype(np.bool_) for name in ("queries", "members"))
    x = np.concatenate((own, vectors[first])) if len(other_rows) else own
    with plugin_call(task.rows.entry.spec, task.rows.entry.name):
        nearest = task.selector.search(x, cells, queries, members)
    cosine = np.full(len(rows), np.nan, np.float32)
    matched = np.flatnonzero(nearest.row >= 0)
    cosine[matched] = _cosines(x, matched, nearest.row[matched])
    seen = np.flatnonzero(nearest.similarity > -np.inf)
    task.save(
        kind,
        {
            "rows": rows[seen],
            "similarity": nearest.similarity[seen],
            "nearest": np.append(rows, -1)[nearest.row[seen]],
            "cosine": cosine[seen],
        },
    )


def _read_queries(task: _Task) -> pa.Table:
    """Read the rows of other partitions that search cells of this one, in the order of the partitions."""
    parts = [partitions.read(task.rows.path("queries", number), task.number) for number in range(task.count)]
    return pa.concat_tables(parts).combine_chunks()


def _measure(task: _Task) -> None:
    """Find the rows of a partition that are similar to rows of the sample, and compare the ends of chains."""
    if task.is_done("measured"):
        return
    x, sample = task.rows.read(task.number).pool.embeddings, _load(task.rows, "sample", 0)["vectors"]
    row = query = np.zeros(0, np.intp)
    if len(sample):
        with plugin_call(task.rows.entry.spec, task.rows.entry.name):
            row, query = task.selector.find_pairs(x, sample)
    chains = task.load("chains")
    task.save("measured", {"row": row, "query": query, "cosine": _cosines(x, chains["row"], chains["representative"])})


def _cosines(x: Matrix, left: Rows, right: Rows) -> Vector:
    """Return the cosine of each pair of rows."""
    cosine = np.empty(len(left), np.float32)
    for block in block_slices(len(left), _PAIRS):
        cosine[block] = np.einsum("ij,ij->i", x[left[block]], x[right[block]])
    return cosine
