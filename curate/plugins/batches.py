"""What plugins receive, validated here so that no algorithm has to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.types import Codes, Flags, Matrix, Rows, Texts, Vector, freeze

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")

_SUM_TOLERANCE = 1e-2  # float16 storage rounds a logarithm by up to a 2,000th of it
_UNIT_TOLERANCE = 1e-5  # of float32; rows stored as float16 are scaled to unit length when they are read


@dataclass(frozen=True, slots=True)
class PublishedRows:
    """Rows that were published before, m of which there is a sketch: they stay, and new rows are held against them."""

    is_published: Flags
    """(n,) which rows of the pool are among them; they are kept, and their sketches stand for them."""

    sizes: tuple[int, ...] = ()
    """The rows of each part of the sketches; m in all."""

    read: Callable[[int, Sequence[str]], pa.Table] | None = None
    """Gives columns of the part of that number, as the selector's own ``sketch`` wrote them."""

    @classmethod
    def empty(cls, n: int) -> PublishedRows:
        """For a pool of n rows of which none was published."""
        return cls(np.zeros(n, np.bool_))

    @property
    def rows(self) -> int:
        """The number of sketches, m."""
        return sum(self.sizes)

    @property
    def new_rows(self) -> Rows:
        """The rows of the pool that were not published."""
        return np.flatnonzero(~self.is_published)

    def sketches(self, *columns: str) -> Iterator[pa.Table]:
        """Those columns of all sketches, one part after the other."""
        for number in range(len(self.sizes)):
            if self.read is not None:
                yield self.read(number, columns)

    def take(self, rows: Rows) -> PublishedRows:
        """The same for some rows of the pool, beside all that was published."""
        return replace(self, is_published=self.is_published[rows])

    def to_pool_rows(self, representative: Rows) -> Rows:
        """Who stands for each row of the pool, from who does among what was published followed by the new rows.

        Parameters
        ----------
        representative : (m + k,) of those, -1 for none; k new rows

        Returns
        -------
        (n,) a row of the pool; n + j for the published row of sketch j; -1 for none

        >>> told = PublishedRows(np.array([False, True, False]), (2,)).to_pool_rows(np.array([-1, -1, 1, 2]))
        >>> told.tolist()
        [4, -1, 0]
        """
        n, m, new = len(self.is_published), self.rows, self.new_rows
        names = np.concatenate((n + np.arange(m), new, [-1]))
        answer = np.full(n, -1, np.intp)
        answer[new] = names[representative[m:]]
        return answer

    def expand_to_pool(self, values: Vector, held: float) -> Vector:
        """(n,) the ``values`` (k,) of the new rows, and ``held`` for those that were published."""
        answer = np.full(len(self.is_published), held, np.float32)
        answer[self.new_rows] = values
        return answer


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

    published: PublishedRows | None = None
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

    def oriented_score(self, name: str) -> Vector:
        """The score ``name`` with its sign turned, where needed, so that higher = keep; (n,) float32."""
        return self.scores[name] if self.higher_is_better.get(name, True) else -self.scores[name]

    def require_score(self, name: str, selector: str, *, oriented: bool = False) -> Vector:
        """The score ``name``, or ``oriented``, of a pool in which every row has one; (n,) float32.

        Raises
        ------
        PluginError : naming the ``selector``, if a value is missing or infinite
        """
        score = self.oriented_score(name) if oriented else self.scores[name]
        if missing := np.count_nonzero(~np.isfinite(score)):
            raise PluginError(
                f"{selector}: the score {name!r} is missing or infinite for {missing} rows",
                hint=f'drop them first, with {{use: where, drop: "score_{name} is null"}}, or use another score',
            )
        return score

    def take(self, rows: Rows) -> Pool:
        """The sub-pool of ``rows``, in that order."""
        return Pool(
            freeze(self.embeddings[rows]),
            freeze(self.quality[rows]),
            freeze(self.cluster[rows]),
            {name: freeze(score[rows]) for name, score in self.scores.items()},
            self.higher_is_better,
            None if self.frame is None else self.frame[rows],
            None if self.texts is None else self.texts.take(rows),
            None if self.published is None else self.published.take(rows),
        )


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
class MetricInput:
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

    tokens: Codes | None = None
    """(n,) int32."""

    texts: Sequence[str] | None = None
    """n strings."""

    test_embeddings: Matrix | None = None
    """(m, d) float32, rows of unit length."""

    test_label: Codes | None = None
    """(m,) int32 index into ``classes``."""

    test_texts: Sequence[str] | None = None
    """m strings."""


def require(value: T | None) -> T:
    """``value``, a part of a batch that the driver supplies because the plugin declared it in ``reads``."""
    if value is None:
        raise PluginError("a plugin asks for what it does not declare", hint="add it to the decorator's reads={…}")
    return value


def _check(name: str, array: NDArray[np.generic], dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise PluginError(
            f"pool: {name} is {array.dtype} of shape {array.shape}; expected {np.dtype(dtype)} of shape {shape}",
        )
    array.flags.writeable = False
