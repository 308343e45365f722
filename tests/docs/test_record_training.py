"""The code of the page on recording a training runs, and writes logs that a run reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import curate

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "record-training.md"
ROWS, CLASSES = 60, 3

pytestmark = pytest.mark.slow


def blocks(heading: str) -> list[str]:
    """Return the Python blocks under a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert len(found) == 2
    return found


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """Write a pool of labeled rows; return their ids, labels and vectors."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % CLASSES
    x = (3 * np.eye(8)[labels] + rng.standard_normal((ROWS, 8))).astype(np.float32)
    ids = [f"doc-{row}" for row in range(ROWS)]
    lines = [
        {"id": name, "text": f"text {name}", "label": f"c{label}"} for name, label in zip(ids, labels, strict=True)
    ]
    Path("pool.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ids, labels, x


def scores_of_the_log() -> pl.DataFrame:
    config = {
        "curate": 1,
        "run": "run",
        "input": {"files": "pool.jsonl", "id": "id", "text": "text", "label": "label"},
        "embed": {"use": "hashing", "dimensions": 16},
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "proxy": {"use": "recorded", "files": "log.jsonl"},
        "score": [{"use": "aum"}, {"use": "cartography"}],
        "select": [{"use": "ccs", "prune_rate": 0.5, "by": "aum", "cutoff_by": "aum", "cutoff_rate": 0.1}],
    }
    assert curate.run(config).kept == ROWS // 2
    return pl.read_parquet("run/score/cartography/part-*.parquet")


def test_a_loop_in_pytorch(pool):
    torch = pytest.importorskip("torch")
    ids, labels, x = pool
    torch.manual_seed(0)
    model = torch.nn.Linear(8, CLASSES)
    dataset = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(labels))
    scope = {
        "model": model,
        "dataset": dataset,
        "ids": ids,
        "loader": torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.5),
    }
    for code in blocks("With a loop in PyTorch"):
        exec(code, scope)
    lines = pl.read_ndjson("log.jsonl")
    assert lines.group_by("epoch").len().sort("epoch").rows() == [(0, ROWS), (1, ROWS), (2, ROWS)]
    assert scores_of_the_log()["score_cartography_correctness"].mean() > 0.8


def test_the_trainer_of_transformers(pool):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    import torch

    ids, labels, _ = pool
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=CLASSES,
    )
    model = transformers.BertForSequenceClassification(config)
    rows = [{"input_ids": [1 + label, 5, 6], "attention_mask": [1, 1, 1], "labels": int(label)} for label in labels]
    arguments = transformers.TrainingArguments(
        "out",
        num_train_epochs=3,
        per_device_train_batch_size=8,
        learning_rate=2e-2,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=rows)
    scope = {"trainer": trainer, "ids": ids}
    for code in blocks("With the Trainer of Transformers"):
        exec(code, scope)
    lines = pl.read_ndjson("log.jsonl")
    assert lines.group_by("epoch").len().sort("epoch").rows() == [(1, ROWS), (2, ROWS), (3, ROWS)]
    assert scores_of_the_log()["score_cartography_correctness"].mean() > 0.8
