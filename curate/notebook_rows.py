"""Rows that a notebook passes to ``curate.select``: arrays, and the columns of a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.errors import ConfigError
from curate.kernels import data_frames
from curate.kernels.types import AnyArray, Texts, Vector, Vectors, freeze
from curate.plugins.batches import Pool
from curate.seeds import rng_for

if TYPE_CHECKING:
    from curate.config.model import SelectEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookRows:
    """Inputs of a selector for n rows; arrays that were not passed are None."""

    n: int
    embeddings: NDArray[np.float32] | None
    """Vectors of unit length, (n, d)."""

    quality: Vector | None
    cluster: NDArray[np.int32] | None
    tokens: NDArray[np.int32] | None
    scores: Mapping[str, Vector] = field(default_factory=dict)
    texts: Texts | None = None
    columns: Mapping[str, pl.Series] = field(default_factory=dict)
    """Columns for conditions and groups: those of the DataFrame, ``label`` and ``groups``."""

    @classmethod
    def from_arguments(
        cls,
        data: object,
        *,
        embeddings: object,
        quality: object,
        cluster: object,
        tokens: object,
        scores: object,
        texts: object,
        labels: object,
        groups: object,
    ) -> NotebookRows:
        """Resolve the arguments of ``curate.select``.

        Raises
        ------
        ConfigError
            If an argument is wrong; the message names it.
        """
        frame = data_frames.to_frame(data)
        others = (embeddings, quality, cluster, tokens, scores, texts, labels, groups)
        if (
            frame is not None
            and all(dtype.is_numeric() for dtype in frame.dtypes)
            and all(one is None for one in others)
        ):
            data, frame = frame.to_numpy(), None  # a frame of numbers is a matrix
        if frame is None and data is not None:
            if embeddings is not None:
                raise ConfigError("embeddings: given twice, as data, too", hint="pass a DataFrame as data")
            embeddings = data
        if frame is not None and embeddings is None:
            embeddings = _only_vectors(frame)

        def column(name: str, value: object) -> object:
            return _column(frame, name, value) if frame is not None and isinstance(value, str) else value

        x = None if embeddings is None else unit_rows("embeddings", column("embeddings", embeddings))
        given_texts = column("texts", texts)
        if x is None and frame is None and given_texts is None:
            raise ConfigError("data: missing", hint="pass a DataFrame, or the vectors of the rows")
        n = len(x) if x is not None else frame.height if frame is not None else to_texts(given_texts, None).rows
        if frame is not None and frame.height != n:
            raise ConfigError(f"embeddings: must have one vector for each of the {frame.height:,} rows; got {n:,}")
        named_scores = scores
        if isinstance(scores, Sequence) and not isinstance(scores, str) and all(isinstance(one, str) for one in scores):
            named_scores = {name: name for name in scores} if frame is not None else scores
        if named_scores is not None and not isinstance(named_scores, Mapping):
            raise ConfigError("scores: must be a mapping of names to arrays", hint="pass scores={'name': array}")
        if groups is not None and not isinstance(groups, Mapping):
            raise ConfigError("groups: must be a mapping of names to columns", hint="pass groups={'name': list}")
        converted = {
            name: _vector(f"scores[{name!r}]", column(f"scores[{name!r}]", values), np.float32, n)
            for name, values in (named_scores or {}).items()
        }
        columns = {} if frame is None else {name: frame[name] for name in frame.columns}
        columns |= {f"score_{name}": pl.Series(name, values) for name, values in converted.items()}
        for name, values in {**({} if labels is None else {"label": labels}), **(groups or {})}.items():
            argument = "labels" if values is labels else f"groups[{name!r}]"
            columns[name] = _series(argument, column(argument, values), n).alias(name)
        counts = None if tokens is None else _vector("tokens", column("tokens", tokens), np.int32, n)
        if counts is not None and (counts < 0).any():
            raise ConfigError("tokens: must be >= 0; got a negative number")
        return cls(
            n=n,
            embeddings=x,
            quality=None if quality is None else _vector("quality", column("quality", quality), np.float32, n),
            cluster=None if cluster is None else _vector("cluster", column("cluster", cluster), np.int32, n),
            tokens=counts,
            scores=converted,
            texts=None if given_texts is None else to_texts(given_texts, n),
            columns=columns,
        )

    def require(self, name: str, reason: str) -> None:
        """Raise an error if an argument is missing.

        Raises
        ------
        ConfigError
            If it is None.
        """
        if getattr(self, name) is None:
            raise ConfigError(f"{name}: missing; {reason}", hint=_HINTS.get(name, f"add {name}=[…]"))

    def clusters(self, seed: int) -> NDArray[np.int32]:
        """Return the cluster of each row: the one that was passed, or that of k-means, (n,)."""
        if self.cluster is not None:
            return self.cluster
        from curate.kernels.clustering import lloyd
        from curate.plugins import registry

        self.require("embeddings", "they are clustered")
        x = np.zeros((0, 1), np.float32) if self.embeddings is None else self.embeddings
        fitted = registry.get("clusterer", "kmeans").cls().fit(Vectors.from_array(x), rng_for(seed, "cluster/kmeans"))
        return lloyd.assign(x, fitted.centroids)[0]

    def group_values(self, within: object, seed: int) -> pl.Series:
        """Return the group of each row: a column by its name, or the values that were passed.

        Raises
        ------
        ConfigError
            If there is no such column, or the values are wrong.
        """
        if not isinstance(within, str):
            return _series("within", within, self.n)
        if within in self.columns:
            return self.columns[within]
        if within == "cluster":
            return pl.Series(self.clusters(seed))
        names = ", ".join(map(repr, ("cluster", *self.columns)))
        raise ConfigError(f"within: must be a list with the group of each row, or one of {names}; got {within!r}")

    def to_pool(self, entry: SelectEntry, seed: int) -> Pool:
        """Return the pool with the inputs that a selector reads.

        Raises
        ------
        ConfigError
            If an input is missing.
        """
        traits, selector = entry.spec.plugin().traits, entry.spec.build()
        name = entry.spec.name
        if "embedding" in traits.reads:
            self.require("embeddings", f"the selector {name!r} reads vectors")
        if "text" in traits.reads:
            self.require("texts", f"the selector {name!r} reads texts")
        elif "image" in traits.reads:
            message = f"images: missing; the selector {name!r} reads images"
            raise ConfigError(message, hint="set input.image in a configuration, and use curate.run")
        if "target" in traits.reads:
            message = f"target: missing; the selector {name!r} compares rows with those of a task"
            raise ConfigError(message, hint="set the section target in a configuration, and use curate.run")
        if traits.reads_judge:
            message = f"judge: missing; the selector {name!r} asks a judge"
            raise ConfigError(message, hint="set the section judge in a configuration, and use curate.run")
        if traits.needs_quality:
            self.require("quality", f"the selector {name!r} ranks by quality")
        frame = None
        if "frame" in traits.reads:
            frame = pl.DataFrame([self._column(one, seed) for one in selector.columns()])
            frame = frame if frame.width else None
        return Pool(
            np.zeros((self.n, 0), np.float32) if self.embeddings is None else self.embeddings,
            np.zeros(self.n, np.float32) if self.quality is None else self.quality,
            self.clusters(seed) if "cluster" in traits.reads else np.zeros(self.n, np.int32),
            self.scores,
            frame=frame,
            texts=self.texts,
        )

    def _column(self, name: str, seed: int) -> pl.Series:
        """Return a column of a condition."""
        if name in self.columns:
            return self.columns[name].alias(name)
        if name == "cluster":
            return pl.Series(name, self.clusters(seed))
        if name == "tokens" and self.tokens is not None:
            return pl.Series(name, self.tokens)
        there = f"there are: {', '.join(self.columns)}" if self.columns else "there are no columns"
        hint = "pass a DataFrame, or the column with groups={…}, labels=[…] or scores={…}"
        raise ConfigError(f"there is no column {name!r}; {there}", hint=hint)


_HINTS = {"embeddings": "compute them: embeddings=curate.embed(texts)"}


def _only_vectors(frame: pl.DataFrame) -> str | None:
    """Return the only column of vectors; None if there is none."""
    names = data_frames.vector_columns(frame)
    if len(names) > 1:
        raise ConfigError(
            f"embeddings: several columns contain vectors: {', '.join(map(repr, names))}", hint="name one of them"
        )
    return names[0] if names else None


def _column(frame: pl.DataFrame, argument: str, name: str) -> pl.Series:
    if name not in frame.columns:
        raise ConfigError(
            f"{argument}: the DataFrame has no column {name!r}", hint=f"use one of: {', '.join(frame.columns)}"
        )
    return frame[name]


def unit_rows(name: str, values: object) -> NDArray[np.float32]:
    """Return vectors scaled to unit length, (n, d) float32.

    Raises
    ------
    ConfigError
        If a vector has no direction.
    """
    array = data_frames.to_array(name, values)
    if array.ndim != 2 or not array.shape[1]:
        hint = "pass x[None, :] for one vector, x[:, None] for n vectors of one number" if array.ndim == 1 else ""
        raise ConfigError(f"{name}: must have the shape (n, d); got {array.shape}", hint=hint)
    with np.errstate(over="ignore"):
        x = array.astype(np.float32)
        norms = np.linalg.norm(x, axis=1, keepdims=True)
    invalid = np.flatnonzero(~(np.isfinite(norms) & (norms > 0))[:, 0])
    if len(invalid):
        message = f"{name}: row {invalid[0]} is all zero, or contains NaN or infinity"
        more = f"; so do {len(invalid) - 1:,} more rows" if len(invalid) > 1 else ""
        raise ConfigError(message + more, hint="drop these rows")
    return freeze(x / norms)


def _vector(name: str, values: object, dtype: type[np.generic], n: int) -> AnyArray:
    array = data_frames.to_array(name, values)
    if array.shape != (n,):
        raise ConfigError(f"{name}: must have the shape ({n},), one number for each row; got {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    if issubclass(dtype, np.integer) and not (converted == array).all():
        row = int(np.flatnonzero(converted != array)[0])
        raise ConfigError(f"{name}: must be {np.dtype(dtype)}; got {array[row].item()} in row {row}")
    return converted


def to_texts(values: object, n: int | None) -> Texts:
    """Return texts, of which there must be ``n`` unless it is None.

    Raises
    ------
    ConfigError
        If they are not a list of strings.
    """
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        got = "one string" if isinstance(values, str) else type(values).__name__
        raise ConfigError(f"texts: must be a list of strings; got {got}")
    library = data_frames.library_of(values)
    items = values.to_pylist() if library == "pyarrow" else list(chain(values))  # type: ignore[attr-defined]
    other_types = [type(text).__name__ for text in items if not isinstance(text, str)]
    if other_types:
        raise ConfigError(f"texts: must be a list of strings; got a list with a {other_types[0]}")
    if n is not None and len(items) != n:
        raise ConfigError(f"texts: must have one text for each of the {n:,} rows; got {len(items):,}")
    return Texts.from_list(items)


def _series(name: str, values: object, n: int) -> pl.Series:
    """Return a column of n values that can be compared."""
    series = data_frames.to_series(name, values)
    if len(series) != n or series.dtype.is_nested() or series.dtype == pl.Object:
        got = f"{len(series):,} values of type {series.dtype}"
        raise ConfigError(f"{name}: must have one value for each of the {n:,} rows; got {got}")
    return series
