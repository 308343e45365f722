"""Labels to review: which rows are listed, what is suggested, and that no answer is lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.kernels.stats.confident_joint import class_thresholds, confident_classes, confident_joint
from curate.kernels.stats.softmax import softmax
from curate.store.relabel import relabel

WORDS = {
    "card": ["card", "pin", "visa", "chip", "plastic", "limit"],
    "loan": ["loan", "rate", "mortgage", "years", "bank", "house"],
    "trip": ["flight", "hotel", "beach", "visa", "bag", "tour"],
}
WRONG = {"r7": "card", "r40": "trip", "r81": "loan"}
EVIL = "<script>alert(1)</script> =cmd|'/c calc'!A1"


def make_rows(n: int = 120, seed: int = 0) -> list[dict[str, Any]]:
    """Return rows of three labels, three of which are wrong; every tenth has none."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        label = [*WORDS][number % 3]
        name = f"r{number}"
        text = " ".join([*rng.choice(WORDS[label], 6), *rng.choice(["please", "the", "my", "now"], 2), f"n{number}"])
        rows.append({"id": name, "text": text, "label": WRONG.get(name, label if number % 10 != 9 else None)})
    return rows


def settings(folder: Path, rows: Any = None, **more: Any) -> dict[str, Any]:
    rows = make_rows() if rows is None else rows
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = {"files": str(folder / "pool.jsonl"), "text": "text", "id": "id", "label": "label", "rows_per_shard": 25}
    return {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {**pool, "corrections": str(folder / "corrections.csv")},
        "embed": {"use": "lsa", "dimensions": 16},
        "cluster": {"use": "kmeans", "n_clusters": 3},
        "proxy": {"use": "logistic", "epochs": 8},
        "score": [{"use": "aum"}, {"use": "confident_learning"}, {"use": "knn_disagreement"}, {"use": "el2n"}],
        "review": {"rows": 10, "n_neighbors": 3},
        "select": [{"use": "uniform", "keep_rate": 0.5}],
        **more,
    }


def run(data: dict[str, Any], executor: Any = None) -> pipeline.Summary:
    return pipeline.run(config_from_dict(data), executor or Serial())


def listed(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "run/review/rows.parquet").to_pylist()


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "run/review.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def answer(folder: Path, answers: dict[str, str]) -> None:
    """Fill in answers, as a spreadsheet would."""
    lines = table(folder)
    for line in lines:
        line["corrected_label"] = answers.get(line["id"], line["corrected_label"])
    with (folder / "run/review.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, lines[0], delimiter=";", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(lines)


def test_wrong_labels_come_first_with_the_right_label_as_the_suggestion(tmp_path):
    run(settings(tmp_path))
    lines = listed(tmp_path)
    assert len(lines) == 10
    assert {line["id"] for line in lines[:3]} == WRONG.keys()
    true = {name: [*WORDS][int(name[1:]) % 3] for name in WRONG}
    for line in lines[:3]:
        assert (line["label"], line["suggestion"]) == (WRONG[line["id"]], true[line["id"]])
        assert line["confidence"] > 1 / 3
        assert len(line["ranks"]) == 4
        assert [one["label"] for one in line["neighbors"]] == [true[line["id"]]] * 3
        similarities = [one["similarity"] for one in line["neighbors"]]
        assert similarities == sorted(similarities, reverse=True)
        assert line["id"] not in {one["id"] for one in line["neighbors"]}
    assert [line["rank"] for line in lines] == list(range(1, 11))
    assert None not in {line["label"] for line in lines}


def test_label_noise_is_estimated_by_the_confident_joint_of_all_shards(tmp_path):
    rows = make_rows(240)
    for row in rows[::8]:
        row["label"] = "card"  # a third of them were
    run(settings(tmp_path, rows, guard={}))
    noise = json.loads((tmp_path / "run/review/manifest.json").read_text())["facts"]["noise"]
    predictions = pq.ParquetDataset(sorted((tmp_path / "run/held_out").glob("part-*.parquet"))).read()
    labels = predictions["label"].to_numpy()
    (column,) = [name for name in predictions.column_names if name not in ("id", "label")]
    p = softmax(np.array(predictions[column].to_pylist(), np.float32))[labels >= 0]
    labels = labels[labels >= 0]
    joint = confident_joint(confident_classes(p, class_thresholds(p, labels)), labels, 3)
    assert noise["labels"] == len(labels) == joint.sum()
    assert noise["errors"] == joint.sum() - joint.trace() > 0
    first = noise["confusions"][0]
    classes = sorted(WORDS)
    given, true = classes.index(first["label"]), classes.index(first["true"])
    assert given == 0
    assert first["rows"] == joint[given, true] == (joint - np.diag(joint.diagonal())).max()
    assert first["share"] == pytest.approx(joint[given, true] / joint[:, true].sum())
    page = (tmp_path / "run/report.html").read_text()
    assert f"About {noise['errors']} of {len(labels)} labels" in page


def test_the_table_is_the_list_with_an_empty_column(tmp_path):
    run(settings(tmp_path))
    lines = table(tmp_path)
    assert [line["id"] for line in lines] == [line["id"] for line in listed(tmp_path)]
    assert {line["corrected_label"] for line in lines} == {""}
    assert lines[0].keys() >= {"label", "suggested_label", "confidence", "text", "rank_aum", "rank_el2n", "neighbors"}


def test_the_circle_of_finding_correcting_and_running_again(tmp_path):
    data = settings(tmp_path)
    run(data)
    true = {name: [*WORDS][int(name[1:]) % 3] for name in WRONG}
    answer(tmp_path, true)
    result = relabel(tmp_path / "run", tmp_path / "run/review.csv", tmp_path / "corrections.csv")
    assert (result.corrected, result.unanswered) == (3, 7)
    run(data)
    assert not {line["id"] for line in listed(tmp_path)[:3]} & WRONG.keys()
    assert {line["corrected_label"] for line in table(tmp_path)} == {""}


def test_answers_that_no_run_has_read_survive_another_run(tmp_path):
    data = settings(tmp_path)
    run(data)
    answer(tmp_path, {"r7": "other", "r40": "trip"})  # the second is the label already
    unlisted = settings(tmp_path, review={"rows": 10, "by": ["-knn_disagreement"]})
    assert run(unlisted).records
    answers = {line["id"]: line["corrected_label"] for line in table(tmp_path) if line["corrected_label"]}
    assert answers == {"r7": "other"}
    assert "r7" not in {line["id"] for line in listed(tmp_path)}
    run(data)
    answers = {line["id"]: line["corrected_label"] for line in table(tmp_path) if line["corrected_label"]}
    assert answers == {"r7": "other"}
    assert len(table(tmp_path)) == 10


def test_a_table_that_cannot_be_read_is_not_replaced(tmp_path):
    run(settings(tmp_path))
    (tmp_path / "run/review.csv").write_text("id,corrected_label\nr7,a\nr7,b\n")
    run(settings(tmp_path, review={"rows": 5}))
    assert (tmp_path / "run/review.csv").read_text() == "id,corrected_label\nr7,a\nr7,b\n"
    assert len(listed(tmp_path)) == 5


def test_a_result_is_reused_and_a_missing_table_written_again(tmp_path):
    data = settings(tmp_path)
    run(data)
    before = (tmp_path / "run/review.csv").read_bytes()
    answer(tmp_path, {"r7": "loan"})
    edited = (tmp_path / "run/review.csv").read_bytes()
    assert run(data).unchanged
    assert (tmp_path / "run/review.csv").read_bytes() == edited
    (tmp_path / "run/review.csv").unlink()
    assert {step.state for step in pipeline.plan(config_from_dict(data), Serial())} == {"fresh"}
    run(data)
    assert (tmp_path / "run/review.csv").read_bytes() == before


def test_the_same_bytes_with_workers_and_any_shards(tmp_path):
    lists = []
    for rows_per_shard, executor in ((25, Serial()), (25, Processes(2)), (1_000, Serial())):
        data = settings(tmp_path)
        data["input"]["rows_per_shard"] = rows_per_shard
        run(data, executor)
        executor.close()
        lists.append(
            [(line["id"], line["suggestion"], [one["id"] for one in line["neighbors"]]) for line in listed(tmp_path)]
        )
    assert lists[0] == lists[1]
    assert [line[:2] for line in lists[0]] == [line[:2] for line in lists[2]]


def test_without_held_out_predictions_the_neighbors_suggest(tmp_path):
    data = settings(tmp_path, score=[{"use": "knn_disagreement"}])
    del data["proxy"]
    run(data)
    lines = {line["id"]: line for line in listed(tmp_path)}
    for name in WRONG:
        labels = {one["label"] for one in lines[name]["neighbors"]}
        assert {lines[name]["suggestion"]} == labels == {[*WORDS][int(name[1:]) % 3]}
        assert lines[name]["confidence"] == pytest.approx(1)


def test_no_neighbors_no_suggestion(tmp_path):
    data = settings(tmp_path, score=[{"use": "knn_disagreement"}], review={"rows": 3, "n_neighbors": 0})
    del data["proxy"]
    run(data)
    assert [(line["suggestion"], line["confidence"], line["neighbors"]) for line in listed(tmp_path)] == [
        (None, None, [])
    ] * 3
    assert "Labels to review" in (tmp_path / "run/report.html").read_text()


def test_hostile_texts_and_labels(tmp_path):
    rows = make_rows()
    rows[7] |= {"text": f"{rows[7]['text']} {EVIL}", "label": "=loan<b>"}
    rows[8] |= {"text": "=1+1"}
    run(settings(tmp_path, rows, review={"rows": 120}))
    page = (tmp_path / "run/report.html").read_text()
    assert "Labels to review" in page
    assert "<script>alert(1)" not in page
    assert "=loan&lt;b&gt;" in page
    for line in table(tmp_path):
        assert all(not cell.startswith(tuple("=+-@\t\r")) for cell in line.values())
    (line,) = (line for line in table(tmp_path) if line["id"] == "r7")
    assert line["label"] == "'=loan<b>"


def test_masked_texts(tmp_path):
    rows = make_rows()
    rows[7] |= {"text": f"{rows[7]['text']} ann@example.org"}
    run(settings(tmp_path, rows, export={"use": "parquet", "mask_pii": ["email"]}, review={"rows": 120}))
    for path in ("review.csv", "report.html", "review/rows.parquet"):
        assert b"ann@example.org" not in (tmp_path / "run" / path).read_bytes()


def test_fewer_rows_than_requested_and_rows_without_a_score(tmp_path):
    rows = make_rows(30)
    run(settings(tmp_path, rows, review={"rows": 200}))
    with_label = {row["id"] for row in rows if row["label"]}
    assert {line["id"] for line in listed(tmp_path)} == with_label


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [{"use": "length"}]}, "review: no score finds wrong labels"),
        ({"review": {"by": ["auum"]}}, "there is no score 'auum'; did you mean 'aum'"),
        ({"review": {"by": ["aum", "-aum"]}}, "listed twice"),
        ({"review": {"by": []}}, "review.by: must be a non-empty list"),
        ({"review": {"embedding": "other"}}, "no embed entry 'other'"),
        ({"review": {"rows": 0}}, "review.rows: must be"),
    ],
)
def test_configurations_that_cannot_work(tmp_path, change, message):
    with pytest.raises(ConfigErrors) as caught:
        config_from_dict(settings(tmp_path, **change))
    assert message in str(caught.value)


def test_no_labels(tmp_path):
    data = settings(tmp_path, score=[{"use": "length"}], review={"by": ["length"]})
    del data["proxy"], data["input"]["corrections"], data["input"]["label"]
    with pytest.raises(ConfigErrors, match="there are no labels to review"):
        config_from_dict(data)
