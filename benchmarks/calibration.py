"""Measure the cost per row of each stage and plugin, for ``curate plan`` before the first run; writes a table.

    python benchmarks/calibration.py [--rows 1000 4000 16000 64000] [--only proxy …] [--out FILE]

Each step runs in this process on synthetic pools. Its time is in processor seconds, which other processes hardly
change: those of the main thread, and those of all other threads, which more cores divide. Peak memory and bytes on disk
are those of its manifest. A step that would take longer than ``LIMIT`` on the next pool is not measured there. Lines
through the smallest and the largest pool give the memory and the bytes at 0 rows and per row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate import paths, pipeline
from curate.config.loader import config_from_dict
from curate.errors import CurateError
from curate.executors.serial import Serial
from curate.plugins import registry
from curate.plugins.interfaces import PROXY_READS
from curate.progress import NullProgress
from curate.stages import machine_speed
from curate.stages.cost_table import TABLE
from curate.store import manifest
from curate.store.manifest import Record, StageResult

DIMENSIONS = 256
LIMIT = 5.0
"""Processor seconds that a step may take."""
CLASSES = 12
IMAGES, SIDE = 256, 256
"""Number of different images, and pixels per side."""

WORDS = 60
"""Words of a text, some 400 characters."""

FILES = {"quality_classifier": {"positive": "good.jsonl"}}
OWN = {
    "column": {"column": "topic"},
    "markov": {"column": "states"},
    "source_value": {"buyer": "s0"},
    "where": {"drop": "score_length < 300"},
}
NEEDED = ("input", "embed lsa")
"""Steps that the others need, which are measured in any case."""

LEFT_OUT = {("embedder", "sentence_transformers"), ("proxy", "recorded")}
"""Plugins that need a model or files of yours."""


def write_pool(path: Path, rows: int) -> None:
    """Write a number of rows of random words, and random vectors next to them."""
    vectors = np.random.default_rng(0).standard_normal((rows, DIMENSIONS), dtype=np.float32)
    np.save(path.with_suffix(".npy"), vectors)
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 11))) for _ in range(4_000)]
    with path.open("w") as file:
        for number in range(rows):
            known = words[: 400 + 900 * (number % 4)]
            text = "\n".join(f"The {' '.join(draw.choices(known, k=WORDS // 5))} and of that." for _ in range(5))
            row: dict[str, Any] = {
                "id": f"r{number}",
                "text": text,
                "topic": f"t{number % CLASSES}",
                "source": f"s{number % 3}",
            }
            row |= {"image": f"{number % IMAGES}.jpg"}
            row |= {"states": draw.choices("abcd", k=5), "skills": [f"s{draw.randrange(40)}", f"s{draw.randrange(40)}"]}
            file.write(json.dumps(row) + "\n")


def write_retrievals(rows: int) -> None:
    """Write a log in which a query for every tenth row retrieves thirty rows."""
    draw = np.random.default_rng(0)
    with Path("retrievals.jsonl").open("w") as file:
        for query in range(rows // 10):
            for rank, row in enumerate(draw.choice(rows, 30, replace=False)):
                line = {"query": query, "id": f"r{row}", "rank": rank, "utility": int(draw.integers(2))}
                file.write(json.dumps(line) + "\n")


def write_images() -> None:
    """Write the images that the rows of the pool name: smooth noise, which compresses like photographs."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(f"{number}.jpg")


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
            if plugin.traits.reads & {"model", "judge"}:
                continue  # its time is that of a model
            entry: dict[str, Any] = {"use": name, **plugin.traits.example, **FILES.get(name, {}), **OWN.get(name, {})}
            more: dict[str, Any] = {}
            if kind == "selector" and plugin.traits.budgeted:
                entry["keep_rate"] = 0.3
            if section == "score" and plugin.traits.reads & PROXY_READS:
                more["proxy"] = {"use": "mlp" if "input_gradients" in plugin.traits.reads else "logistic"}
            if (kind, name) == ("embedder", "column"):
                entry = {"use": "column"}
                more["input"] = {**config()["input"], "vectors": ".npy"}
            elif section == "embed" and "text" in plugin.traits.reads:
                entry |= {"dimensions": DIMENSIONS}
            if "target" in plugin.traits.reads:
                more["target"] = {"files": "good.jsonl"}
            if "image" in plugin.traits.reads and "text" not in plugin.traits.reads:
                more["input"] = {**config()["input"], "image": "image"}
            found.append((section, config(**more, **{section: [entry] if section in ("score", "select") else entry})))
    found.append(("target", config(target={"files": "good.jsonl"})))
    found.append(("decontaminate", config(decontaminate={"files": "good.jsonl"})))
    for name in registry.names("proxy"):
        if ("proxy", name) not in LEFT_OUT:
            found.append(("held_out", config(proxy={"use": name}, score=[{"use": "consistency"}])))
    found.append(("review", config(score=[{"use": "knn_disagreement"}], review={})))
    found.append(("split", config(split={})))
    return found


Figures = dict[str, tuple[float, float, int, int]]
"""Processor seconds of the main thread and of the others, peak memory and bytes by step."""


class Clock(NullProgress):
    """Processor seconds of each step, of the main thread and of all others."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], tuple[float, float]] = {}
        self._began = (0.0, 0.0)

    def enter(self, stage: str, entry: str) -> None:  # noqa: ARG002 - the parameters of a progress
        self._began = (time.thread_time(), time.process_time())

    def leave(self, records: Sequence[Record[StageResult]], *, reused: bool) -> None:
        main, process = time.thread_time() - self._began[0], time.process_time() - self._began[1]
        if not reused:
            self.seconds[records[0].stage, records[0].name] = (main, max(0.0, process - main))


def measure(rows: int, earlier: Figures, times: int, only: Sequence[str]) -> Figures:
    """Return the figures of every step on so many rows; ``earlier`` has those on a pool with fewer by ``times``."""
    with tempfile.TemporaryDirectory(prefix="curate-calibration-") as folder, contextlib.chdir(folder):
        return _measured(rows, earlier, times, only)


def _measured(rows: int, earlier: Figures, times: int, only: Sequence[str]) -> Figures:
    found: Figures = {}
    clock = Clock()
    write_pool(Path("pool.jsonl"), rows)
    write_pool(Path("good.jsonl"), 200)
    write_images()
    write_retrievals(rows)
    for stage, data in variants():
        settings = config_from_dict(data)
        one = next(one for one in pipeline.PIPELINE if one.name == stage)
        spec = getattr(settings, one.section)
        spec = spec[0] if isinstance(spec, tuple) else spec
        name = f"{stage} {getattr(getattr(spec, 'spec', None), 'name', '')}".strip()
        if only and not name.startswith(tuple(only)):
            continue
        grows = times ** (1 + is_quadratic(name))
        if earlier and name not in NEEDED and (name not in earlier or sum(earlier[name][:2]) * grows > LIMIT):
            continue
        until = stage if stage in ("input", "embed", "cluster", "target", "split", "export") else "select"
        try:
            done = pipeline.run(settings, Serial(), clock, until=until)
        except CurateError as error:
            print(json.dumps({"left_out": data.get(stage, stage), "why": str(error)}), flush=True)
            continue
        record = next(one for one in done.records if one.stage == stage)
        disk = paths.total_size(one.folder(Path("run"), record.name)) if stage != "export" else record.result.bytes
        found[name] = (*clock.seconds[stage, manifest.expand_entries([record])[0].name], record.peak_memory, disk)
    return found


def is_quadratic(name: str) -> bool:
    """Return whether a step is a selector whose time grows with the square of the rows."""
    stage, _, use = name.partition(" ")
    return stage == "select" and registry.get("selector", use).traits.quadratic


def line(small: float, large: float, x: float, y: float) -> list[float]:
    """Return the value at 0 and the slope of the line through two measurements, neither negative."""
    slope = max(0.0, (large - small) / (y - x)) if y > x else 0.0
    return [float(f"{max(0.0, small - slope * x):.4g}"), float(f"{slope:.4g}")]


def main() -> None:
    """Measure all pools and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 4_000, 16_000, 64_000])
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of steps to measure; the others are kept")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    out = given.out.absolute()
    measured: list[Figures] = []
    speeds = [machine_speed.measure()]
    for number, rows in enumerate(given.rows):
        earlier, times = (measured[-1], rows // given.rows[number - 1]) if measured else ({}, 1)
        with multiprocessing.get_context("spawn").Pool(1) as worker:  # its memory does not include that of the others
            measured.append(worker.apply(measure, (rows, earlier, times, given.only)))
        print(json.dumps({"rows": rows, "steps": len(measured[-1])}), flush=True)
        speeds.append(machine_speed.measure())
        data = table(given.rows, measured, speeds)
        if given.only:
            kept = json.loads(TABLE.read_text())
            data = kept | {"steps": dict(sorted({**kept["steps"], **data["steps"]}.items()))}
        out.write_text(json.dumps(data, indent=1) + "\n")


def table(
    sizes: Sequence[int], measured: Sequence[Figures], speeds: Sequence[dict[machine_speed.Work, float]]
) -> dict[str, Any]:
    """Return the table of the pools that have been measured, with the mean speed of the machine meanwhile."""
    steps = {}
    for name in sorted(measured[0]):
        rows = [size for size, figures in zip(sizes, measured, strict=False) if name in figures]
        figures = [one[name] for one in measured if name in one]
        steps[name] = {
            "rows": rows,
            "main": [round(main, 4) for main, *_ in figures],
            "threads": [round(others, 4) for _, others, *_ in figures],
            "memory": line(figures[0][2], figures[-1][2], rows[0], rows[-1]),
            "disk": line(figures[0][3], figures[-1][3], rows[0], rows[-1]),
        }
    return {
        "bytes_per_row": measured_bytes(),
        "dimensions": DIMENSIONS,
        "machine": {work: round(statistics.mean(one[work] for one in speeds), 6) for work in speeds[0]},
        "steps": steps,
    }


def measured_bytes() -> float:
    """Return the mean bytes of a row of the pool."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.jsonl"
        write_pool(path, 1_000)
        return path.stat().st_size / 1_000


if __name__ == "__main__":
    main()
