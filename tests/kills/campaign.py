"""Kills ``curate run`` at random moments in every stage, lets it go on, and compares every byte with a run left alone.

    python tests/kills/campaign.py [--kills 200] [--seed 0] [--jobs 1]

A round begins with an empty folder, or with a finished run whose input or configuration has changed since. A moment is
a touch of the run folder (a file opened, renamed, removed; a folder made), drawn from those that the driver or a worker
makes in one stage; ``halt/sitecustomize.py`` tells when it is reached. Half of the time the process is held there, half
of the time it flies on for a few milliseconds. Then everything, the driver, or one worker is killed with SIGKILL, or
the run is told to end with SIGTERM or SIGINT. Half of the resumed runs are killed too.

Checked after every kill: no process is left; what ``export/current`` names is whole; a run that was asked to end has
cleared away, and says so by its exit code. Checked at the end: no half-written file, no lock, and every file of the run
folder as an undisturbed run leaves it, but for what one run cost, and the report, which tells that. Prints a JSON line
a round and a tally by stage and by kind of kill; exits with 1 on any difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
HALT = Path(__file__).with_name("halt")
PATIENCE = 120.0
"""Seconds after which a run that neither ends nor halts is a fault."""

FLIGHT = 0.03
"""Seconds that a process may fly on after the moment."""

EXECUTORS = {"serial": ["--executor", "serial"], "processes": ["--workers", "2"]}
STAGES = (
    "input",
    "annotate",
    "model",
    "embed",
    "cluster",
    "proxy",
    "held_out",
    "target",
    "score",
    "review",
    "select",
    "split",
    "export",
    "run",
)
ENDED = {"group": [-9], "driver": [-9], "worker": [0], "sigterm": [143, -15], "sigint": [130, -2]}
"""The kinds of kill, and how a run that met one ends: when Python itself is shutting down, by the signal."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Where a run is killed, and how."""

    stage: str
    role: str
    """The process whose touches are counted: driver or worker."""

    nth: int
    kind: str
    flight: float | None
    """Seconds between the moment and the kill; None = held at it."""


# ---------------------------------------------------------------- what is run


CONFIG: dict[str, Any] = {
    "curate": 1,
    "run": "run",
    "input": {
        "files": "pool/*.jsonl",
        "id": "id",
        "text": "text",
        "label": "topic",
        "source": "source",
        "vectors": ".npy",
        "rows_per_shard": 12,
    },
    "plugins": ["./letters.py"],
    "annotate": [{"use": "letters"}],
    "model": {"use": "letters", "model": "m"},
    "embed": [{"use": "column"}, {"use": "letters"}],
    "cluster": {"use": "kmeans", "n_clusters": 3},
    "proxy": {"use": "logistic", "epochs": 2},
    "score": [
        {"use": "prototypicality"},
        {"use": "length"},
        {"use": "density"},
        {"use": "consistency"},
        {"use": "loss"},
    ],
    "review": {"rows": 8, "n_neighbors": 2},
    "target": {"files": "task.jsonl", "label": "topic"},
    "select": [
        {"use": "where", "drop": "stars = 4"},
        {"use": "semdedup", "min_similarity": 0.95, "embedding": "letters", "n_probe": 1},
        {"use": "ccs", "keep": 16, "by": "prototypicality"},
    ],
    "split": {"shares": {"train": 0.6, "test": 0.4}},
    "export": {"use": "parquet", "rows_per_file": 4, "add": ["rank", "scores"], "keep_versions": 2},
    "refresh": {"refit": "drift", "max_drift": 0.0, "keep_previous_weight": 0.5},
    "guard": {"max_quarantine_rate": 0.3},
}
FROZEN = CONFIG | {"refresh": {"refit": "never"}}
CHANGED = CONFIG | {
    "cluster": {"use": "kmeans", "n_clusters": 4},
    "score": [*CONFIG["score"][:2], {"use": "density", "n_neighbors": 3}, {"use": "consistency"}, {"use": "loss"}],
    "export": CONFIG["export"] | {"use": "jsonl"},
}

LETTERS = '''
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
import pyarrow as pa

from curate.plugins.interfaces import annotator, embedder, model
from curate.plugins.results import Annotations


@annotator(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class LetterNotes:
    """First letter of the text."""

    def columns(self):
        return {"": pa.string()}

    def annotate(self, batch, rng):
        return Annotations(columns={"": [one.response[:1] for block in batch.examples.blocks() for one in block]})


@model(version=1, abilities=("loss",))
@dataclass(frozen=True, slots=True, kw_only=True)
class LetterModel:
    """Model whose loss is the length of the response."""

    model: str

    def revision(self):
        return self.model

    def estimate_seconds(self, tokens):
        return None

    def run(self, examples, request, advance):
        lengths = np.array([len(one.response) for one in examples])
        loss = lengths.astype(np.float32)
        return {
            "loss": loss,
            "tokens": lengths.astype(np.int32),
            "prompt_tokens": np.zeros(len(examples), np.int32),
            "truncated": np.zeros(len(examples), bool),
            "quantiles": np.repeat(loss[:, None], 5, axis=1),
        }


@embedder(version=1, fits=True, fidelity=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """How often each letter occurs, but for those that a sample has none of."""

    def fit(self, sample, rng):
        return {"seen": (counted(sample) > 0).mean(axis=0) > 0.2}

    def restore(self, state):
        return Fitted(state["seen"])


@dataclass(frozen=True, slots=True)
class Fitted:
    seen: np.ndarray

    def encode(self, texts):
        return counted(texts) * self.seen

    def fidelity(self, texts):
        return (counted(texts)[:, self.seen].sum(axis=1) / counted(texts).sum(axis=1)).astype(np.float32)


def counted(texts):
    return np.array([[text.count(chr(97 + code)) + 0.01 for code in range(26)] for text in texts], np.float32)
'''


def write_pool(folder: Path, files: Mapping[str, range], edited: int = -1) -> None:
    """A pool with rows to set aside when it is read, and when its vectors are.

    Few of the vectors differ: the report's map is then no more than its axes, which saves a second.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, numbers in files.items():
        rows = [_row(number, edited=number == edited) for number in numbers]
        lines = [*map(json.dumps, rows), '{"id": "half', json.dumps({"id": f"{name} blank", "text": " "})]
        vectors = np.eye(8, dtype=np.float32)[[number % 8 for number in numbers] + [0, 0]]
        vectors[4] = 0
        vectors[7, 0] = np.nan
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        np.save(folder / f"{name}.npy", vectors)


def _row(number: int, *, edited: bool) -> dict[str, Any]:
    words = ["amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "iris", "kelp"]
    text = " ".join(words[(number * step + step // 3) % len(words)] for step in range(1, 6 + number % 5))
    return {
        "id": f"r{number:03d}",
        "text": f"{text} {'again' if edited else number // 2}",
        "topic": f"t{number % 4}",
        "source": "left" if number % 3 else "right",
        "stars": number % 5,
    }


BEFORE = {"a": range(30), "b": range(30, 44), "c": range(44, 60)}
AFTER = {"a": range(30), "c": range(44, 60), "d": range(60, 76)}


def prepare(folder: Path) -> dict[str, Path]:
    """The states that a round may begin with, each a folder with pool, configuration and perhaps a finished run."""
    states = {name: folder / name for name in ("empty", "new input", "new input, frozen fits", "new config")}
    empty = states["empty"]
    empty.mkdir(parents=True)
    write_pool(empty / "pool", BEFORE)
    (empty / "task.jsonl").write_text("".join(json.dumps(_row(number, edited=False)) + "\n" for number in (3, 80, 81)))
    np.save(empty / "task.npy", np.eye(8, dtype=np.float32)[:3])
    (empty / "letters.py").write_text(LETTERS)
    (empty / "config.yaml").write_text(json.dumps(CONFIG))  # JSON is YAML
    done = folder / "done"
    shutil.copytree(empty, done)
    finish(start(done, "serial"))
    for name in set(states) - {"empty"}:
        shutil.copytree(done, states[name], symlinks=True)
    for name in ("new input", "new input, frozen fits"):
        write_pool(states[name] / "pool", AFTER, edited=5)
    (states["new input, frozen fits"] / "config.yaml").write_text(json.dumps(FROZEN))
    (states["new config"] / "config.yaml").write_text(json.dumps(CHANGED))
    return states


def start(folder: Path, executor: str, **halt: Any) -> subprocess.Popen[str]:
    """A run in ``folder``, in a session of its own."""
    env = {name: value for name, value in os.environ.items() if name != "HALT"}
    env["PYTHONPATH"] = os.pathsep.join([str(HALT), str(ROOT)])
    env["OMP_NUM_THREADS"] = "1"  # the pool is small, and the machine may be shared
    if halt:
        env["HALT"] = json.dumps({"run": str(folder / "run"), **halt})
    command = [sys.executable, "-m", "curate", "run", "config.yaml", "--log-format", "plain", *EXECUTORS[executor]]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(running: subprocess.Popen[str]) -> str:
    """Wait until a run that nothing disturbs has ended well; what it said."""
    _, told = running.communicate(timeout=PATIENCE)
    if running.returncode:
        raise BrokenError(f"exit code {running.returncode}: {told}")
    return told


class BrokenError(Exception):
    """A promise was broken."""


# ---------------------------------------------------------------- what is left


def state(run: Path) -> dict[str, str]:
    """Every file of a run folder with what is in it, but for what one run cost; nor the report, which tells."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and name != "report.html":
            data = path.read_bytes()
            if path.suffix == ".json":
                data = json.dumps(_timeless(json.loads(data))).encode()
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        passing = (
            "seconds",
            "peak_memory",
            "modified",
            "changed",
            "inode",
            "published",
            "encoded",
            "computed",
            "checksum",
            "seals",
        )
        return {key: _timeless(inner) for key, inner in value.items() if key not in passing}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def differences(run: Path, expected: Mapping[str, str]) -> list[str]:
    """The files that are not as expected, those that should not be there, and those that are missing."""
    found = state(run)
    return [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]


def check_published(run: Path, expected: bool) -> None:
    """Raise a fault if ``current`` names a version that is not whole, or names none although one was published."""
    current = run / "export" / "current"
    if not current.is_symlink():
        if expected:
            raise BrokenError("the published export is gone")
        return
    manifest = json.loads((current / "manifest.json").read_text())
    for file in manifest["files"]:
        data = (current / file["file"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != file["sha256"]:
            raise BrokenError(f"{current.readlink()}/{file['file']} is not what its manifest says")
    if not (current / "README.md").read_text().endswith("\n"):
        raise BrokenError("the published dataset card is not whole")


def processes(session: int) -> list[int]:
    """The living processes of a session."""
    living = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                status, _, _, owner = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has ended meanwhile
                continue
            if int(owner) == session and status not in "ZX":
                living.append(int(entry.name))
    return living


def workers(session: int) -> list[int]:
    """The worker processes among them."""
    found = []
    for process in processes(session):
        try:
            if b"--multiprocessing-fork" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
        except OSError:  # it has ended meanwhile
            continue
    return found


def wait_until(what: str, happened: Callable[[], bool], patience: float = PATIENCE) -> None:
    until = time.monotonic() + patience
    while not happened():
        if time.monotonic() > until:
            raise BrokenError(f"after {patience:.0f} s: {what}")
        time.sleep(0.001)


# ---------------------------------------------------------------- one kill


def kill(folder: Path, executor: str, planned: Kill, rng: random.Random) -> bool:
    """Start a run and kill it as planned.

    Returns
    -------
    Whether it was killed; a run may end before it comes to the moment.
    """
    run, mark = folder / "run", folder / "mark"
    was_published = (run / "export" / "current").is_symlink()
    moment = {"role": planned.role, "stage": planned.stage, "nth": planned.nth, "mark": str(mark)}
    running = start(folder, executor, **moment, freeze=planned.flight is None)
    try:
        wait_until("neither the moment nor the end", lambda: mark.exists() or running.poll() is not None)
        if not mark.exists():
            finish(running)
            return False
        if planned.flight is None:
            check_published(run, was_published)
        else:
            time.sleep(planned.flight)
        hit = _strike(running, planned, rng)
        (folder / "mark.go").touch()
        _, told = running.communicate(timeout=PATIENCE)
        wait_until("processes are left", lambda: not processes(running.pid), 30)
        check_published(run, was_published)
        if not hit:
            if running.returncode:
                raise BrokenError(f"exit code {running.returncode}: {told}")
            return False
        _check_end(run, planned.kind, running.returncode, told)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
        for left in folder.glob("mark*"):
            left.unlink()
    return True


def _strike(running: subprocess.Popen[str], planned: Kill, rng: random.Random) -> bool:
    """Whether there was anybody left to strike."""
    if running.poll() is not None:
        return False
    if planned.kind == "worker":
        if not (there := workers(running.pid)):
            return False
        os.kill(rng.choice(there), signal.SIGKILL)
    elif planned.kind == "group":
        os.killpg(running.pid, signal.SIGKILL)
    else:
        sent = {"driver": signal.SIGKILL, "sigterm": signal.SIGTERM, "sigint": signal.SIGINT}[planned.kind]
        running.send_signal(sent)
    return True


def _check_end(run: Path, kind: str, code: int, told: str) -> None:
    if code not in (*ENDED[kind], 0):  # flying on, it may have come to its end before it was struck
        raise BrokenError(f"exit code {code}, expected one of {ENDED[kind]}: {told}")
    if "Traceback" in told and kind != "driver":  # a worker that begins as its driver dies cannot but complain
        raise BrokenError(f"a traceback: {told}")
    if kind in ("sigterm", "sigint"):
        if left := [path.name for path in run.rglob(".*.partial.*") if path.is_file()]:
            raise BrokenError(f"left behind: {left}")
        if (run / ".curate.lock").read_bytes():
            raise BrokenError("the lock still names its holder")


# ---------------------------------------------------------------- the campaign


@dataclass(frozen=True)
class Scene:
    """A state to begin with and an executor: what an undisturbed run leaves, and the touches it makes."""

    begin: str
    executor: str
    folder: Path
    expected: Mapping[str, str]
    touches: Mapping[tuple[str, str], int]
    """By role and stage: the most that one process makes; of stages that are written to, not reused."""


def scene(states: Mapping[str, Path], begin: str, executor: str, folder: Path) -> Scene:
    """Let one run through undisturbed, and remember what it did."""
    shutil.copytree(states[begin], folder, symlinks=True)
    log = folder / "touches"
    finish(start(folder, executor, role="", log=str(log)))
    lines = [line.split() for line in log.read_text().splitlines()]
    worked = {stage for _, _, stage, what in lines if what == "writes"}
    touches: dict[tuple[str, str], int] = defaultdict(int)
    for (_, role, stage), times in Counter((process, role, stage) for process, role, stage, _ in lines).items():
        if stage in worked:
            touches[role, stage] = max(touches[role, stage], times)
    return Scene(begin, executor, states[begin], state(folder / "run"), touches)


def plan(scenes: list[Scene], rng: random.Random) -> tuple[Scene, list[Kill]]:
    """A scene and one to four kills in it."""
    played = rng.choices(scenes, [2 if one.executor == "processes" else 1 for one in scenes])[0]
    kinds = [kind for kind in ENDED if kind != "worker" or played.executor == "processes"]
    stages = [stage for stage in STAGES if any(stage == touched for _, touched in played.touches)]
    kills = []
    while True:
        stage = rng.choice(stages)
        stages = stages[stages.index(stage) :]  # those before it are done
        kind, roles = rng.choice(kinds), [role for role, touched in played.touches if touched == stage]
        role = "worker" if kind == "worker" and "worker" in roles else rng.choice(roles)  # there must be one to kill
        most = played.touches[role, stage]
        nth = rng.randint(1, most if role == "driver" else -(-most // 2))  # another time the workers share otherwise
        flight = rng.choice([None, rng.uniform(0, FLIGHT)])
        kills.append(Kill(stage=stage, role=role, nth=nth, kind=kind, flight=flight))
        if len(kills) == 4 or rng.random() < 0.5:
            return played, kills


def play(scenes: list[Scene], folder: Path, seed: int, number: int) -> dict[str, Any]:
    """One round, as a line for the log."""
    rng = random.Random(f"{seed}/{number}")
    played, kills = plan(scenes, rng)
    begun = time.monotonic()
    here = folder / f"round-{number}"
    shutil.copytree(played.folder, here, symlinks=True)
    line: dict[str, Any] = {"round": number, "begin": played.begin, "executor": played.executor, "kills": []}
    try:
        for planned in kills:
            line["kills"].append(asdict(planned) | {"hit": None})
            line["kills"][-1]["hit"] = kill(here, played.executor, planned, rng)
        finish(start(here, "serial"))
        wrong = differences(here / "run", played.expected)
    except (BrokenError, subprocess.TimeoutExpired, OSError, ValueError) as fault:
        wrong = [f"{type(fault).__name__}: {fault}"]
    if not wrong:
        shutil.rmtree(here)
    return line | {"seconds": round(time.monotonic() - begun, 1), "wrong": wrong}


def campaign(kills: int, seed: int, jobs: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Rounds until there were so many kills."""
    states = prepare(folder / "states")
    scenes = [
        scene(states, begin, executor, folder / "undisturbed" / f"{begin} {executor}")
        for begin in states
        for executor in EXECUTORS
    ]
    hits, numbers = 0, count()
    with ThreadPoolExecutor(jobs) as pool:
        while hits < kills:
            for line in pool.map(partial(play, scenes, folder, seed), [next(numbers) for _ in range(4 * jobs)]):
                hits += sum(bool(one["hit"]) for one in line["kills"])
                yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="rounds at a time")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="curate-kills-"))
    tally: Counter[tuple[str, str]] = Counter()
    rounds = wrong = 0
    for line in campaign(asked.kills, asked.seed, asked.jobs, folder):
        print(json.dumps(line), flush=True)  # noqa: T201
        tally.update((one["stage"], one["kind"]) for one in line["kills"] if one["hit"])
        rounds += 1
        wrong += bool(line["wrong"])
    by_stage = {stage: {kind: tally[stage, kind] for kind in ENDED} for stage in STAGES}
    print(json.dumps({"kills": tally.total(), "rounds": rounds, "wrong": wrong, "tally": by_stage}))  # noqa: T201
    if wrong:
        sys.exit(f"see {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
