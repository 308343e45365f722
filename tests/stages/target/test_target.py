"""Target rows: read and embedded like the pool, labeled in its classes, reused while nothing changed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigError, ConfigErrors, CurateError
from curate.evaluation.evaluate import evaluate
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.progress import NullProgress

KINDS = ("apple", "banana", "cherry")
SCORER = '''
from dataclasses import dataclass

import numpy as np

from curate.plugins.interfaces import OutputColumn, scorer


@scorer(
    version=1,
    reads={"embedding", "target"},
    columns=(OutputColumn(higher_is_better=True, unit="cosine", higher_means="closer"),),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class NearTarget:
    """Largest similarity to a target row."""

    def score(self, batch, rng):
        return (batch.embeddings @ batch.target.embeddings.T).max(axis=1) + 0 * len(batch.target.labels)
'''


def rows_of(n: int, start: int = 0) -> list[dict[str, Any]]:
    rows = []
    for number in range(start, start + n):
        kind = KINDS[number % 3]
        rows.append({"id": f"r{number}", "body": f"{kind} {kind} number w{number % 7} w{number}", "kind": kind})
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def make_config(folder: Path, target: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    files = folder / "pool.jsonl"
    if not files.exists():
        write(files, rows_of(60))
    (folder / "near_target.py").write_text(SCORER)
    data = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(files), "text": "body", "id": "id", "label": "kind", "rows_per_shard": 20},
        "embed": {"use": "lsa", "dimensions": 4},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        **more,
    }
    return data if target is None else {**data, "target": target}


def run(folder: Path, target: dict[str, Any] | None, executor: Any = None, progress: Any = None, **more: Any) -> Any:
    config = config_from_dict(make_config(folder, target, **more))
    return pipeline.run(config, executor or Serial(), progress)


def stored(folder: Path) -> list[dict[str, Any]]:
    return pq.ParquetDataset(sorted((folder / "run/target").glob("part-*.parquet"))).read().to_pylist()


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run/target/manifest.json").read_text())["facts"]


class Notes(NullProgress):
    """Progress that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_rows_are_embedded_with_the_fit_of_the_pool_and_labeled_in_its_classes(tmp_path):
    """A target row with the text of a pool row has its vector; the label is the number of the sorted labels."""
    pool = rows_of(60)
    targets = [{**pool[4], "id": "other"}, *rows_of(5, 100)]
    files = write(tmp_path / "task/t.jsonl", targets)
    summary = run(tmp_path, {"files": files, "label": "kind"})
    rows = stored(tmp_path)
    assert [row["label"] for row in rows] == [KINDS.index(row["kind"]) for row in targets]
    assert [row["in_pool"] for row in rows] == [True, *[False] * 5]
    vectors = pq.ParquetDataset(sorted((tmp_path / "run/embed").rglob("part-*.parquet"))).read().to_pylist()
    assert rows[0]["embedding_lsa"] == vectors[4]["embedding"]
    lengths = np.linalg.norm([row["embedding_lsa"] for row in rows], axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    assert record(tmp_path) == {
        "rows": 6,
        "unlabeled": 0,
        "unknown": 0,
        "unknown_labels": [],
        "in_pool": 1,
        "tasks": 1,
        "test": sum(row["test"] for row in rows),
        "content": ANY,
    }
    assert [text for text in summary.warnings if "1 of 6 rows are also in the pool" in text]


def test_target_rows_are_not_exported(tmp_path):
    files = write(tmp_path / "task/t.jsonl", rows_of(5, 100))
    summary = run(tmp_path, {"files": files})
    assert summary.kept == 60
    assert not summary.warnings


def test_text_may_be_a_template_over_other_columns(tmp_path):
    pool = rows_of(60)
    files = write(tmp_path / "task/t.jsonl", [{"first": pool[7]["body"][:10], "rest": pool[7]["body"][10:]}])
    run(tmp_path, {"files": files, "text": "{first}{rest}"})
    assert stored(tmp_path)[0]["in_pool"]
    assert stored(tmp_path)[0]["label"] == -1


def test_labels_that_the_pool_does_not_have_are_counted_and_reported(tmp_path):
    targets = rows_of(4, 100)
    targets[1]["kind"] = "durian"
    targets[2]["kind"] = None
    summary = run(tmp_path, {"files": write(tmp_path / "task/t.jsonl", targets), "label": "kind"})
    assert [row["label"] for row in stored(tmp_path)] == [1, -1, -1, 1]
    assert record(tmp_path)["unlabeled"] == 1
    assert [text for text in summary.warnings if "has the label of 1 rows: durian" in text]
    again = run(tmp_path, {"files": str(tmp_path / "task/t.jsonl"), "label": "kind"})
    assert again.unchanged
    assert again.warnings == summary.warnings


def test_classes_are_those_of_the_proxy(tmp_path):
    """A recorded proxy lists its classes in the order of its log."""
    pool = rows_of(60)
    log = [{"id": row["id"], "epoch": 0, "probabilities": [0.2, 0.3, 0.5]} for row in pool]
    proxy = {"use": "recorded", "files": write(tmp_path / "log.jsonl", log), "classes": ["cherry", "apple", "banana"]}
    targets = write(tmp_path / "task/t.jsonl", rows_of(3, 99))
    run(tmp_path, {"files": targets, "label": "kind"}, proxy=proxy)
    assert [row["label"] for row in stored(tmp_path)] == [1, 2, 0]


def test_labels_of_a_type_that_the_pool_declares_are_compared_as_that_type(tmp_path):
    pool = [{**row, "kind": f"0{KINDS.index(row['kind'])}"} for row in rows_of(60)]
    for name, rows in (("pool.csv", pool), ("target.csv", pool[:6])):
        lines = ["id,body,kind", *(",".join(row.values()) for row in rows)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    more = make_config(tmp_path, None)["input"]
    more |= {"files": str(tmp_path / "pool.csv"), "types": {"kind": "string"}}
    run(tmp_path, {"files": str(tmp_path / "target.csv"), "label": "kind"}, input=more)
    assert [row["label"] for row in stored(tmp_path)] == [0, 1, 2, 0, 1, 2]


def test_all_embed_entries_embed_the_rows(tmp_path):
    files = write(tmp_path / "task/t.jsonl", rows_of(4, 100))
    embed = [
        {"use": "lsa", "name": "one", "dimensions": 4},
        {"use": "hashing", "name": "two", "dimensions": 8, "precision": "float16"},
    ]
    more = {"embed": embed, "score": [{"use": "near_target", "embedding": "two"}]}
    run(tmp_path, {"files": files}, plugins=[str(tmp_path / "near_target.py")], **more)
    row = stored(tmp_path)[0]
    assert (len(row["embedding_one"]), len(row["embedding_two"])) == (4, 8)


def test_a_scorer_receives_the_rows_and_is_stale_when_they_change(tmp_path):
    pool = rows_of(60)
    files = write(tmp_path / "task/t.jsonl", [pool[3], pool[8]])
    more = {"plugins": [str(tmp_path / "near_target.py")], "score": [{"use": "near_target"}]}

    def scores():
        table = pq.ParquetDataset(sorted((tmp_path / "run/score/near_target").glob("part-*.parquet"))).read()
        return np.array(table["score_near_target"])

    run(tmp_path, {"files": files}, **more)
    np.testing.assert_allclose(scores()[[3, 8]], 1, atol=1e-6)
    before = scores()
    write(tmp_path / "task/t.jsonl", [pool[5]])
    run(tmp_path, {"files": files}, **more)
    assert scores()[5] == pytest.approx(1, abs=1e-6)
    assert (scores() != before).any()


def test_a_scorer_that_needs_target_rows_is_an_error_without_them(tmp_path):
    more = {"plugins": [str(tmp_path / "near_target.py")], "score": [{"use": "near_target"}]}
    with pytest.raises(
        ConfigErrors, match=r"'near_target' compares rows with those of a task, .*; add a section target"
    ):
        run(tmp_path, None, **more)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_bytes_do_not_depend_on_the_workers(tmp_path, workers):
    contents = []
    for name, executor in (("a", Serial()), ("b", Processes(workers))):
        folder = tmp_path / name
        folder.mkdir()
        files = write(folder / "task/t.jsonl", rows_of(45, 100))
        try:
            run(folder, {"files": files, "label": "kind"}, executor)
        finally:
            executor.close()
        contents.append(stored(folder))
    assert contents[0] == contents[1]
    assert len(contents[0]) == 45


def test_a_plan_writes_nothing_and_a_second_run_reuses_the_rows(tmp_path):
    files = write(tmp_path / "task/t.jsonl", rows_of(5, 100))
    config = config_from_dict(make_config(tmp_path, {"files": files}))
    steps = {step.stage: step.state for step in pipeline.plan(config, Serial())}
    assert steps["target"] == "missing"
    assert not (tmp_path / "run/target").exists()
    pipeline.run(config, Serial())
    assert {step.state for step in pipeline.plan(config, Serial())} == {"fresh"}
    (tmp_path / "task/t.jsonl").write_text((tmp_path / "task/t.jsonl").read_text() + '{"body": "one more apple"}\n')
    steps = {step.stage: step.state for step in pipeline.plan(config, Serial())}
    assert steps["target"] == "stale"
    assert steps["embed"] == "fresh"


def test_only_the_target_changes_if_its_files_do(tmp_path):
    files = write(tmp_path / "task/t.jsonl", rows_of(5, 100))
    run(tmp_path, {"files": files}, score=[{"use": "length"}])
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/score").rglob("part-*")}
    write(tmp_path / "task/t.jsonl", rows_of(6, 100))
    run(tmp_path, {"files": files}, score=[{"use": "length"}])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run/score").rglob("part-*")} == stamps
    assert len(stored(tmp_path)) == 6


@pytest.mark.parametrize(
    ("target", "rows", "message"),
    [
        ({"files": "missing/*.jsonl"}, None, r"target\.files: no file matches 'missing/\*\.jsonl'"),
        ({}, [{"body": ""}], "target: .*text"),
        ({}, [], r"target\.files: there are no rows in "),
        ({"text": "{other}"}, [{"body": "a"}], r"target\.text: no file of target\.files has a column 'other'"),
        ({"label": "label"}, [{"body": "a"}], r"target\.label: no file of target\.files has a column 'label'"),
        (
            {"label": "kind"},
            [{"body": "a", "kind": "durian"}],
            r"target\.label: no row has a label of the pool in column 'kind'; the labels of the pool are: apple",
        ),
    ],
)
def test_errors_name_the_section(tmp_path, target, rows, message):
    files = write(tmp_path / "task/t.jsonl", rows or [])
    with pytest.raises(CurateError, match=message):
        run(tmp_path, {"files": files, **target})


def test_rows_without_a_text_are_left_out_with_a_warning(tmp_path):
    files = write(tmp_path / "task/t.jsonl", [*rows_of(3, 100), {"body": " "}])
    notes = Notes()
    run(tmp_path, {"files": files}, progress=notes)
    assert len(stored(tmp_path)) == 3
    assert [text for text in notes.warnings if "target: 1 of 4 rows cannot be read" in text]


def test_files_of_the_run_are_refused(tmp_path):
    run(tmp_path, None)
    with pytest.raises(ConfigError, match=r"target\.files: the file is inside the run directory"):
        run(tmp_path, {"files": str(tmp_path / "run/export/current/**/*.parquet")})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": {}}, "target.files"),
        ({"target": {"files": []}}, "target.files"),
        ({"target": {"files": "t.jsonl", "txt": "a"}}, "target.txt: unknown key"),
        ({"target": {"files": "t.jsonl", "text": "{a"}}, "target"),
        ({"target": {"files": "t.jsonl", "label": "kind"}, "input": {"files": "p", "text": "t"}}, "set input.label"),
    ],
)
def test_mistakes_in_the_section_are_found_before_a_run(tmp_path, changes, message):
    with pytest.raises(ConfigErrors, match=message):
        config_from_dict({**make_config(tmp_path, None), **changes})


# ---------------------------------------------------------------- scorers that measure the loss of target rows


def scores_of(folder: Path, name: str) -> np.ndarray:
    table = pq.ParquetDataset(sorted((folder / "run/score" / name).glob("part-*.parquet"))).read()
    return np.array(table[f"score_{name}"], float)


PROXY = {"use": "logistic", "epochs": 2}


@pytest.mark.parametrize("proxy", [PROXY, {"use": "mlp", "epochs": 2, "hidden_size": 8}])
@pytest.mark.parametrize("use", ["influence", "tracin"])
def test_rows_of_the_class_of_the_target_rows_have_the_most_influence(tmp_path, proxy, use):
    files = write(tmp_path / "task/t.jsonl", [row for row in rows_of(60, 100) if row["kind"] == "banana"])
    score = [{"use": use}, {"use": use, "name": "pool", "reference": "pool"}]
    run(tmp_path, {"files": files, "label": "kind"}, proxy=proxy, score=score)
    found = scores_of(tmp_path, use)
    is_banana = np.array([row["kind"] == "banana" for row in rows_of(60)])
    assert found[is_banana].min() > found[~is_banana].max()
    assert (scores_of(tmp_path, "pool") != found).any()


def test_influence_on_targets_is_stale_when_the_targets_change_and_on_the_pool_is_not(tmp_path):
    files = write(tmp_path / "task/t.jsonl", rows_of(3, 100))
    more = {"proxy": PROXY, "score": [{"use": "tracin"}, {"use": "aum"}]}
    section = {"files": files, "label": "kind"}
    run(tmp_path, section, **more)
    before = scores_of(tmp_path, "tracin")
    write(tmp_path / "task/t.jsonl", rows_of(4, 100))
    config = config_from_dict(make_config(tmp_path, section, **more))
    states = {step.name: step.state for step in pipeline.plan(config, Serial())}
    assert states["tracin"] in ("stale", "maybe")
    pipeline.run(config, Serial())
    assert (scores_of(tmp_path, "tracin") != before).any()


@pytest.mark.parametrize("group", ["cluster", "label", "source", "size"])
def test_rows_of_a_group_have_its_sum(tmp_path, group):
    pool = [
        {**row, "size": "small" if number % 4 else None, "from": "ab"[number % 2]}
        for number, row in enumerate(rows_of(60))
    ]
    data = make_config(tmp_path, None)
    write(tmp_path / "pool.jsonl", pool)
    entry = {"use": "influence", "reference": "pool"}
    score = [entry, {**entry, "name": "grouped", "group": group}]
    more = {"proxy": PROXY, "score": score, "input": data["input"] | {"source": "from"}}
    run(tmp_path, None, **more)
    single, grouped = scores_of(tmp_path, "influence"), scores_of(tmp_path, "grouped")
    clusters = (
        pq.ParquetDataset(sorted((tmp_path / "run/cluster").glob("part-*.parquet"))).read()["cluster"].to_pylist()
    )
    keys = {
        "cluster": clusters,
        "label": [row["kind"] for row in pool],
        "source": [row["from"] for row in pool],
        "size": [row["size"] for row in pool],
    }[group]
    for key in set(keys):
        members = np.array([one == key for one in keys])
        if key is None:
            assert np.isnan(grouped[members]).all()
        else:
            np.testing.assert_allclose(grouped[members], single[members].sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": {"files": "t.jsonl"}}, "'influence' needs the labels of the target rows; set target.label"),
        ({"score": [{"use": "tracin", "reference": "target"}]}, "'tracin' compares rows with those of a task"),
        (
            {
                "target": {"files": "t.jsonl", "label": "kind"},
                "proxy": {"use": "recorded", "files": "log.jsonl"},
            },
            "'influence' needs predictions for rows that the log of the proxy does not have",
        ),
        (
            {
                "score": [{"use": "influence", "reference": "held_out"}],
                "proxy": {"use": "recorded", "files": "log.jsonl"},
            },
            "'influence' needs predictions for rows that the log of the proxy does not have",
        ),
        ({"score": [{"use": "influence", "group": "source"}]}, r"score\.0\.group: input\.source is not set"),
        ({"proxy": None}, "there is no proxy"),
    ],
)
def test_a_reference_that_cannot_be_measured_is_found_before_a_run(tmp_path, changes, message):
    data = {**make_config(tmp_path, None), "proxy": PROXY, "score": [{"use": "influence"}], **changes}
    with pytest.raises(ConfigErrors, match=message):
        config_from_dict({key: value for key, value in data.items() if value is not None})


def test_the_pool_as_reference_needs_no_labels_of_the_target(tmp_path):
    data = make_config(tmp_path, {"files": "t.jsonl"}, proxy=PROXY, score=[{"use": "influence", "reference": "pool"}])
    config_from_dict(data)


@pytest.mark.slow
def test_held_out_influence_does_not_depend_on_the_workers(tmp_path):
    score = [{"use": "influence", "reference": "held_out"}, {"use": "self_influence"}]
    contents = []
    for name, executor in (("a", Serial()), ("b", Processes(2))):
        (tmp_path / name).mkdir()
        try:
            run(tmp_path / name, None, executor, proxy=PROXY, score=score)
        finally:
            executor.close()
        contents.append([scores_of(tmp_path / name, one).tobytes() for one in ("influence", "self_influence")])
    assert contents[0] == contents[1]


# ---------------------------------------------------------------- test rows


def test_a_share_of_the_rows_is_for_tests_and_stays_there(tmp_path):
    """Copies are on one side; rows that are added later change no row's side; another share moves few."""
    targets = rows_of(100, 1000)
    files = write(tmp_path / "task/t.jsonl", [*targets, *targets[:10]])
    run(tmp_path, {"files": files, "test_share": 0.3})
    sides = [row["test"] for row in stored(tmp_path)]
    assert 15 < sum(sides[:100]) < 45
    assert sides[:10] == sides[100:]
    write(Path(files), [*rows_of(20, 2000), *targets])
    run(tmp_path, {"files": files, "test_share": 0.3})
    assert [row["test"] for row in stored(tmp_path)][20:] == sides[:100]
    run(tmp_path, {"files": files, "test_share": 0.5})
    assert all(
        wide for wide, narrow in zip([row["test"] for row in stored(tmp_path)][20:], sides, strict=False) if narrow
    )
    run(tmp_path, {"files": files, "test_share": 0})
    assert not any(row["test"] for row in stored(tmp_path))


def test_plugins_see_only_the_other_rows(tmp_path):
    scorer = SCORER.replace("batch.target.embeddings.T).max(axis=1)", "batch.target.embeddings.T * 0).max(axis=1)")
    scorer = scorer.replace("0 * len(batch.target.labels)", "len(batch.target.labels)")
    (tmp_path / "count_target.py").write_text(scorer.replace("NearTarget", "CountTarget"))
    files = write(tmp_path / "task/t.jsonl", rows_of(40, 1000))
    entries = {"plugins": [str(tmp_path / "count_target.py")], "score": [{"use": "count_target"}]}
    run(tmp_path, {"files": files}, **entries)
    scores = pq.ParquetDataset(sorted((tmp_path / "run/score").rglob("part-*.parquet"))).read()["score_count_target"]
    others = sum(not row["test"] for row in stored(tmp_path))
    assert set(scores.to_pylist()) == {float(others)}
    assert others < 40


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_every_task_keeps_a_row_that_selections_see(tmp_path, share):
    """Tasks of one row, of copies of one text, and one that shares a text with another."""
    rows = [{**row, "task": f"task {row['id']}"} for row in rows_of(15, 1000)]
    rows += [{**rows_of(1, 3000)[0], "task": "copies"}] * 5
    rows += [{**rows_of(1, 4000)[0], "task": task} for task in ("one", "two")]
    files = write(tmp_path / "task/t.jsonl", rows)
    run(tmp_path, {"files": files, "task": "task", "test_share": share})
    kept = {row["task"] for row in stored(tmp_path) if not row["test"]}
    assert kept == {row["task"] for row in stored(tmp_path)}


def test_a_target_of_one_row_is_not_tested(tmp_path):
    files = write(tmp_path / "task/t.jsonl", rows_of(1, 1000))
    progress = Notes()
    run(tmp_path, {"files": files, "test_share": 0.9}, progress=progress)
    assert [row["test"] for row in stored(tmp_path)] == [False]
    assert [text for text in progress.warnings if "none is kept for tests" in text]


def test_a_metric_of_the_target_needs_test_rows(tmp_path):
    files = write(tmp_path / "task/t.jsonl", rows_of(9, 1000))
    metrics = [{"use": "mmd", "reference": "target"}]
    with pytest.raises(ConfigErrors, match=r"there are none; set target.test_share above 0"):
        config_from_dict(make_config(tmp_path, {"files": files, "test_share": 0}, metrics=metrics))
    with pytest.raises(ConfigErrors, match="there is no section target"):
        config_from_dict(make_config(tmp_path, None, metrics=metrics))


def test_a_selection_is_evaluated_on_the_test_rows(tmp_path):
    """A model is tested on their labels, and the metrics of distributions compare with them, with intervals."""
    files = write(tmp_path / "task/t.jsonl", [row for row in rows_of(240, 1000) if row["kind"] != "cherry"])
    run(
        tmp_path,
        {"files": files, "label": "kind", "test_share": 0.5},
        select=[{"use": "less", "keep": 24}],
        evaluate={"seeds": 2},
    )
    result = evaluate(tmp_path / "run", Serial())
    is_test = [row["test"] for row in stored(tmp_path)]
    assert f"tested on the {sum(is_test)} test rows of the target" in result.tested
    lines = {line.name: line for line in result.metrics}
    for name in ("mauve_target", "mmd_target", "optimal_transport_target", "sliced_wasserstein_target"):
        assert math.isfinite(lines[name].selection.half_width)
        if name != "mauve_target":  # with two buckets, it is too noisy
            assert (lines[name].difference.mean > 0) == lines[name].higher_is_better
    assert math.isfinite(lines["logistic_probe_accuracy"].selection.mean)


def test_scores_of_a_shard_are_kept_when_the_pool_grows_but_not_when_the_target_changes(tmp_path):
    def times() -> list[int]:
        return [path.stat().st_mtime_ns for path in sorted((tmp_path / "run/score/near_target").glob("*.parquet"))]

    def once(pool: int, targets: list[dict[str, Any]], **fields: Any) -> list[int]:
        write(tmp_path / "pool.jsonl", rows_of(pool))
        files = write(tmp_path / "task/t.jsonl", targets)
        run(
            tmp_path,
            {"files": files, "test_share": 0, **fields},
            embed={"use": "hashing"},
            plugins=[str(tmp_path / "near_target.py")],
            score=[{"use": "near_target"}],
        )
        return times()

    first = once(60, rows_of(6, 100))
    assert once(80, rows_of(6, 100))[:3] == first
    assert once(80, rows_of(6, 200))[0] > first[0]


def test_test_rows_are_no_part_of_what_selections_see(tmp_path):
    contents = set()
    for share in (0.3, 0.5):
        files = write(tmp_path / "task/t.jsonl", rows_of(40, 100))
        run(tmp_path, {"files": files, "test_share": share}, embed={"use": "hashing"})
        contents.add(record(tmp_path)["content"])
        kept = [row for row in stored(tmp_path) if not row["test"]]
        write(tmp_path / "task/t.jsonl", [{"body": row["text"]} for row in kept])
        run(tmp_path, {"files": files, "test_share": 0}, embed={"use": "hashing"})
        contents.add(record(tmp_path)["content"])
    assert len(contents) == 2
