"""Inputs of plugins, validated once so that algorithms need not check them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.types import (
    Advance,
    Codes,
    FittedState,
    Flags,
    Images,
    Matrix,
    Numbers,
    Positions,
    Rows,
    Texts,
    Vector,
    freeze,
)
from curate.plugins.dynamics import Dynamics, HeldOut, Learner
from curate.plugins.judging import Judge
from curate.plugins.language_models import Example, Examples, Outputs, Request

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Value = TypeVar("Value")

_UNIT_TOLERANCE = 1e-5  # for float32; rows stored as float16 are normalized when they are read


@dataclass(frozen=True, slots=True)
class PublishedRows:
    """Rows published by earlier runs: they are kept, and new rows are compared with their m sketches."""

    is_published: Flags
    """Whether each row was published before, (n,); published rows are kept, and their sketches represent them."""

    sizes: tuple[int, ...] = ()
    """Number of rows in each part of the sketches; m in total."""

    read: Callable[[int, Sequence[str]], pa.Table] | None = None
    """Read columns of the part with that number, as the selector's ``sketch`` wrote them."""

    @classmethod
    def empty(cls, n: int) -> PublishedRows:
        """Return an instance for a pool of n rows none of which was published."""
        return cls(np.zeros(n, np.bool_))

    @property
    def rows(self) -> int:
        """Number of sketches, m."""
        return sum(self.sizes)

    @property
    def new_rows(self) -> Rows:
        """Rows of the pool that were not published before."""
        return np.flatnonzero(~self.is_published)

    def sketches(self, *columns: str) -> Iterator[pa.Table]:
        """Yield those columns of all sketches, part by part."""
        for number in range(len(self.sizes)):
            if self.read is not None:
                yield self.read(number, columns)

    def take(self, rows: Rows) -> PublishedRows:
        """Return the same for some rows of the pool, with all published sketches."""
        return replace(self, is_published=self.is_published[rows])

    def to_pool_rows(self, representative: Rows) -> Rows:
        """Map representatives over [published, new] rows back to pool row indices.

        Parameters
        ----------
        representative : (m + k,) indices into the m sketches followed by the k new rows, -1 for none

        Returns
        -------
        (n,) row of the pool; n + j for the published row of sketch j; -1 for none

        Examples
        --------
        >>> published = PublishedRows(np.array([False, True, False]), (2,))
        >>> published.to_pool_rows(np.array([-1, -1, 1, 2])).tolist()
        [4, -1, 0]
        """
        n, m, new = len(self.is_published), self.rows, self.new_rows
        pool_rows = np.concatenate((n + np.arange(m), new, [-1]))
        result = np.full(n, -1, np.intp)
        result[new] = pool_rows[representative[m:]]
        return result

    def expand_to_pool(self, values: Vector, published_value: float) -> Vector:
        """Expand ``values`` (k,) of the new rows to all rows (n,), with ``published_value`` for published rows."""
        result = np.full(len(self.is_published), published_value, np.float32)
        result[self.new_rows] = values
        return result


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows that a selector chooses from. Arrays are read-only; row i is the same row in all of them.

    A selector receives what it declared in ``reads``; other fields have their defaults.

    Raises
    ------
    PluginError : if shapes or dtypes disagree, a vector is not of unit length, or a value is NaN
    """

    embeddings: Matrix
    """Embeddings (n, d) float32, rows of unit length; d is 0 for selectors that do not read embeddings."""

    quality: Vector
    """Quality (n,) float32, higher = keep; all zero if no score was configured as quality."""

    cluster: Codes
    """Cluster of each row (n,) int32, -1 for rows in no cluster; all zero for selectors that do not read clusters."""

    scores: Mapping[str, Vector] = field(default_factory=dict)
    """Raw scores by name, (n,) float32 each, with the orientation of the papers that define them."""

    higher_is_better: Mapping[str, bool] = field(default_factory=dict)
    """Orientation of each score in ``scores``."""

    frame: pl.DataFrame | None = None
    """Input and score columns that the selector's ``columns()`` requested, n rows."""

    texts: Texts | None = None
    """Texts of the n rows, read from disk on demand."""

    published: PublishedRows | None = None
    """Rows published by earlier runs, for selectors that compare with their sketches."""

    images: Images | None = None
    """Images of the n rows, read from disk on demand; None for a pool without images."""

    judge: Judge | None = None
    """Answers questions about rows."""

    target: TargetRows | None = None
    """Rows of the task that the selection should serve."""

    def __post_init__(self) -> None:
        n = len(self.embeddings)
        _check_array("embeddings", self.embeddings, np.float32, (n, self.embeddings.shape[-1]))
        _check_array("quality", self.quality, np.float32, (n,))
        _check_array("cluster", self.cluster, np.int32, (n,))
        for name, score in self.scores.items():
            _check_array(f"scores[{name!r}]", score, np.float32, (n,))
        if self.frame is not None and self.frame.height != n:
            raise PluginError(f"pool: frame has {self.frame.height} rows, but embeddings have {n}")
        if self.texts is not None and self.texts.rows != n:
            raise PluginError(f"pool: there are {self.texts.rows} texts, but embeddings have {n} rows")
        if self.images is not None and len(self.images) != n:
            raise PluginError(f"pool: there are {len(self.images)} images, but embeddings have {n} rows")
        if not np.isfinite(self.quality).all():
            raise PluginError(
                "pool: quality contains NaN or infinity", hint="use a score without missing values as quality"
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
        """Return the score ``name`` with its sign inverted if needed, so that higher = keep; (n,) float32.

        A "-" before the name inverts it.
        """
        plain = name if name in self.scores else name.removeprefix("-")
        higher_is_better = self.higher_is_better.get(plain, True)
        return self.scores[plain] if higher_is_better == (plain == name) else -self.scores[plain]

    def require_score(self, name: str, selector: str, *, oriented: bool = False) -> Vector:
        """Return the score ``name`` of a pool in which every row has one; (n,) float32.

        Parameters
        ----------
        name : name of the score
        selector : name of the calling selector, for the error
        oriented : invert the sign if needed, so that higher = keep

        Raises
        ------
        PluginError : if a value is missing or infinite
        """
        score = self.oriented_score(name) if oriented else self.scores[name]
        if missing := np.count_nonzero(~np.isfinite(score)):
            raise PluginError(
                f"{selector}: the score {name!r} is missing or infinite for {missing} rows",
                hint=f'drop these rows first with {{use: where, drop: "score_{name} is null"}}, or use another score',
            )
        return score

    def take(self, rows: Rows) -> Pool:
        """Return the sub-pool of ``rows``, in that order."""
        return Pool(
            freeze(self.embeddings[rows]),
            freeze(self.quality[rows]),
            freeze(self.cluster[rows]),
            {name: freeze(score[rows]) for name, score in self.scores.items()},
            self.higher_is_better,
            None if self.frame is None else self.frame[rows],
            None if self.texts is None else self.texts.take(rows),
            None if self.published is None else self.published.take(rows),
            None if self.images is None else self.images.take(rows),
            self.judge,
            self.target,
        )


@dataclass(frozen=True, slots=True)
class Retrievals:
    """Ranked rows of a retrieval corpus that queries retrieved, and the utility of each."""

    rows: Rows
    """Retrieved rows (r,), query by query, most similar first; a query retrieves a row once."""

    starts: Positions
    """First retrieval of each of q queries, and r, (q + 1,) int64."""

    utility: Numbers
    """Contribution of each retrieved row to the utility of its query, (r,) float64, finite."""

    n: int
    """Number of rows in the corpus."""

    def take(self, rows: Rows) -> Retrievals:
        """Return the retrievals of a corpus of ``rows`` only, in that order."""
        position = np.full(self.n, -1, np.intp)
        position[rows] = np.arange(len(rows))
        moved = position[self.rows]
        before = np.concatenate([[0], np.cumsum(moved >= 0)])
        return Retrievals(moved[moved >= 0], before[self.starts], self.utility[moved >= 0], len(rows))


@dataclass(frozen=True, slots=True)
class TargetRows:
    """Rows of the task that the selection should serve. Arrays are read-only."""

    embeddings: Matrix
    """Embeddings (m, d) float32, rows of unit length, of the same embed entry as those of the pool."""

    labels: Codes
    """Class of each row (m,) int32, in the numbers of the pool's classes; -1 for rows without a known label."""

    tasks: Codes
    """Task of each row (m,) int32, from 0; all 0 if the rows are one task."""

    texts: tuple[str, ...] | None = None
    """Texts of the m rows, for a scorer that also reads the texts of the pool."""

    def __post_init__(self) -> None:
        _check_array("target embeddings", self.embeddings, np.float32, self.embeddings.shape)
        _check_array("target labels", self.labels, np.int32, (len(self.embeddings),))
        _check_array("target tasks", self.tasks, np.int32, (len(self.embeddings),))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationBatch:
    """The n rows of the pool that an annotator adds columns to."""

    examples: Examples
    """Prompts and responses of the rows; a row without a prompt has its text as the response."""

    advance: Advance
    """Receives the progress as shares of the work, which need not be reported."""

    judge: Judge | None = None
    """Answers questions, for an annotator that reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBatch:
    """Rows that a scorer scores: a shard, a cluster, or the complete pool, depending on its ``within``.

    A scorer receives what it declared in ``reads``; the rest is None.
    """

    texts: list[str] | None = None
    """Texts of the n rows."""

    images: Images | None = None
    """Images of the n rows, read from disk on demand."""

    embeddings: Matrix | None = None
    """Embeddings (n, d) float32, rows of unit length."""

    cluster: Codes | None = None
    """Cluster of each row (n,) int32, -1 for rows in no cluster."""

    centroids: Matrix | None = None
    """Cluster centroids (k, d) float32, rows of unit length."""

    labels: list[str | None] | None = None
    """Labels of the n rows."""

    dynamics: Dynamics | None = None
    """Training dynamics of the n rows."""

    held_out: HeldOut | None = None
    """Predictions for the n rows by proxies that were not trained on them."""

    learner: Learner | None = None
    """Proxy to train on parts of the n rows."""

    groups: Codes | None = None
    """Index of each row's group in ``group_names`` (n,) int32, -1 for rows without a group."""

    group_names: tuple[str, ...] | None = None
    """Names of the groups, in the order of their values."""

    column: list[object] | None = None
    """Values of the n rows in the scorer's column, as Python objects; None for null."""

    retrievals: Retrievals | None = None
    """Log of the rows that queries retrieved."""

    advance: Advance | None = None
    """Receives the progress of a scorer with ``within="corpus"``, which need not report it."""

    target: TargetRows | None = None
    """Rows of the task that the selection should serve, with the embeddings of the proxy for a scorer that reads its
    features; None without a section ``target``."""

    summary: FittedState | None = None
    """Sums over all shards of what the scorer's ``summarize`` returned."""

    outputs: tuple[Outputs, ...] | None = None
    """Outputs of language models for the n rows, one for each of the scorer's ``requests``."""

    judge: Judge | None = None
    """Answers questions about rows."""

    run_model: Callable[[str | None, Sequence[Example], Request], Outputs] | None = None
    """Runs the model entry with a name, or the first for None, on examples that are no rows, for a scorer with
    ``within="corpus"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInput:
    """Selection to evaluate, with the pool it was made from and test rows that it never saw.

    A metric receives what it declared in ``reads``; the rest is None. Arrays are read-only.
    """

    n: int
    """Number of rows in the pool."""

    selected: Rows
    """Selected rows (k,), best first, k >= 1."""

    weight: Vector | None = None
    """Training weights of the selected rows (k,) float32; None = all equal."""

    embeddings: Matrix | None = None
    """Embeddings of the pool (n, d) float32, rows of unit length."""

    cluster: Codes | None = None
    """Cluster of each row (n,) int32, -1 for rows in no cluster."""

    label: Codes | None = None
    """Index of each row's label in ``classes`` (n,) int32, -1 for rows without a label."""

    classes: tuple[str, ...] = ()
    """All labels of the pool and of the test rows, sorted."""

    source: Codes | None = None
    """Code of each row's source (n,) int32."""

    content: Codes | None = None
    """Code of each row's text (n,) int32, equal for rows with exactly the same text."""

    tokens: Codes | None = None
    """Number of tokens of each row (n,) int32."""

    texts: Sequence[str] | None = None
    """Texts of the n rows."""

    test_embeddings: Matrix | None = None
    """Embeddings of the test rows (m, d) float32, rows of unit length."""

    test_label: Codes | None = None
    """Index of each test row's label in ``classes`` (m,) int32."""

    test_texts: Sequence[str] | None = None
    """Texts of the m test rows."""

    target: Matrix | None = None
    """Embeddings of the test rows of the section ``target`` (t, d) float32, rows of unit length; None without it."""


def require(value: Value | None) -> Value:
    """Return ``value``, an input that the driver supplies because the plugin declared it in ``reads``.

    Raises
    ------
    PluginError : if it is None, because the plugin did not declare it
    """
    if value is None:
        raise PluginError("plugin read an input that is missing from its reads={…}", hint="add it to the decorator")
    return value


def _check_array(name: str, array: NDArray[np.generic], dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise PluginError(
            f"pool: {name} is {array.dtype} of shape {array.shape}; expected {np.dtype(dtype)} of shape {shape}",
        )
    array.flags.writeable = False
