"""Compare direct linkage and connected components of minhash on texts filled into templates; prints JSON lines.

    python benchmarks/templates.py --rows 50000

Each pool uses one template, or two that share most of their words, and random fills. "parcel": three fills, two of
which rarely repeat. "two": two templates. "long": eight fills of 20 values in 400 words; at .9, texts that share four
fills are similar, so that there are long chains of rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from measuring import print_line

from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.neighbors.rare_shingles import Profiles
from curate.kernels.types import Texts
from curate.plugins.selectors.duplicates.minhash import minhash

POOLS = {
    "parcel": (0.5, 40, (1_000_000_000, 30, 1_000_000_000)),
    "two": (0.7, 60, (1000,) * 3),
    "long": (0.9, 400, (20,) * 8),
}
"""Threshold, words in the template, and number of values of each fill."""


def texts(name: str, rows: int) -> list[str]:
    _, words, values = POOLS[name]
    template = [f"w{number}" for number in range(words)]
    places = np.linspace(3, words - 4, len(values)).astype(int)
    filled = []
    for number, row in enumerate(np.random.default_rng(0).integers(0, values, (rows, len(values))).tolist()):
        text = list(template)
        for fill, (place, value) in enumerate(zip(places, row, strict=True)):
            text[place] = f"f{fill}.{value}"
        if name == "two" and number % 2:
            text[30:35] = ["other", "words", "in", "the", "middle"]
        filled.append(" ".join(text))
    return filled


def measured(pool: Sequence[str], min_similarity: float, linkage: str) -> dict[str, float]:
    compared = []

    def counted(jaccard):
        return lambda self, left, right: compared.append(len(left)) or jaccard(self, left, right)

    true = HashSets.jaccard, Profiles.jaccard
    HashSets.jaccard, Profiles.jaccard = map(counted, true)
    began = time.perf_counter()
    representative, _, _ = minhash(
        Texts.from_list(pool),
        np.zeros(len(pool), np.float32),
        min_similarity=min_similarity,
        ngram_unit="word",
        ngram_size=5,
        num_perm=128,
        max_miss_rate=0.01,
        linkage=linkage,
    )
    seconds = time.perf_counter() - began
    HashSets.jaccard, Profiles.jaccard = true
    return {"seconds": round(seconds, 2), "kept": int((representative < 0).sum()), "compared": sum(compared)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--only", nargs="+", choices=POOLS, default=list(POOLS))
    chosen = parser.parse_args()
    for name in chosen.only:
        pool = texts(name, chosen.rows)
        for linkage in ("direct", "connected"):
            result = measured(pool, POOLS[name][0], linkage)
            print_line({"bench": "templates", "pool": name, "rows": chosen.rows, "linkage": linkage, **result})


if __name__ == "__main__":
    main()
