"""Warnings of scorers about their scores reach the manifest, the log and the report, also of a run that reuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from curate.errors import PluginError

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


def test_a_scorer_that_sees_one_shard_cannot_warn_about_the_pool(pool, config):
    Path("doubtful.py").write_text(SCORER.format(within="shard"))
    with pytest.raises(PluginError, match="scorer 'doubtful' returned Scores, but sees less than the pool"):
        curate.run(config(plugins=["doubtful.py"], score=[{"use": "doubtful"}]))
