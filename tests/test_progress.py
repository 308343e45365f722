"""Progress where there is no terminal: a plain or JSON line every few seconds, or none."""

from __future__ import annotations

import io
import json
import re
import sys
import types
from typing import Any

import pytest

from curate import progress
from curate.accounting import Count
from curate.cli import output
from curate.store.manifest import Record, StageResult


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def work(clock: Clock, style: progress.LogFormat) -> None:
    """A hundred units in 20 seconds, with a note before and a warning after."""
    with progress.console_progress(style) as told:
        told.note("pool read")
        told.begin("embedding", 100)
        for _ in range(20):
            clock.now += 1
            told.advance(5)
        told.warn("3 rows were set aside")


def test_plain_lines_come_every_few_seconds_with_what_is_left(clock, capsys):
    work(clock, "plain")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "pool read",
        "embedding: 25 of 100 rows, 5.0 rows/s (25%), about 15 s left",
        "embedding: 50 of 100 rows, 5.0 rows/s (50%), about 10 s left",
        "embedding: 75 of 100 rows, 5.0 rows/s (75%), about 5 s left",
        "embedding: 100 of 100 rows, 5.0 rows/s (100%), about 0 s left",
        "warning: 3 rows were set aside",
    ]


def test_the_interval_is_every(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 11)
    work(clock, "plain")
    assert [line for line in capsys.readouterr().err.splitlines() if "embedding" in line] == [
        "embedding: 55 of 100 rows, 5.0 rows/s (55%), about 9 s left"
    ]


def test_the_clock_starts_afresh_with_each_piece_of_work(clock, capsys):
    with progress.console_progress("plain") as told:
        told.begin("first", 10)
        clock.now += 4
        told.advance(10)
        told.begin("second", 10)
        clock.now += 4
        told.advance(5)
        clock.now += 1
        told.advance(0)
    assert capsys.readouterr().err == "second: 5 of 10 rows, 1.0 rows/s (50%), about 5 s left\n"


def test_json_lines_hold_the_numbers(clock, capsys):
    work(clock, "json")
    events: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["note", *["progress"] * 4, "warning"]
    assert events[1] == {
        "time": 1005.0,
        "event": "progress",
        "message": "embedding: 25 of 100 rows, 5.0 rows/s (25%), about 15 s left",
        "done": 25,
        "total": 100,
        "unit": "rows",
        "rate": 5.0,
        "seconds_left": 15.0,
    }


def test_quiet_tells_warnings_and_errors_only(clock, capsys):
    work(clock, "quiet")
    with progress.console_progress("quiet") as told:
        told.end(0, "all is well")
        told.end(3, "no such file\nanother line")
    told = capsys.readouterr().err
    assert told == "warning: 3 rows were set aside\ncurate: no such file\ncurate: another line\n"


@pytest.mark.parametrize("reused", [False, True])
def test_a_step_is_told_with_its_rows_and_what_is_told_within_it_with_its_place(clock, capsys, reused):
    count = Count(rows_in=10, kept=7, dropped=2, quarantined=1)
    record = Record(
        stage="select",
        name="top_k",
        fingerprint="",
        inputs={},
        result=StageResult(),
        count=count,
        shards=1,
        seconds=2.5,
    )
    for style in ("json", "plain"):
        with progress.console_progress(style) as told:
            told.enter("select", "select")
            told.note("one group is empty")
            told.begin("selecting", 10)
            clock.now += 5
            told.advance(10)
            told.leave([record], reused=reused)
            told.end(0, "done")
        assert told.steps == [(record, reused)]
    *events, plain_note, _, plain_step = capsys.readouterr().err.splitlines()
    note, advanced, step, end = map(json.loads, events)
    assert (note["stage"], note["entry"], advanced["stage"], advanced["entry"]) == ("select",) * 4
    text = "select top_k: unchanged, reused" if reused else "select top_k: 10 rows in, 7 kept in 2.5 s"
    assert step == {
        "time": 1005.0,
        "event": "step",
        "message": text,
        "stage": "select",
        "entry": "top_k",
        "rows_in": 10,
        "kept": 7,
        "dropped": 2,
        "quarantined": 1,
        "seconds": 2.5,
        "reused": reused,
    }
    assert end == {"time": 1005.0, "event": "end", "message": "done", "exit_code": 0}
    assert (plain_note, plain_step) == ("one group is empty", text)


def test_work_of_no_size_divides_by_nothing(clock, capsys):
    with progress.console_progress("plain") as told:
        told.begin("hashing", 0)
        clock.now += 10
        told.advance(0)
    assert capsys.readouterr().err == "hashing: 0 of 0 rows, 0 rows/s (100%), about 0 s left\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_is_plain_lines_in_a_pipe_and_bars_on_a_terminal(clock, capsys, monkeypatch):
    work(clock, "auto")
    assert "embedding: 25 of 100" in capsys.readouterr().err
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    work(clock, "auto")
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "pool read" in seen
    assert "warning: 3 rows were set aside" in seen
    assert " left" not in seen
    assert "━" in seen


def test_a_log_that_cannot_be_written_stops_nothing(clock, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    work(clock, "plain")


def test_a_table_is_tab_separated_in_a_pipe_and_its_cells_have_no_line_breaks(capsys):
    output.show_table(["entry", "why"], [["kmeans", "two\nlines"], ["a\tb", ""]])
    assert capsys.readouterr().out == "entry\twhy\nkmeans\ttwo lines\na b\t\n"


def test_a_table_on_a_terminal_aligns_numbers_to_the_right(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal)
    output.show_table(["entry", "rows", "why"], [["kmeans", "1,000", "[stale]"], ["top_k", "7", ""]])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert [line.rstrip() for line in plain.splitlines()] == [
        "entry    rows  why",
        "kmeans  1,000  [stale]",
        "top_k       7",
    ]


def test_json_keeps_letters_and_writes_paths_as_text(capsys, tmp_path):
    output.show_json({"run": tmp_path, "word": "naïve"})
    out = capsys.readouterr().out
    assert "naïve" in out
    assert json.loads(out) == {"run": str(tmp_path), "word": "naïve"}


def test_an_estimated_total_is_never_exceeded(clock, capsys):
    with progress.console_progress("plain") as told:
        told.begin("reading", 6, "files")
        for _ in range(9):
            clock.now += 6
            told.advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "reading: 6 of 6 files, 0.1 files/s (100%), about 0 s left"
    assert not any("7 of 6" in line for line in lines)


class Strict(progress.NullProgress):
    """Progress that refuses work without a unit, and more of it than was announced."""

    def __init__(self) -> None:
        self.what, self.total, self.done = "", 0, 0
        self.seen: dict[str, str] = {}

    def begin(self, what: str, total: int, unit: str = "rows") -> None:
        self.end()
        self.what, self.total, self.done = what, total, 0
        assert what
        assert unit in ("rows", "texts", "bytes", "parts", "trials")
        self.seen[what] = unit

    def advance(self, units: int) -> None:
        self.done += units
        assert self.done <= self.total, f"{self.what}: {self.done} of {self.total}"

    def end(self) -> None:
        assert self.done == self.total, f"{self.what}: {self.done} of {self.total}"


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_no_stage_does_more_or_less_than_it_announces(pool, config, executor):
    from pathlib import Path

    from curate import pipeline
    from curate.config.loader import config_from_dict

    Path("eval.jsonl").write_text('{"text": "what is the capital of the country of the north, and why is it there"}\n')
    Path("good.jsonl").write_text("".join(f'{{"text": "a good text of number {n}"}}\n' for n in range(60)))
    data = config(
        embed={"use": "lsa", "dimensions": 8},
        proxy={"use": "logistic", "epochs": 2},
        score=[{"use": "density"}, {"use": "el2n"}, {"use": "perplexity", "files": "good.jsonl"}],
        decontaminate={"files": "eval.jsonl", "text": "text"},
        export={"use": "jsonl", "remove_repeated_spans": 5},
    )
    told = Strict()
    with pipeline.open_executor(executor, 2 if executor == "processes" else None) as runner:
        pipeline.run(config_from_dict(data), runner, told)
    told.end()
    assert {"hashing input", "reading input", "embedding with lsa", "writing the report"} <= told.seen.keys()
    assert told.seen["hashing input"] == "bytes"


# ---------------------------------------------------------------- in a notebook


@pytest.fixture
def notebook(monkeypatch):
    """Modules of a notebook's kernel, and the texts that its output cell has shown."""
    shown = []

    class Handle:
        def update(self, text):
            shown.append(text)

    def display(text, display_id):
        shown.append(text)
        return Handle() if display_id else None

    shell = types.SimpleNamespace(kernel=object())
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display, ipython.display.Pretty = display, str
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return shown


def test_a_notebook_shows_the_progress_in_one_line_that_is_cleared(notebook, pool, config, capfd):
    import curate

    curate.run(config())
    assert any(text.startswith("reading input: ") for text in notebook)
    assert any(text.startswith("select top_k: 60 rows in, 20 kept") for text in notebook)
    assert notebook[-1] == ""
    assert capfd.readouterr().out == ""


def test_progress_is_shown_elsewhere_only_if_it_is_requested(pool, config, capfd):
    import curate

    curate.run(config())
    assert capfd.readouterr() == ("", "")
    curate.run(config(seed=1), progress=True)
    assert "select top_k" in capfd.readouterr().err


def test_a_notebook_can_be_silent(notebook, pool, config):
    import curate

    curate.run(config(), progress=False)
    assert not notebook
