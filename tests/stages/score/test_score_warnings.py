"""Warnings of scorers about their scores reach the manifest, the log and the report, also of a run that reuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import PluginError
from curate.executors.serial import Serial
from curate.progress import NullProgress, RowProgress

SCORER = '''
from dataclasses import dataclass

import numpy as np

from curate.plugins.batches import ScoreBatch
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.results import Scores


@scorer(version=1, reads={{"text"}}, within="{within}", columns=(OutputColumn(higher_is_better=True, unit="one"),))
@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """Ones."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:
        return Scores(np.ones(len(batch.texts), np.float32), warnings=("all <ones>",), facts={{"ones": 1.0}})
'''


def test_a_warning_is_stored_and_given_by_every_run(pool, config):
    Path("doubtful.py").write_text(SCORER.format(within="corpus"))
    data = config(plugins=["doubtful.py"], score=[{"use": "doubtful"}])
    assert curate.run(data).warnings == ("score doubtful: all <ones>",)
    facts = json.loads(Path("run/score/doubtful/manifest.json").read_text())["facts"]
    assert (facts["warnings"], facts["measured"]) == (["all <ones>"], {"ones": 1})
    assert "score doubtful: all &lt;ones&gt;" in Path("run/report.html").read_text()
    assert curate.run(data).warnings == ("score doubtful: all <ones>",)  # though nothing is scored again


@pytest.mark.parametrize(
    ("shares", "rows"),
    [((), [60]), ((0.5, 0.25, 0.25), [30, 15, 15]), ((1 / 3,) * 3, [20, 20, 20]), ((0.9, 0.9), [54, 6])],
)
def test_shares_of_the_work_are_reported_in_rows(shares, rows):
    heard: list[int] = []
    progress = NullProgress()
    progress.advance = heard.append
    row_progress = RowProgress(progress, 60)
    for share in (*shares, 1):
        row_progress.advance(share)
    assert [number for number in heard if number] == rows


def test_a_scorer_that_trains_reports_its_progress(pool, config):
    heard: list[tuple[str, int]] = []

    class Listening(NullProgress):
        def begin(self, task, total, unit="rows"):
            heard.append((task, 0))

        def advance(self, units):
            heard.append((heard[-1][0], units))

    data = config(
        proxy={"use": "logistic", "epochs": 2},
        score=[{"use": "data_oob", "models": 6}],
        select=[{"use": "uniform", "keep": 20}],
    )
    pipeline.run(config_from_dict(data), Serial(), Listening())
    assert [units for task, units in heard if task == "scoring data_oob" and units] == [10] * 6


def test_a_scorer_that_sees_one_shard_cannot_warn_about_the_pool(pool, config):
    Path("doubtful.py").write_text(SCORER.format(within="shard"))
    with pytest.raises(PluginError, match="scorer 'doubtful' returned Scores, but sees less than the pool"):
        curate.run(config(plugins=["doubtful.py"], score=[{"use": "doubtful"}]))
