"""The columns of the pool, over all shards, each read when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import DataError
from curate.kernels.types import Matrix, Vector, frozen
from curate.pool.rows import PoolRows
from curate.stages.cluster import Clustered
from curate.stages.context import Context
from curate.stages.decontaminate.stage import Decontaminated
from curate.stages.score.stage import Scored, gather
from curate.store.arrow_values import leaves


class PoolColumns:
    """The pool's n rows as a selector, a guard or a report may want to see them."""

    def __init__(
        self,
        context: Context,
        rows: PoolRows,
        clustered: Clustered,
        scored: Sequence[Scored],
        decontaminated: Decontaminated | None = None,
    ) -> None:
        self.context, self.rows, self.clustered, self.scored = context, rows, clustered, scored
        self.decontaminated = decontaminated
        self.n = sum(rows.rows)
        self._embeddings: dict[str | None, Matrix] = {}

    @cached_property
    def ids(self) -> pa.ChunkedArray:
        """N strings."""
        return pa.chunked_array([self.rows.ids(shard) for shard in range(len(self.rows.rows))], pa.string())

    @cached_property
    def contaminated(self) -> NDArray[np.bool_]:
        """(n,) whether each row is dropped because of an evaluation text, before anything is selected."""
        if self.decontaminated is None:
            return np.zeros(self.n, np.bool_)
        return self.decontaminated.contaminated(self.rows)

    @cached_property
    def hashes(self) -> pa.ChunkedArray:
        """N hashes of the rows' texts, 16 bytes each."""
        return self.rows.columns(("hash",))["hash"]

    @cached_property
    def cluster(self) -> NDArray[np.int32]:
        """(n,) int32."""
        shards = [self.clustered.read(shard)["cluster"].to_numpy() for shard in range(len(self.rows.rows))]
        return np.concatenate(shards)

    @cached_property
    def tokens(self) -> NDArray[np.int32]:
        """(n,) int32."""
        return np.asarray(self.rows.columns(("tokens",))["tokens"].to_numpy())

    @cached_property
    def source(self) -> pl.Series:
        """N categories."""
        return pl.Series(self.rows.columns(("source",))["source"]).cast(pl.Categorical)

    @cached_property
    def label(self) -> pl.Series:
        """N strings or nulls."""
        return pl.Series(self.rows.columns(("label",))["label"])

    @cached_property
    def scores(self) -> dict[str, Vector]:
        """Every score column (n,) float32, by its name without ``score_``."""
        scores: dict[str, Vector] = {}
        for entry in self.scored:
            tables = [entry.read(shard) for shard in range(len(self.rows.rows))]
            for column in entry.columns:
                scores[column.removeprefix("score_")] = frozen(np.concatenate([t[column].to_numpy() for t in tables]))
        return scores

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """The orientation of every score column."""
        return {
            column.removeprefix("score_"): better
            for entry in self.scored
            for column, better in zip(entry.columns, entry.higher_is_better, strict=True)
        }

    def embeddings(self, name: str | None) -> Matrix:
        """(n, d) float32 by the embed entry of that name; only the last one asked for is held."""
        if name not in self._embeddings:
            self._embeddings = {name: gather(self.context, self.rows, name)}
        return self._embeddings[name]

    def quality(self, name: str | None) -> Vector:
        """The score named, turned so that higher = keep, and once more for a leading ``-``; zeros for None."""
        if name is None:
            return np.zeros(self.n, np.float32)
        plain = name.removeprefix("-")
        score = self.scores[plain]
        return score if self.higher_is_better[plain] == (name == plain) else -score

    def groups(self, name: str) -> pl.Series:
        """A column that rows can be grouped by: cluster, label, source, or one of the input."""
        if name == "cluster":
            return pl.Series(self.cluster)
        return {"label": self.label, "source": self.source}[name] if name in ("label", "source") else self._own(name)

    def frame(self, names: Sequence[str]) -> pl.DataFrame:
        """Score columns (``score_<name>``), columns of the input, and cluster, tokens, label and source."""
        scores = {f"score_{name}": values for name, values in self.scores.items()}
        columns: dict[str, Any] = {}
        for name in names:
            if name in scores:
                columns[name] = scores[name]
            elif name in ("cluster", "label", "source") and name not in self.rows.source.columns:
                columns[name] = self.groups(name)
            elif name == "tokens" and name not in self.rows.source.columns:
                columns[name] = self.tokens
            else:
                columns[name] = self._own(name)
        return pl.DataFrame({name: pl.Series(name, values) for name, values in columns.items()})

    def _own(self, name: str) -> pl.Series:
        """A column of the input."""
        if name not in self.rows.source.columns:
            known = [*(f"score_{score}" for score in self.scores), *self.rows.source.columns]
            ours = "cluster, label, source, tokens"
            raise DataError(f"there is no column {name!r}", hint=f"there are: {', '.join(known)}; and {ours}")
        return _series(self.rows.columns(columns=(name,))[name], name)


def _series(column: pa.ChunkedArray, name: str) -> pl.Series:
    """A column of the input for conditions and groups.

    Raises
    ------
    DataError : Polars, which computes these, cannot represent its type
    """
    try:
        if any(map(pa.types.is_decimal256, leaves(column.type))):
            raise pl.exceptions.InvalidOperationError("decimals of more than 38 digits are not supported")
        return pl.Series(column)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"column {name!r} is {column.type}, which conditions and groups cannot use: {str(error).splitlines()[0]}",
            hint=f"read it as text: input.types: {{{name}: string}}",
        ) from error
