"""Runs over sixty rows with the largest number that each field of the configuration and of every plugin takes.

    python tests/exhaustive/large_numbers.py [--only NAME]

Each run ends within 30 seconds and 1 GB, or is refused with exit code 2, 3 or 5 and a message. Prints a JSON line for
each field and exits with 1 on any fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import annotated_types as at

from curate.config import model
from curate.config.budget import Budget
from curate.config.validator import MAX_NUMBER
from curate.plugins import registry
from curate.plugins.fields import Field, fields, split_annotated, union_members

MOST_SECONDS, MOST_MEMORY = 30.0, 1 << 30
CONFIG: dict[str, Any] = {
    "curate": 1,
    "run": "run",
    "input": {"files": "pool.jsonl", "id": "id", "text": "text", "label": "topic", "source": "source"},
    "embed": {"use": "hashing", "dimensions": 16},
    "cluster": {"use": "kmeans", "n_clusters": 4},
    "proxy": {"use": "logistic", "epochs": 2},
    "score": [{"use": "prototypicality"}, {"use": "length"}],
    "select": [{"use": "uniform", "keep": 20}],
}
SECTIONS: dict[str, type] = {
    "input": model.InputConfig,
    "guard": model.GuardConfig,
    "refresh": model.RefreshConfig,
    "target": model.TargetConfig,
    "decontaminate": model.DecontaminateConfig,
    "evaluate": model.EvaluateConfig,
    "export": model.ExportConfig,
    "run": model.RunConfig,
    "budget": Budget,
    "quota": model.Temperature,
}
NEEDS = {
    "column": {"column": "topic"},
    "quality_classifier": {"positive": "good.jsonl"},
    "where": {"drop": "stars > 3"},
    "perplexity": {"files": "pool.jsonl"},
    "c4_quality": {"terminal_lines": False, "min_line_words": None, "min_sentences": 0},
    "gopher_quality": {"min_words": 0, "min_stop_words": 0, "min_alphabetic_word_rate": 0.0},
}
"""Fields without which a plugin cannot be used, on this pool."""

FAKE = str(Path(__file__).parents[1] / "fake.py")
"""Plugins for which no model is needed."""

LEFT_OUT = ("embedder sentence_transformers", "embedder column", "proxy recorded")
"""Plugins that need a model, vectors or a log; the latter two have no numbers. So are those that ask a judge."""


def largest(field: Field) -> int | float | None:
    """Return the largest number that a field takes; None if it takes none."""
    for member in union_members(field.type):
        base, marks = split_annotated(member)
        if base in (int, float):
            bounds = [mark.le for mark in marks if isinstance(mark, at.Le)]
            below = [mark.lt * (1 - 1e-9) for mark in marks if isinstance(mark, at.Lt)]  # type: ignore[operator]
            most = min([*bounds, *below, MAX_NUMBER])  # type: ignore[type-var]
            return int(most) if base is int else float(most)  # type: ignore[arg-type]
    return None


def _numeric(cls: type) -> Iterator[tuple[str, int | float]]:
    for field in fields(cls):
        number = largest(field)
        if number is not None and field.name != "curate":
            yield field.name, number


def cases() -> Iterator[tuple[str, dict[str, Any], bool]]:  # noqa: PLR0912 - one for each kind
    """Yield every field's name, a configuration with its largest number, and whether it is to be evaluated."""
    for section, cls in SECTIONS.items():
        for name, number in _numeric(cls):
            data = json.loads(json.dumps(CONFIG))
            if section == "run":
                data[name] = number
            elif section == "budget":
                data["select"] = [{"use": "uniform", name: number}]
            elif section == "quota":
                data["select"] = [{"use": "uniform", "keep": 20, "within": "cluster", "quota": {name: number}}]
            else:
                base = {"decontaminate": {"files": "pool.jsonl"}, "export": {"use": "jsonl"}}.get(section, {})
                data[section] = {**base, **data.get(section, {}), name: number}
            if section == "evaluate":
                data["metrics"] = [{"use": "tokens"}]  # 1,000 evaluations of all metrics are minutes of work
            yield f"{section}.{name}", data, section == "evaluate"
    for kind, key in (
        ("embedder", "embed"),
        ("clusterer", "cluster"),
        ("proxy", "proxy"),
        ("scorer", "score"),
        ("selector", "select"),
        ("exporter", "export"),
        ("metric", "metrics"),
    ):
        for use in registry.names(kind):  # type: ignore[arg-type]
            record = registry.get(kind, use)  # type: ignore[arg-type]
            if f"{kind} {use}" in LEFT_OUT or "judge" in record.traits.reads:
                continue
            for name, number in [("", 0), *_numeric(record.cls)]:
                data = json.loads(json.dumps(CONFIG))
                if "model" in record.traits.reads:
                    data |= {"plugins": [FAKE], "model": {"use": "fake", "model": "m"}}
                if "target" in record.traits.reads:
                    data["target"] = {"files": "good.jsonl"}
                entry = {"use": use, **record.traits.example, **NEEDS.get(use, {}), **({name: number} if name else {})}
                if kind == "selector" and record.traits.budgeted:
                    entry["keep"] = 20
                if kind == "scorer":
                    data["score"].append({**entry, "name": "own"})
                elif kind == "metric":
                    data["metrics"] = [entry]
                    data["evaluate"] = {"seeds": 1}
                else:
                    data[key] = [entry] if key == "select" else entry
                yield f"{kind} {use}.{name}", data, kind == "metric"


def write_pool() -> None:
    """Write the pool."""
    words = ["amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "iris"]
    with Path("pool.jsonl").open("w") as file, Path("good.jsonl").open("w") as good:
        for n in range(60):
            text = " ".join(words[(n * step + n) % 8] for step in range(4 + n % 9)) + f" {n}. Some more of it!"
            good.write(json.dumps({"text": f"{text} And a good one, of {n * 7} words."}) + "\n")
            row = {"id": f"r{n}", "text": text, "topic": f"t{n % 3}", "source": f"s{n % 2}", "stars": n % 5}
            file.write(json.dumps(row | {"states": [n % 3, (n + 1) % 3], "skills": [f"s{n % 4}"]}) + "\n")


def _judge(data: dict[str, Any], evaluated: bool) -> int:
    """Run, in this process; return its exit code."""
    from curate import pipeline
    from curate.cli.exit_codes import explain_error
    from curate.config.loader import config_from_dict
    from curate.evaluation.evaluate import evaluate
    from curate.executors.serial import Serial

    Path("x.json").write_text(json.dumps(data))
    try:
        settings = config_from_dict(data)
        pipeline.run(settings, Serial())
        if evaluated:
            evaluate(Path(settings.run), Serial())
    except Exception as error:
        message, code = explain_error(error)
        sys.stderr.write(message)
        return code
    return 0


def watched(folder: Path, run: Callable[[], int]) -> dict[str, Any]:
    """Call a function in a separate process; return its exit code, seconds, memory and message."""
    begun = time.monotonic()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.chdir(folder)
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
            with Path("told").open("w") as told, contextlib.redirect_stderr(told):
                code = run()
        finally:
            os._exit(code)
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - begun > MOST_SECONDS + 5:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": round(time.monotonic() - begun, 1),
        "MB": used.ru_maxrss // 1024,
        "told": (folder / "told").read_text()[-300:],
    }


def main() -> None:
    import numpy
    import pyarrow
    import scipy.optimize
    import sklearn.cluster  # noqa: F401 - what every child would load

    del numpy, pyarrow, scipy
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    wrong = played = 0
    for name, data, evaluated in cases():
        if only not in name:
            continue
        with tempfile.TemporaryDirectory(prefix="curate-numbers-") as folder:
            here = Path(folder)
            with contextlib.chdir(here):
                write_pool()
            line = {"what": name, **watched(here, lambda data=data, evaluated=evaluated: _judge(data, evaluated))}  # type: ignore[misc]
        line["wrong"] = (
            line["code"] not in (0, 2, 3, 5)
            or line["seconds"] > MOST_SECONDS
            or line["MB"] << 20 > MOST_MEMORY
            or (name.endswith(".") and line["code"] != 0)  # without a large number
        )
        played, wrong = played + 1, wrong + line["wrong"]
        print(json.dumps(line), flush=True)  # noqa: T201
    print(json.dumps({"fields": played, "wrong": wrong}))  # noqa: T201
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
