"""The whole pipeline on a small pool: accounts, ledger, same bytes, reuse, guards, and pools of every shape."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import DataError, GuardrailError
from curate.executors.serial import Serial
from curate.pipeline import Summary, plan


def exported(folder: str = "run") -> pl.DataFrame:
    return pl.read_parquet(f"{folder}/export/current/data/*.parquet")


def ledger(folder: str = "run") -> pl.DataFrame:
    return pl.read_parquet(f"{folder}/select/part-*.parquet")


def digests(folder: str) -> dict[str, str]:
    root = Path(folder) / "export" / "current"
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def accounts(summary: Summary) -> dict[str, tuple[int, int, int, int]]:
    return {
        f"{line['stage']} {line['name']}": (line["rows_in"], line["kept"], line["dropped"], line["quarantined"])
        for line in summary.as_dict()["accounting"]
    }


def test_a_run_keeps_its_budget_and_carries_every_column(pool, config):
    summary = curate.run(config())
    assert accounts(summary) == {
        "input input": (60, 60, 0, 0),
        "embed hashing": (60, 60, 0, 0),
        "cluster kmeans": (60, 60, 0, 0),
        "score prototypicality": (60, 60, 0, 0),
        "select top_k": (60, 20, 40, 0),
        "export parquet": (20, 20, 0, 0),
        "report html": (20, 20, 0, 0),
    }
    rows = exported()
    originals = {line["id"]: line for path in pool.iterdir() for line in map(json.loads, path.read_text().splitlines())}
    assert len(rows) == 20
    assert rows.columns == list(originals["r0000"])
    assert all(originals[row["id"]] == row for row in rows.to_dicts())


def test_the_ledger_has_a_line_for_every_row(pool, config):
    select = [{"use": "semdedup", "min_similarity": 0.9}, {"use": "uniform", "keep": 10}]
    curate.run(config(select=select))
    lines = ledger()
    assert lines["id"].to_list() == [f"r{number:04d}" for number in range(60)]
    assert lines["selected"].sum() == 10
    assert sorted(lines.filter("selected")["rank"].to_list()) == list(range(10))
    dropped = lines.filter(~pl.col("selected"))
    assert set(dropped["dropped_by"].unique()) <= {"semdedup", "uniform"}
    assert dropped["reason"].null_count() == 0
    near = lines.filter(pl.col("dropped_by") == "semdedup")
    assert len(near) > 0
    fates = dict(zip(lines["id"], lines["dropped_by"], strict=True))
    assert all(fates[name] != "semdedup" for name in near["representative"])
    assert near["similarity"].null_count() == 0
    assert near["similarity"].median() >= 0.9  # along a chain of near-duplicates it may be less


@pytest.mark.slow
@pytest.mark.parametrize(
    "select",
    [
        [{"use": "ccs", "keep": 17, "by": "prototypicality"}],
        [{"use": "facility_location", "prune_rate": 0.7, "within": "cluster", "quota": "balanced"}],
        [{"use": "semdedup", "min_similarity": 0.8}, {"use": "k_center", "keep_tokens": 90}],
    ],
)
def test_workers_and_shard_order_never_change_a_byte(pool, config, select):
    curate.run(config(run="one", select=select))
    curate.run(config(run="two", select=select), executor="processes", workers=2)
    assert digests("one") == digests("two")


@pytest.mark.slow
def test_a_pool_beyond_the_memory_limit_gives_the_same_bytes_and_leaves_nothing_behind(pool, config):
    sections = {
        "score": [{"use": "prototypicality"}, {"use": "density"}],
        "select": [{"use": "semdedup"}, {"use": "k_center", "keep": 9, "within": "cluster"}],
    }
    curate.run(config(run="memory", **sections))
    curate.run(config(run="mapped", memory_limit="1KiB", **sections))
    assert digests("memory") == digests("mapped")
    assert not list(Path("mapped").glob("scratch/*"))


def test_the_times_of_files_change_nothing(pool, config):
    curate.run(config(run="one"))
    os.utime(pool / "a.jsonl", (1, 1))
    assert curate.run(config(run="one")).unchanged
    curate.run(config(run="two"))
    assert digests("one") == digests("two")


def test_a_second_run_is_unchanged_and_a_changed_key_runs_only_what_depends_on_it(pool, config):
    curate.run(config())
    again = curate.run(config())
    assert again.unchanged
    steps = plan(config_from_dict(config(score=[{"use": "prototypicality"}, {"use": "density"}])), Serial())
    assert {f"{step.stage} {step.name}": step.state for step in steps} == {
        "input input": "fresh",
        "embed hashing": "fresh",
        "cluster kmeans": "fresh",
        "score prototypicality": "fresh",
        "score density": "missing",
        "select top_k": "stale",
        "export parquet": "stale",
    }
    changed = {
        step.stage: step
        for step in plan(config_from_dict(config(cluster={"use": "kmeans", "n_clusters": 5})), Serial())
    }
    assert changed["cluster"].reason == "params.n_clusters: 4 is now 5"
    assert changed["select"].rows == 20


def test_a_changed_file_is_named_by_the_plan(pool, config):
    curate.run(config())
    with (pool / "b.jsonl").open("a") as file:
        file.write('{"id": "new", "text": "one more row", "topic": "t0", "source": "left", "stars": 1, "tags": []}\n')
    first = plan(config_from_dict(config()), Serial())[0]
    assert (first.state, first.reason) == ("stale", "files.pool/b.jsonl changed")
    assert curate.run(config()).rows_in == 61


def test_a_plan_estimates_from_the_last_time_or_from_measurements(pool, config):
    curate.run(config(select=[{"use": "semdedup"}, {"use": "top_k", "keep": 20}]))
    more = config(
        score=[{"use": "prototypicality"}, {"use": "density"}],
        select=[{"use": "uniform", "keep": 40}, {"use": "top_k", "keep": 10}],
    )
    steps = {step.name: step for step in plan(config_from_dict(more), Serial())}
    assert (steps["hashing"].seconds, steps["hashing"].memory, steps["hashing"].disk) == (0, 0, 0)
    assert steps["density"].memory > 1_000_000  # by the table
    assert steps["uniform"].seconds is not None
    ledger_bytes = sum(path.stat().st_size for path in Path("run/select").iterdir())
    assert steps["top_k"].disk == round(ledger_bytes * 10 / 20)  # half as many rows come out of it
    assert steps["top_k"].memory > 1_000_000
    assert steps["parquet"].disk > 0


def test_a_plan_changes_nothing(pool, config):
    plan(config_from_dict(config()), Serial())
    assert not Path("run").exists()


def test_bad_rows_are_quarantined_with_their_place_and_counted(pool, config):
    with (pool / "b.jsonl").open("a") as file:
        file.write('{"id": "x"\n')
        file.write('{"id": "y", "text": "  ", "source": "left"}\n')
        file.write('{"id": null, "text": "nobody", "source": "right"}\n')
        file.write('{"id": "r0003", "text": "twice", "source": "right"}\n')
    summary = curate.run(config(guard={"max_quarantine_rate": 0.1}))
    assert accounts(summary)["input input"] == (64, 60, 0, 4)
    assert summary.warnings[0].startswith("4 of 64 rows (6.25%) were quarantined")
    aside = pl.read_parquet("run/input/quarantine/*.parquet").sort("line")
    assert aside["line"].to_list() == [21, 22, 23, 24]
    assert aside["reason"].to_list()[1:] == [
        "has no text",
        "has no id (column 'id' is null)",
        "has the same id as pool/a.jsonl:4",
    ]
    assert aside["source"].to_list() == ["(none)", "left", "right", "right"]
    with pytest.raises(DataError, match=r"4 of 64 rows \(6\.25%\).*max_quarantine_rate allows 1\.00%"):
        curate.run(config(run="strict"))


def test_without_an_id_column_content_identifies_a_row(pool, config):
    twice = (pool / "a.jsonl").read_text().splitlines()[:3]
    (pool / "c.jsonl").write_text("\n".join(twice))
    settings = config()
    del settings["input"]["id"]
    curate.run(settings)
    ids = ledger()["id"]
    assert ids.n_unique() == len(ids) == 63
    assert ids[60:].to_list() == [name[:-1] + "1" for name in ids[:3].to_list()]


def test_schemas_widen_and_a_conflict_names_both_files(pool, config):
    (pool / "c.jsonl").write_text(
        '{"id": "c1", "text": "some text here", "stars": 2.5, "extra": {"a": 1}, "source": "left"}\n'
    )
    (pool / "d.jsonl").write_text(
        '{"id": "d1", "text": "other words", "stars": null, "extra": {"b": "x"}, "source": "left"}\n'
    )
    curate.run(config(select=[{"use": "uniform", "keep_rate": 1.0}]))
    rows = {row["id"]: row for row in exported().to_dicts()}
    assert rows["c1"]["stars"] == 2.5
    assert rows["c1"]["extra"] == '{"a":1}'
    assert rows["d1"]["extra"] == '{"b":"x"}'
    assert rows["r0001"]["extra"] is None
    (pool / "e.jsonl").write_text('{"id": "e1", "text": "words", "stars": "many"}\n')
    with pytest.raises(
        DataError, match=r"column 'stars' is (int64|double) in pool/[a-d]\.jsonl and string in pool/e\.jsonl"
    ):
        curate.run(config())


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"files": "nowhere/*.jsonl"}, "no file matches 'nowhere/"),
        ({"text": "txt"}, r"input\.text: no input file has a column 'txt'; did you mean 'text'"),
        ({"label": "tpic"}, r"input\.label: no input file has a column 'tpic'; did you mean 'topic'"),
        ({"id": "tags"}, r"input\.id: column 'tags' is list"),
        ({"text": "stars"}, r"input\.text: column 'stars' is int64, not text"),
    ],
)
def test_a_wrong_input_section_says_what_is_wrong(pool, config, section, message):
    settings = config()
    settings["input"] |= section
    with pytest.raises(DataError, match=message):
        curate.run(settings)


def test_an_empty_pool_and_one_without_text_are_errors(pool, config):
    for path in pool.iterdir():
        path.write_text("")
    with pytest.raises(
        DataError, match=r"pool/a.jsonl, pool/b.jsonl: there are no rows; check that the files are complete$"
    ):
        curate.run(config())
    (pool / "a.jsonl").write_text('{"id": "1", "text": null, "topic": "t", "source": "s"}\n' * 3)
    with pytest.raises(DataError, match="all 3 rows were quarantined"):
        curate.run(config(select=[{"use": "top_k", "keep": 1}]))


def test_one_row_is_a_pool(pool, config):
    (pool / "b.jsonl").unlink()
    (pool / "a.jsonl").write_text('{"id": "1", "text": "just one", "topic": "t", "source": "s"}\n')
    summary = curate.run(config(select=[{"use": "facility_location", "keep": 1}]))
    assert summary.kept == 1
    assert summary.report is not None
    assert summary.report.exists()


def test_a_pool_of_duplicates_keeps_one(pool, config):
    lines = [json.dumps({"id": str(n), "text": "the same text", "topic": "t", "source": "s"}) for n in range(50)]
    (pool / "a.jsonl").write_text("\n".join(lines))
    (pool / "b.jsonl").unlink()
    assert curate.run(config(select=[{"use": "semdedup"}])).kept == 1


def test_a_budget_beyond_the_pool_is_an_error_that_names_the_entry(pool, config):
    with pytest.raises(DataError, match="select top_k: keep is 61, but only 60 rows reach this entry"):
        curate.run(config(select=[{"use": "top_k", "keep": 61}]))


@pytest.mark.parametrize(
    ("guard", "select", "message"),
    [
        ({}, [{"use": "where", "drop": "stars >= 0"}], "the selection is empty"),
        ({"max_drop_rate": 0.5}, [{"use": "uniform", "keep": 20}], r"40 of 60 rows \(66\.67%\) would be dropped"),
        (
            {"max_source_drop_rate": 0.9},
            [{"use": "where", "drop": "source = 'right'"}],
            r"1 sources would lose too much: 'right' 100\.00%",
        ),
    ],
)
def test_a_guard_stops_the_run_and_leaves_the_last_export(pool, config, guard, select, message):
    curate.run(config())
    before = digests("run")
    with pytest.raises(GuardrailError, match=message):
        curate.run(config(guard=guard, select=select))
    assert digests("run") == before


def test_the_export_is_replaced_and_old_versions_are_kept_as_asked(pool, config):
    for keep in (10, 20, 30, 40):
        curate.run(config(select=[{"use": "top_k", "keep": keep}], export={"use": "parquet", "keep_versions": 2}))
        assert len(exported()) == keep
    versions = [path for path in Path("run/export").iterdir() if path.is_dir() and not path.is_symlink()]
    assert len(versions) == 3


def test_an_export_is_cut_into_files_of_the_size_asked_for(pool, config):
    export = {"use": "parquet", "rows_per_file": 7, "add": ["rank", "scores", "cluster", "id", "weight", "gain"]}
    curate.run(config(export=export))
    data = {name: digest for name, digest in digests("run").items() if name.startswith("data/")}
    assert list(data) == [f"data/train-{n:05d}-of-00003.parquet" for n in range(3)]
    rows = exported()
    assert sorted(rows["curate_rank"]) == list(range(20))
    assert rows["curate_id"].to_list() == rows["id"].to_list()
    assert rows["curate_score_prototypicality"].null_count() == 0
    assert set(rows["curate_cluster"]) <= set(range(4))
    manifest = json.loads(Path("run/export/current/manifest.json").read_text())
    assert [file["rows"] for file in manifest["files"]] == [7, 7, 6]
    assert {file["file"]: file["sha256"] for file in manifest["files"]} == data


def test_an_added_column_never_overwrites_one_of_the_input(pool, config):
    for path in pool.iterdir():
        path.write_text(path.read_text().replace('"stars"', '"curate_rank"'))
    with pytest.raises(DataError, match="would overwrite the input column 'curate_rank'"):
        curate.run(config(export={"use": "parquet", "add": ["rank"]}))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl.gz", "jsonl.zst"])
def test_every_format_gives_the_same_selection(pool, config, kind):
    curate.run(config(run="plain"))
    for path in list(pool.iterdir()):
        frame = pl.read_ndjson(path).drop("tags")
        target = path.with_suffix(f".{kind}")
        if kind == "csv":
            frame.write_csv(target)
        elif kind == "tsv":
            frame.write_csv(target, separator="\t")
        elif kind == "parquet":
            frame.write_parquet(target)
        elif kind == "jsonl.gz":
            target.write_bytes(gzip.compress(path.read_bytes()))
        else:
            with pa.output_stream(str(target), compression="zstd") as file:
                file.write(path.read_bytes())
        path.unlink()
    settings = config(run="other")
    settings["input"]["files"] = f"pool/*.{kind}"
    curate.run(settings)
    assert exported("other").select("id", "text", "stars").equals(exported("plain").select("id", "text", "stars"))


def test_vectors_next_to_the_files_and_groups_from_a_column(pool, config):
    rng = np.random.default_rng(0)
    for path in pool.iterdir():
        n = len(path.read_text().splitlines())
        vectors = rng.standard_normal((n, 8))
        if path.name == "b.jsonl":
            vectors[3] = 0
            vectors[4, 2] = np.nan
        np.save(path.with_suffix(".npy"), vectors)
    settings = config(
        embed={"use": "column"},
        cluster={"use": "column", "column": "topic"},
        select=[{"use": "k_center", "keep": 12, "within": "cluster", "quota": "balanced"}],
        guard={"max_quarantine_rate": 0.1},
    )
    settings["input"]["vectors"] = ".npy"
    summary = curate.run(settings)
    assert accounts(summary)["embed column"] == (60, 58, 0, 2)
    assert exported().group_by("topic").len()["len"].to_list() == [3, 3, 3, 3]
    reasons = {row["id"]: row["reason"] for row in ledger().filter(pl.col("dropped_by") == "column").to_dicts()}
    assert reasons == {"r0043": "its embedding is all zero", "r0044": "its embedding has NaN or infinite values"}
    np.save(pool / "b.npy", rng.standard_normal((19, 8)))
    with pytest.raises(DataError, match=r"b\.npy: the array has 19 vectors, but .*b\.jsonl has more rows"):
        curate.run(settings)


@pytest.mark.parametrize("rows_per_shard", [7, 1_000])
def test_one_array_has_the_vectors_of_all_files_in_name_order(pool, config, rows_per_shard):
    """As arrays next to the files, also where a record cannot be read or an id occurs twice."""
    lines = (pool / "a.jsonl").read_text().splitlines()
    lines[5] = "no JSON"
    lines[9] = lines[8]
    (pool / "a.jsonl").write_text("\n".join(lines) + "\n")
    vectors = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float16)
    np.save("embeddings.npy", vectors)
    np.save(pool / "a.npy", vectors[:40])
    np.save(pool / "b.npy", vectors[40:])
    exports = []
    for name, array in (("one", "embeddings.npy"), ("each", ".npy")):
        settings = config(run=name, embed={"use": "column"}, guard={"max_quarantine_rate": 0.1})
        settings["input"] |= {"vectors": array, "rows_per_shard": rows_per_shard}
        curate.run(settings)
        parts = sorted(Path(name, "embed", "column").glob("part-*.parquet"))
        exports.append(pl.concat([pl.read_parquet(part).select("id", "embedding") for part in parts]))
    assert len(exports[0]) == 58
    assert exports[0].equals(exports[1])
    settings = config(run="one", embed={"use": "column"}, guard={"max_quarantine_rate": 0.1})
    settings["input"] |= {"vectors": "embeddings.npy", "rows_per_shard": rows_per_shard}
    assert curate.run(settings).unchanged
    for wrong in (vectors[:-1], np.concatenate([vectors, vectors[:1]])):
        np.save("embeddings.npy", wrong)
        with pytest.raises(DataError, match=rf"the array has {len(wrong)} vectors, but the input files have 60 rows"):
            curate.run(settings)
    np.save("embeddings.npy", -vectors)
    assert not curate.run(settings).unchanged
    settings["evaluate"] = {"files": "pool/b.jsonl"}
    with pytest.raises(DataError, match="the sets have no vectors"):
        curate.run(settings | {"decontaminate": {"files": "pool/b.jsonl", "min_similarity": 0.9, "ngram_size": None}})


def test_a_ragged_vector_column_sets_the_odd_rows_aside(pool, config):
    table = pa.table(
        {
            "id": [str(n) for n in range(20)],
            "text": ["some text"] * 20,
            "topic": ["t"] * 20,
            "source": ["s"] * 20,
            "v": [[1.0, float(n)] for n in range(18)] + [[1.0], None],
        }
    )
    for path in pool.iterdir():
        path.unlink()
    pq.write_table(table, pool / "a.parquet")
    settings = config(
        embed={"use": "column", "column": "v"},
        guard={"max_quarantine_rate": 0.2},
        select=[{"use": "uniform", "keep": 5}],
    )
    settings["input"]["files"] = "pool/*.parquet"
    curate.run(settings)
    aside = pl.read_parquet("run/embed/column/quarantine/*.parquet")
    assert dict(zip(aside["id"], aside["reason"], strict=True)) == {
        "18": "its vector has 1 values, the others have 2",
        "19": "it has no vector",
    }


@pytest.mark.slow
def test_a_run_that_was_cut_short_goes_on_and_gives_the_same_bytes(pool, config, monkeypatch):
    from curate.stages import cluster

    curate.run(config(run="whole"))
    real = cluster._assign
    calls = []

    def dies(task):
        calls.append(task)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(cluster, "_assign", dies)
    with pytest.raises(KeyboardInterrupt):
        curate.run(config(run="cut"))
    monkeypatch.setattr(cluster, "_assign", real)
    curate.run(config(run="cut"))
    assert digests("cut") == digests("whole")


def test_the_report_can_be_written_again(pool, config):
    from curate.pipeline import report

    summary = curate.run(config())
    assert summary.report is not None
    summary.report.unlink()
    path, told = report(config_from_dict(config()))
    assert path.exists()
    assert told["rows"]["kept"] == 20
