"""Tests of the comparison page in a browser: charts and buttons."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

READY = "return [...document.querySelectorAll('.chart')].every(c => c.querySelector('.point, .js-line'))"
LINES = "return document.querySelectorAll('#figure-curves .js-line').length"
LEGEND = "return [...document.querySelectorAll('#curves .legend li')].map(item => item.textContent.slice(1))"


@pytest.fixture
def page(driver: Any, tmp_path: Path) -> Any:
    from selenium.webdriver.support.wait import WebDriverWait

    from curate.evaluation.comparison_page import render

    spec = importlib.util.spec_from_file_location(
        "comparison_sample", Path(__file__).parents[1] / "evaluation/sample.py"
    )
    sample = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sample)
    path = tmp_path / "compare.html"
    path.write_text(render(sample.comparison()), encoding="utf-8", newline="\n")
    driver.get_log("browser")
    driver.get(path.as_uri())
    WebDriverWait(driver, 20, poll_frequency=0.05).until(lambda d: d.execute_script(READY))
    return driver


def test_every_chart_is_drawn_without_console_errors(page: Any) -> None:
    assert page.execute_script("return document.querySelectorAll('.chart').length") == 2
    assert page.execute_script("return document.querySelectorAll('#figure-front .point').length") == 3
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_click_shows_one_selector_with_the_random_baseline(page: Any) -> None:
    assert page.execute_script(LEGEND) == [
        "facility_location",
        "ccs",
        "top_k",
        "uniform",
        "All rows",
    ]
    page.find_element("css selector", "#curves [data-view='1']").click()
    assert page.execute_script(LEGEND) == ["facility_location", "uniform", "All rows"]
