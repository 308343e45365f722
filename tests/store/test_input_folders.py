"""A folder as input: files of known formats below it, saved datasets, and what is left out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.errors import CurateError, DataError
from curate.store.input_folders import list_folder

ODD = "a b#1%20é[x]{y}.jsonl"


def write(path: Path, *ids: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": one, "text": f"a text of row {one}"}) + "\n" for one in ids))


def run(folder: Path, files: str, **pool: object) -> set[str]:
    settings = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": files, "text": "text", "id": "id", **pool},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
    }
    curate.run(settings)
    return set(pq.read_table(folder / "run" / "export" / "current" / "data")["id"].to_pylist())


def test_all_files_of_known_formats_are_read_and_nothing_else(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool = Path("pool")
    write(pool / "a.jsonl", "a")
    write(pool / "lang=en" / "deep" / ODD, "odd")
    pq.write_table(pa.table({"id": ["p"], "text": ["a text of p"]}), pool / "lang=en" / "p.parquet")
    for name in ("README.md", ".DS_Store", ".hidden.jsonl", "_SUCCESS", "_metadata.parquet", "notes.txt"):
        (pool / name).write_text("no rows")
    write(pool / ".git" / "x.jsonl", "hidden")
    write(Path("elsewhere") / "l.jsonl", "linked")
    (pool / "link").symlink_to(Path("elsewhere").resolve())
    (pool / "cycle").symlink_to(pool.resolve())
    data = {"curate": 1, "run": "pool/run", "input": {"files": "pool/", "text": "text", "id": "id"}}
    Path("c.yaml").write_text(json.dumps({**data, "select": [{"use": "uniform", "keep": 4}]}))
    done = command("run", "c.yaml")
    assert done.returncode == 0, done.stderr
    assert "skipped 2 files of other formats: README.md, notes.txt" in " ".join(done.stderr.split())
    table = pq.read_table("pool/run/export/current/data")
    assert set(zip(table["id"].to_pylist(), table["lang"].to_pylist(), strict=True)) == {
        ("a", None),
        ("odd", "en"),
        ("p", "en"),
        ("linked", None),
    }
    again = command("run", "c.yaml")  # the run directory is in the folder, and is no input
    assert again.returncode == 0
    assert "unchanged" in again.stdout


def test_a_folder_without_a_file_is_an_error_that_lists_others(tmp_path):
    (tmp_path / "pool").mkdir()
    with pytest.raises(DataError, match=r"the folder has no file of a known format; add files"):
        list_folder(str(tmp_path / "pool"))
    (tmp_path / "pool" / "page.html").write_text("<p>")
    with pytest.raises(DataError, match=r"it contains page\.html"):
        list_folder(str(tmp_path / "pool"))
    assert list_folder(str(tmp_path / "pool" / "page.html")) is None
    assert list_folder(str(tmp_path / "missing")) is None


def test_what_is_no_readable_file_is_an_error_if_its_name_has_a_format(tmp_path):
    write(tmp_path / "pool" / "a.jsonl", "a")
    os.mkfifo(tmp_path / "pool" / "pipe")
    (tmp_path / "pool" / "LICENSE").symlink_to("missing")
    assert len(list_folder(str(tmp_path / "pool")).files) == 1
    for make in (os.mkfifo, lambda path: path.symlink_to("missing")):
        path = tmp_path / "pool" / "b.jsonl"
        make(path)
        with pytest.raises(DataError, match=r"b\.jsonl: this is (neither a file nor a directory|a broken link)"):
            list_folder(str(tmp_path / "pool"))
        path.unlink()


def test_names_that_are_not_utf8_are_an_error_or_skipped(tmp_path, command):
    write(tmp_path / "pool" / "a.jsonl", "a", "b", "c")
    Path(os.fsdecode(bytes(tmp_path / "pool") + b"/notes\xff.txt")).write_text("x")
    pool = {"files": str(tmp_path / "pool"), "text": "text"}
    data = {"curate": 1, "run": str(tmp_path / "run"), "input": pool, "select": [{"use": "uniform", "keep": 2}]}
    (tmp_path / "c.yaml").write_text(json.dumps(data))
    done = command("embed", tmp_path / "c.yaml")
    assert done.returncode == 0, done.stderr
    assert "skipped 1 files of other formats" in " ".join(done.stderr.split())
    Path(os.fsdecode(bytes(tmp_path / "pool") + b"/\xff.jsonl")).write_text("{}")
    with pytest.raises(DataError, match="the name of the file is not UTF-8"):
        list_folder(str(tmp_path / "pool"))


def test_init_takes_a_folder(tmp_path, command):
    write(tmp_path / "pool" / "a.jsonl", *map(str, range(30)))
    assert command("init", tmp_path / "c.yaml", "--files", tmp_path / "pool").returncode == 0
    assert command("check", tmp_path / "c.yaml").returncode == 0


def test_a_run_directory_is_no_input(tmp_path):
    write(tmp_path / "pool" / "a.jsonl", "a")
    run(tmp_path, str(tmp_path / "pool"))
    with pytest.raises(DataError, match="the folder is a run directory"):
        list_folder(str(tmp_path / "run"))
    assert [Path(name).name for name in list_folder(str(tmp_path)).files] == ["a.jsonl"]


def test_sources_and_counts_come_from_folders(tmp_path):
    for source, number in (("web", 6), ("code", 3)):
        write(tmp_path / "pool" / source / "deep" / "a.jsonl", *(f"{source}{n}" for n in range(number)))
    pattern = {"path": f"{tmp_path}/pool/{{source}}/**/*.jsonl"}
    run(tmp_path, str(tmp_path / "pool"), source=pattern)
    manifest = json.loads((tmp_path / "run" / "input" / "manifest.json").read_text())
    assert {name: count["kept"] for name, count in manifest["sources"].items()} == {"web": 6, "code": 3}


def test_sources_of_hive_folders_have_counts_and_shares(tmp_path):
    """With ``source: lang``, where the folders are lang=en, …"""
    for source, number in (("en", 30), ("de", 20), ("fr", 10)):
        write(tmp_path / "pool" / f"lang={source}" / "a.jsonl", *(f"{source}{n}" for n in range(number)))
    selector = {"use": "uniform", "keep": 20, "within": "source", "quota": {"en": 0.5, "de": 4}}
    pool = {"files": str(tmp_path / "pool"), "text": "text", "id": "id", "source": "lang"}
    embed = {"use": "hashing", "dimensions": 8}
    curate.run({"curate": 1, "run": str(tmp_path / "run"), "input": pool, "embed": embed, "select": [selector]})
    kept = pq.read_table(tmp_path / "run" / "export" / "current" / "data")["lang"].to_pylist()
    assert {source: kept.count(source) for source in kept} == {"en": 10, "de": 4, "fr": 6}


# ---------------------------------------------------------------- saved datasets

datasets = pytest.importorskip("datasets")


def dataset(*ids: str):
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "text": datasets.Value("large_string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
        }
    )
    rows = {"id": list(ids), "text": [f"a text of row {one}" for one in ids], "label": [n % 2 for n in range(len(ids))]}
    return datasets.Dataset.from_dict(rows, features=features)


def test_a_saved_dataset_goes_in_and_out_with_its_features(tmp_path):
    saved = dataset(*(f"r{number}" for number in range(50)))
    saved.save_to_disk(tmp_path / "saved", num_shards=3)
    (tmp_path / "saved" / "cache-1234.arrow").write_bytes(
        (tmp_path / "saved" / "data-00000-of-00003.arrow").read_bytes()
    )
    assert len(list_folder(str(tmp_path / "saved")).files) == 3
    assert len(run(tmp_path, str(tmp_path / "saved"), label="label")) == 50
    table = pq.read_table(tmp_path / "run" / "export" / "current" / "data").sort_by("id")
    assert table.to_pylist() == sorted(saved.to_list(), key=lambda row: row["id"])
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["label"] == {"names": ["no", "yes"], "_type": "ClassLabel"}


def test_all_splits_of_a_saved_dict_are_read_with_a_warning_or_one_by_name(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    splits = {"train": dataset("a", "b", "c"), "test": dataset("d")}
    datasets.DatasetDict(splits).save_to_disk("saved")
    data = {"curate": 1, "run": "run", "select": [{"use": "uniform", "keep_rate": 1.0}]}
    source = {"path": "saved/{source}/*.arrow"}
    Path("c.yaml").write_text(
        json.dumps({**data, "input": {"files": "saved", "text": "text", "id": "id", "source": source}})
    )
    done = command("embed", "c.yaml")
    assert "all splits of the dataset are in the pool (train, test)" in " ".join(done.stderr.split())
    manifest = json.loads(Path("run/input/manifest.json").read_text())
    assert {name: count["kept"] for name, count in manifest["sources"].items()} == {"train": 3, "test": 1}
    assert run(tmp_path / "one", "saved/train") == {"a", "b", "c"}


def test_a_saved_dataset_in_a_folder_is_its_shards(tmp_path):
    dataset("a", "b").save_to_disk(tmp_path / "pool" / "saved")
    write(tmp_path / "pool" / "c.jsonl", "c")
    (tmp_path / "pool" / "saved" / "cache-1.arrow").write_text("no rows")
    assert run(tmp_path, str(tmp_path / "pool")) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", "{", "it cannot be read"),
        ("state.json", "[]", "it is no object"),
        ("state.json", "{}", "it lists no files"),
        ("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}', "it lists no files"),
        ("state.json", '{"_data_files": [{"filename": "x.arrow"}]}', "lacks this file"),
        ("state.json", '{"_indices_files": [{"filename": "i.arrow"}]}', "index file"),
        ("dataset_dict.json", '{"splits": 7}', "it lists no splits"),
        ("dataset_dict.json", '{"splits": ["train"]}', "it cannot be read"),
    ],
)
def test_a_damaged_saved_dataset_is_an_error(tmp_path, name, content, message):
    dataset("a").save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / name).write_text(content)
    with pytest.raises(CurateError, match=message):
        run(tmp_path, str(tmp_path / "saved"))
