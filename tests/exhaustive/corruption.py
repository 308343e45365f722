"""Corrupts every kind of file of a finished run directory and compares what commands do with it.

    python tests/exhaustive/corruption.py [--rounds 600] [--seed 0] [--jobs 1] [--all] [--match REGEX] [--out FILE]

A round copies a run directory that has everything, corrupts one file, folder or link of it, and lets one command meet
the corruption: ``curate run`` with the same configuration, another one, another pool, or both, or a command that reads.
The files are found by walking the tree; nothing here lists them. Then it ends in one of these ways:

equal      the published bytes, the ledger, the history, the stored sketches, and what explain, diff, report, plan and
           rollback print are those of the directory that nobody corrupted
told       an error that names the file; after its remedy the next run ends equal
lost       an error or a warning, of the command or of one that reads afterwards, that names the file and says what is
           lost, which differs afterwards
latent     equal, but for the file itself, which nothing has read
FAULT      anything else: a difference without a word, a bug, a crash, a hang, an error that names another file or has
           no remedy that works, masked text in the output, or a change outside of the run directory

Prints a JSON line a round and a tally of file kinds, corruptions and faults; exits with 1 on any fault.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
RUN = "run"
PATIENCE = 60.0
"""Seconds after which a command hangs."""

# ---------------------------------------------------------------- what is run

CONFIG: dict[str, Any] = {
    "curate": 1,
    "run": RUN,
    "input": {
        "files": "pool/*.jsonl",
        "id": "id",
        "text": "text",
        "label": "topic",
        "source": "source",
        "vectors": ".npy",
        "rows_per_shard": 16,
    },
    "plugins": [str(Path(__file__).parents[1] / "fake.py")],
    "annotate": [{"use": "fake"}],
    "model": {"use": "fake", "model": "m"},
    "embed": [{"use": "lsa", "dimensions": 8}, {"use": "column"}],
    "cluster": {"use": "kmeans", "n_clusters": 3},
    "proxy": {"use": "logistic", "epochs": 3},
    "score": [
        {"use": "prototypicality"},
        {"use": "length"},
        {"use": "el2n"},
        {"use": "consistency"},
        {"use": "perplexity"},
        {"use": "loss"},
    ],
    "target": {"files": "held.jsonl"},
    "decontaminate": {"files": {"held": "held.jsonl"}, "ngram_size": 4, "min_words": 3, "min_similarity": 0.999},
    "select": [
        {"use": "exact_duplicates", "against": "published"},
        {"use": "minhash", "against": "published", "min_similarity": 0.7},
        {"use": "ccs", "keep": 24, "by": "prototypicality"},
    ],
    "split": {"shares": {"train": 0.6, "test": 0.4}},
    "metrics": [{"use": "vendi"}],
    "evaluate": {"seeds": 1},
    "refresh": {"max_drift": 1.0},
    "export": {
        "use": "parquet",
        "rows_per_file": 10,
        "add": ["rank", "scores", "cluster"],
        "keep_versions": 3,
        "mask_pii": ["email"],
        "remove_repeated_spans": 5,
    },
    "guard": {"max_quarantine_rate": 0.3},
}
OTHER = CONFIG | {
    "cluster": {"use": "kmeans", "n_clusters": 4},
    "score": [*CONFIG["score"], {"use": "density", "name": "near"}],
    "select": [*CONFIG["select"][:2], {"use": "ccs", "keep": 20, "by": "prototypicality"}],
    "export": CONFIG["export"] | {"rows_per_file": 8},
}
STRICT = CONFIG | {
    "select": [*CONFIG["select"][:2], {"use": "ccs", "keep": 6, "by": "prototypicality"}],
    "guard": CONFIG["guard"] | {"max_churn_rate": 0.3},
}
SECRET = re.compile(r"\bu\d+@example\.org")
"""What ``export.mask_pii`` hides."""

Command = tuple[str, ...]
IDS = ("r003", "r011", "r040", "c blank")
SCENARIOS: dict[str, tuple[Command, str]] = {
    "run": (("run", "config.yaml", "--executor", "serial", "--log-format", "plain", "--json"), "pool"),
    "run, other configuration": (
        ("run", "other.yaml", "--executor", "serial", "--log-format", "plain", "--json"),
        "pool",
    ),
    "run, other pool": (("run", "config.yaml", "--executor", "serial", "--log-format", "plain", "--json"), "new"),
    "run, other of both": (("run", "other.yaml", "--executor", "serial", "--log-format", "plain", "--json"), "new"),
    "run, churn guard": (("run", "strict.yaml", "--executor", "serial", "--log-format", "plain", "--json"), "pool"),
    **{f"explain {name}": (("explain", RUN, name, "--json"), "pool") for name in IDS},
    "diff": (("diff", RUN, "--json"), "pool"),
    "plan": (("plan", "config.yaml", "--json", "--log-format", "quiet"), "pool"),
    "report": (("report", "config.yaml", "--json", "--log-format", "quiet"), "pool"),
    "rollback": (("rollback", RUN, "--json", "--log-format", "quiet"), "pool"),
    "evaluate": (("evaluate", RUN, "--json", "--log-format", "quiet", "--executor", "serial"), "pool"),
    "compare": (("compare", "config.yaml", "--json", "--log-format", "quiet", "--executor", "serial"), "pool"),
}
"""The command that meets a corruption, and the pool that it finds."""

READING: tuple[Command, ...] = tuple(
    SCENARIOS[name][0] for name in (*(f"explain {name}" for name in IDS), "diff", "report", "plan", "rollback")
)
"""What is asked of every directory after a run; the last one changes it."""


def row(number: int, *, edited: bool = False) -> dict[str, Any]:
    """Return a row of the pool; every seventh repeats a span, every ninth from 60 is a copy of one before."""
    if number >= 60 and number % 3 == 0:
        return row(number - 57) | {"id": f"r{number:03d}"}
    words = ["amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "iris", "kelp", "lagoon", "moss", "north"]
    text = " ".join(words[(number * step + step // 3 + number // 5) % len(words)] for step in range(1, 9 + number % 5))
    repeated = " keep calm and carry on reading" if number % 7 == 0 else ""
    return {
        "id": f"r{number:03d}",
        "text": f"{text} {number}{' edited' if edited else ''} mail u{number}@example.org{repeated}",
        "topic": f"t{number % 3}",
        "source": f"s{number % 6}",
        "stars": number % 5,
    }


def write_pool(folder: Path, files: dict[str, range], edited: Sequence[int] = ()) -> None:
    """Write a pool with rows to quarantine when it is read, and when its vectors are."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, numbers in files.items():
        rows = [json.dumps(row(number, edited=number in edited)) for number in numbers]
        lines = [*rows, '{"id": "half', json.dumps({"id": f"{name} blank", "text": " "})]
        vectors = np.eye(8, dtype=np.float32)[[number % 8 for number in numbers] + [0, 0]]
        vectors[4] = 0
        vectors[7, 0] = np.nan
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        np.save(folder / f"{name}.npy", vectors)


FIRST = {"a": range(30), "b": range(30, 48)}
SECOND = FIRST | {"c": range(48, 60)}
NEW = {"a": range(30), "c": range(48, 60), "d": range(60, 78)}


def prepare(folder: Path) -> None:
    """Make a run directory that has everything, next to an older copy of it and to both pools."""
    folder.mkdir(parents=True)
    for name, config in (("config", CONFIG), ("other", OTHER), ("strict", STRICT)):
        (folder / f"{name}.yaml").write_text(json.dumps(config))  # JSON is YAML
    (folder / "held.jsonl").write_text(json.dumps({"id": "h1", "text": row(11)["text"]}) + "\n")
    np.save(folder / "held.npy", np.ones((1, 8), np.float32))
    write_pool(folder / "new", NEW, edited=(5, 50))
    served = Served()
    try:
        for number, files in enumerate((FIRST, SECOND)):
            write_pool(folder / "pool", files)
            commands = [SCENARIOS[name][0] for name in ("run", "evaluate", "compare")]
            for done in served.ask(folder, commands):
                if done["code"]:
                    raise RuntimeError(f"{done}")
            if not number:
                shutil.copytree(folder / RUN, folder / "older", symlinks=True)
    finally:
        served.close()


# ---------------------------------------------------------------- where it is run

SERVE = """
import json, os, signal, sys, time
import curate.cli.app, curate.pipeline
from curate.store import manifest
manifest.MOST_SOURCES = 4  # the counts of more are in a table
os.fsync = lambda _: None  # nobody cuts the power
for name in json.loads(sys.argv[1]):
    try:
        __import__(name)
    except ImportError:
        pass

def run(command):
    sys.argv = ["curate", *command]
    out, told = sys.stdout, sys.stderr
    files = []
    for number, name in ((1, "out"), (2, "err")):
        handle = os.open(name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout = os.fdopen(os.dup(1), "w")
    sys.stderr = os.fdopen(os.dup(2), "w")
    try:
        code = curate.cli.app._run_app()
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    return {"code": code, "out": open("out", errors="replace").read(), "err": open("err", errors="replace").read()}

if len(sys.argv) > 2:  # a child, to find what is imported
    pass
for line in sys.stdin:
    asked = json.loads(line)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        os.chdir(asked["folder"])
        done = [run(command) for command in asked["commands"]]
        with os.fdopen(write, "w") as file:
            json.dump(done if not asked.get("modules") else sorted(sys.modules), file)
        os._exit(0)
    os.close(write)
    print(child, flush=True)
    with os.fdopen(read) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    print(text or json.dumps({"status": status}), flush=True)
"""
"""A process that has imported everything and done nothing: each list of commands runs in a fork of it."""


class Served:
    """Process that runs command lines in forks of itself."""

    modules: tuple[str, ...] = ()

    def __init__(self) -> None:
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", SERVE, json.dumps(self.modules)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, folder: Path, commands: Sequence[Command], *, modules: bool = False) -> Any:
        """Run commands in a folder, one after the other; return the code and the output of each.

        A process that ends by a signal, or not in time, gives one answer with the code ``crash`` or ``hang``.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("no pipes")
        line = json.dumps({"folder": str(folder), "commands": commands, "modules": modules})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        timer = _Killer(child, PATIENCE * len(commands))
        answer = json.loads(self.process.stdout.readline())
        if timer.stop():
            return [{"code": "hang", "out": "", "err": ""}]
        if isinstance(answer, dict):
            errors = (folder / "err").read_text(errors="replace") if (folder / "err").exists() else ""
            return [{"code": "crash", "out": "", "err": f"{answer} {errors}"}]
        return answer

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class _Killer:
    """Kills a process after some seconds."""

    def __init__(self, process: int, seconds: float) -> None:
        import threading

        self.process, self.fired = process, False
        self.timer = threading.Timer(seconds, self._kill)
        self.timer.start()

    def _kill(self) -> None:
        self.fired = True
        os.kill(self.process, signal.SIGKILL)

    def stop(self) -> bool:
        """Return whether it was too late."""
        self.timer.cancel()
        return self.fired


# ---------------------------------------------------------------- what is corrupted


def kind_of(name: str, versions: dict[str, str]) -> str:
    """Return the kind of a file: its path with versions, hashes and numbers replaced."""
    for version, called in versions.items():
        name = name.replace(version, called)
    return re.sub(r"\d{2,}", "N", re.sub(r"[0-9a-f]{12,}", "HASH", name))


def versions_of(run: Path) -> dict[str, str]:
    """Return what each version of the export is called in kinds."""
    current = str((run / "export/current").readlink())
    names = [path.name for path in (run / "export").iterdir() if path.is_dir() and not path.is_symlink()]
    return {name: "CURRENT" if name == current else "OLD" for name in names}


def entries(run: Path) -> dict[str, list[str]]:
    """Return every file, folder and link of a run directory by its kind."""
    found, called = defaultdict(list), versions_of(run)
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if not name.startswith("export/current/"):
            found[kind_of(name, called) + "/" * (path.is_dir() and not path.is_symlink())].append(name)
    return dict(found)


Corrupt = Callable[[Path, random.Random, Path], bool | None]
"""Corrupts the path in a run directory next to an older copy; False if it does not apply to it."""


def _flipped(at: Callable[[int, random.Random], int]) -> Corrupt:
    def corrupt(path: Path, rng: random.Random, scene: Path) -> bool:
        data = bytearray(path.read_bytes())
        if not data:
            return False
        place = min(max(0, at(len(data), rng)), len(data) - 1)
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        return True

    return corrupt


def _digit(path: Path, rng: random.Random, scene: Path) -> bool:
    data = bytearray(path.read_bytes())
    if path.suffix not in (".json", ".md", ".yaml"):
        return False
    places = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return False
    place = rng.choice(places)
    data[place] = 48 + (data[place] - 48 + rng.randint(1, 9)) % 10
    path.write_bytes(data)
    return True


def _footer(path: Path, rng: random.Random, scene: Path) -> bool:
    data = bytearray(path.read_bytes())
    if data[-4:] != b"PAR1":
        return False
    data[len(data) - 8 - rng.randint(1, int.from_bytes(data[-8:-4], "little"))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return True


def _rewritten(change: Callable[[bytes], bytes]) -> Corrupt:
    def corrupt(path: Path, rng: random.Random, scene: Path) -> bool:
        before = path.read_bytes()
        path.write_bytes(change(before))
        return before != path.read_bytes()

    return corrupt


def _replaced(make: Callable[[Path, Path], None]) -> Corrupt:
    def corrupt(path: Path, rng: random.Random, scene: Path) -> bool:
        _delete(path)
        make(path, scene)
        return True

    return corrupt


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _swapped(like: Callable[[Path, Path, Path], bool]) -> Corrupt:
    def corrupt(path: Path, rng: random.Random, scene: Path) -> bool:
        run, before = scene / RUN, path.read_bytes()
        others = [
            other
            for other in sorted(run.rglob(f"*{path.suffix}"))
            if other.is_file() and other != path and "current" not in other.parts and like(run, path, other)
        ]
        others = [other for other in others if other.read_bytes() != before]
        if not others:
            return False
        path.write_bytes(rng.choice(others).read_bytes())
        return True

    return corrupt


def _sibling(run: Path, path: Path, other: Path) -> bool:
    return path.parent == other.parent


def _cousin(run: Path, path: Path, other: Path) -> bool:
    return path.name == other.name and path.parent != other.parent


def _older(path: Path, rng: random.Random, scene: Path) -> bool:
    other = scene / "older" / path.relative_to(scene / RUN)
    if not other.is_file() or other.read_bytes() == path.read_bytes():
        return False
    path.write_bytes(other.read_bytes())
    return True


def _link(path: Path, scene: Path) -> None:
    path.symlink_to(os.path.relpath(scene / "outside" / "target", path.parent))


def _linked_file(path: Path, rng: random.Random, scene: Path) -> bool:
    (scene / "outside" / "target").write_bytes(path.read_bytes())
    _delete(path)
    _link(path, scene)
    return True


def _linked_folder(path: Path, rng: random.Random, scene: Path) -> bool:
    shutil.copytree(path, scene / "outside" / "target", symlinks=True)
    _delete(path)
    _link(path, scene)
    return True


def _unreadable(path: Path, rng: random.Random, scene: Path) -> bool:
    path.chmod(0)
    return not os.access(path, os.R_OK)  # root reads everything


def _elsewhere(path: Path, rng: random.Random, scene: Path) -> bool:
    others = sorted(set(versions_of(scene / RUN)) - {str(path.readlink())})
    path.unlink()
    path.symlink_to(rng.choice(others))
    return True


FILES: dict[str, Corrupt] = {
    "flip the first byte": _flipped(lambda size, rng: 0),
    "flip a byte": _flipped(lambda size, rng: rng.randrange(size)),
    "flip another byte": _flipped(lambda size, rng: rng.randrange(size)),
    "flip the last byte": _flipped(lambda size, rng: size - 1),
    "flip a byte of the footer": _footer,
    "change a digit": _digit,
    "change another digit": _digit,
    "cut in half": _rewritten(lambda data: data[: len(data) // 2]),
    "cut to nothing": _rewritten(lambda data: b""),
    "cut off the last byte": _rewritten(lambda data: data[:-1]),
    "zero": _rewritten(lambda data: bytes(len(data))),
    "zero the second half": _rewritten(lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2)),
    "append": _rewritten(lambda data: data + b"{}\n\x00garbage"),
    "delete": _replaced(lambda path, scene: None),
    "a folder": _replaced(lambda path, scene: path.mkdir()),
    "a link": _linked_file,
    "a link to nothing": _replaced(lambda path, scene: path.symlink_to("nowhere")),
    "a pipe": _replaced(lambda path, scene: os.mkfifo(path)),
    "another of the folder": _swapped(_sibling),
    "the same of another folder": _swapped(_cousin),
    "an older copy": _older,
    "no permission": _unreadable,
}
FOLDERS: dict[str, Corrupt] = {
    "delete": FILES["delete"],
    "a file": _replaced(lambda path, scene: path.write_text("a file\n") and None),
    "an empty folder": FILES["a folder"],
    "a link": _linked_folder,
    "a pipe": FILES["a pipe"],
}
LINKS: dict[str, Corrupt] = {
    **{name: FILES[name] for name in ("delete", "a folder", "a link to nothing", "a pipe")},
    "a file": FOLDERS["a file"],
    "another version": _elsewhere,
}


def corruptions(path: Path) -> dict[str, Corrupt]:
    """Return what can happen to an entry of a run directory."""
    return LINKS if path.is_symlink() else FOLDERS if path.is_dir() else FILES


# ---------------------------------------------------------------- what is left


def state(folder: Path) -> dict[str, str]:
    """Return what counts of a run directory: published bytes, ledger, history and sketches."""
    run = folder / RUN
    current = run / "export" / "current"
    found = {"current": str(current.readlink()) if current.is_symlink() else "none"}
    for base in (current, run / "select", run / "published", run / "export"):
        for path in sorted(base.rglob("*") if base != run / "export" else base.glob("*.*")):
            if path.is_file() and path.name != "sources.parquet":
                data = path.read_bytes()
                if path.suffix == ".json":
                    with suppress(ValueError):  # corrupt: its bytes are compared
                        data = json.dumps(_timeless(json.loads(data))).encode()
                found[path.relative_to(run).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


PASSING = (
    "seconds",
    "peak_memory",
    "peak_bytes",
    "modified",
    "changed",
    "inode",
    "published",
    "encoded",
    "memory",
    "disk",
    "refreshed",
    "checksum",
    "seals",
)
"""What is not the same in two runs, or says what one of them did."""


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in PASSING}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def said(done: dict[str, Any]) -> tuple[Any, Any]:
    """Return the code of a command, and its result without times."""
    try:
        return done["code"], _timeless(json.loads(done["out"]))
    except ValueError:
        return done["code"], re.sub(r"\d+\.\d+ s", "", done["out"])


# ---------------------------------------------------------------- one round


@dataclass(frozen=True)
class Round:
    """What is corrupted, how, and which command meets it."""

    kind: str
    file: str
    corruption: str
    scenario: str
    seed: str


@dataclass(frozen=True)
class Ending:
    """What a command leaves."""

    answer: tuple[Any, Any]
    state: dict[str, str]
    reading: tuple[tuple[Any, Any], ...]
    warnings: tuple[str, ...] = ()
    """What the commands that read print on stderr."""


class FaultError(Exception):
    """A promise was broken."""


def arrange(scene: Path, folder: Path, scenario: str) -> None:
    """Copy the scene, with the pool that the scenario finds."""
    shutil.copytree(scene, folder, symlinks=True)
    (folder / "outside").mkdir()
    if SCENARIOS[scenario][1] == "new":
        shutil.rmtree(folder / "pool")
        (folder / "new").rename(folder / "pool")


def ending(served: Served, folder: Path, answer: dict[str, Any], *, reads: bool) -> Ending:
    """Return what there is after a command; what runs leave is read by every command that reads."""
    left = state(folder)
    after = [] if reads else served.ask(folder, READING)
    return Ending(said(answer), left, tuple(map(said, after)), tuple(each["err"] for each in after))


def is_reading(scenario: str) -> bool:
    """Return whether a scenario runs no pipeline."""
    return not scenario.startswith("run")


def names(text: str, file: str) -> bool:
    """Return whether a message names a file of the run directory, or a folder that belongs to it."""
    parts = file.split("/")
    places = {f"{RUN}/{file}", "/".join(parts[-2:])}
    places |= {f"{RUN}/{'/'.join(parts[:length])}" for length in range(2, len(parts))}
    if file == "export/current":
        places.add(f"{RUN}/export")
    if any(re.search(rf"(?<![\w.]){re.escape(place)}(?![\w-])", text) for place in places):
        return True
    return len(parts) > 1 and all(re.search(rf"(?<![\w.]){re.escape(part)}(?![\w-])", text) for part in parts)


DELETES = re.compile(
    r"\b(?:delete|remove)d? (?:the (?:file|folder|link) |both )?(it\b|[\w./-]*[\w/])(?: and (run/[\w./-]*\w))?"
)
LOSS = re.compile(
    r"\b(lost|forget|forgets|forgotten|begins? again|starts? again|unknown|no longer|learned again|repairs|"
    r"learnt again|repaired|cannot be known|anew)\b",
    re.IGNORECASE,
)


def remedy(folder: Path, text: str) -> bool:
    """Do what a message says; return whether it said anything."""
    line = next((line for line in reversed(text.splitlines()) if line.startswith("curate: ")), text)
    where = line.removeprefix("curate: ").partition(": ")[0]
    done = False
    if "put what it leads to in its place" in line and (folder / where).is_symlink() and (folder / where).exists():
        target = (folder / where).resolve()
        (folder / where).unlink()
        (shutil.copytree if target.is_dir() else shutil.copy)(target, folder / where)
        return True
    for named in filter(None, itertools.chain.from_iterable(DELETES.findall(line))):
        target = where if named == "it" else named
        path = folder / target
        if not path.is_relative_to(folder / RUN) or ".." in target:
            continue
        if os.path.lexists(path):
            _delete(path)
        done = True
    return done or "run again" in line or "run: curate run" in line or "the next run" in line


def play(scene: Path, expected: dict[str, Ending], folder: Path, served: Served, asked: Round) -> dict[str, Any]:
    """Return one round as a line for the log."""
    begun = time.monotonic()
    line: dict[str, Any] = {name: getattr(asked, name) for name in ("kind", "file", "corruption", "scenario", "seed")}
    arrange(scene, folder, asked.scenario)
    try:
        path = folder / RUN / asked.file
        rng = random.Random(asked.seed)
        if corruptions(path)[asked.corruption](path, rng, folder) is False:
            return line | {"verdict": "does not apply"}
        outside = _outside(folder)
        command, reads = SCENARIOS[asked.scenario][0], is_reading(asked.scenario)
        try:
            verdict, why = _judged(served, folder, asked, command, reads, expected[asked.scenario])
            if _outside(folder) != outside:
                raise FaultError("touched what is outside of the run directory")
        except FaultError as fault:
            verdict, why = "FAULT", str(fault)
        return line | {"verdict": verdict, "why": why, "s": round(time.monotonic() - begun, 2)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _outside(folder: Path) -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in (folder / "outside").rglob("*") if path.is_file()}


def _once(served: Served, folder: Path, command: Command) -> dict[str, Any]:
    """Run a command; raise what must never happen."""
    (done,) = served.ask(folder, [command])
    if done["code"] in ("hang", "crash"):
        raise FaultError(f"{done['code']}: {done['err'][-300:]}")
    if done["code"] == 1 or "Traceback" in done["err"]:
        raise FaultError(f"a bug: {done['err'][-300:]}")
    if SECRET.search(done["out"] + done["err"]):
        raise FaultError(f"masked text in the output of {command[0]}: {SECRET.findall(done['out'] + done['err'])[:2]}")
    return done


def _judged(
    served: Served, folder: Path, asked: Round, command: Command, reads: bool, expected: Ending
) -> tuple[str, str]:
    done = _once(served, folder, command)
    errors = [done["err"]]
    if done["code"] == expected.answer[0]:
        return _compared(served, folder, asked, done, errors, reads, expected)
    if not names(done["err"], asked.file):
        raise FaultError(f"names another file: {done['err'][-400:]}")
    if not done["code"] and LOSS.search(done["err"]):  # a guard has nothing to compare with
        return "lost", f"nothing is left to refuse: {done['err'][-200:]}"
    for _ in range(3):
        if asked.scenario == "rollback" and "pass one of these versions" in done["err"]:
            return ("lost" if LOSS.search(done["err"]) else "told"), done["err"][-200:]
        if not remedy(folder, done["err"]):
            if any(map(LOSS.search, errors[:-1])):
                return "lost", f"{errors[0][-200:]} THEN {done['err'][-200:]}"
            raise FaultError(f"no remedy: {done['err'][-400:]}")
        if reads:
            again = SCENARIOS["run"][0]
            done = _once(served, folder, again)
            errors.append(done["err"])
            if done["code"]:
                continue
        done = _once(served, folder, command)
        errors.append(done["err"])
        if done["code"] == expected.answer[0]:
            verdict, why = _compared(served, folder, asked, done, errors, reads, expected)
            return ("told" if verdict in ("equal", "latent") else "lost"), " | ".join(
                error[-200:] for error in errors[:1]
            ) + why
        if not done["code"] and any(map(LOSS.search, errors)):
            return "lost", f"nothing is left to refuse: {errors[0][-200:]}"
    raise FaultError(f"remedy does not work: {errors[0][-300:]} THEN {errors[-1][-300:]}")


def _compared(
    served: Served,
    folder: Path,
    asked: Round,
    done: dict[str, Any],
    errors: list[str],
    reads: bool,
    expected: Ending,
) -> tuple[str, str]:
    """Return equal, or lost if that was announced; what the last command left is compared."""
    found = ending(served, folder, done, reads=reads)
    different = [name for name in {*found.state, *expected.state} if found.state.get(name) != expected.state.get(name)]
    if reads:  # what is corrupt stays so
        different = [name for name in different if not _lies_in(_resolved(name, found), asked.file)]
    if found.answer != expected.answer:
        different.append(f"output of {asked.scenario}: {_difference(found.answer, expected.answer)}")
    for command, one, other in zip(READING, found.reading, expected.reading, strict=False):
        if one == other:
            continue
        if one[0] == 1 or one[0] in ("crash", "hang"):
            raise FaultError(f"a bug: {command[0]} afterwards: {one}")
        if one[0] and command[0] in ("rollback", "explain", "diff", "report"):  # by its own scenario
            continue
        different.append(f"{command[0]} afterwards: {_difference(one, other)}")
    if SECRET.search(json.dumps(found.reading)):
        raise FaultError("masked text in the output of a command afterwards")
    if not different:
        return "equal", ""
    if _announced(asked, done, (*errors, *found.warnings), found, different):
        return "lost", f" LOST {sorted(different)[:3]}"
    if all(_lies_in(_resolved(name, found), asked.file) for name in different):
        return "latent", f" {sorted(different)[:3]}"
    cause = "remedy does not work" if len(errors) > 1 else "different with the exit code of success"
    raise FaultError(f"{cause}: {sorted(different)[:4]}" + (f" {errors[0][-300:]}" if len(errors) > 1 else ""))


def _announced(
    asked: Round, done: dict[str, Any], errors: Sequence[str], found: Ending, different: Sequence[str]
) -> bool:
    """Return whether the output of the command, or of one that reads afterwards, says what is lost."""
    if any(names(error, asked.file) and LOSS.search(error) for error in errors):
        return True
    if asked.scenario == "plan" and '"reason": "' in done["out"]:
        return True
    if asked.scenario.startswith(("explain", "diff")) and json.loads(done["out"]).get("missing"):
        return True
    rest = [name for name in different if not _lies_in(_resolved(name, found), asked.file)]
    return bool(rest) and all(re.match(r"plan afterwards: .*\.(state|why): ", name) for name in rest)


def _resolved(name: str, found: Ending) -> str:
    return name.replace("export/current", f"export/{found.state['current']}")


def _lies_in(name: str, entry: str) -> bool:
    return name == entry or name.startswith(f"{entry}/") or entry == "export/current" or name.startswith("current")


def _difference(one: Any, other: Any, place: str = "") -> str:
    """Return the first place where two results differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {*one, *other}:
            if one.get(key) != other.get(key):
                return _difference(one.get(key), other.get(key), f"{place}.{key}")
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _difference(left, right, f"{place}[{number}]")
    return f"{place}: {str(one)[:80]} for {str(other)[:80]}"


# ---------------------------------------------------------------- the campaign


def everything(run: Path, seed: int, match: str = "") -> list[Round]:
    """Return a round for every kind of file, corruption and scenario, in random order."""
    rng, found = random.Random(seed), []
    for kind, files in entries(run).items():
        for corruption in corruptions(run / files[0]):
            for scenario in SCENARIOS:
                file = rng.choice(files)
                found.append(Round(kind, file, corruption, scenario, f"{seed}/{file}/{corruption}/{scenario}"))
    rng.shuffle(found)
    older = ("evaluate/evaluate.json", "an older copy")  # that of another publication, as after every refresh
    found = [one for one in found if (one.kind, one.corruption) != older]
    return [one for one in found if re.search(match, f"{one.kind} {one.corruption} {one.scenario}")]


def sampled(rounds: Sequence[Round], number: int) -> list[Round]:
    """Return rounds so that every kind of file has about as many."""
    by_kind: dict[str, list[Round]] = defaultdict(list)
    for one in rounds:
        by_kind[one.kind].append(one)
    turns = [each[place] for place in range(len(rounds)) for each in by_kind.values() if place < len(each)]
    return turns[:number]


def baseline(scene: Path, folder: Path) -> dict[str, Ending]:
    """Return what every scenario leaves of a directory that nobody corrupted."""
    served, found = Served(), {}
    try:
        for scenario, (command, _) in SCENARIOS.items():
            here = folder / "undisturbed"
            arrange(scene, here, scenario)
            found[scenario] = ending(served, here, _once(served, here, command), reads=is_reading(scenario))
            shutil.rmtree(here)
    finally:
        served.close()
    return found


def preload(folder: Path, scene: Path) -> None:
    """Find the modules that runs import, so that every process has imported them before it begins."""
    served = Served()
    try:
        arrange(scene, folder / "imports", "run, other of both")
        commands = [SCENARIOS[name][0] for name in ("run, other of both", "evaluate", "diff", "explain r003")]
        Served.modules = tuple(served.ask(folder / "imports", commands, modules=True))
        shutil.rmtree(folder / "imports")
    finally:
        served.close()


def campaign(folder: Path, rounds: int | None, seed: int, jobs: int, match: str = "") -> Iterator[dict[str, Any]]:
    """Play rounds; all there are if ``rounds`` is None."""
    scene = folder / "scene"
    prepare(scene)
    preload(folder, scene)
    expected = baseline(scene, folder)
    again = baseline(scene, folder)
    for scenario in SCENARIOS:
        if expected[scenario] != again[scenario]:
            one, other = expected[scenario], again[scenario]
            raise RuntimeError(f"{scenario}: two undisturbed runs differ: {_difference(vars(one), vars(other))}")
    planned = everything(scene / RUN, seed, match)
    planned = planned if rounds is None else sampled(planned, rounds)
    servers: list[Served] = [Served() for _ in range(jobs)]

    def played(numbered: tuple[int, Round]) -> dict[str, Any]:
        served = servers.pop()
        try:
            line = {"round": numbered[0]}
            return line | play(scene, expected, folder / f"round-{numbered[0]}", served, numbered[1])
        finally:
            servers.append(served)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(played, enumerate(planned))
    for served in servers:
        served.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="rounds at a time")
    parser.add_argument("--all", action="store_true", help="every kind of file, corruption and scenario")
    parser.add_argument("--match", default="", help="rounds whose kind, corruption and scenario match this")
    parser.add_argument("--out", type=Path, help="write every round that applied to this JSON file")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="curate-corruption-"))
    lines: list[dict[str, Any]] = []
    verdicts: Counter[str] = Counter()
    for line in campaign(folder, None if asked.all else asked.rounds, asked.seed, asked.jobs, asked.match):
        verdicts[line["verdict"]] += 1
        if line["verdict"] != "does not apply":
            lines.append(line)
            print(json.dumps(line), flush=True)  # noqa: T201
            if asked.out:
                asked.out.write_text(json.dumps(lines, indent=1))
    faults = Counter((one["kind"], one["corruption"]) for one in lines if one["verdict"] == "FAULT")
    print(json.dumps({"rounds": len(lines), "verdicts": verdicts, "faults": [[*k, n] for k, n in faults.items()]}))  # noqa: T201
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
