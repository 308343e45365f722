"""The proxy stage: what it writes, what makes it stale, what it does without a label, and what a wrong log is told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import DataError, PluginError
from curate.executors.base import Executor
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.pipeline import plan, run
from curate.pool.stage_outputs import ProxyOutput
from curate.stages.proxy import stage as proxy_stage

LOGISTIC = {"use": "logistic", "epochs": 4, "runs": 2, "batch_size": 8}
SCORES = [{"use": "el2n"}, {"use": "aum"}, {"use": "forgetting"}]
READS = {"proxy": LOGISTIC, "score": SCORES, "select": [{"use": "uniform", "keep": 5}]}


def bytes_of(pattern: str) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path().glob(pattern))}


def scores(run: str = "run") -> pl.DataFrame:
    parts = [pl.read_parquet(f"{run}/score/{entry['use']}/part-*.parquet") for entry in SCORES]
    return pl.concat([parts[0], *(part.drop("id") for part in parts[1:])], how="horizontal")


def scored(data: dict[str, object], executor: Executor | None = None) -> None:
    """Run up to the score stage."""
    run(config_from_dict(data), executor or Serial(), until="score")


def edit(pool: Path, **columns: dict[str, object]) -> None:
    """Set columns of some rows, by their id."""
    for path in pool.iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for name, values in columns.items():
            for row in rows:
                row[name] = values.get(row["id"], row[name])
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def states(data: dict[str, object]) -> dict[str, str]:
    return {step.name: step.state for step in plan(config_from_dict(data), Serial())}


# ---------------------------------------------------------------- what it writes


def test_every_row_has_a_label_and_probabilities_after_each_epoch_of_each_run(pool, config):
    summary = run(config_from_dict(config(**READS)), Serial(), until="score")
    assert {"stage": "proxy", "rows_in": 60, "kept": 60}.items() <= summary.as_dict()["accounting"][3].items()
    lines = pl.read_parquet("run/proxy/part-*.parquet")
    assert lines["id"].to_list() == [f"r{number:04d}" for number in range(60)]
    names = dict(pl.read_parquet("run/proxy/classes.parquet").iter_rows())
    assert [names[label] for label in lines["label"]] == [f"t{number % 4}" for number in range(60)]
    judged = ProxyOutput(Path("run/proxy"), "", 4, 2, 4).dynamics(range(len(list(Path("run/proxy").glob("part-*")))))
    assert (judged.labels == lines["label"].to_numpy()).all()
    found = np.array([[judged.probabilities(run, epoch) for epoch in range(4)] for run in range(2)])
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    right = (found.argmax(axis=-1) == judged.labels).mean(axis=-1)
    assert (right[:, -1] > 0.7).all()
    assert not np.array_equal(found[0, 0], found[1, 0])


def test_the_schema_says_what_stands_in_it(pool, config):
    scored(config(**READS))
    schema = pq.read_schema("run/proxy/part-00000.parquet")
    assert schema.names[:3] == ["id", "label", "log_probabilities_r00_e000"]
    assert schema.names[-1] == "log_probabilities_r01_e003"
    assert str(schema.field(2).type) == "fixed_size_list<element: halffloat>[4]"
    assert not any(field.nullable for field in schema)
    told = {key: schema.metadata[f"curate.{key}".encode()] for key in ("classes", "runs", "epochs", "model")}
    assert told == {"classes": b"4", "runs": b"2", "epochs": b"4", "model": b"logistic"}


def test_a_row_group_is_no_larger_than_it_may_be_and_changes_no_value(pool, config, monkeypatch):
    scored(config(**READS))
    monkeypatch.setattr(proxy_stage, "_GROUP", 5 * 4 * 8 * 2)  # five rows of four classes, eight epochs, two bytes
    scored(config(run="small", **READS))
    metadata = pq.read_metadata("small/proxy/part-00000.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [5, 5, 5, 1]
    for name in ("el2n", "aum", "forgetting"):
        found, expected = (scores(run)[f"score_{name}"].to_numpy() for run in ("small", "run"))
        np.testing.assert_allclose(found, expected, atol=2e-3)


# ---------------------------------------------------------------- same bytes, reuse


@pytest.mark.slow
def test_workers_and_interruptions_never_change_a_byte_and_what_is_trained_is_not_trained_again(
    pool, config, monkeypatch
):
    scored(config(run="one", **READS))
    workers = Processes(2)
    scored(config(run="two", **READS), workers)
    workers.close()
    real = proxy_stage._predict

    def dies(task):
        if task.number == 2:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(proxy_stage, "_predict", dies)
    with pytest.raises(KeyboardInterrupt):
        scored(config(run="cut", **READS))
    monkeypatch.setattr(proxy_stage, "_predict", real)
    before = Path("cut/proxy/trained.npz").stat().st_mtime_ns
    scored(config(run="cut", **READS))
    assert Path("cut/proxy/trained.npz").stat().st_mtime_ns == before
    for files in ("proxy/*.parquet", "score/*/part-*.parquet"):
        assert bytes_of(f"one/{files}") == bytes_of(f"two/{files}") == bytes_of(f"cut/{files}") != {}


def test_a_new_label_trains_again_and_leaves_what_reads_no_label_as_it_is(pool, config):
    data = config(**READS | {"score": [*SCORES, {"use": "prototypicality"}]})
    curate.run(data)
    assert set(states(data).values()) == {"fresh"}
    edit(pool, topic={"r0000": "t3"})
    files = [Path("run/score/prototypicality/part-00000.parquet"), Path("run/proxy/trained.npz")]
    before = [path.stat().st_mtime_ns for path in files]
    scored(data)
    assert [path.stat().st_mtime_ns == then for path, then in zip(files, before, strict=True)] == [True, False]
    assert pl.read_parquet("run/proxy/part-00000.parquet")["label"][0] == 3


def test_another_proxy_makes_only_the_scores_that_read_it_stale(pool, config):
    some = [{"use": "el2n"}, {"use": "prototypicality"}]
    scored(config(**READS | {"score": some}))
    scored(config(**READS | {"score": some[1:], "proxy": {**LOGISTIC, "epochs": 3}}))
    found = states(config(**READS | {"score": some, "proxy": {**LOGISTIC, "epochs": 3}}))
    assert (found["logistic"], found["el2n"], found["prototypicality"]) == ("fresh", "stale", "fresh")


def test_without_a_proxy_nothing_of_it_is_written_down(pool, config):
    curate.run(config())
    assert "proxy" not in config_from_dict(config()).resolved
    assert "proxy" not in Path("run/config.yaml").read_text()
    assert "proxy" not in json.loads(Path("run/score/prototypicality/manifest.json").read_text())["parts"]
    assert not Path("run/proxy").exists()


# ---------------------------------------------------------------- labels


def test_a_row_without_a_label_trains_nothing_and_has_no_score_and_selectors_say_so(pool, config):
    edit(pool, topic={"r0001": None, "r0002": None})
    scored(config(**READS))
    lines = pl.read_parquet("run/proxy/part-*.parquet")
    assert lines["label"].to_list()[:4] == [0, -1, -1, 3]
    for name in ("el2n", "aum", "forgetting"):
        assert np.flatnonzero(scores()[f"score_{name}"].is_nan()).tolist() == [1, 2]
    with pytest.raises(PluginError, match="quality contains NaN or infinity"):
        curate.run(config(**READS | {"select": [{"use": "top_k", "keep": 5, "quality": "el2n"}]}))
    drop = {"use": "where", "drop": "score_el2n is null"}
    assert curate.run(config(**READS | {"select": [drop, {"use": "ccs", "keep": 58, "by": "el2n"}]})).kept == 58


@pytest.mark.parametrize(("label", "told"), [(None, "no row has a label"), ("same", "every label is 'same'")])
def test_fewer_than_two_classes_are_refused(pool, config, label, told):
    edit(pool, topic={f"r{number:04d}": label for number in range(60)})
    with pytest.raises(DataError, match=f"proxy logistic: {told}; a proxy needs at least two classes"):
        scored(config(**READS))


# ---------------------------------------------------------------- CCS with the scores it was published with


@pytest.mark.slow
def test_ccs_cuts_off_mislabelled_rows_by_aum_whatever_score_its_strata_are_of(pool, config, tmp_path):
    """Three topics far apart; every tenth row has another's label. The cutoff takes exactly those."""
    rng = np.random.default_rng(0)
    lines, wrong = [], set()
    for number in range(300):
        topic = number % 3
        label = (topic + 1) % 3 if number % 10 == 0 else topic
        wrong |= {f"r{number:04d}"} if label != topic else set()
        vector = np.eye(8)[topic] + 0.1 * rng.standard_normal(8)
        lines.append({"id": f"r{number:04d}", "text": "x", "topic": f"t{label}", "v": vector.tolist()})
    for path in pool.iterdir():
        path.unlink()
    (pool / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ccs = {"use": "ccs", "by": "el2n", "prune_rate": 0.5, "cutoff_by": "aum", "cutoff_rate": 0.1}
    data = config(
        embed={"use": "column", "column": "v"},
        proxy={"use": "logistic"},
        score=[{"use": "el2n"}, {"use": "aum"}],
        select=[ccs],
    )
    data["input"].pop("source")
    curate.run(data)
    ledger = pl.read_parquet("run/select/part-*.parquet")
    cut = ledger.filter(pl.col("reason") == "cut off: among the worst rows by aum")
    assert set(cut["id"]) == wrong
    assert ledger["selected"].sum() == 150
    el2n = pl.read_parquet("run/score/el2n/part-*.parquet")
    hardest = el2n.sort("score_el2n", descending=True)["id"][: len(wrong)]
    assert set(hardest) == wrong  # which is why the strata of hard rows would be full of them
    curate.run(data | {"select": [{**ccs, "cutoff_rate": 0.0, "cutoff_by": None}]})
    kept = pl.read_parquet("run/select/part-*.parquet").filter("selected")["id"]
    assert len(wrong & set(kept)) > len(wrong) / 2


# ---------------------------------------------------------------- a recorded log


def log(folder: Path, kind: str, rows: list[dict[str, object]]) -> str:
    """The log as a file of that kind; its pattern."""
    folder.mkdir(exist_ok=True)
    path = folder / f"log.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        flat = [{name: json.dumps(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows]
        pl.DataFrame(flat).write_csv(path)
    return f"{folder.name}/*.{kind}"


def logged(runs=("a", "b"), epochs=(10, 20, 30), ids=range(60), classes=4) -> list[dict[str, object]]:
    """Lines in any order."""
    rng = np.random.default_rng(0)
    lines = [
        {"id": f"r{row:04d}", "run": run, "epoch": epoch, "logits": rng.standard_normal(classes).round(3).tolist()}
        for run in runs
        for epoch in epochs
        for row in ids
    ]
    return [lines[place] for place in rng.permutation(len(lines))]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_log_gives_the_scores_of_what_stands_in_it(pool, config, kind):
    lines = logged()
    files = log(Path("logs"), kind, [*lines, {"id": "gone", "run": "a", "epoch": 10, "logits": [1.0, 2.0, 3.0, 4.0]}])
    scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))
    margins = {f"r{row:04d}": [] for row in range(60)}
    for line in lines:
        own = int(line["id"][1:]) % 4
        margins[line["id"]].append(line["logits"][own] - max(line["logits"][:own] + line["logits"][own + 1 :]))
    expected = [np.mean(margins[name]) for name in scores()["id"]]
    np.testing.assert_allclose(scores()["score_aum"], expected, atol=3e-3)
    facts = json.loads(Path("run/proxy/manifest.json").read_text())["facts"]
    assert (facts["runs"], facts["epochs"], facts["unknown"], facts["unlabeled"]) == (2, 3, 1, 0)
    again = config(**READS | {"proxy": {"use": "recorded", "files": files}})
    assert states(again)["recorded"] == "fresh"
    log(Path("logs"), kind, logged(epochs=(10, 20)))
    assert states(again)["recorded"] == "stale"


def test_a_row_that_the_log_has_not_is_one_without_a_label(pool, config):
    files = log(Path("logs"), "jsonl", logged(ids=range(3, 60)))
    scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))
    assert np.flatnonzero(scores()["score_aum"].is_nan()).tolist() == [0, 1, 2]


def test_the_classes_of_a_log_are_in_the_order_that_is_said(pool, config):
    lines = [
        {"id": f"r{row:04d}", "epoch": epoch, "probabilities": np.eye(5)[[3, 2, 1, 0][row % 4]].tolist()}
        for epoch in range(2)
        for row in range(60)
    ]
    files = log(Path("logs"), "jsonl", lines)
    recorded = {"use": "recorded", "files": files, "classes": ["t3", "t2", "t1", "t0", "t9"]}
    scored(config(**READS | {"proxy": recorded}))
    assert (scores()["score_el2n"] == 0).all()
    with pytest.raises(DataError, match=r"the log has 5 classes, but the pool has 4 labels; list all classes"):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))
    with pytest.raises(DataError, match=r"proxy\.classes: the list lacks the label 't0' of the pool"):
        scored(config(**READS | {"proxy": {**recorded, "classes": ["t3", "t2", "t1", "t8", "t9"]}}))


WRONG = [
    ({"epoch": None}, r"log\.jsonl:1: the log has no column 'epoch', or a null in it"),
    ({"epoch": "x"}, r"column 'epoch' of the log does not contain numbers"),
    ({"probabilities": [0.5, 0.1, 0.1, 0.1]}, r"they are negative or do not sum to 1; name the column 'logits'"),
    (
        {"probabilities": [0.5, 0.5]},
        r"probabilities: every line of the log needs a list with one number for each class",
    ),
    ({"probabilities": None}, r"probabilities: every line of the log needs a list with one number for each class"),
    ({"id": "r0001"}, r"log\.jsonl:\d+: the log has a second line for this row in epoch 0"),
    ({"epoch": 7}, r"the log has no row 'r00\d\d' in epoch"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG, ids=[told for _, told in WRONG])
def test_a_log_that_is_wrong_is_told_where(pool, config, wrong, told):
    lines = [{"id": f"r{row:04d}", "epoch": 0, "probabilities": [0.25] * 4} for row in range(60)]
    lines[0] |= wrong
    files = log(Path("logs"), "jsonl", lines)
    if wrong.get("epoch") == "x":
        for line in lines:
            line["epoch"] = "x"
        log(Path("logs"), "jsonl", lines)
    with pytest.raises(DataError, match=told):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))


def test_a_log_whose_runs_differ_in_length_or_of_other_rows_is_refused(pool, config):
    files = log(Path("logs"), "jsonl", [*logged(runs=("a",)), *logged(runs=("b",), epochs=(10,))])
    with pytest.raises(DataError, match=r"runs of the log have different numbers of epochs: 'a' has 3, 'b' has 1"):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))
    log(Path("logs"), "jsonl", logged(ids=range(100, 110)))
    with pytest.raises(DataError, match="no line of the log is about a row of the pool; compare the ids"):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))
    with pytest.raises(DataError, match=r"proxy\.files: no file matches 'none/\*'"):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": "none/*"}}))
