"""The rows of the pool: those input rows that every embedder could embed, in input order, shard by shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import ConfigError
from curate.kernels.types import Matrix, Texts, Vectors
from curate.pool import embedding_matrix
from curate.stages.embed.stage import Embedded
from curate.store import parquet_io
from curate.store.inputs import Inputs


@dataclass(frozen=True, slots=True)
class PoolRows:
    """A handle on the rows that cluster, score and select work on; small, and cheap to send to a worker."""

    source: Inputs
    embedded: tuple[Embedded, ...]

    @property
    def rows(self) -> list[int]:
        """The number of pool rows in each shard."""
        if len(self.embedded) == 1:
            return list(self.embedded[0].rows)
        return [len(self.ids(shard)) for shard in range(len(self.source.shards))]

    @property
    def digests(self) -> list[dict[str, str]]:
        """What the rows of each shard and their vectors are made from."""
        recipes = {entry.name: entry.recipe for entry in self.embedded}
        return [{"rows": digest, **recipes} for digest in self.source.digests]

    def entry(self, name: str | None) -> Embedded:
        """The embed entry of that name; the first for None."""
        for entry in self.embedded:
            if name in (None, entry.name):
                return entry
        raise ConfigError(f"there is no embed entry {name!r}")

    def ids(self, shard: int) -> pa.Array:
        """The ids of one shard's pool rows."""
        first, *others = (parquet_io.read(entry.paths[shard], ["id"])["id"].combine_chunks() for entry in self.embedded)
        for other in others:
            first = first.filter(pc.is_in(first, other))
        return first

    def positions(self, shard: int, ids: pa.Array) -> NDArray[np.intp]:
        """Where one shard's pool rows stand in its input shard."""
        if len(ids) == self.source.shards[shard]:
            return np.arange(len(ids))
        everything = self.source.read(shard, ["id"])["id"].combine_chunks()
        return np.asarray(pc.index_in(ids, everything).to_numpy(), np.intp)

    def vectors(self, name: str | None, shard: int, ids: pa.Array) -> Matrix:
        """The embeddings of one shard's pool rows by one embed entry, (m, d) float32."""
        table = parquet_io.read(self.entry(name).paths[shard], ["id", "embedding"])
        if len(table) != len(ids):
            table = table.filter(pc.is_in(table["id"], ids))
        return embedding_matrix.matrix(table["embedding"])

    def stream(self, name: str | None) -> Vectors:
        """The embeddings of all pool rows by one embed entry, one shard at a time."""

        def blocks() -> Iterator[Matrix]:
            for shard in range(len(self.source.shards)):
                if len(self.embedded) == 1:  # its rows are the pool's: their ids need not be read
                    yield embedding_matrix.matrix(
                        parquet_io.read(self.entry(name).paths[shard], ["embedding"])["embedding"]
                    )
                else:
                    yield self.vectors(name, shard, self.ids(shard))

        return Vectors(sum(self.rows), self.entry(name).dimensions, blocks)

    def texts(self) -> Texts:
        """The texts of all pool rows, one shard at a time."""

        def hashes(shard: int) -> NDArray[np.uint64]:
            stored = self.input(shard, ("hash",))["hash"].combine_chunks()
            both = np.frombuffer(stored.buffers()[1], np.uint64, 2 * len(stored), 16 * stored.offset)
            return both.reshape(-1, 2)

        return Texts(tuple(self.rows), lambda shard: self.input(shard, ("text",))["text"].to_pylist(), hashes)

    def input(self, shard: int, roles: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> pa.Table:
        """Columns of one shard's pool rows, as ``Inputs.read`` gives them."""
        table = self.source.read(shard, roles, columns)
        positions = self.positions(shard, self.ids(shard))
        return table if len(positions) == len(table) else table.take(positions)

    def sources(self, shard: int) -> Counter[str]:
        """How many of one shard's pool rows come from each source."""
        return Counter(self.input(shard, ("source",))["source"].to_pylist())

    def columns(self, roles: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> pa.Table:
        """The same columns of all pool rows."""
        return pa.concat_tables([self.input(shard, roles, columns) for shard in range(len(self.source.shards))])

    def facts(self) -> dict[str, Any]:
        """What a stage that reads these rows is made from."""
        return {"input": self.source.fingerprint, "embed": {entry.name: entry.fingerprint for entry in self.embedded}}
