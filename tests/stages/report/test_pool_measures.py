"""What a report measures of the pool is computed once, and never trusted where it is not as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from curate import pipeline
from curate.config.loader import config_from_dict
from curate.report.charts import projection
from curate.stages.report.pool_measures import NAME

CACHE, PAGE = Path("run", NAME), Path("run/report.html")


@pytest.fixture
def projections(monkeypatch) -> list[int]:
    """Number of rows of each projection that is computed."""
    rows, project = [], projection.project

    def counted(embeddings):
        rows.append(len(embeddings))
        return project(embeddings)

    monkeypatch.setattr(projection, "project", counted)
    return rows


def figures(page: str) -> object:
    return json.loads(page.partition('id="figures" type="application/json">')[2].partition("</script>")[0])


def test_another_selection_from_the_same_rows_computes_no_projection(pool, config, projections):
    curate.run(config(select=[{"use": "uniform", "keep": 20}]))
    before = CACHE.read_bytes()
    curate.run(config(select=[{"use": "uniform", "keep": 30}]))
    assert projections == [60]
    assert CACHE.read_bytes() == before
    cached = figures(PAGE.read_text())
    CACHE.unlink()
    pipeline.report(config_from_dict(config(select=[{"use": "uniform", "keep": 30}])))
    assert projections == [60, 60]
    assert CACHE.read_bytes() == before
    assert figures(PAGE.read_text()) == cached


def test_another_seed_computes_it_again(pool, config, projections):
    curate.run(config())
    curate.run(config(seed=1))
    assert projections == [60, 60]


def _flipped(data: bytes) -> bytes:
    at = data.index(b'"x": [') + 8
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _shorter(data: bytes) -> bytes:
    kept = {key: value for key, value in json.loads(data).items() if key != "checksum"}
    return json.dumps({**kept, "x": kept["x"][1:], "y": kept["y"][1:]}).encode()


def _unpaired(data: bytes) -> bytes:
    kept = {key: value for key, value in json.loads(data).items() if key != "checksum"}
    return json.dumps({**kept, "x": kept["x"][1:]}).encode()


@pytest.mark.parametrize(
    "damage", [_flipped, _shorter, _unpaired, lambda data: data[: len(data) // 2], lambda _: b"[]"]
)
def test_a_damaged_cache_is_computed_again(pool, config, projections, damage):
    curate.run(config())
    before = CACHE.read_bytes()
    CACHE.write_bytes(damage(before))
    pipeline.report(config_from_dict(config()))
    assert projections == [60, 60]
    assert CACHE.read_bytes() == before


def test_without_a_report_nothing_out_of_date_is_left(pool, config):
    few, more = (config_from_dict(config(select=[{"use": "uniform", "keep": keep}])) for keep in (20, 30))
    with pipeline.open_executor("serial") as serial:
        done = pipeline.run(few, serial)
        assert done.accounting()[-1]["stage"] == "report"
        assert done.report_account is not None
        page = PAGE.read_bytes()

        same = pipeline.run(few, serial, report=False)
        assert same.report == PAGE.resolve() or PAGE.read_bytes() == page
        changed = pipeline.run(more, serial, report=False)
        assert (changed.report, changed.report_account, PAGE.exists()) == (None, None, False)
        assert "no report (write it with: curate report run)" in changed.sentence()

        pipeline.report(more)
        assert "30 of 60 rows kept" in PAGE.read_text()
        assert pipeline.run(more, serial, report=False).report is not None  # it is of this selection
        assert PAGE.exists()
        assert pipeline.run(more, serial).report_account is not None
        assert pipeline.run(more, serial).report_account is None  # nothing changed
