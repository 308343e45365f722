"""The proxy stage: what it writes, what makes it stale, what it does without a label, and what a wrong log is told."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.config.model import RunConfig
from curate.errors import ConfigError, DataError, PluginError
from curate.executors.base import Executor
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.pipeline import plan, run
from curate.plugins.dynamics import Dynamics
from curate.pool.stage_outputs import ProxyOutput
from curate.stages.preflight import check_without_run as check
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
    judged = output(config_from_dict(config(**READS))).dynamics(range(len(list(Path("run/proxy").glob("part-*")))))
    assert (judged.labels == lines["label"].to_numpy()).all()
    found = np.array([[judged.probabilities(run, epoch) for epoch in range(4)] for run in range(2)])
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    right = (found.argmax(axis=-1) == judged.labels).mean(axis=-1)
    assert (right[:, -1] > 0.7).all()
    assert not np.array_equal(found[0, 0], found[1, 0])
    stored = Dynamics.from_probabilities(judged.labels, found)
    for name in ("loss", "margin", "error", "correct", "gradient"):
        np.testing.assert_allclose(judged.statistic(name), stored.statistic(name), atol=0.02)


def output(config: RunConfig) -> ProxyOutput:
    """Return the output of the proxy of a run in the folder ``run``."""
    every = ("loss", "margin", "error", "correct", "gradient")
    return ProxyOutput(Path("run/proxy"), "", config.proxy.spec, None, 4, 2, 4, every, True)


def test_the_schema_says_what_stands_in_it(pool, config):
    scored(config(**READS))
    schema = pq.read_schema("run/proxy/part-00000.parquet")
    assert schema.names[:3] == ["id", "label", "log_probabilities_r00_e000"]
    names = ["log_probabilities", "loss", "margin", "error", "correct", "gradient"]
    kinds = ["fixed_size_list<element: halffloat>[4]", "float", "float", "float", "bool", "float"]
    assert schema.names[2::8] == [f"{name}_r00_e000" for name in names]
    assert [str(kind) for kind in schema.types[2::8]] == kinds
    assert not any(field.nullable for field in schema)
    told = {key: schema.metadata[f"curate.{key}".encode()] for key in ("classes", "runs", "epochs", "model")}
    assert told == {"classes": b"4", "runs": b"2", "epochs": b"4", "model": b"logistic"}


def test_a_row_group_is_no_larger_than_it_may_be_and_changes_no_value(pool, config, monkeypatch):
    scored(config(**READS))
    row = 8 * (4 * 2 + 5 * 4) + 2 * 4  # eight epochs of four classes in two bytes and five statistics; id and label
    monkeypatch.setattr(proxy_stage, "_GROUP", 5 * row)
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
    ({"probabilities": [0.5, 0.5, 0, float("nan")]}, r"log\.jsonl:1: .*the line contains NaN, infinity or null"),
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


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_log_of_losses_and_correctness_gives_the_scores_of_them(pool, config, kind):
    rng = np.random.default_rng(1)
    lines = [
        {"id": f"r{row:04d}", "epoch": epoch, "loss": round(rng.random(), 3), "correct": bool(rng.integers(2))}
        for epoch in range(5)
        for row in range(60)
    ]
    files = log(Path("logs"), kind, lines)
    recorded = {"use": "recorded", "files": files}
    scored(config(**READS | {"proxy": recorded, "score": [{"use": "training_loss"}, {"use": "forgetting"}]}))
    loss, forgotten = (
        pl.concat([pl.read_parquet(path) for path in sorted(Path().glob(f"run/score/{name}/part-*"))])[f"score_{name}"]
        for name in ("training_loss", "forgetting")
    )
    frame = pl.DataFrame(lines)
    expected = frame.group_by("id", maintain_order=True).agg(pl.col("loss").mean(), pl.col("correct"))
    np.testing.assert_allclose(loss, expected["loss"], rtol=1e-5)
    events = [sum(a and not b for a, b in pairwise(row)) if any(row) else 3 for row in expected["correct"]]
    assert forgotten.to_list() == events
    data = config(**READS | {"proxy": recorded, "score": [{"use": "aum"}]})
    with pytest.raises(DataError, match="training log contains no 'margin'"):
        scored(data)
    [finding] = check(config_from_dict(data)).errors
    assert "the training log contains no 'margin', which 'aum' needs" in str(finding)


@pytest.mark.parametrize("score", ["tracin", "influence"])
def test_scores_of_gradients_need_probabilities_before_the_run_starts(pool, config, score):
    lines = [{"id": f"r{row:04d}", "epoch": epoch, "loss": 0.5} for epoch in range(2) for row in range(60)]
    files = log(Path("logs"), "jsonl", lines)
    data = config(**READS | {"proxy": {"use": "recorded", "files": files}, "score": [{"use": score}]})
    [finding] = check(config_from_dict(data)).errors
    assert f"the training log contains no 'error', which '{score}' needs" in str(finding)


def test_a_loss_that_is_no_number_is_reported_with_its_line(pool, config):
    lines = [{"id": f"r{row:04d}", "epoch": 0, "loss": 0.5} for row in range(60)]
    lines[7]["loss"] = None
    files = log(Path("logs"), "jsonl", lines)
    data = config(**READS | {"proxy": {"use": "recorded", "files": files}, "score": [{"use": "training_loss"}]})
    with pytest.raises(DataError, match=r"log\.jsonl:8: loss: the line contains NaN, infinity or null"):
        scored(data)


def test_files_of_a_log_with_different_columns_are_refused(pool, config):
    log(Path("logs"), "jsonl", [{"id": f"r{row:04d}", "epoch": 0, "loss": 0.5} for row in range(60)])
    files = log(Path("logs"), "jsonl", [{"id": f"r{row:04d}", "epoch": 0, "loss": 0.5} for row in range(60)])
    Path("logs/more.jsonl").write_text(json.dumps({"id": "r0001", "epoch": 1, "correct": True}) + "\n")
    data = config(**READS | {"proxy": {"use": "recorded", "files": files}, "score": [{"use": "training_loss"}]})
    with pytest.raises(DataError, match="the training log contains no 'loss', which 'training_loss' needs"):
        scored(data)


def test_a_score_that_needs_more_epochs_than_the_log_has_is_refused(pool, config):
    files = log(Path("logs"), "jsonl", logged(epochs=(1,)))
    with pytest.raises(DataError, match="score forgetting: it needs 2 epochs, and the training log has 1"):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))


# ---------------------------------------------------------------- held-out predictions


HELD_OUT = {"proxy": LOGISTIC, "score": [{"use": "consistency"}], "select": [{"use": "uniform", "keep": 5}]}


def test_held_out_predictions_are_of_models_that_never_saw_the_row_or_a_copy(pool, config):
    """A row with a label that no other row has is never predicted."""
    edit(pool, topic={"r0003": "odd"})
    scored(config(**HELD_OUT))
    lines = pl.read_parquet("run/held_out/part-*.parquet")
    assert lines["id"].to_list() == [f"r{number:04d}" for number in range(60)]
    found = pl.read_parquet("run/score/consistency/part-*.parquet")
    assert found["score_consistency"][3] == 0
    assert found["score_consistency_loss"][3] == found["score_consistency_loss"].max()
    assert found["score_consistency"].mean() > 0.7
    result = json.loads(Path("run/held_out/manifest.json").read_text())["facts"]
    assert result["accuracy"] == pytest.approx(found["score_consistency"].mean(), abs=1e-6)


def test_held_out_predictions_are_made_only_if_a_scorer_reads_them_and_again_with_the_proxy(pool, config):
    scored(config(**READS))
    assert not Path("run/held_out").exists()
    scored(config(**HELD_OUT))
    before = bytes_of("run/held_out/part-*.parquet")
    assert {
        step.state for step in plan(config_from_dict(config(**HELD_OUT)), Serial()) if step.stage == "held_out"
    } == {"fresh"}
    scored(config(**HELD_OUT | {"proxy": {**LOGISTIC, "epochs": 5}}))
    assert bytes_of("run/held_out/part-*.parquet") != before


def test_a_pool_of_copies_of_one_row_has_uniform_predictions(pool, config):
    for path in pool.iterdir():
        path.unlink()
    lines = [{"id": f"r{row}", "text": "x", "topic": f"t{row % 2}", "v": [1.0, 0.0]} for row in range(6)]
    (pool / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = config(embed={"use": "column", "column": "v"}, cluster={"use": "kmeans", "n_clusters": 1}, **HELD_OUT)
    data["input"].pop("source")
    scored(data)
    found = pl.read_parquet("run/score/consistency/part-*.parquet")["score_consistency_loss"]
    np.testing.assert_allclose(found, np.log(2), atol=1e-3)


@pytest.mark.parametrize(
    ("proxy", "score", "message"),
    [
        ({"use": "logistic"}, "vog", "needs gradients that differ by row, and 'logistic' is linear; use the proxy mlp"),
        ({"use": "logistic", "epochs": 1}, "forgetting", "needs 2 epochs, and the proxy has 1; set proxy.epochs"),
        ({"use": "recorded", "files": "logs/*"}, "consistency", "needs a trained proxy, and 'recorded' reads a log"),
        (None, "consistency", "reads a proxy, and there is no proxy; add a section proxy"),
    ],
)
def test_a_scorer_that_needs_another_proxy_is_an_error_of_the_configuration(pool, config, proxy, score, message):
    Path("logs").mkdir()
    log(Path("logs"), "jsonl", logged())
    data = config(**READS | {"score": [{"use": score}]} | ({} if proxy is None else {"proxy": proxy}))
    if proxy is None:
        data.pop("proxy")
    with pytest.raises(ConfigError, match=message):
        config_from_dict(data)


def test_a_log_whose_runs_differ_in_length_or_of_other_rows_is_refused(pool, config):
    files = log(Path("logs"), "jsonl", [*logged(runs=("a",)), *logged(runs=("b",), epochs=(10,))])
    with pytest.raises(DataError, match=r"runs of the log have different numbers of epochs: 'a' has 3, 'b' has 1"):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))
    log(Path("logs"), "jsonl", logged(ids=range(100, 110)))
    with pytest.raises(DataError, match="no line of the log is about a row of the pool; compare the ids"):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": files}}))
    with pytest.raises(DataError, match=r"proxy\.files: no file matches 'none/\*'"):
        scored(config(**READS | {"proxy": {"use": "recorded", "files": "none/*"}}))


def test_a_plan_after_a_new_label_says_that_an_earlier_stage_will_run(pool, config):
    curate.run(config(**HELD_OUT))
    edit(pool, topic={"r0000": "t3"})
    planned = {step.stage: step for step in plan(config_from_dict(config(**HELD_OUT)), Serial())}
    assert (planned["held_out"].state, planned["held_out"].reason) == ("stale", "an earlier stage will run")
