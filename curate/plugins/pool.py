"""What plugins are handed and hand back: validated once, here, so that no algorithm has to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.errors import PluginError

if TYPE_CHECKING:
    import polars as pl

    from curate.plugins.published import Published
    from curate.plugins.retention import Retention

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]
Rows = NDArray[np.intp]
Codes = NDArray[np.int32]
T = TypeVar("T")

_SUM_TOLERANCE = 1e-2  # float16 storage rounds a logarithm by up to a 2,000th of it
_UNIT_TOLERANCE = 1e-5  # of float32; rows stored as float16 are scaled to unit length when they are read


@dataclass(frozen=True, slots=True)
class Pool:
    """The rows a selector chooses from. Arrays are read-only; row i is the same row in all of them.

    A selector is handed what it declared in ``reads``; the rest is left at its default.

    Raises
    ------
    PluginError : if shapes or dtypes disagree, a vector is not of unit length, or a value is NaN
    """

    embeddings: Matrix
    """(n, d) float32, rows of unit length; d is 0 for selectors that do not read embeddings."""

    quality: Vector
    """(n,) float32, higher = keep; all zero where no score was named."""

    cluster: Codes
    """(n,) int32, -1 for rows in no cluster; all zero for selectors that do not read clusters."""

    scores: Mapping[str, Vector] = field(default_factory=dict)
    """Raw scores by name, (n,) float32 each, as in the papers that define them."""

    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    """The orientation of each score in ``scores``."""

    frame: pl.DataFrame | None = None
    """The input and score columns that the selector's ``columns()`` asked for, n rows."""

    texts: Texts | None = None
    """N strings, read from disk as often as they are asked for."""

    published: Published | None = None
    """What earlier runs published, for a selector that keeps sketches of it and is asked to compare with them."""

    def __post_init__(self) -> None:
        n = len(self.embeddings)
        _check("embeddings", self.embeddings, np.float32, (n, self.embeddings.shape[-1]))
        _check("quality", self.quality, np.float32, (n,))
        _check("cluster", self.cluster, np.int32, (n,))
        for name, score in self.scores.items():
            _check(f"scores[{name!r}]", score, np.float32, (n,))
        if self.frame is not None and self.frame.height != n:
            raise PluginError(f"pool: frame has {self.frame.height} rows, embeddings have {n}")
        if self.texts is not None and self.texts.rows != n:
            raise PluginError(f"pool: there are {self.texts.rows} texts, and embeddings have {n} rows")
        if not np.isfinite(self.quality).all():
            raise PluginError(
                "pool: quality holds NaN or infinity", hint="name a score without missing values as quality"
            )
        for start in range(0, n if self.embeddings.shape[1] else 0, 65_536):
            block = self.embeddings[start : start + 65_536]
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
            if not (np.abs(norms - 1) < _UNIT_TOLERANCE).all():
                raise PluginError(
                    "pool: an embedding is not of unit length", hint="divide each row by its Euclidean norm"
                )

    def __len__(self) -> int:
        return len(self.embeddings)

    def oriented(self, name: str) -> Vector:
        """The score ``name`` with its sign turned, where needed, so that higher = keep; (n,) float32."""
        return self.scores[name] if self.higher_is_better.get(name, True) else -self.scores[name]

    def known(self, name: str, selector: str, *, oriented: bool = False) -> Vector:
        """The score ``name``, or ``oriented``, of a pool in which every row has one; (n,) float32.

        Raises
        ------
        PluginError : naming the ``selector``, if a value is missing or infinite
        """
        score = self.oriented(name) if oriented else self.scores[name]
        if missing := np.count_nonzero(~np.isfinite(score)):
            raise PluginError(
                f"{selector}: the score {name!r} is missing or infinite for {missing} rows",
                hint=f'drop them first, with {{use: where, drop: "score_{name} is null"}}, or use another score',
            )
        return score

    def take(self, rows: Rows) -> Pool:
        """The sub-pool of ``rows``, in that order."""
        return Pool(
            frozen(self.embeddings[rows]),
            frozen(self.quality[rows]),
            frozen(self.cluster[rows]),
            {name: frozen(score[rows]) for name, score in self.scores.items()},
            self.higher_is_better,
            None if self.frame is None else self.frame[rows],
            None if self.texts is None else self.texts.take(rows),
            None if self.published is None else self.published.take(rows),
        )


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, made read-only."""
    array.flags.writeable = False
    return array


def _check(name: str, array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise PluginError(
            f"pool: {name} is {array.dtype} of shape {array.shape}; expected {np.dtype(dtype)} of shape {shape}",
        )
    array.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a pool of n were chosen, in what order, and why the others were not.

    Raises
    ------
    PluginError : if a row is chosen twice or does not exist, or an array has the wrong length
    """

    order: Rows
    """(k,) rows, best first."""

    gain: Vector
    """(k,) float32, what each chosen row added when it was chosen, in the selector's own unit."""

    weight: Vector | None = None
    """(k,) float32 training weight of each chosen row; None = all alike."""

    reasons: tuple[str, ...] = ("not chosen",)
    """The reasons a row of this pool can be dropped for."""

    reason: NDArray[np.signedinteger] | None = None
    """(n,) index into ``reasons`` of each row; read for dropped rows only; None = all 0."""

    representative: Rows | None = None
    """(n,) the chosen row that stands for this one, -1 where none does; n + j for row j of what was published."""

    similarity: Vector | None = None
    """(n,) float32 similarity to the representative, NaN where there is none: the cosine, or what the selector says."""

    retention: Retention | None = None
    """Of a selector that drops duplicates: how many rows other thresholds would keep."""

    epochs: tuple[Rows, ...] | None = None
    """An epoch plan: the rows to train on in each epoch; ``order`` then has every row of it. None: all in every one."""

    @classmethod
    def planned(cls, epochs: Sequence[Rows], gain: Vector, reasons: tuple[str, ...]) -> Selection:
        """The selection that an epoch plan makes: rows in order of first use, weighted by the epochs they are in.

        ``gain`` (n,) float32 is that of every row of the pool. A plan of one epoch is an ordinary selection.
        """
        if len(epochs) == 1:
            return cls(epochs[0], gain[epochs[0]], reasons=reasons)
        rows, first, uses = np.unique(np.concatenate(epochs), return_index=True, return_counts=True)
        by_use = np.argsort(first)
        order = rows[by_use]
        return cls(order, gain[order], uses[by_use].astype(np.float32), reasons, epochs=tuple(epochs))

    def check(self, n: int, budget: int | None) -> Selection:
        """The selection itself, if it is one of exactly ``budget`` rows (None = any number) from a pool of ``n``.

        The budget of an epoch plan is that of each epoch.
        """
        k = len(self.order)
        if self.epochs is not None:
            self._check_epochs(budget)
        elif budget is not None and k != budget:
            raise PluginError(f"selection: {k} rows chosen, the budget is {budget}")
        if k and (self.order.min() < 0 or self.order.max() >= n):
            raise PluginError(f"selection: a chosen row is outside 0..{n - 1}")
        if len(np.unique(self.order)) != k:
            raise PluginError("selection: a row is chosen twice")
        for name, array, length in (
            ("gain", self.gain, k),
            ("weight", self.weight, k),
            ("reason", self.reason, n),
            ("representative", self.representative, n),
            ("similarity", self.similarity, n),
            ("retention's nearest", None if self.retention is None else self.retention.nearest, n),
        ):
            if array is not None and array.shape != (length,):
                raise PluginError(f"selection: {name} has shape {array.shape}, expected ({length},)")
        return self

    def _check_epochs(self, budget: int | None) -> None:
        for number, rows in enumerate(self.epochs or ()):
            if budget is not None and len(rows) != budget:
                raise PluginError(f"selection: {len(rows)} rows in epoch {number}, the budget of each is {budget}")
            if len(np.unique(rows)) != len(rows):
                raise PluginError(f"selection: a row is twice in epoch {number}")
        if not np.array_equal(np.unique(np.concatenate(self.epochs or (self.order[:0],))), np.sort(self.order)):
            raise PluginError("selection: the rows chosen are not those of the epochs")


@dataclass(frozen=True, slots=True)
class Dynamics:
    """How a proxy judged the rows while it was trained: the probability of every class after each epoch of each run."""

    labels: Codes
    """(n,) int32 class of each row; -1 for a row that the proxy was not trained on, whose scores are NaN."""

    classes: int
    runs: int
    epochs: int
    """Of each run."""

    read: Callable[[int, int], Matrix]
    """Gives the (n, classes) float32 probabilities after one epoch of one run, both counted from 0."""

    def __post_init__(self) -> None:
        _check("dynamics' labels", self.labels, np.int32, (len(self.labels),))

    def __len__(self) -> int:
        return len(self.labels)

    def probabilities(self, run: int, epoch: int) -> Matrix:
        """(n, classes) float32, read afresh each time, so that no more than one epoch need be in memory.

        Raises
        ------
        PluginError : if they are no probabilities
        """
        given = self.read(run, epoch)
        _check(f"dynamics of run {run}, epoch {epoch}", given, np.float32, (len(self.labels), self.classes))
        if not (np.abs(given.sum(axis=1) - 1) < _SUM_TOLERANCE).all() or (given < 0).any():
            raise PluginError(f"dynamics: the probabilities after epoch {epoch} of run {run} do not sum to 1")
        return given

    def take(self, rows: Rows) -> Dynamics:
        """The dynamics of ``rows``, in that order."""
        return Dynamics(
            self.labels[rows], self.classes, self.runs, self.epochs, lambda run, epoch: self.read(run, epoch)[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBatch:
    """The rows a scorer scores: a shard, a cluster, or the whole pool, as its ``within`` says.

    A scorer is handed what it declared in ``reads``; the rest is None.
    """

    texts: list[str] | None = None
    """n strings."""

    embeddings: Matrix | None = None
    """(n, d) float32, rows of unit length."""

    cluster: Codes | None = None
    """(n,) int32, -1 for rows in no cluster."""

    centroids: Matrix | None = None
    """(k, d) float32, rows of unit length."""

    labels: list[str | None] | None = None
    """n labels."""

    dynamics: Dynamics | None = None
    """Of n rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """How well a scorer learnt what it learns first."""

    facts: Mapping[str, float]
    """Finite numbers for the manifest, by what they are."""

    told: str
    """The same in one sentence, for the log and the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A choice of rows and what it is judged by: the pool it was made from, and test rows that it never saw.

    A metric is handed what it declared in ``reads``; the rest is None. Arrays are read-only.
    """

    n: int
    """Rows in the pool."""

    chosen: Rows
    """(k,) the chosen rows, best first, k >= 1."""

    weight: Vector | None = None
    """(k,) float32 training weights of the chosen rows; None = all alike."""

    embeddings: Matrix | None = None
    """(n, d) float32, rows of unit length."""

    cluster: Codes | None = None
    """(n,) int32, -1 for rows in no cluster."""

    label: Codes | None = None
    """(n,) int32 index into ``classes``, -1 for rows without a label."""

    classes: tuple[str, ...] = ()
    """Every label of the pool and of the test rows, sorted."""

    source: Codes | None = None
    """(n,) int32, one code a source."""

    content: Codes | None = None
    """(n,) int32, the same for rows with exactly the same text."""

    tokens: NDArray[np.int32] | None = None
    """(n,) int32."""

    texts: Sequence[str] | None = None
    """n strings."""

    test_embeddings: Matrix | None = None
    """(m, d) float32, rows of unit length."""

    test_label: Codes | None = None
    """(m,) int32 index into ``classes``."""

    test_texts: Sequence[str] | None = None
    """m strings."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a metric found."""

    values: Mapping[str, float]
    """One number for each column that the metric declared, in that order; NaN where it is not defined, and says why."""

    hits: NDArray[np.bool_] | None = None
    """(m,) of a metric that learns to predict labels: whether it was right on each test row."""

    notes: tuple[str, ...] = ()
    """What a reader must know: why a number is NaN, a class without a chosen row, …"""


def given(value: T | None) -> T:
    """``value``, a part of a batch that the driver supplies because the plugin declared it in ``reads``."""
    if value is None:
        raise PluginError("a plugin asks for what it does not declare", hint="add it to the decorator's reads={…}")
    return value


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings that can be read block by block, as often as needed, without all being in memory."""

    rows: int
    dimensions: int
    blocks: Callable[[], Iterator[Matrix]]
    """Starts another pass; yields (m, d) float32 blocks in row order, each at most one shard."""

    @classmethod
    def of(cls, embeddings: Matrix, block: int = 65_536) -> Vectors:
        """Vectors over an array (n, d) in memory."""

        def blocks() -> Iterator[Matrix]:
            for start in range(0, len(embeddings), block):
                yield embeddings[start : start + block]

        return cls(embeddings.shape[0], embeddings.shape[1], blocks)


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that can be read block by block, as often as needed, without all being in memory."""

    sizes: tuple[int, ...]
    """The rows of each block, at most one shard's."""

    read: Callable[[int], Sequence[str]]
    """Gives the texts of the block of that number, in row order."""

    hashes: Callable[[int], NDArray[np.uint64]] | None = None
    """Gives the two halves (m, 2) of the 128-bit BLAKE2b hash of each of those texts in UTF-8, where they are known."""

    @property
    def rows(self) -> int:
        """The number of texts."""
        return sum(self.sizes)

    def blocks(self) -> Iterator[Sequence[str]]:
        """Starts another pass; yields some texts after the others, in row order, one block at a time."""
        return map(self.read, range(len(self.sizes)))

    @classmethod
    def of(cls, texts: Sequence[str], block: int = 65_536) -> Texts:
        """Texts over a list in memory."""
        starts = range(0, len(texts), block)
        sizes = tuple(min(block, len(texts) - start) for start in starts)
        return cls(sizes, lambda number: texts[starts[number] : starts[number] + block])

    def take(self, rows: Rows) -> Texts:
        """The texts of ``rows``, in that order; blocks with none of them are not read.

        If the rows do not ascend, their texts are read in one pass, and held.
        """
        if np.array_equal(rows, np.arange(self.rows)):
            return self
        if (np.diff(rows) < 0).any():
            order = np.argsort(rows, kind="stable")
            ascending = [text for block in self.take(rows[order]).blocks() for text in block]
            back = np.empty(len(rows), np.intp)
            back[order] = np.arange(len(rows))
            return Texts.of([ascending[place] for place in back.tolist()])
        starts = np.cumsum([0, *self.sizes])
        cuts = np.searchsorted(rows, starts)
        numbers = np.flatnonzero(np.diff(cuts)).tolist()

        def places(number: int) -> Rows:
            mine = numbers[number]
            own: Rows = rows[cuts[mine] : cuts[mine + 1]] - starts[mine]
            return own

        def read(number: int) -> Sequence[str]:
            block = self.read(numbers[number])
            return [block[place] for place in places(number).tolist()]

        known = self.hashes
        hashes = None if known is None else lambda number: known(numbers[number])[places(number)]
        return Texts(tuple(np.diff(cuts)[numbers].tolist()), read, hashes)


@dataclass(frozen=True, slots=True)
class Clustering:
    """Groups of similar rows, told by their centres."""

    centroids: Matrix
    """(k, d) float32, rows of unit length."""

    facts: Mapping[str, float] = field(default_factory=dict)
    """What the fit reports (inertia, iterations, …), for the manifest and the report."""
