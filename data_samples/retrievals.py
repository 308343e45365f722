"""Write a log of retrievals from the sample pool, as an application with a retrieval corpus would log them.

``python data_samples/retrievals.py [OUT]`` writes ``data_samples/retrievals.jsonl`` by default. The queries are the
instructions of 300 clean rows, named by the ids of these rows. Each retrieves the 30 other rows whose ``output`` is
most similar, by the vectors of the ``lsa`` embedder. A retrieved row is useful (1) if its ``topic`` is that of the
query, and useless (0) if not, as are rows with a wrong label, junk and other languages.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curate.plugins import registry

HERE = Path(__file__).parent
QUERIES, RETRIEVED = 300, 30


def main(out: Path) -> None:
    """Write the log."""
    rows = []
    for path in sorted((HERE / "pool").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # a planted broken row
                continue
            if row["id"] and row["output"].strip():
                rows.append(row)
    faulty = set(pq.read_table(HERE / "key.parquet")["id"].to_pylist())
    clean = [number for number, row in enumerate(rows) if row["id"] not in faulty]
    rng = np.random.default_rng(0)
    queries = np.sort(rng.choice(clean, QUERIES, replace=False)).tolist()
    lsa = registry.get("embedder", "lsa").cls(dimensions=64)
    encoder = lsa.restore(lsa.fit([f"{row['instruction']}\n{row['output']}" for row in rows], rng))
    corpus = _unit(encoder.encode([row["output"] for row in rows]))
    questions = _unit(encoder.encode([rows[number]["instruction"] for number in queries]))
    with out.open("w", encoding="utf-8") as file:
        for number, similarity in zip(queries, (questions @ corpus.T).round(4), strict=True):
            query = rows[number]
            nearest = [row for row in np.argsort(-similarity, kind="stable").tolist() if row != number]
            for row in nearest[:RETRIEVED]:
                line = {
                    "query": query["id"],
                    "id": rows[row]["id"],
                    "similarity": float(similarity[row]),
                    "utility": int(rows[row]["topic"] == query["topic"]),
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(f"wrote {QUERIES * RETRIEVED:,} retrievals to {out}", file=sys.stderr)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "target", nargs="?", type=Path, default=HERE / "retrievals.jsonl", help="where to write (default: %(default)s)"
    )
    target = parser.parse_args().target
    main(target)
