"""Tests of the command line as a process: exit codes, stdout and stderr, signals and closed pipes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer

from curate import errors
from curate.cli.app import app
from curate.plugins.kinds import KINDS

PROCESSES = pytest.param("processes", marks=pytest.mark.slow)
RAY = pytest.param("ray", marks=(pytest.mark.exhaustive, pytest.mark.xdist_group("ray")))
HEAVY = ("numpy", "torch", "pyarrow", "polars", "sklearn", "scipy", "pydantic")
CURATE = [sys.executable, "-m", "curate"]


def curate(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "timeout": 120} | options
    return subprocess.run([*CURATE, *map(str, arguments)], check=False, **options)


def digests(run: str) -> dict[str, str]:
    data = Path(run) / "export" / "current" / "data"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(data.iterdir())}


@pytest.fixture
def written(pool, config):
    """Return a function that writes a configuration for the small pool; its keyword arguments replace sections."""

    def write(**sections: Any) -> Path:
        path = Path("config.yaml")
        path.write_text(json.dumps(config(**sections)))  # JSON is YAML
        return path

    return write


COLUMN = "OutputColumn(higher_is_better=True, unit='', range=(0, 9))"
DECORATORS = {
    "embedder": "@embedder(version=1)",
    "scorer": f"@scorer(version=1, reads={{'text'}}, columns=({COLUMN},))",
    "selector": "@selector(version=1)",
}


def plugin(name: str, kind: str, *method: str) -> str:
    """Write a plugin file with the given lines of one method, and return the value of ``plugins:``."""
    lines = [
        "import os",
        "import time",
        "from dataclasses import dataclass",
        "import numpy as np",
        "from curate.plugins.interfaces import OutputColumn, embedder, scorer, selector",
        DECORATORS[kind],
        "@dataclass(frozen=True, slots=True, kw_only=True)",
        "class Mine:",
        '    """A plugin in a file of its own."""',
        *(f"    {line}" for line in method),
    ]
    Path(f"{name}.py").write_text("\n".join(lines) + "\n")
    return f"./{name}.py"


# ---------------------------------------------------------------- help


COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(command, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "120")
    done = command(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    told = set(re.findall(r"--[a-z][a-z-]*", done.stdout))
    assert {option for each in COMMANDS[name].params for option in each.opts if option.startswith("--")} <= told


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom curate.cli.app import app\napp(['--help'], standalone_mode=False)\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []
    assert "--help" in done.stdout


def test_the_version_is_printed(command):
    from curate.version import __version__

    assert command("--version").stdout == f"curate {__version__}\n"


# ---------------------------------------------------------------- exit codes


@pytest.mark.slow
def test_a_run_exits_with_0_even_if_it_changes_nothing(command, written):
    first, second = command("run", path := written()), curate("run", path)
    assert (first.returncode, second.returncode) == (0, 0)
    assert re.search(
        r"^run: 60 rows in, 20 kept \(33\.3%\); ≈ \d+ of ≈ \d+ tokens kept \(estimated, .*\); published in run/export/",
        first.stdout,
        re.MULTILINE,
    )
    assert "; unchanged in run/export/" in second.stdout


@pytest.mark.parametrize("name", ["run", "plan", "check", "report"])
def test_an_invalid_configuration_exits_with_2_and_lists_one_error_per_line(command, written, name):
    path = written(seed="zero", select=[{"use": "top_k", "kep": 20}, {"use": "nearest"}])
    done = command(name, path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) >= 3
    assert all(re.match(r"curate: config\.yaml:\d+:\d+: (seed|select)", line) for line in lines)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["run", "config.yaml", "--bogus"], "No such option: --bogus"),
        (["run"], "Missing argument 'CONFIG'"),
        (["run", "config.yaml", "--workers", "0"], "Invalid value for '--workers'"),
        (["run", "config.yaml", "--executor", "cloud"], "'cloud' is not one of"),
        (["run", "config.yaml", "--ray-address", "auto"], "can only be used with the Ray executor; add --executor ray"),
        (["check", "nowhere.yaml"], "nowhere.yaml: cannot read the configuration: No such file or directory"),
        (["plugins", "chooser"], "unknown kind 'chooser'"),
        (["run", "config.yaml", "--log", "plain"], "No such option: --log (Possible options: --log-format)"),
        (["init", "config.yaml"], "config.yaml: the file already exists"),
    ],
)
def test_wrong_usage_exits_with_2(command, written, arguments, told):
    written()
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_plugins_lists_and_shows_those_of_a_configuration(command, written):
    Path("nearest_row.py").write_text(
        "from dataclasses import dataclass\n"
        "from curate.plugins.interfaces import selector\n"
        "from curate.plugins.results import Selection\n"
        "@selector(version=1)\n@dataclass(frozen=True)\nclass Nearest:\n"
        '    """Keep what is nearest."""\n\n    power: float = 2.0\n    """Exponent of the distance."""\n\n'
        "    def select(self, pool, budget, rng):\n        raise NotImplementedError\n"
    )
    path = written(plugins=["nearest_row.py"], select=[{"use": "no_such_selector", "keep": 3}])  # wrong, and listed
    assert "Keep what is nearest." not in command("plugins", "selector").stdout
    assert "\nnearest_row\tKeep what is nearest" in command("plugins", "selector", "--config", path).stdout
    assert "Exponent of the distance." in command("plugins", "selector", "nearest_row", "--config", path).stdout
    missing = command("plugins", "--config", written(plugins=["nowhere.py"]))
    assert missing.returncode == 2
    assert "nowhere.py" in missing.stderr


def test_the_help_of_plugins_names_every_kind(command):
    told = command("plugins", "--help").stdout
    assert [kind for kind in KINDS if kind not in told] == []


def test_a_missing_input_file_exits_with_3(command, written, config):
    done = command("run", written(input=config()["input"] | {"files": "nowhere/*.jsonl"}))
    assert (done.returncode, done.stdout) == (3, "")
    assert "input.files: no file matches 'nowhere/*.jsonl'" in done.stderr


def test_a_plugin_file_that_does_not_load_and_an_unknown_plugin_exit_with_4(command, written):
    Path("mine.py").write_text("1 / 0\n")
    done = command("run", written(plugins=["./mine.py"]))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "curate: mine.py: the plugin file fails to import: ZeroDivisionError: division by zero\n"
    done = command("plugins", "selector", "k_centre")
    assert done.returncode == 4
    assert done.stderr == "curate: unknown selector 'k_centre'; did you mean 'k_center'?\n"


def test_a_missing_extra_exits_with_4_and_names_the_command_that_installs_it(command, written, config, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    path = written(input=config()["input"] | {"tokens": "bert-base-uncased"})
    done = command("run", path)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"run: {errors.install_command('tokenizers')}" in done.stderr


def test_an_empty_selection_exits_with_5(command, written):
    done = command("run", written(select=[{"use": "where", "drop": "stars >= 0"}]))
    assert (done.returncode, done.stdout) == (5, "")
    assert "the selection is empty" in done.stderr
    assert not Path("run/export").exists()


# ---------------------------------------------------------------- what is nobody's fault but the plugin's, or ours


def logged(stderr: str) -> str:
    """Return the log file that is named in stderr."""
    (name,) = re.findall(r"\S+\.log", stderr)
    path = Path(name)
    text = path.read_text()
    path.unlink()
    return text


BROKEN = {
    "embed": ("embedder", "def encode(self, texts):"),
    "score": ("scorer", "def score(self, batch, rng):"),
    "select": ("selector", "def select(self, pool, budget, rng):"),
}
BEFORE = {"score": "cluster", "select": "score"}
"""The last stage before."""


@pytest.mark.parametrize("section", BROKEN)
@pytest.mark.parametrize("executor", ["serial", PROCESSES, RAY])
def test_an_exception_in_a_plugin_exits_with_4_and_names_the_plugin_the_line_and_a_log(
    command, written, section, executor, request, monkeypatch
):
    if executor == "ray":
        monkeypatch.setenv("RAY_ADDRESS", request.getfixturevalue("ray_cluster"))
    entry: dict[str, Any] = {"use": "broken"} | ({"keep": 20} if section == "select" else {})
    kind, signature = BROKEN[section]
    file = plugin("broken", kind, signature, "    return 1 / 0")
    path = written(plugins=[file], **{section: entry if section == "embed" else [entry]})
    arguments = [] if section != "score" else ["--set", "select.0.quality=broken"]
    if section in BEFORE:
        assert command(BEFORE[section], path, *arguments).returncode == 0
    done = command("run", path, "--executor", executor, "--workers", "2", *arguments)
    assert (done.returncode, done.stdout) == (4, "")
    where = Path("broken.py").read_text().splitlines().index("        return 1 / 0") + 1
    assert f"broken.py:{where}: {kind} 'broken' failed: ZeroDivisionError: division by zero\n" in done.stderr
    log = logged(done.stderr)
    assert "return 1 / 0" in log
    assert re.search(r"^curate \S+, Python 3\.", log)
    assert "numpy " in log


@pytest.mark.slow
def test_a_bug_exits_with_1_and_leaves_a_log_with_traceback_and_versions(written):
    script = (
        "import curate.pipeline\n"
        "def run(*args, **options): raise ZeroDivisionError('oh')\n"
        "curate.pipeline.run = run\n"
        "from curate.cli import main; main()"
    )
    command = [sys.executable, "-c", script, "run", str(written())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("curate: this is a bug: ZeroDivisionError: oh\n")
    log = logged(done.stderr)
    assert "Traceback (most recent call last)" in log
    assert "ZeroDivisionError: oh" in log
    assert re.search(r"^curate \S+, Python 3\..*\nnumpy \S+, polars \S+", log)


# ---------------------------------------------------------------- interrupted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "calls"), [("serial", 2), ("processes", 3), pytest.param("ray", 3, marks=pytest.mark.exhaustive)]
)
def test_ctrl_c_ends_a_run_at_once_and_the_next_gives_the_bytes_of_an_uninterrupted_one(
    command, written, executor, calls
):
    but_the_first = "Path('go').exists() or batch.texts[0].endswith(' number 0')"
    path = written(plugins=[waiting("score", SCORED, until=but_the_first)], score=[{"use": "waits"}])
    running = started(path, "--executor", executor, "--workers", "2", calls=calls)
    assert [part.name for part in Path("run/score/waits").glob("part-*")] == ["part-00000.parquet"]
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout) == (130, "")
    assert stderr.splitlines()[-1] == "curate: interrupted; run the same command again to continue"
    assert "Traceback" not in stderr
    assert not Path("run/score/waits/manifest.json").exists()
    Path("go").touch()
    for options in ([], ["--set", "run=whole"]):
        assert command("run", path, *options).returncode == 0
    assert digests("run") == digests("whole")
    assert not list(Path("run").rglob("*.partial*"))


def wait(until: Callable[[], object], running: subprocess.Popen[str]) -> None:
    """Wait until a condition is true; fail if the process ends before or a minute passes."""
    last = time.monotonic() + 60
    while not until():
        assert running.poll() is None
        assert time.monotonic() < last
        time.sleep(0.02)


def terminate(running: subprocess.Popen[str]) -> None:
    """Send SIGTERM to the whole process group, as service managers do, and wait until it has arrived."""
    os.killpg(running.pid, signal.SIGTERM)
    status = Path(f"/proc/{running.pid}/status")
    bit = 1 << signal.SIGTERM - 1
    wait(lambda: not int(re.findall(r"ShdPnd:\s+(\w+)", status.read_text())[0], 16) & bit, running)


def waiting(section: str, *last: str, until: str = "Path('go').exists()") -> str:
    """Write a plugin that reports its start and works until the file ``go`` exists."""
    return plugin(
        "waits",
        *BROKEN[section],
        "    from pathlib import Path",
        "    Path(f'begun-{os.getpid()}-{time.monotonic_ns()}').touch()",
        f"    while not ({until}):",
        "        time.sleep(0.02)",
        *last,
    )


def begun() -> int:
    """Return the number of started calls of this plugin."""
    return len(list(Path().glob("begun-*")))


def started(path: Path, *flags: str, calls: int) -> subprocess.Popen[str]:
    """Start a run in its own process group, and wait for a number of calls of this plugin."""
    command = [*CURATE, "run", str(path), *flags]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait(lambda: begun() == calls, running)
    return running


SCORED = "    return np.array([len(text) for text in batch.texts], np.float32)"


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "running_shards"), [("serial", [0]), ("processes", [0, 1])])
def test_sigterm_finishes_the_shards_that_run_and_the_next_run_reuses_them(command, written, executor, running_shards):
    path = written(plugins=[waiting("score", SCORED)], score=[{"use": "waits"}])
    running = started(path, "--executor", executor, "--workers", "2", calls=len(running_shards))
    terminate(running)
    folder = Path("run/score/waits")
    assert not list(folder.glob("part-*"))
    Path("go").touch()
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout) == (143, "")
    assert stderr.splitlines()[-1] == "curate: terminated; run the same command again to continue"
    assert "Traceback" not in stderr
    done = {part.name: part.stat().st_mtime_ns for part in folder.iterdir()}
    assert sorted(done) == [f"part-{number:05d}.parquet" for number in running_shards]
    assert command("run", path).returncode == 0
    assert begun() == 5  # of five shards each was scored once
    assert {name: (folder / name).stat().st_mtime_ns for name in done} == done
    assert command("run", path, "--set", "run=whole").returncode == 0
    assert digests("run") == digests("whole")


@pytest.mark.slow
@pytest.mark.parametrize(("then", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_the_run_at_once(written, then, code):
    path = written(plugins=[waiting("score", SCORED)], score=[{"use": "waits"}])
    running = started(path, "--workers", "2", calls=2)
    terminate(running)
    while running.poll() is None:  # two of a kind at the same moment are one
        os.killpg(running.pid, then)
        with suppress(subprocess.TimeoutExpired):
            running.wait(5)
    stderr = running.communicate()[1]
    assert (running.returncode, "Traceback" in stderr) == (code, False)
    assert not Path("run/score/waits").exists()


@pytest.mark.slow
def test_sigterm_ends_work_that_is_not_cut_into_shards_at_once(written):
    path = written(plugins=[waiting("select", "    return 1 / 0")], select=[{"use": "waits", "keep": 20}])
    running = started(path, calls=1)
    os.killpg(running.pid, signal.SIGTERM)
    stderr = running.communicate(timeout=60)[1]
    assert running.returncode == 143
    assert stderr.endswith("curate: terminated; run the same command again to continue\n")


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(written):
    path = written(plugins=[waiting("score", SCORED)], score=[{"use": "waits"}])
    running = started(path, "--workers", "2", calls=2)
    workers = children(running.pid)
    assert len(workers) == 2
    running.kill()
    running.communicate(timeout=60)  # to the end of all that hold its stderr
    until = time.monotonic() + 60
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < until
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Return whether a process runs; a finished process may remain as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the worker processes of ``pid``."""
    try:
        started = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in started if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


# ---------------------------------------------------------------- stdout and stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "config.yaml", "--json"],
        ["cluster", "config.yaml", "--json"],
        ["plan", "config.yaml", "--json"],
        ["check", "config.yaml", "--json"],
        ["report", "config.yaml", "--json"],
        ["plugins", "--json"],
        ["plugins", "selector", "--json"],
        ["plugins", "selector", "ccs", "--json"],
        ["schema"],
    ],
    ids=" ".join,
)
def test_stdout_is_one_json_document(command, written, arguments):
    path = written()
    if arguments[0] == "report":
        command("run", path)
    done = command(*arguments)
    assert done.returncode == 0
    assert json.loads(done.stdout)


@pytest.mark.slow
def test_json_contains_the_result(written):
    done = curate("run", written(), "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert (told["rows_in"], told["kept"], told["unchanged"]) == (60, 20, False)
    assert Path(told["export"], "manifest.json").exists()
    assert Path(told["report"]).exists()
    assert {"stage", "name", "rows_in", "kept", "dropped", "quarantined", "seconds", "peak_memory"} <= set(
        told["accounting"][0]
    )


def test_a_table_in_a_pipe_is_tab_separated(command, written):
    path = written()
    lines = [line.split("\t") for line in command("plan", path).stdout.splitlines()]
    assert lines[0] == ["stage", "entry", "state", "rows out", "~s", "~MiB", "~MiB disk", "tasks", "reason"]
    assert {len(line) for line in lines} == {9}
    listed = [line.split("\t")[:2] for line in command("plugins").stdout.splitlines()]
    assert ["selector", "ccs"] in listed


def test_results_go_to_stdout_and_progress_to_stderr(command, written):
    path = written()
    assert command("run", path, "--log-format", "quiet").stderr == ""
    done = command("run", path)
    assert "cluster kmeans: unchanged, reused" in done.stderr.splitlines()
    assert "reused" not in done.stdout


def test_log_json_gives_json_lines(command, written):
    path = written()
    command("run", path)
    events = [json.loads(line) for line in command("run", path, "--log-format", "json").stderr.splitlines()]
    told = {"event": "step", "message": "cluster kmeans: unchanged, reused", "stage": "cluster", "entry": "kmeans"}
    assert (told | {"rows_in": 60, "kept": 60, "dropped": 0, "quarantined": 0, "reused": True}).items() <= events[
        2
    ].items()


def test_json_lines_end_with_the_summary_and_with_the_exit_code(command, written):
    done = command("run", written(), "--log-format", "json", "--json")
    *events, end = [json.loads(line) for line in done.stderr.splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    *lines, report = json.loads(done.stdout)["accounting"]
    assert [(step["stage"], step["entry"], step["rows_in"], step["kept"]) for step in steps] == [
        (line["stage"], line["name"], line["rows_in"], line["kept"]) for line in lines
    ]
    assert (report["stage"], report["kept"]) == ("report", lines[-1]["kept"])
    assert (end["event"], end["exit_code"], end["summary"]) == ("end", 0, json.loads(done.stdout))


@pytest.mark.parametrize(
    ("sections", "code", "place", "told"),
    [
        ({"seed": "zero"}, 2, None, "seed: must be an integer"),
        ({"select": [{"use": "top_k", "keep": 61}]}, 3, None, "select top_k: keep is 61, but"),
        (
            {"select": [{"use": "where", "drop": "stars < 3"}, {"use": "top_k", "keep": 60}]},
            3,
            ("select", "select"),
            "select top_k: keep is 60, but",
        ),
        ({"guard": {"max_drop_rate": 0.1}}, 5, None, "40 of 60 rows (66.67%) would be dropped"),
    ],
)
def test_an_error_is_a_json_line_with_its_place(command, written, sections, code, place, told):
    done = command("run", written(**sections), "--log-format", "json", "--executor", "serial")
    end = [json.loads(line) for line in done.stderr.splitlines()][-1]
    assert (done.returncode, end["event"], end["exit_code"]) == (code, "end", code)
    assert (("stage" in end and (end["stage"], end["entry"])) or None) == place
    assert told in end["message"]


@pytest.mark.parametrize("executor", ["serial", PROCESSES])
def test_a_plugin_that_exits_does_not_look_like_a_finished_run(command, written, executor):
    path = written(plugins=[plugin("leaves", *BROKEN["score"], "    raise SystemExit(0)")], score=[{"use": "leaves"}])
    done = command("run", path, "--executor", executor, "--workers", "2")
    assert (done.returncode, done.stdout) == (4, "")
    assert "scorer 'leaves' failed: SystemExit: 0" in done.stderr
    logged(done.stderr)


@pytest.mark.slow
def test_metrics_are_written_by_every_stage_command_and_after_every_signal(command, written):
    path = written(plugins=[waiting("select", "    return 1 / 0")], select=[{"use": "waits", "keep": 20}])
    assert command("embed", path, "--metrics-file", "m.prom").returncode == 0
    assert 'curate_exit_code{run="run"} 0\n' in Path("m.prom").read_text()
    running = started(path, "--metrics-file", "m.prom", calls=1)
    os.killpg(running.pid, signal.SIGTERM)
    running.communicate(timeout=60)
    assert 'curate_exit_code{run="run"} 143\n' in Path("m.prom").read_text()
    assert 'stage="select",entry="select",error="Terminated"} 1\n' in Path("m.prom").read_text()


def test_a_run_directory_with_other_files_exits_with_2_without_overwrite(command, written):
    Path("run/input").mkdir(parents=True)
    Path("run/input/mine.jsonl").write_text("my own")
    done = command("run", written())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "curate: run: the folder is not empty and not a run directory: it contains input; set 'run'"
    )
    assert [path.name for path in Path("run").rglob("*")] == ["input", "mine.jsonl"]
    assert command("run", path := written(), "--overwrite").returncode == 0
    assert Path("run/input/mine.jsonl").read_text() == "my own"
    assert command("run", path).returncode == 0


def test_set_overrides_a_key_and_rejects_an_unknown_one(command, written):
    path = written()
    told = json.loads(command("run", path, "--set", "select.0.keep=7", "--set", "run=other", "--json").stdout)
    assert (told["run"], told["kept"]) == ("other", 7)
    done = command("run", path, "--set", "select.0.kep=7", "--set", "select.4.keep=7", "--set", "seed")
    assert (done.returncode, done.stdout) == (2, "")
    assert [re.match(r"curate: --set (\S+?)[:=]", line)[1] for line in done.stderr.splitlines()] == [
        "select.0.kep",
        "select.4.keep",
        "seed",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("variable", [{}, {"NO_COLOR": "1"}])
def test_color_on_a_terminal_unless_no_color_is_set(written, variable):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    environment |= {"TERM": "xterm-256color", **variable}
    running = subprocess.Popen([*CURATE, "run", "--help"], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    try:
        while block := os.read(ours, 4096):
            seen += block
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert running.wait(30) == 0
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-7]m", seen)) == (not variable)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["schema"], ["plugins"], ["--help"], ["run", "config.yaml", "--json"]])
def test_a_reader_that_closes_the_pipe_early_causes_no_error(command, written, arguments):
    path = written()
    if arguments[0] == "run":
        command("run", path)
    reader, writer = os.pipe()
    os.close(reader)
    done = curate(*arguments, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "reused" not in line]) == (0, [])


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_result_that_stdout_cannot_encode_is_no_failure(written, options):
    """The result is printed after the export was published."""
    done = curate("run", written(run="läuft"), *options, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "l\\xe4uft" in done.stdout if not options else json.loads(done.stdout)["run"] == "läuft"
    assert (Path("läuft") / "export" / "current").exists()


@pytest.mark.slow
def test_a_log_that_cannot_be_written_does_not_stop_a_run(command, written):
    path = written()
    command("run", path)
    reader, writer = os.pipe()
    os.close(reader)
    done = curate("run", path, "--json", capture_output=False, stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    assert json.loads(done.stdout)["unchanged"]


# ---------------------------------------------------------------- a machine that does not play along


@pytest.mark.parametrize("place", ["run", "run/embed", "run/export"])
def test_a_file_in_place_of_a_directory_is_a_clear_error(command, written, place):
    path = written()
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).write_text("in the way")
    done = command("run", path, "--overwrite")
    assert (done.returncode, done.stdout) == (3, "")
    assert re.fullmatch(rf"curate: (\S*/)?{place}\S*: .+", done.stderr.splitlines()[-1])
    assert Path(place).read_text() == "in the way"


@pytest.mark.slow
@pytest.mark.parametrize("limit", [100, 3_000])
@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_full_disk_is_a_clear_error_and_the_next_run_continues(command, written, limit, executor):
    path = written()

    def no_big_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = curate("run", path, "--executor", executor, "--workers", "2", preexec_fn=no_big_files)
    assert (done.returncode, done.stdout) == (3, "")
    assert re.search(r"^curate: run/\S+: cannot write: .*[Ff]ile too large", done.stderr, re.MULTILINE)
    assert not list(Path("run").rglob("*.partial*"))
    assert command("run", path).returncode == 0


@pytest.mark.slow
def test_a_result_that_cannot_be_written_is_an_error(written):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    path = written()
    with Path("/dev/full").open("w") as full:
        done = curate("check", path, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    assert done.stderr == "curate: output: No space left on device\n"


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize("command", ["run", "export", "embed", "rollback"])
def test_a_result_that_cannot_be_written_after_publishing_is_a_warning(written, more, command):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    path = written()
    words = [command, path, "--executor", "serial", "--log-format", "quiet"]
    if command == "rollback":
        for keep in (20, 10):
            assert curate("run", written(select=[{"use": "top_k", "keep": keep}])).returncode == 0
        words = [command, "run", "--log-format", "quiet"]
    before = Path("run/export/current").readlink() if command == "rollback" else None
    with Path("/dev/full").open("w") as full:
        done = curate(*words, *more, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    if command == "embed":  # nothing is published: its result is all that it gives
        assert (done.returncode, done.stderr) == (3, "curate: output: No space left on device\n")
        return
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("curate: warning: the result cannot be printed: No space left on device; ")
    assert done.stderr.count("\n") == 1
    assert Path("run/export/current").readlink() not in (None, before)


@pytest.mark.slow
def test_init_succeeds_even_if_the_path_cannot_be_printed(pool):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w") as full:
        done = curate("init", "new.yaml", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert "warning: the result cannot be printed" in done.stderr
    assert Path("new.yaml").exists()


# ---------------------------------------------------------------- ids that look like options


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-5", "-56", "--weird", "--weird=3", "--json-lines"])
def test_an_id_that_begins_with_a_dash_is_given_after_two_dashes(command, pool, config, name):
    lines = (pool / "a.jsonl").read_text()
    (pool / "a.jsonl").write_text(lines.replace('"r0007"', json.dumps(name)))
    Path("config.yaml").write_text(json.dumps(config()))
    assert command("run", "config.yaml").returncode == 0
    done = command("explain", "run", name)
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"curate: if {name!r} is the id of a row, write -- before it: curate explain RUN -- {name}\n"
    )
    assert name in command("explain", "run", "--", name).stdout
    assert command("explain", "run", "--json", "--", name).returncode == 0
    assert "curate explain RUN -- -5" in " ".join(command("explain", "--help").stdout.replace("│", " ").split())


def test_other_commands_give_no_hint_about_ids(command, written):
    done = command("check", written(), "-5")
    assert (done.returncode, "write --" in done.stderr) == (2, False)


# ---------------------------------------------------------------- init


def test_init_writes_a_configuration_that_check_accepts_and_run_runs(command, pool):
    done = command("init", "new.yaml", "--files", "pool/*.jsonl")
    assert done.returncode == 0
    assert done.stdout == (
        "wrote new.yaml for 2 files\n"
        "text: 'text' (a text column, 10 words on average)\n"
        "id: 'id' (all values are different); label: 'topic' (few different values); "
        "source: 'source' (few different values)\n"
        "next: curate check new.yaml, then curate run new.yaml\n"
    )
    text = Path("new.yaml").read_text()
    assert all(line in text for line in ("  text: text\n", "  id: id\n", "  label: topic\n", "  source: source\n"))
    assert command("check", "new.yaml").returncode == 0
    ran = command("run", "new.yaml", "--json")
    assert ran.returncode == 0, ran.stderr
    assert 0 < json.loads(ran.stdout)["kept"] < 60


def test_init_replaces_a_file_only_with_overwrite(command, pool):
    Path("new.yaml").write_text("mine")
    done = command("init", "new.yaml")
    assert (done.returncode, Path("new.yaml").read_text()) == (2, "mine")
    assert done.stderr == "curate: new.yaml: the file already exists; choose another name, or add --overwrite\n"
    assert command("init", "new.yaml", "--overwrite").returncode == 0
    assert command("check", "new.yaml").returncode == 0


def test_init_creates_the_parent_directory(command, pool):
    assert command("init", "configs/new.yaml", "--files", "pool/*.jsonl").returncode == 0
    assert command("check", "configs/new.yaml").returncode == 0


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_is_no_bug(pool, closed):
    """As in ``curate plugins >&-``."""
    script = (
        f"import os, sys; os.close({['stdout', 'stderr'].index(closed) + 1}); os.execv(sys.executable, sys.argv[1:])"
    )
    words = [sys.executable, "-m", "curate", "plugins", "exporter"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, "bug" in done.stderr) == (0, False)
    assert ("parquet" in done.stdout) == (closed == "stderr")
