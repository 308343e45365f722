"""Write a training log of the sample pool, as an example of a model that is trained elsewhere.

``python data_samples/training_log.py [OUT]`` writes ``data_samples/training_log.parquet`` by default: the probabilities
of every row after each of ten epochs of a linear classifier on hashed words.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

HERE = Path(__file__).parent
EPOCHS = 10


def main(out: Path) -> None:
    """Train the classifier, and write its predictions."""
    rows = []
    for path in sorted((HERE / "pool").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # a planted broken row
                continue
            if row["id"]:
                rows.append(row)
    x = HashingVectorizer(n_features=4096).transform([f"{row['instruction']}\n{row['output']}" for row in rows])
    labels = [row["topic"] for row in rows]
    model = SGDClassifier(loss="log_loss", alpha=1e-5, random_state=0)
    rng, parts = np.random.default_rng(0), []
    for epoch in range(EPOCHS):
        order = rng.permutation(len(rows))
        model.partial_fit(x[order], [labels[row] for row in order], classes=sorted(set(labels)))
        probabilities = model.predict_proba(x).astype(np.float32)
        parts.append(pl.DataFrame({"id": [row["id"] for row in rows], "epoch": epoch, "probabilities": probabilities}))
    pl.concat(parts).write_parquet(out)
    print(f"wrote {EPOCHS} epochs of {len(rows):,} rows to {out}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "target",
        nargs="?",
        type=Path,
        default=HERE / "training_log.parquet",
        help="where to write (default: %(default)s)",
    )
    target = parser.parse_args().target
    main(target)
