"""Tests of the units, scripts, commands, rules and log lines on the operations page."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import typer
import yaml

from curate.cli.app import app
from curate.report import prometheus_format
from curate.stages.report import prometheus

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "run-nightly.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("script", [*blocks("sh"), *blocks("bash")])
def test_shell_lines_parse(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def commands() -> list[str]:
    """Return every command line of curate on the page, without the shell syntax after it."""
    code = [*re.findall(r"`(curate [^`]+)`", PAGE), *blocks("cron"), *blocks("ini"), *blocks("bash")]
    lines = [line for text in code for line in text.replace("\\\n", " ").splitlines() if "curate " in line]
    found = [re.search(r"(?:^|/)curate ([a-z]+ .*?)(?: >>| &|$)", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("line", commands())
def test_commands_have_the_options_that_are_named(line):
    name, *arguments = shlex.split(line.replace("${SLURM_CPUS_PER_TASK:-1}", "2"))
    command = typer.main.get_command(app).commands[name]
    assert command.make_context(name, arguments).params


def test_the_units_are_of_one_service():
    service, timer = (configparser.ConfigParser(interpolation=None) for _ in range(2))
    for unit, text in zip((service, timer), blocks("ini"), strict=True):
        unit.optionxform = str  # type: ignore[method-assign,assignment]
        unit.read_string(text)
    assert service["Service"]["ExecStart"].startswith(f"{service['Service']['WorkingDirectory']}/")
    assert service["Service"]["KillSignal"] == "SIGTERM"
    assert service["Service"]["SuccessExitStatus"].split() == ["75", "143"]
    assert timer["Install"]["WantedBy"] == "timers.target"


def test_the_slurm_script_hands_sigterm_on_and_queues_the_job_again(tmp_path):
    (script,) = blocks("bash")
    tools = {
        ".venv/bin/curate": "trap 'exit 143' TERM; touch begun; while :; do sleep 0.05; done",
        "bin/scontrol": f'echo "$@" > {tmp_path}/queued',
    }
    for name, text in tools.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    command = ["bash", "-c", script.replace("/srv/curation", str(tmp_path))]
    job = subprocess.Popen(command, env=environment)
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 143
    assert (tmp_path / "queued").read_text() == "requeue 17\n"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = {line.split()[1] for block in blocks("sh") for line in block.splitlines() if line.startswith("make ")}
    assert named
    assert all(re.search(rf"^[a-z ]*\b{target}\b[a-z ]*:", makefile, re.MULTILINE) for target in named)
    done = subprocess.run(
        ["make", "--dry-run", "run", "FLAGS=--log-format plain"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "curate run configs/quickstart.yaml  --log-format plain" in done.stdout


def test_every_metric_is_on_the_page_and_every_one_on_the_page_is_a_metric(pool, config, monkeypatch):
    told: list[prometheus_format.Gauge] = []
    monkeypatch.setattr(prometheus.prometheus_format, "render", lambda gauges: told.extend(gauges) or "")
    import curate

    curate.run(config())
    prometheus.write(Path("m.prom"), prometheus.RunEnd(run="run", seconds=1.0, exit_code=0, steps=()))
    assert set(re.findall(r"\bcurate_[a-z_]+", PAGE)) == {gauge.name for gauge in told}


def test_alert_rules_are_complete():
    (rules,) = (yaml.safe_load(text)["groups"] for text in blocks("yaml"))
    for rule in rules[0]["rules"]:
        assert set(rule) == {"alert", "expr"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert "curate_" in rule["expr"]


def test_log_lines_have_the_fields_that_are_named():
    step, end = (json.loads(line) for line in blocks("json")[0].splitlines())
    assert (step["event"], end["event"]) == ("step", "end")
    assert "exit_code" in end
