"""Every line of docs/explanation/security.md has a test."""

from __future__ import annotations

import ast
import html.parser
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import curate
from curate import paths, pipeline, progress
from curate.cli import output
from curate.config.loader import config_from_dict
from curate.errors import ConfigError, DataError, PluginError
from curate.evaluation.evaluate import evaluate
from curate.executors.serial import Serial
from curate.plugins.selectors.filters.where import Where, where
from curate.store import csv_records, diff, explain, json_records, parquet_io, readers, redaction, symlinks, versions
from curate.store.readers import Piece

PACKAGE = Path(curate.__file__).parent
CODE = {"eval", "exec", "compile", "__import__", "dill", "cloudpickle", "pickle", "marshal", "shelve", "joblib"}
EVIL = "</script><img src=x onerror=alert(1)><!-- \x1b[31m\x9b31m\u202e\u2028 =cmd()|\n---\n| a |"


# ---------------------------------------------------------------- code


def code_in(source: str) -> set[str]:
    """What of a module's source could run data as code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found |= {name.partition(".")[0] for name in names} & CODE
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & CODE
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = ast.unparse(node.func)
            asked = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if (of == "np.load" and asked.get("allow_pickle") != "False") or of in ("os.system", "yaml.load"):
                found.add(of)
            if of == "torch.load" and asked.get("weights_only") != "True":
                found.add(of)
        if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "shell"):
            found.add(node.arg)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_runs_data(path):
    assert code_in(path.read_text()) == set()


def test_the_check_above_can_fail():
    source = "import pickle\nfrom joblib import load\neval(x)\nnp.load(x)\nyaml.load(x)\n"
    source += "f.load(a, trust_remote_code=True)\ntorch.load(x)"
    assert code_in(source) == {"pickle", "joblib", "eval", "np.load", "yaml.load", "trust_remote_code", "torch.load"}


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [touch ran]", "!!python/name:os.system", "!mine x"])
def test_a_tag_in_a_configuration_is_refused(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(f"curate: 1\nrun: {tag}\n")
    with pytest.raises(ConfigError, match=r"x.yaml:2:1: run: the tag \S+ is not supported"):
        curate.run("x.yaml")
    assert not Path("ran").exists()


def test_python_files_that_the_configuration_does_not_name_are_not_run(pool, config):
    """Not in the current folder, where a worker begins, and not in the run folder."""
    Path("x.yaml").write_text(json.dumps(config()))
    Path("run").mkdir()
    for name in ("numpy", "polars", "selectors", "socket", "uniform", "top_k"):
        for folder in (Path(), Path("run"), pool):
            (folder / f"{name}.py").write_text(f"from pathlib import Path\nPath('ran-{name}').touch()\n")
    done = subprocess.run(
        [Path(sys.executable).parent / "curate", "run", "x.yaml", "--workers", "2", "--overwrite"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, list(Path().glob("ran*"))) == (0, []), done.stderr


def test_arrays_of_objects_are_not_unpickled(pool, config):
    for path in pool.glob("*.jsonl"):
        np.save(path.with_suffix(".npy"), np.array([[object()]], object), allow_pickle=True)
    section = config()["input"] | {"vectors": ".npy"}
    with pytest.raises(DataError, match="the array must be numbers of shape \\(rows, dimensions\\), got object"):
        curate.run(config(input=section, embed={"use": "column"}))


@pytest.mark.parametrize(
    "drop",
    [
        "a IN (SELECT * FROM read_csv('secret.csv'))",
        "a = (SELECT MAX(x) FROM read_parquet('secret.parquet'))",
        "EXISTS (SELECT 1 FROM 'secret.csv')",
        "read_csv('secret.csv') = a",
        "a = 1; DROP TABLE frame",
        "a IN (FROM read_parquet('secret.parquet'))",
        "a = (WITH q AS (SELECT 1) FROM q)",
        "\"a'\" = (SELECT 1 FROM read_parquet('secret.parquet'))",
        "a = E'\\' ' (SELECT 1 FROM read_parquet('secret.parquet')) '",
        "a = 1 /* ' */ + (SELECT 1 FROM read_parquet('secret.parquet')) /* ' */",
        "a = eval('1')",
        "a = load_extension('x.so')",
    ],
)
def test_a_condition_reads_no_file_and_calls_nothing(tmp_path, monkeypatch, drop):
    monkeypatch.chdir(tmp_path)
    Path("secret.csv").write_text("x\n1\n")
    with pytest.raises((ValueError, PluginError), match="drop: "):
        where(pl.DataFrame({"a": [1, 2]}), Where(drop=drop).drop)


def test_a_condition_may_speak_of_queries_in_quotes():
    frame = pl.DataFrame({"s": ["(select", "\\", "x"]})
    drop = "s = '(select' OR s = '\\' OR s IS NOT DISTINCT FROM 'y'"
    assert where(frame, Where(drop=drop).drop).tolist() == [True, True, False]


# ---------------------------------------------------------------- a run folder from a stranger


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Where a copy of the finished run below lies, once there is one."""
    return tmp_path_factory.mktemp("finished") / "run"


@pytest.fixture
def run(pool, config, finished):
    """A finished run with two versions, and everything that one can do with it."""
    if not finished.exists():
        for keep in (10, 20):
            curate.run(config(select=[{"use": "top_k", "keep": keep}], export={"use": "jsonl"}))
        shutil.copytree("run", finished, symlinks=True)
    else:
        shutil.copytree(finished, "run", symlinks=True)
    settings = config_from_dict(config(select=[{"use": "top_k", "keep": 30}], export={"use": "jsonl"}))
    return {
        "explain": lambda: explain.explain(Path("run"), "r0001"),
        "diff": lambda: diff.diff(Path("run"), Path("run"), 1),
        "rollback": lambda: versions.rollback(Path("run"), None, str),
        "plan": lambda: pipeline.plan(settings, Serial()),
        "report": lambda: pipeline.report(settings),
        "run": lambda: pipeline.run(settings, Serial()),
    }


@pytest.fixture
def home(tmp_path):
    """A folder outside, with what a run would delete or write over if it took it for its own."""
    folder = tmp_path / "home"
    (folder / "incoming").mkdir(parents=True)
    for name in ("manifest.json", "part-00000.parquet", ".x.partial", "incoming/diary.txt"):
        (folder / name).write_text("mine")
    yield folder
    assert {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()} == {
        **dict.fromkeys(("manifest.json", "part-00000.parquet", ".x.partial", "incoming/diary.txt"), "mine")
    }


@pytest.mark.parametrize(
    "place", ["input", "embed/hashing", "score", "select", "export", "cluster/part-00000.parquet", "manifest.json"]
)
def test_a_link_in_a_run_folder_is_refused_by_every_command(run, home, place):
    path = Path("run") / place
    path.rename("aside")
    path.symlink_to(home / "manifest.json" if path.suffix else home)
    for command in run.values():
        with pytest.raises(
            DataError,
            match=f"run/{place}: this is a symbolic link, which a run directory must not contain; replace it with what",
        ):
            command()


def test_what_is_half_written_is_never_a_link(run, home):
    """The names of files that are being written can be guessed; so can that of the lock."""
    version = versions.published_version(Path("run/export"))
    Path("run/.1.partial.x").symlink_to(home / "manifest.json")
    Path(f"run/export/.{version}.partial").symlink_to(home)
    with pytest.raises(DataError, match="partial: this is a symbolic link"):
        run["run"]()
    Path(f"run/export/.{version}.partial").unlink()
    for name in ("config.yaml", "manifest.json", "report.html"):
        Path(f"run/.{os.getpid()}.partial.{name}").symlink_to(home / "manifest.json")
    run["run"]()
    Path("run/.curate.lock").unlink()
    Path("run/.curate.lock").symlink_to(home / "manifest.json")
    with pytest.raises(DataError, match=r"run/.curate.lock"):
        run["run"]()


def test_what_is_no_file_and_no_folder_is_refused_and_not_waited_for(run):
    Path("run/select/manifest.json").unlink()
    os.mkfifo("run/select/manifest.json")
    for command in run.values():
        with pytest.raises(DataError, match="neither a file nor a directory"):
            command()


@pytest.mark.parametrize("target", ["..", "../../home", "/", "0123456789ab/..", "nothing"])
def test_the_published_version_is_one_of_the_export_folder(run, home, target):
    Path("run/export/current").unlink()
    Path("run/export/current").symlink_to(target)
    for command in ("explain", "rollback", "run"):
        with pytest.raises(DataError, match="run/export/current: the link to the published version is corrupt"):
            run[command]()
    version = versions.complete_versions(Path("run/export"))[-1]
    versions.rollback(Path("run"), version, str)
    run["run"]()
    assert versions.published_version(Path("run/export")) is not None


@pytest.mark.parametrize("version", ["../../home", "..", ".", "/etc", "history.json", "current"])
def test_a_rollback_goes_to_a_version_and_nowhere_else(run, home, version):
    (home / "manifest.json").write_text('{"rows": 1}')
    with pytest.raises(ConfigError, match="there is no version"):
        versions.rollback(Path("run"), version, str)
    (home / "manifest.json").write_text("mine")


def test_a_manifest_names_no_folder_but_its_own(run, home):
    """An entry whose manifest says that it is called ../../home is not one of the run's."""
    for stage in ("embed/hashing", "score/prototypicality"):
        path, ledger = Path("run") / stage / "manifest.json", Path("run/select/manifest.json")
        record, made = parquet_io.read_json(path), parquet_io.read_json(ledger)
        parquet_io.write_json(path, record | {"name": "../../home"})
        made["parts"][stage.partition("/")[0]]["../../home"] = record["fingerprint"]
        parquet_io.write_json(ledger, made)
    story = run["explain"]()
    assert story.scores == ()
    assert "score prototypicality" in story.missing


@pytest.mark.parametrize(
    "line", [{}, {"version": "../../home", "by": "run"}, [], {"version": [], "published": "", "by": "run", "rows": 1}]
)
def test_a_history_that_no_run_wrote_is_none(run, line):
    parquet_io.write_json(Path("run/export/history.json"), {"publications": [line]})
    for command in ("rollback", "run"):
        with pytest.raises(DataError, match=r"history\.json: the history of publications is corrupt"):
            run[command]()


def test_a_shard_with_a_flipped_bit_is_not_believed(run):
    path = Path("run/select/part-00000.parquet")
    data = bytearray(path.read_bytes())
    data[30] ^= 4
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"part-00000.parquet: cannot read the result of the step: .* is corrupt; run again"
    ):
        run["explain"]()


# ---------------------------------------------------------------- texts


class Elements(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))


@pytest.fixture
def hostile(tmp_path, monkeypatch, plain_map):
    """A finished run over a pool whose every name and text is hostile."""
    monkeypatch.chdir(tmp_path)
    name = EVIL.replace("/", "").replace("\n", "") + ".jsonl"
    rows = [
        {EVIL: f"{EVIL} {n}", "text": f"{EVIL} {n // 2}", "source": f"{EVIL}{n % 2}", "label": EVIL} for n in range(12)
    ]
    Path(name).write_text("\n".join([*map(json.dumps, rows), EVIL.replace("\n", " ")]) + "\n")
    settings = {
        "curate": 1,
        "run": "run",
        "input": {"files": "*.jsonl", "id": EVIL, "text": "text", "source": "source", "label": "label"},
        "embed": {"use": "hashing", "dimensions": 8},
        "cluster": {"use": "column", "column": "label"},
        "score": [{"use": "length"}],
        "select": [{"use": "semdedup", "min_similarity": 0.99}, {"use": "top_k", "keep": 4}],
        "guard": {"max_quarantine_rate": 1},
    }
    curate.run(settings)
    return settings


def test_no_text_runs_in_the_report_or_breaks_the_card(hostile):
    text = Path("run/report.html").read_text()
    page = Elements(text).seen
    assert {tag for tag, _ in page} & {"img", "iframe", "object", "link", "form"} == set()
    assert [tag for tag, _ in page].count("a") == text.count('<a href="#')  # the list of contents
    assert [tag for tag, _ in page].count("script") == 3
    assert not [name for _, names in page for name in names if name.startswith("on")]
    card = Path("run/export/current/README.md").read_text()
    front, _, body = card.partition("\n---\n")
    assert "<img" not in body.partition("Resolved configuration")[0]
    assert EVIL in [feature["name"] for feature in yaml.safe_load(front)["dataset_info"]["features"]]
    assert "\n---\n" not in body


def test_nothing_that_is_printed_moves_a_terminals_cursor(hostile, capsys):
    story = explain.explain(Path("run"), f"{EVIL} 0")
    for line in story.lines():
        output.show_line(line)
    output.show_json(story.as_dict())
    difference = diff.diff(Path("run"), Path("run"), 2)
    for header, rows in difference.tables():
        output.show_table(header, rows)
    with progress.console_progress("plain") as told:
        told.note(EVIL)
        told.warn(EVIL)
    out = capsys.readouterr()
    assert (out.out + out.err).replace("\n", "").replace("\t", "").isprintable()
    assert len(out.err.splitlines()) == 2
    with pytest.raises(ConfigError) as unknown:
        explain.explain(Path("run"), f"{EVIL} 00")
    assert str(unknown.value).isprintable()


def test_json_says_the_same_after_escaping(capsys):
    output.show_json({EVIL: EVIL, "astral": "\U000e0001 naïve"})
    assert json.loads(capsys.readouterr().out) == {EVIL: EVIL, "astral": "\U000e0001 naïve"}


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        *(
            (cell, cell)
            for cell in ("=1+1", "+cmd|x", "-x", "@SUM(A1)", "＝1", "-5.5", "a=1", "-", "2026-11-21", "a–b")
        ),
        ("\t=1", "=1"),
        ("\r=1\nx", "=1 x"),
        ("\x1b[2J", "\\x1b[2J"),
        ("+1,000", "+1000"),
        ("≈ 1,234,567", "1234567"),
        ("≈ 1.5", "1.5"),
        ("+2.4 ± 1.0", "+2.4 +/- 1.0"),
        ("−1e-05", "-1e-05"),
        ("–", "-"),
        ("12,34", "12,34"),
    ],
)
def test_tables_in_a_pipe_are_lines_of_cells_for_programs(capsys, cell, shown):
    output.show_table(["≈ s", "rows"], [[cell, "1"]])
    assert capsys.readouterr().out == f"~s\trows\n{shown}\t1\n"


def test_what_users_wrote_is_not_taken_for_a_number(capsys):
    output.show_table(["id", "rows"], [["1,000", "1,000"], ["–", "–"]], verbatim=("id",))
    assert capsys.readouterr().out == "id\trows\n1,000\t1000\n–\t-\n"


# ---------------------------------------------------------------- inputs that fill the memory


def test_a_line_without_an_end_is_quarantined_and_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "MAX_RECORD_LENGTH", 64)
    for name in ("a.jsonl", "a.jsonl.zst"):
        path = tmp_path / name
        data = b'{"a": 1}\n' + b" " * 5_000 + b"\n" + b'{"a": "' + b"x" * 500 + b'"}\n{"a": 2}\n'
        with pa.output_stream(str(path), compression="zstd" if name.endswith("zst") else None) as file:
            file.write(data)
        (batch,) = readers.read(Piece(str(path), 0))
        assert (batch.table["a"].to_pylist(), batch.lines) == ([1, 2], [1, 4])
        assert [(bad.line, bad.reason) for bad in batch.bad_records] == [
            (2, "is longer than 64 bytes"),
            (3, "is longer than 64 bytes"),
        ]


def test_a_csv_line_without_an_end_is_an_error_that_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "MAX_RECORD_LENGTH", 64)
    (tmp_path / "a.csv").write_text("a\n" + "x" * 99)
    with pytest.raises(DataError, match=r"a\.csv:2: the line is longer"):
        list(readers.read(Piece(str(tmp_path / "a.csv"), 0)))


def test_a_csv_cell_without_an_end_is_set_aside_and_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "MAX_RECORD_LENGTH", 64)
    (tmp_path / "a.csv").write_text('a\n"' + "x\n" * 99)
    (batch,) = readers.read(Piece(str(tmp_path / "a.csv"), 0))
    assert [(bad.line, bad.record) for bad in batch.bad_records] == [(2, '"x')]
    assert "a row is longer than 64 characters" in batch.bad_records[0].reason
    assert len(batch.table) == 98


def test_a_record_that_no_parquet_file_can_hold_is_set_aside(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        f'{{"a": {"[" * 40}{"]" * 40}}}\n{{"b": {"[" * 30}{"]" * 30}}}\n{{"t": "{"{" * 99}"}}\n'
    )
    (batch,) = readers.read(Piece(str(tmp_path / "a.jsonl"), 0))
    assert [(bad.line, bad.reason) for bad in batch.bad_records] == [(1, "is nested more than 32 levels deep")]
    assert batch.lines == [2, 3]


def test_keys_that_are_data_do_not_become_a_column_each(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({f"k{n}-{i}": 1 for i in range(20)}) for n in range(600)))
    with pytest.raises(DataError, match=r"lines 1 to 600: the file has 12,000 columns, .* the limit is 5,000"):
        list(readers.read(Piece(str(tmp_path / "a.jsonl"), 0)))


def test_a_stored_type_runs_no_code(tmp_path, monkeypatch):
    """Arrow once let a Parquet file name a pickled type."""
    monkeypatch.chdir(tmp_path)
    payload = b"cposix\nsystem\n(S'touch ran'\ntR."
    field = pa.field(
        "a",
        pa.int64(),
        metadata={"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": payload},
    )
    pq.write_table(pa.table([[1]], schema=pa.schema([field])), tmp_path / "a.parquet")
    (batch,) = readers.read(Piece(str(tmp_path / "a.parquet"), 0))
    assert batch.table["a"].to_pylist() == [1]
    assert not Path("ran").exists()


def test_a_link_in_any_folder_of_a_run_is_refused(pool, config, home):
    """Whatever stage wrote the folder: every section is there, and so is an evaluation."""
    (pool.parent / "held.jsonl").write_text('{"text": "a text that no row of the pool shares anything with at all"}\n')
    settings = config(
        plugins=[str(Path(__file__).with_name("fake.py"))],
        annotate=[{"use": "fake"}],
        model={"use": "fake", "model": "m"},
        proxy={"use": "logistic", "epochs": 2},
        score=[{"use": "el2n"}, {"use": "consistency"}, {"use": "loss"}],
        review={"rows": 5},
        target={"files": "held.jsonl"},
        decontaminate={"files": "held.jsonl", "text": "text"},
        select=[{"use": "exact_duplicates", "against": "published"}, {"use": "top_k", "keep": 20}],
        split={"shares": {"train": 0.6, "test": 0.4}},
        export={"use": "jsonl", "remove_repeated_spans": 5},
        metrics=[{"use": "balance"}],
        evaluate={"seeds": 1},
    )
    loaded = config_from_dict(settings)
    curate.run(settings)
    evaluate(Path("run"), Serial())
    folders = [path for path in Path("run").rglob("*") if path.is_dir() and "current" not in path.parts]
    assert {*symlinks.RESULTS} <= {*pipeline.OWNED, redaction.NAME}
    outputs = {name for stage in pipeline.PIPELINE for name in stage.outputs if "." not in name}
    assert {path.parts[1] for path in folders} >= {*outputs, "evaluate"}
    commands = {
        "run": lambda: pipeline.run(loaded, Serial()),
        "plan": lambda: pipeline.plan(loaded, Serial()),
        "report": lambda: pipeline.report(loaded),
        "evaluate": lambda: evaluate(Path("run"), Serial()),
    }
    for folder in folders:
        link = folder / "link"
        link.symlink_to(home)
        for command in commands.values():
            with pytest.raises(DataError, match=f"{link}: this is a symbolic link"):
                command()
        link.unlink()
    assert pipeline.run(loaded, Serial()).unchanged


# ---------------------------------------------------------------- names with control characters

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
LAYOUT = "\t\n"


def test_no_control_character_of_a_source_reaches_what_people_read(pool, config, command):
    """Every control character of C0 and C1, and those that turn the direction of text."""
    rows = [
        {"id": f"c{number}", "text": f"text number {number} of them {one}", "topic": f"t{one}", "source": f"s{one}x"}
        for number, one in enumerate(CONTROLS)
    ]
    (pool / "c\x1b[31m\u202e.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    Path("x.yaml").write_text(json.dumps(config(evaluate={"ground_truth": "key.jsonl"})))
    Path("key.jsonl").write_text("".join(json.dumps({"id": row["id"], "kind": row["source"]}) + "\n" for row in rows))
    done = command("run", "x.yaml", "--metrics-file", "m.prom")
    assert done.returncode == 0, done.stderr
    shown = [done.stdout, done.stderr, Path("m.prom").read_text(), Path("run/export/current/README.md").read_text()]
    shown += [command(*words).stdout for words in (("explain", "run", "c27"), ("diff", "run", "run"))]
    page = Path("run/report.html").read_text()
    shown.append("".join(part.rpartition("</script>")[2] for part in page.split("<script")))
    for text in shown:
        assert [one for one in CONTROLS if one in text and one not in LAYOUT] == []


# ---------------------------------------------------------------- secrets in URLs

SECRET = "Tr0ub4dor"
PLACES = {
    "run": lambda url: {"run": url},
    "input.files": lambda url: {"input": {"files": url, "text": "text"}},
    "input.files.1": lambda url: {"input": {"files": ["pool/*.jsonl", url], "text": "text"}},
    "input.vectors": lambda url: {"input": {"files": "pool/*.jsonl", "text": "text", "vectors": url}},
    "input.tokens": lambda url: {"input": {"files": "pool/*.jsonl", "text": "text", "tokens": url}},
    "embed": lambda url: {"embed": {"use": "sentence_transformers", "model": url}},
    "model": lambda url: {"model": {"use": "causal_lm", "model": url}, "score": [{"use": "loss"}]},
    "judge": lambda url: {"judge": {"base_url": url, "model": "m"}},
    "proxy": lambda url: {"proxy": {"use": "recorded", "files": url}},
    "score": lambda url: {"score": [{"use": "quality_classifier", "positive": url, "negative": ["a.jsonl", url]}]},
    "target": lambda url: {"target": {"files": url}},
    "targets": lambda url: {"target": {"files": ["a.jsonl", url]}},
    "decontaminate": lambda url: {"decontaminate": {"files": url}},
    "decontaminate of names": lambda url: {"decontaminate": {"files": {"a": [url]}}},
    "the name of a set": lambda url: {"decontaminate": {"files": {url: "a"}}},
    "evaluate.ground_truth": lambda url: {"evaluate": {"ground_truth": url}},
    "evaluate.files": lambda url: {"evaluate": {"files": [url]}},
    "plugins": lambda url: {"plugins": [url]},
    "a key that is not known": lambda url: {"inputs": {"x": [{"y": url}]}},
    "a key": lambda url: {url: 1},
}
URLS = [
    *(f"s3://bucket/a.jsonl?{name}={SECRET}" for name in ("access_token", "api_key", "key", "auth", "sig", "SIG", "x")),
    *(f"https://host/a?X-Amz-Signature={SECRET}", f"https://host/a?{SECRET}", f"https://host/a#{SECRET}"),
    *(f"https://host/a?versionId=1&t={SECRET}", f"https://host/a?versionId=1;t={SECRET}", f"https://host/a#t={SECRET}"),
    *(f"https://{SECRET}@host/a", f"HTTPS://{SECRET}@HOST/a", f"https://host%2F@{SECRET}@x/a", f"s3://u:{SECRET}@b/a"),
    *(f"https://{SECRET}%40host/a", f"https://host/a%3Fapi_key%3D{SECRET}", f"https://host/a%253Fapi_key%253D{SECRET}"),
    *(f"s3://key:pass/{SECRET}@bucket/a", f"simplecache::https://host/a?k={SECRET}", f"zip://a::https://{SECRET}@h/b"),
    *(f" https://{SECRET}@host/a", f"abfs://box:{SECRET}@account/a", f"gs://bucket/*.jsonl?token={SECRET}"),
]
HARMLESS = [
    *(
        "s3://bucket/pool/part-?.jsonl",
        "s3://bucket/a@b/c.jsonl",
        "s3://bucket/day=1/part-?.jsonl",
        "https://host:8080/a",
    ),
    *(
        "s3://bucket/a.jsonl?versionId=abc",
        "abfs://box@account.dfs.core.windows.net/a",
        "s3://bucket/a&b=c",
        "pool/a?b=c",
    ),
    *("s3://bucket/202?-0?/lang=en/*.jsonl", "a@b", "memory://x/y"),
]


@pytest.mark.parametrize("url", HARMLESS)
def test_a_url_without_a_secret_is_none(url):
    assert not paths.has_secret(url)


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_in_a_url_is_refused_wherever_it_stands_and_never_shown(pool, config, command, place):
    for url in URLS:
        settings = config(**PLACES[place](url))
        Path("x.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True))
        for words in (("run", "x.yaml"), ("check", "x.yaml"), ("plan", "x.yaml", "--log-format", "json")):
            done = command(*words)
            assert done.returncode == 2, (url, done)
            assert SECRET not in done.stdout + done.stderr, (url, done)
            assert paths.CREDENTIALS_IN_URL in done.stderr, (url, done)
        with pytest.raises(ConfigError) as caught:
            config_from_dict(settings)
        assert SECRET not in str(caught.value)
    assert not Path("run").exists()


@pytest.mark.parametrize("url", URLS)
def test_a_secret_on_the_command_line_is_refused_and_never_shown(pool, config, command, url):
    Path("x.yaml").write_text(json.dumps(config()))
    for key in ("run", "input.files", "input.files.0", "evaluate.ground_truth", "select.0.by", "strange"):
        done = command("run", "x.yaml", "--set", f"{key}={json.dumps(url)}")
        assert done.returncode == 2
        assert SECRET not in done.stdout + done.stderr, (key, url, done)
    for words in (("explain", url, "r1"), ("path", url), ("rollback", url), ("evaluate", url)):
        done = command(*words)
        assert done.returncode == 2, done
        assert SECRET not in done.stdout + done.stderr, (words, done)


# ---------------------------------------------------------------- modules in the current folder


@pytest.mark.parametrize(
    ("program", "executor"),
    [("-m", "processes"), ("curate", "processes"), pytest.param("-m", "ray", marks=pytest.mark.exhaustive)],
)
def test_modules_of_the_current_folder_are_not_imported(pool, config, program, executor):
    """Not by the command, and not by its workers."""
    names = ("csv", "json", "polars", "numpy", "pyarrow", "typer", "yaml", "typing", "__future__", "socket", "logging")
    for name in names:
        Path(f"{name}.py").write_text(f"from pathlib import Path\nPath('ran-{name}').touch()\n")
    Path("x.yaml").write_text(json.dumps(config()))
    start = [sys.executable, "-m", "curate"] if program == "-m" else [Path(sys.executable).parent / "curate"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [*start, "run", "x.yaml", "--workers", "2", "--executor", executor],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (done.returncode, sorted(Path().glob("ran*"))) == (0, []), done.stderr
