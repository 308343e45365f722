"""What the benchmarks share: a process for each measurement, in turns, and what it ran on.

A peer runs in the interpreter that CURATE_PEERS_PYTHON names, of an environment of its own
(``python -m venv peers; peers/bin/pip install --group peers``); without it, in this one. One that is not installed is
skipped, with a line that says so.
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
    """A field of /proc/self/status in MiB: VmHWM, the peak, or VmRSS. ru_maxrss would be the parent's at first."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) // 1024


def reset_peak() -> int:
    """Let VmHWM start again from what is held now, which is returned in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def machine() -> dict[str, Any]:
    """Interpreter, libraries and their threads, as far as this process has loaded them."""
    from threadpoolctl import threadpool_info

    blas = {f"{i['prefix']} {i['version']} {i.get('architecture', '')} ×{i['num_threads']}" for i in threadpool_info()}
    found = {package: _version(package) for package in PACKAGES}
    installed = {package: version for package, version in found.items() if version}
    return {"python": platform.python_version(), "libraries": sorted(blas), "versions": installed}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# ---------------------------------------------------------------- in the process that asks


def tell(line: Mapping[str, Any]) -> None:
    """A JSON line on stdout, floats to five places."""
    print(json.dumps(json.loads(json.dumps(line), parse_float=lambda told: round(float(told), 5))), flush=True)


def environment(kernel: str | None, threads: int = 2) -> dict[str, str]:
    """For everyone the same number of threads and, if ``kernel`` is given, the same kernel of OpenBLAS."""
    changed = dict.fromkeys(_THREADS, str(threads)) | ({"OPENBLAS_CORETYPE": kernel} if kernel else {})
    return {**os.environ, **changed}


def peers() -> str:
    """The interpreter that has the peers."""
    return os.environ.get(PEERS, sys.executable)


def installed(module: str) -> bool:
    """Whether the peers' interpreter has a module."""
    test = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module.partition('.')[0]!r}) is None)"
    return subprocess.run([peers(), "-c", test], check=False).returncode == 0


def at_hand(bench: str, needs: Mapping[str, str]) -> dict[str, str]:
    """The variants that can run, each with its interpreter; ``needs`` names the module of a peer, "" is curate."""
    found = {}
    for variant, module in needs.items():
        if not module or installed(module):
            found[variant] = peers() if module else sys.executable
        else:
            tell({"bench": bench, "variant": variant, "skipped": f"{module} is not installed for {peers()}"})
    return found


def measured(
    python: str, script: str, arguments: Sequence[str], *, kernel: str | None, limit: float | None = None
) -> dict[str, Any]:
    """The JSON that a process of its own prints last; why there is none, under ``failed``, if it ends otherwise."""
    load = os.getloadavg()[0]
    try:
        options = {"env": environment(kernel), "stdout": subprocess.PIPE, "text": True, "timeout": limit}
        done = subprocess.run([python, script, *arguments], check=False, **options)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {limit:g} s"}
    if done.returncode:
        return {"failed": f"exit status {done.returncode}"}  # what it said is on stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "load_before": round(load, 2)}


def in_turns(
    bench: str,
    commands: Mapping[str, tuple[str, Sequence[str]]],
    repeats: int,
    *,
    script: str,
    kernel: str | None,
    limit: float | None = None,
    once: Iterable[str] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Every variant's runs: each runs once, then each again, so that all share what else the machine does.

    ``commands`` holds interpreter and arguments of each; those in ``once`` run in the first turn only, and one that
    failed does not run again. Every run is told as it ends.
    """
    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in commands}
    for turn in range(repeats):
        for variant, (python, arguments) in commands.items():
            if turn and (variant in once or "failed" in runs[variant][-1]):
                continue
            run = measured(python, script, arguments, kernel=kernel, limit=limit)
            runs[variant].append(run)
            tell({"bench": bench, "run": variant, **run})
    return runs


def summary(runs: Sequence[Mapping[str, Any]], keys: Sequence[str] = ("seconds",)) -> dict[str, Any]:
    """The last run with the median, the least and the most of ``keys`` over all."""
    line = dict(runs[-1])
    for key in keys:
        values = [run[key] for run in runs if key in run]
        if values:
            line |= {key: statistics.median(values), f"{key}_range": [min(values), max(values)]}
    loads = [run["load_before"] for run in runs if "load_before" in run]
    return line | {"repeats": len(runs), "load_before": loads}
