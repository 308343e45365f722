"""Shared functions of the benchmarks: one process per measurement, in alternating rounds, and the environment.

Other libraries run in the interpreter that CURATE_PEERS_PYTHON names, in a separate environment
(``python -m venv peers; peers/bin/pip install --group peers``); by default, in this one. A library that is not
installed is skipped, with a line that says so.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PEERS = "CURATE_PEERS_PYTHON"
PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "polars", "pyarrow", "numba"),
    *(
        "faiss-cpu",
        "hnswlib",
        "usearch",
        "apricot-select",
        "submodlib-py",
        "semhash",
        "rensa",
        "datasketch",
        "text-dedup",
    ),
)
_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"),
    *("POLARS_MAX_THREADS", "CURATE_THREADS"),
)


# ---------------------------------------------------------------- in the process that measures


def memory(field: str) -> int:
    """Return a field of /proc/self/status in MiB: VmHWM, the peak, or VmRSS; ru_maxrss would include the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) // 1024


def reset_peak() -> int:
    """Reset VmHWM to the current memory, and return it in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def machine() -> dict[str, Any]:
    """Return the interpreter, the libraries and their threads, as far as this process has loaded them."""
    from threadpoolctl import threadpool_info

    blas = {f"{i['prefix']} {i['version']} {i.get('architecture', '')} ×{i['num_threads']}" for i in threadpool_info()}
    versions = {package: _version(package) for package in PACKAGES}
    is_installed = {package: version for package, version in versions.items() if version}
    return {"python": platform.python_version(), "libraries": sorted(blas), "versions": is_installed}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# ---------------------------------------------------------------- in the process that asks


def print_line(line: Mapping[str, Any]) -> None:
    """Print a JSON line on stdout, with floats rounded to five decimals."""
    print(json.dumps(json.loads(json.dumps(line), parse_float=lambda number: round(float(number), 5))), flush=True)


def environment(kernel: str | None, threads: int = 2) -> dict[str, str]:
    """Return the environment with the same number of threads and, with ``kernel``, the same OpenBLAS kernel."""
    changed = dict.fromkeys(_THREADS, str(threads)) | ({"OPENBLAS_CORETYPE": kernel} if kernel else {})
    return {**os.environ, **changed}


def peer_python() -> str:
    """Return the interpreter with the other libraries."""
    return os.environ.get(PEERS, sys.executable)


def is_installed(module: str) -> bool:
    """Return whether that interpreter has a module."""
    test = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module.partition('.')[0]!r}) is None)"
    return subprocess.run([peer_python(), "-c", test], check=False).returncode == 0


def find_variants(bench: str, needs: Mapping[str, str]) -> dict[str, str]:
    """Return the variants that can run, with their interpreters; ``needs`` maps them to modules, "" for curate."""
    versions = {}
    for variant, module in needs.items():
        if not module or is_installed(module):
            versions[variant] = peer_python() if module else sys.executable
        else:
            print_line(
                {"bench": bench, "variant": variant, "skipped": f"{module} is not installed for {peer_python()}"}
            )
    return versions


def measure_in_process(
    python: str, script: str, arguments: Sequence[str], *, kernel: str | None, limit: float | None = None
) -> dict[str, Any]:
    """Return the last JSON line of a separate process, or the reason for its failure under ``failed``."""
    load = os.getloadavg()[0]
    try:
        options = {"env": environment(kernel), "stdout": subprocess.PIPE, "text": True, "timeout": limit}
        done = subprocess.run([python, script, *arguments], check=False, **options)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {limit:g} s"}
    if done.returncode:
        return {"failed": f"exit status {done.returncode}"}  # what it said is on stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "load_before": round(load, 2)}


def run_in_rounds(
    bench: str,
    commands: Mapping[str, tuple[str, Sequence[str]]],
    repeats: int,
    *,
    script: str,
    kernel: str | None,
    limit: float | None = None,
    once: Iterable[str] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Run all variants in alternating rounds, so that other load on the machine affects them equally.

    ``commands`` contains interpreter and arguments of each variant. Variants in ``once`` run only in the first round,
    and variants that failed do not run again. Every run is printed when it ends.
    """
    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in commands}
    for turn in range(repeats):
        for variant, (python, arguments) in commands.items():
            if turn and (variant in once or "failed" in runs[variant][-1]):
                continue
            run = measure_in_process(python, script, arguments, kernel=kernel, limit=limit)
            runs[variant].append(run)
            print_line({"bench": bench, "run": variant, **run})
    return runs


def summary(runs: Sequence[Mapping[str, Any]], keys: Sequence[str] = ("seconds",)) -> dict[str, Any]:
    """Return the last run, with the median, minimum and maximum of ``keys`` over all runs."""
    line = dict(runs[-1])
    for key in keys:
        values = [run[key] for run in runs if key in run]
        if values:
            line |= {key: statistics.median(values), f"{key}_range": [min(values), max(values)]}
    loads = [run["load_before"] for run in runs if "load_before" in run]
    return line | {"repeats": len(runs), "load_before": loads}
