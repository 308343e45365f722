"""Tests of the choice of test rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import DataError
from curate.evaluation import split
from curate.evaluation.split import hold_out, open_split
from curate.executors.serial import Serial


def the_split(data):
    context = pipeline.make_context(config_from_dict(data), Serial())
    return open_split(split.split_pool(context, pipeline.build_pool(context)))


def test_copies_of_a_text_stay_together_and_the_share_is_as_configured():
    hashes = np.repeat(np.random.default_rng(0).integers(2**64, size=20_000, dtype=np.uint64), 2)
    held = hold_out(hashes, 0.2, seed=0)
    assert (held[::2] == held[1::2]).all()
    assert held.mean() == pytest.approx(0.2, abs=0.01)
    assert hold_out(hashes, 0.2, seed=1).tolist() != held.tolist()


def test_rows_of_the_pool_in_the_test_files_are_excluded_and_named(crowd, over):
    pool, test = pq.read_table("pool/a.parquet"), pq.read_table("test.parquet")
    same = pool.slice(5, 3).set_column(0, "id", pa.array(["x", "y", "z"]))
    pq.write_table(pa.concat_tables([test, same]), "test.parquet")
    rows = the_split(over())
    assert rows.excluded().overlapping == ("x", "y", "z")
    assert len(rows.test) == len(test)


def test_a_test_file_equal_to_the_pool_leaves_no_test_rows(crowd, over):
    with pytest.raises(DataError, match="the texts of all 636 test rows are also in the pool"):
        the_split(over(evaluate={"files": "pool/a.parquet"}))


def test_rows_that_cannot_be_predicted_are_counted(crowd, over):
    test = pq.read_table("test.parquet")
    labels = ["unheard of", None, *test["label"].to_pylist()[2:]]
    pq.write_table(test.set_column(2, "label", pa.array(labels)), "test.parquet")
    rows = the_split(over())
    assert (rows.excluded().unknown, rows.excluded().unlabeled) == (1, 1)
    assert (len(rows.labeled), len(rows.test)) == (len(test) - 2, len(test))


def test_test_rows_are_embedded_with_the_state_fitted_to_the_pool(pool, config):
    """A text of the pool has the vector of the pool, and the fitted state of the pool does not change."""
    lines = (pool / "a.jsonl").read_text().splitlines()
    (pool.parent / "test.jsonl").write_text("\n".join([lines[3], lines[0].replace("number 0", "number 9999")]) + "\n")
    data = config(embed={"use": "lsa", "dimensions": 8}, evaluate={"files": "test.jsonl"})
    context = pipeline.make_context(config_from_dict(data), Serial())
    whole = pipeline.build_pool(context)
    learnt = Path("run/embed/lsa/fitted.npz").read_bytes()
    rows = split.read_test_files(context, whole, ["test.jsonl"])
    np.testing.assert_array_equal(rows.shard(0).vectors(None)[0], whole.embeddings(None)[3])
    assert Path("run/embed/lsa/fitted.npz").read_bytes() == learnt
    assert not list(Path("run/evaluate").rglob("fitted.npz"))
