"""Tests of the arguments RUN (a run directory, its URL or a configuration file) and ROW (an id, a line or a hash)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

READERS = {
    "report": (),
    "path": (),
    "explain": ("r0003",),
    "diff": ("run",),
    "evaluate": ("--seeds", "2", "--executor", "serial"),
    "compare": ("--seeds", "2", "--prune-rate", ".5", "--executor", "serial"),
}
MISSING = "there is no run directory or configuration file with this name"
NEITHER = "this is neither a run directory nor a configuration file"


@pytest.fixture
def yaml(finished) -> Path:
    """Return the configuration of the finished run, under another name."""
    Path("configs").mkdir()
    return Path(shutil.copy("run/config.yaml", "configs/nightly.yaml"))


@pytest.mark.parametrize("name", READERS)
def test_every_command_that_reads_a_run_takes_its_directory_and_its_configuration(command, finished, yaml, name):
    for run in ("run", "run/", Path(finished).resolve(), Path(finished).resolve().as_uri(), yaml, "run/config.yaml"):
        done = command(name, run, *READERS[name])
        assert done.returncode == 0, (run, done.stderr)
        assert done.stdout


def test_a_run_that_was_moved_is_read_where_it_is(command, finished):
    Path(finished).rename("elsewhere")
    for name in set(READERS) - {"diff", "compare"}:
        done = command(name, "elsewhere", *READERS[name])
        assert done.returncode == 0, done.stderr
    assert not Path("run").exists()


def test_rollback_takes_a_configuration(command, finished, yaml):
    assert command("run", yaml, "--set", "select.0.keep=19").returncode == 0
    done = command("rollback", yaml)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [*READERS, "rollback"])
def test_an_unknown_run_is_an_error_that_suggests_similar_paths(command, finished, yaml, name):
    Path("notes.txt").write_text("run: run\nbut: [no configuration")
    Path("empty.yaml").write_text("select: []\n")
    Path("runs/first").mkdir(parents=True)
    shutil.copy(yaml, "runs/first/config.yaml")
    more = READERS.get(name, ())
    for run, told in {
        "nigthly.yaml": f"nigthly.yaml: {MISSING}; did you mean 'configs/nightly.yaml'?",
        "firts": f"firts: {MISSING}; did you mean 'runs/first'?",
        "zzz": f"zzz: {MISSING}",
        "runs": f"runs: {NEITHER}; did you mean 'run' or 'runs/first'?",
        "notes.txt": f"notes.txt: {NEITHER}",
        "run/report.html": f"run/report.html: {NEITHER}",
        "empty.yaml": "empty.yaml: this is not a configuration: it has no key 'run'",
    }.items():
        if run == "empty.yaml" and name in ("report", "compare"):
            continue  # which read the complete configuration, and say all that is wrong with it
        done = command(name, run, *more)
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr


def test_a_run_that_is_a_file_is_an_error(command, finished, yaml):
    Path("file").write_text("")
    done = command("run", yaml, "--set", "run=file")
    assert done.returncode in (2, 3)
    assert "file: " in done.stderr
    assert "bug" not in done.stderr


# ---------------------------------------------------------------- rows


def explained(command, *arguments: str) -> dict:
    done = command("explain", "run", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["pool/b.jsonl", "./pool/b.jsonl", "b.jsonl", "pool/../pool/b.jsonl"])
def test_explain_takes_a_line_of_a_file(command, finished, name):
    story = explained(command, f"{name}:3")
    assert (story["id"], story["file"], story["line"]) == ("r0042", "pool/b.jsonl", 3)


def test_explain_takes_the_hash_of_a_text(command, finished):
    from curate.store.ledger import Run

    table = Run.open(Path(finished)).inputs.read(0, ("id", "hash"))
    assert explained(command, table["hash"][7].as_py().hex())["id"] == table["id"][7].as_py()
    assert command("explain", "run", "0" * 32).returncode == 2


def test_a_line_without_a_row_is_an_error_with_the_nearest(command, finished):
    done = command("explain", "run", "b.jsonl:21")
    assert done.stderr == "curate: pool/b.jsonl:21: there is no row on this line; the nearest rows are on lines 20\n"
    assert "no row has the id 'c.jsonl:1'" in command("explain", "run", "c.jsonl:1").stderr


FILES = {
    "a.json": json.dumps([{"id": f"x{n}", "text": f"one two {n}"} for n in range(3)], indent=2),
    "b.csv": 'id,text\ny0,"one\ntwo\nthree"\ny1,four\ny2\n',
    "deep/a.json": json.dumps([{"id": f"z{n}", "text": f"one two {n}"} for n in range(3)]),
}


def test_a_record_is_found_by_any_of_its_lines_and_a_quarantined_one_too(command, written_files):
    for line in (2, 3, 5):
        assert explained(command, f"in/a.json:{line}")["id"] == "x0"
    assert explained(command, "in/a.json:6")["id"] == "x1"
    assert {explained(command, f"b.csv:{line}")["id"] for line in (2, 3, 4)} == {"y0"}
    story = explained(command, "b.csv:6")
    assert (story["outcome"]["status"], story["quarantined"][0]["line"]) == ("quarantined", 6)


def test_a_name_or_a_line_of_several_is_an_error_that_lists_them(command, written_files):
    done = command("explain", "run", "a.json:1")
    assert "several input files match 'a.json'; use one of: in/a.json, in/deep/a.json" in done.stderr
    done = command("explain", "run", "deep/a.json:1")
    assert "3 rows are on line 1 of in/deep/a.json; use one of the ids: z0, z1, z2" in done.stderr
    done = command("explain", "run", "b79dc5ed0c8a2de2de3e2d1ebbfb5a0d")
    assert "no row has the id" in done.stderr


@pytest.fixture
def written_files(command, pool, config):
    for name, content in FILES.items():
        path = Path("in") / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
    made = config(
        input={"files": "in/**/*.*", "id": "id", "text": "text"},
        guard={"max_quarantine_rate": 0.5},
        select=[{"use": "uniform", "keep": 3}],
        cluster={"use": "kmeans", "n_clusters": 2},
    )
    Path("c.yaml").write_text(json.dumps(made))
    done = command("run", "c.yaml", "--no-report")
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- --grep


def test_grep_lists_rows_and_what_happened_to_them_one_per_line(command, finished):
    done = command("explain", "run", "--grep", "number 1[0-9]$", "--limit", "4")
    header, *rows = (line.split("\t") for line in done.stdout.splitlines())
    assert header == ["id", "from", "status", "by", "reason", "text"]
    assert [row[:2] for row in rows] == [[f"r00{n}", f"pool/a.jsonl:{n + 1}"] for n in range(10, 14)]
    assert all(row[2] in ("chosen", "dropped") and f"number {row[0][3:]}" in row[5] for row in rows)
    assert done.stderr == "curate: 10 rows match; the first 4 are listed (raise --limit to list more)\n"
    found = explained(command, "--grep", "number 1[0-9]$")
    assert (found["rows"], len(found["matches"])) == (10, 10)
    for match in found["matches"]:
        assert explained(command, match["id"])["outcome"]["status"] == match["status"]
    assert command("explain", "run", "--grep", "no such text").stdout == "id\tfrom\tstatus\tby\treason\ttext\n"


def test_grep_finds_records_that_were_quarantined(command, written_files):
    found = explained(command, "--grep", "^y2$")["matches"]
    assert [(one["id"], one["file"], one["line"], one["status"]) for one in found] == [
        (None, "in/b.csv", 6, "quarantined")
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "explain: no row is specified; add its id, FILE:LINE or the hash of its text, or search with --grep"),
        (("r0003", "--grep", "x"), "explain: a row and --grep cannot be combined; remove one of them"),
        (("--grep", "("), "--grep: the pattern is not a regular expression: "),
    ],
)
def test_invalid_arguments_of_explain_are_errors(command, finished, arguments, told):
    done = command("explain", "run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_grep_shows_no_masked_text(command, pool, config):
    Path("m.jsonl").write_text(
        "".join(json.dumps({"text": f"write to ann{n}@example.org {n}"}) + "\n" for n in range(9))
    )
    made = config(input={"files": "m.jsonl", "text": "text"}, select=[{"use": "uniform", "keep": 3}])
    made["cluster"]["n_clusters"] = 2
    made["export"] = {"use": "jsonl", "mask_pii": ["email"]}
    Path("c.yaml").write_text(json.dumps(made))
    assert command("run", "c.yaml", "--no-report").returncode == 0
    done = command("explain", "run", "--grep", "@example")
    assert done.stdout.count("write to <EMAIL>") == 9
    assert "@" not in done.stdout


# ---------------------------------------------------------------- tables in a pipe


def test_every_table_in_a_pipe_has_the_cells_of_its_header_in_each_line_and_is_ascii(command, finished, yaml):
    for words in (
        ("run", yaml),
        ("plan", yaml),
        ("diff", yaml, "run"),
        ("plugins",),
        ("plugins", "selector"),
        ("explain", "run", "--grep", "."),
    ):
        out = command(*words).stdout
        tables = [block.splitlines() for block in out.split("\n\n")]
        for table in tables:
            rows = [line.split("\t") for line in table if "\t" in line]
            assert len({len(row) for row in rows}) <= 1, words
            if words[0] != "plugins":
                assert all(cell.isascii() for row in rows for cell in row), words
            assert not any(cell.startswith("'") for row in rows for cell in row)
