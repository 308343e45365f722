"""Measure the cost per row of each stage and plugin, for ``curate plan`` before the first run; writes a table.

    python benchmarks/calibration.py [--rows 1000 6000] [--out curate/stages/calibration.json]

Each step runs in this process on two synthetic pools; seconds, peak memory and bytes on disk are those of its manifest.
A line through both points gives the cost at 0 rows and per row; for quadratic selectors, per square of the rows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import random
import tempfile
from pathlib import Path
from typing import Any

from curate import paths, pipeline
from curate.config.loader import config_from_dict
from curate.errors import CurateError
from curate.executors.serial import Serial
from curate.plugins import registry
from curate.stages.cost_table import TABLE
from curate.store import manifest

DIMENSIONS = 128
WORDS = 60
"""Words of a text, some 400 characters."""

FILES = {"perplexity": {"files": "good.jsonl"}, "quality_classifier": {"good": "good.jsonl"}}
OWN = {"column": {"column": "topic"}, "markov": {"column": "states"}}
LEFT_OUT = {("embedder", "column"), ("embedder", "sentence_transformers"), ("proxy", "recorded")}
"""Plugins that need a model or files of yours."""


def write_pool(path: Path, rows: int) -> None:
    """Write a number of rows of random words."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 11))) for _ in range(4_000)]
    with path.open("w") as file:
        for number in range(rows):
            known = words[: 400 + 900 * (number % 4)]
            text = "\n".join(f"The {' '.join(draw.choices(known, k=WORDS // 5))} and of that." for _ in range(5))
            row: dict[str, Any] = {
                "id": f"r{number}",
                "text": text,
                "topic": f"t{number % 4}",
                "source": f"s{number % 3}",
            }
            row |= {"states": draw.choices("abcd", k=5)}
            file.write(json.dumps(row) + "\n")


def config(**sections: Any) -> dict[str, Any]:
    """Return a configuration over that pool; keyword arguments replace its sections."""
    return {
        "curate": 1,
        "run": "run",
        "input": {"files": "pool.jsonl", "id": "id", "text": "text", "label": "topic", "source": "source"},
        "embed": {"use": "lsa", "dimensions": DIMENSIONS},
        "cluster": {"use": "kmeans"},
        "score": [{"use": "prototypicality"}, {"use": "length"}],
        "select": [{"use": "uniform", "keep_rate": 0.3}],
    } | sections


def variants() -> list[tuple[str, dict[str, Any]]]:
    """Return the stage and a configuration for every plugin, and for stages without one."""
    found: list[tuple[str, dict[str, Any]]] = [("input", config())]
    sections = {"embed": "embedder", "cluster": "clusterer", "proxy": "proxy", "score": "scorer", "select": "selector"}
    for section, kind in {**sections, "export": "exporter"}.items():
        for name in registry.names(kind):
            if (kind, name) in LEFT_OUT:
                continue
            plugin = registry.get(kind, name)
            entry: dict[str, Any] = {"use": name, **plugin.traits.example, **FILES.get(name, {}), **OWN.get(name, {})}
            more: dict[str, Any] = {}
            if kind == "selector" and plugin.traits.budgeted:
                entry["keep_rate"] = 0.3
            if name == "where":
                entry["drop"] = "score_length < 300"
            if section == "score" and "dynamics" in plugin.traits.reads:
                more["proxy"] = {"use": "logistic"}
            if section == "embed":
                entry |= {"dimensions": DIMENSIONS}
            found.append((section, config(**more, **{section: [entry] if section in ("score", "select") else entry})))
    found.append(("decontaminate", config(decontaminate={"files": "good.jsonl"})))
    return found


def measure(rows: int) -> dict[str, tuple[float, int, int]]:
    """Return seconds, peak memory and bytes of every step on so many rows."""
    with tempfile.TemporaryDirectory(prefix="curate-calibration-") as folder, contextlib.chdir(folder):
        return _measured(rows)


def _measured(rows: int) -> dict[str, tuple[float, int, int]]:
    found: dict[str, tuple[float, int, int]] = {}
    write_pool(Path("pool.jsonl"), rows)
    write_pool(Path("good.jsonl"), 200)
    for stage, data in variants():
        try:
            settings = config_from_dict(data)
            done = pipeline.run(
                settings, Serial(), until=stage if stage in ("embed", "cluster", "export") else "select"
            )
        except CurateError as error:
            print(json.dumps({"left_out": data.get(stage, stage), "why": str(error)}), flush=True)
            continue
        for one in pipeline.PIPELINE:
            for record in done.records:
                if record.stage != one.name or one.name != stage:
                    continue
                folder = one.folder(Path("run"), record.name)
                spec = getattr(settings, one.section)
                spec = spec[0] if isinstance(spec, tuple) else spec
                use = getattr(getattr(spec, "spec", None), "name", "")
                name = f"{stage} {use}".strip()
                disk = paths.total_size(folder) if stage != "export" else record.result.bytes
                for line in manifest.expand_entries([record]):
                    found.setdefault(name, (line.seconds, line.peak_memory, disk))
    return found


def line(small: float, large: float, x: float, y: float) -> list[float]:
    """Return the value at 0 and the slope of the line through two measurements, neither negative."""
    slope = max(0.0, (large - small) / (y - x))
    return [float(f"{max(0.0, small - slope * x):.4g}"), float(f"{slope:.4g}")]


def main() -> None:
    """Measure both pools and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs=2, default=[1_000, 6_000])
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    out = given.out.absolute()
    measured = []
    for rows in given.rows:  # each in a process of its own, whose memory begins where that of the other does
        with multiprocessing.get_context("spawn").Pool(1) as worker:
            measured.append(worker.apply(measure, (rows,)))
    x, y = given.rows
    steps = {}
    for name in sorted(measured[0].keys() & measured[1].keys()):
        stage, _, use = name.partition(" ")
        squared = stage == "select" and registry.get("selector", use).traits.quadratic
        (s, m, d), (s2, m2, d2) = measured[0][name], measured[1][name]
        steps[name] = {
            "seconds": line(s, s2, x**2 if squared else x, y**2 if squared else y),
            "memory": line(m, m2, x, y),
            "disk": line(d, d2, x, y),
        }
    data = {"bytes_per_row": measured_bytes(), "dimensions": DIMENSIONS, "steps": steps}
    out.write_text(json.dumps(data, indent=1) + "\n")


def measured_bytes() -> float:
    """Return the mean bytes of a row of the pool."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.jsonl"
        write_pool(path, 1_000)
        return path.stat().st_size / 1_000


if __name__ == "__main__":
    main()
