"""Write the sample pool with an embedding in every row, as an example of a pool with precomputed vectors.

``python data_samples/with_embeddings.py [OUT]`` writes ``data_samples/with_embeddings.parquet`` by default. The vectors
are those of the ``lsa`` embedder with 64 dimensions.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.plugins import registry

HERE = Path(__file__).parent


def main(out: Path) -> None:
    """Write the pool."""
    rows = []
    for path in sorted((HERE / "pool").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # a planted broken row
                continue
            if row["id"] and row["output"].strip():
                rows.append(row)
    texts = [f"{row['instruction']}\n{row['output']}" for row in rows]
    lsa = registry.get("embedder", "lsa").cls(dimensions=64)
    vectors = lsa.restore(lsa.fit(texts, np.random.default_rng(0))).encode(texts)
    table = pa.Table.from_pylist(rows)
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    pq.write_table(table.append_column("embedding", embedding), out)
    print(f"wrote {len(rows):,} rows to {out}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "target",
        nargs="?",
        type=Path,
        default=HERE / "with_embeddings.parquet",
        help="where to write (default: %(default)s)",
    )
    target = parser.parse_args().target
    main(target)
