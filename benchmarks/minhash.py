"""Compare fuzzy deduplication with rensa, datasketch and text-dedup, and with the exact result.

    CURATE_PEERS_PYTHON=peers/bin/python python benchmarks/minhash.py --rows 200000
    … --rows 1000000 --only curate

The documents are those of ``documents.py``, similarity is the Jaccard similarity of the sets of five-word shingles, and
duplicates are pairs with at least 0.7. The variants alternate in separate processes, with 128 permutations: curate
chooses the bands and verifies pairs that share one; rensa and datasketch use 16 bands of 8 and compare signatures;
text-dedup uses the same bands and joins all rows that share one. All use two threads or processes, if any.

``pair_recall`` and ``pair_precision`` refer to the pairs that a variant finds similar (for text-dedup: pairs in one
group); ``dropped`` are the documents that are not the first of their group, with all linked pairs joined. The exact
result comes from a prefix join over the words, which is computed once, for up to 300,000 documents.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from documents import documents
from measuring import find_variants, machine, measure_in_process, memory, print_line, run_in_rounds, summary
from mixture import CACHE

SIMILARITY, LENGTH, PERMUTATIONS, BANDS, ROWS = 0.7, 5, 128, 16, 8
MODULES = {"curate": "", "rensa": "rensa", "datasketch": "datasketch", "text-dedup": "text_dedup"}
EXACT = 300_000
"""Documents for which the exact answer is made; beyond, it takes too long."""

Pairs = np.ndarray
"""(p, 2), the lesser first, sorted, each once."""


# ---------------------------------------------------------------- in processes of their own


def curate(texts: Sequence[str]) -> tuple[float, Pairs, dict[str, Any]]:
    from curate.kernels.types import Texts
    from curate.plugins.selectors.duplicates.minhash import minhash

    chosen = {"min_similarity": SIMILARITY, "ngram_unit": "word", "ngram_size": LENGTH, "num_perm": PERMUTATIONS}
    began = time.perf_counter()
    direct, _, _ = minhash(
        Texts.from_list(texts), np.zeros(len(texts), np.float32), **chosen, max_miss_rate=0.01, linkage="direct"
    )
    seconds, peak = time.perf_counter() - began, memory("VmHWM")
    dropped = np.flatnonzero(direct >= 0)
    linked = np.unique(np.sort(np.stack([direct[dropped], dropped], axis=1)), axis=0)
    pairs = _compared(texts) if len(texts) <= EXACT else linked
    return seconds, pairs, {"dropped_directly": len(dropped), "peak_mib": peak}


def _compared(texts: Sequence[str]) -> Pairs:
    """Return all pairs that share a band in curate and are similar."""
    from curate.kernels.neighbors.jaccard import HashSets
    from curate.kernels.neighbors.lsh_linkage import Buckets
    from curate.kernels.neighbors.minhash_signatures import band_keys, choose_bands, compute_signatures
    from curate.kernels.text.shingles import hash_shingles

    bands, rows = choose_bands(SIMILARITY, PERMUTATIONS, 0.01)
    keys, sets = [], []
    for start in range(0, len(texts), 1000):
        hashes, offsets = hash_shingles([text.lower() for text in texts[start : start + 1000]], LENGTH, "word")
        keys.append(band_keys(compute_signatures(hashes, offsets, bands * rows), bands, rows))
        sets.append(HashSets.from_lists(hashes, offsets))
    buckets = Buckets.from_keys(np.concatenate(keys, axis=1))
    groups = np.split(buckets.members, buckets.starts[1:-1])
    pairs = _unique(pair for group in groups for pair in combinations(group.tolist(), 2))
    return pairs[HashSets.concatenate(sets).jaccard(pairs[:, 0], pairs[:, 1]) >= SIMILARITY]


def rensa(texts: Sequence[str]) -> tuple[float, Pairs, dict[str, Any]]:
    import rensa

    began = time.perf_counter()
    sketches = []
    for start in range(0, len(texts), 4096):
        some = [list(_shingles(text)) for text in texts[start : start + 4096]]
        sketches += rensa.RMinHash.from_token_sets(some, num_perm=PERMUTATIONS, seed=1)
    index = rensa.RMinHashLSH(threshold=SIMILARITY, num_perm=PERMUTATIONS, num_bands=BANDS)
    index.insert_many(sketches)
    pairs = [
        (other, number)
        for number, others in enumerate(index.query_all(sketches))
        for other in others
        if other < number and sketches[other].jaccard(sketches[number]) >= SIMILARITY
    ]
    return time.perf_counter() - began, _unique(pairs), {"peak_mib": memory("VmHWM")}


def datasketch(texts: Sequence[str]) -> tuple[float, Pairs, dict[str, Any]]:
    from datasketch import MinHash, MinHashLSH

    began = time.perf_counter()
    coded = ([shingle.encode() for shingle in _shingles(text)] for text in texts)
    sketches = list(MinHash.generator(coded, num_perm=PERMUTATIONS, seed=1))
    index = MinHashLSH(threshold=SIMILARITY, num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    pairs = []
    for number, sketch in enumerate(sketches):
        pairs += [(other, number) for other in index.query(sketch) if sketches[other].jaccard(sketch) >= SIMILARITY]
        index.insert(number, sketch, check_duplication=False)
    return time.perf_counter() - began, _unique(pairs), {"peak_mib": memory("VmHWM")}


def text_dedup(texts: Sequence[str]) -> tuple[float, Pairs, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from text_dedup import minhash

    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/texts.parquet"
        pq.write_table(pa.table({"text": texts}), file)
        options = {
            **{"path": "parquet", "data_files": file, "split": "train", "cache_dir": f"{folder}/cache"},
            **{"output": f"{folder}/kept", "column": "text", "num_proc": 2, "hash_func": "xxh3"},
            **{"ngram": LENGTH, "threshold": SIMILARITY, "num_perm": PERMUTATIONS, "b": BANDS, "r": ROWS},
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        began = time.perf_counter()
        minhash.main(arguments, standalone_mode=False)
        seconds = time.perf_counter() - began
    groups: dict[int, list[int]] = {}
    for number in range(len(texts)):
        groups.setdefault(minhash.uf.find(number), []).append(number)
    pairs = _unique(pair for group in groups.values() for pair in combinations(group, 2))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return seconds, pairs, {"peak_mib": memory("VmHWM"), "peak_mib_of_a_child": children}


VARIANTS = {"curate": curate, "rensa": rensa, "datasketch": datasketch, "text-dedup": text_dedup}


def _shingles(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[start : start + LENGTH]) for start in range(max(1, len(words) - LENGTH + 1))}


def _unique(pairs: Any) -> Pairs:
    return np.unique(np.array(list(pairs), np.int64).reshape(-1, 2), axis=0)


# ---------------------------------------------------------------- the exact answer


def exact(rows: int) -> dict[str, Any]:
    """Return the pairs of at least that similarity among the first documents, which are stored on disk.

    Two sets of similarity s share one of their first |A| − ⌈s |A|⌉ + 1 elements if those are sorted from the rarest on
    (Chaudhuri, Ganti & Kaushik 2006, doi:10.1109/ICDE.2006.9), so only such pairs are compared.
    """
    file = _answer(rows)
    if not file.exists():
        numbers: dict[str, int] = {}
        sets = [
            np.array([numbers.setdefault(one, len(numbers)) for one in _shingles(text)]) for text in documents(rows)
        ]
        often = np.bincount(np.concatenate(sets), minlength=len(numbers))
        rank = np.empty(len(often), np.int64)
        rank[np.lexsort((np.arange(len(often)), often))] = np.arange(len(often))
        del numbers
        sets = [np.sort(rank[one]) for one in sets]
        seen: dict[int, list[int]] = {}
        pairs = []
        for one in np.argsort([len(each) for each in sets], kind="stable").tolist():
            size = len(sets[one])
            others = set()
            for element in sets[one][: size - int(np.ceil(SIMILARITY * size)) + 1].tolist():
                here = seen.setdefault(element, [])
                others.update(here)
                here.append(one)
            mine = set(sets[one].tolist())
            for other in others:
                if len(sets[other]) >= SIMILARITY * size:
                    shared = len(mine.intersection(sets[other].tolist()))
                    if shared >= SIMILARITY * (size + len(sets[other]) - shared):
                        pairs.append((min(one, other), max(one, other)))
        np.save(file, _unique(pairs))
    return {"pairs": len(np.load(file)), "dropped": _dropped(rows, np.load(file))}


def _answer(rows: int) -> Path:
    return CACHE / f"similar-ascii-{rows}-{SIMILARITY}.npy"


def _dropped(rows: int, pairs: Pairs) -> int:
    """Return the number of documents that are not the first of their group, if all pairs are joined."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (rows, rows))
    return rows - int(connected_components(graph, directed=False)[0])


def one(variant: str, rows: int) -> dict[str, Any]:
    texts = documents(rows)
    seconds, pairs, more = VARIANTS[variant](texts)
    found = {"seconds": seconds, "pairs": len(pairs), "dropped": _dropped(rows, pairs), **more}
    if _answer(rows).exists():
        similar = np.load(_answer(rows))
        both = len(np.intersect1d(similar[:, 0] * rows + similar[:, 1], pairs[:, 0] * rows + pairs[:, 1]))
        found |= {"pair_recall": both / len(similar), "pair_precision": both / max(1, len(pairs))}
    return {"variant": variant, "rows": rows, **found, **machine()}


# ---------------------------------------------------------------- all of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--only", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(exact(options.rows) if options.one == "exact" else one(options.one, options.rows)))
        return
    documents(options.rows)
    if options.rows <= EXACT:
        answer = measure_in_process(
            sys.executable, __file__, ["--one", "exact", "--rows", str(options.rows)], kernel=None
        )
        print_line({"bench": "minhash", "variant": "exact", **answer})
    pythons = find_variants("minhash", {variant: MODULES[variant] for variant in options.only})
    commands = {
        variant: (python, ["--one", variant, "--rows", str(options.rows)]) for variant, python in pythons.items()
    }
    runs = run_in_rounds("minhash", commands, options.repeats, script=__file__, kernel=None)
    for variant, of_one in runs.items():
        print_line({"bench": "minhash", "variant": variant, **summary(of_one)})


if __name__ == "__main__":
    main()
