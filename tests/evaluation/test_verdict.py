"""Tests of the texts on a comparison and of its page."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

from curate.evaluation import comparison_page, verdict


def _sample():
    spec = importlib.util.spec_from_file_location("comparison_sample", Path(__file__).parent / "sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAMPLE = _sample()


def test_the_sentence_names_the_best_selector_and_describes_the_others():
    assert verdict.sentence(SAMPLE.comparison()) == (
        "use facility_location at prune rate 0.9: it is better than the random baseline by 10.0 ± 2.0 points of "
        "probe_accuracy; top_k does not differ significantly from it; ccs is worse than it"
    )


def test_where_lower_is_better_losing_is_winning():
    """If the same numbers are an error, the order is reversed."""
    found = SAMPLE.comparison()
    error = replace(SAMPLE.ACCURACY, column=replace(SAMPLE.ACCURACY.column, higher_is_better=False))
    turned = replace(found, primary=error, measures=(error, SAMPLE.SPREAD))
    assert verdict.sentence(turned).startswith(
        "use ccs at prune rate 0.9: it is better than the random baseline by 20.0 ± 2.0"
    )
    assert turned.rank(turned.cells["ccs", 0.9]) == 1


def test_the_pareto_front_contains_selectors_that_none_beats_in_less_time():
    found = SAMPLE.comparison()
    front = {cell.selector for cell in found.tested(0.9) if found.on_front(cell)}
    assert front == {"uniform", "top_k", "facility_location"}


def test_excluded_test_rows_are_mentioned():
    told = "\n".join(verdict.about(SAMPLE.comparison()))
    assert "4 test rows are excluded, because the pool contains the same text: a, b, c and 1 more" in told
    assert "1 test row without a label is excluded" in told
    assert "2 test rows with a label that is not in the pool are excluded" in told


def test_a_cell_without_numbers_is_a_dash_in_every_table():
    tables = verdict.tables(SAMPLE.comparison())
    assert next(row for row in tables[0][1] if row[0].startswith("top_k"))[1] == "–"
    assert next(row for row in tables[1][1] if row[0] == "top_k")[2] == "2"


def test_selectors_that_read_labels_or_groups_are_marked_everywhere():
    found = SAMPLE.comparison()
    marked, seen = "top_k (reads labels, groups of source)", "labels, groups of source"
    grid, ranks, _ = verdict.tables(found)
    assert marked in [row[0] for row in grid[1]]
    assert {row[0]: row[1] for row in ranks[1]} == {"top_k": seen, "ccs": "–", "facility_location": "–", "uniform": "–"}
    assert any(seen in line for line in verdict.about(found))
    cells = verdict.as_dict(found)["cells"]
    assert all(
        cell["sees"] == (["labels", "groups of source"] if cell["selector"] == "top_k" else []) for cell in cells
    )
    assert "(reads labels, groups of source)" in comparison_page.render(found)


def test_a_comparison_describes_the_correction_and_the_number_of_missing_seeds():
    found = SAMPLE.comparison()
    place = ("facility_location", 0.5)
    cells = {**found.cells, place: replace(found.cells[place], seeds_needed=12)}
    never = ("ccs", 0.5)
    cells[never] = replace(found.cells[never], seeds_needed=None)
    found = replace(found, cells=cells)
    lines = verdict.about(found)
    assert "facility_location at 0.5: too few seeds for this effect: about 12 are needed" in lines
    assert "ccs at 0.5: more seeds alone would not make it significant" in lines
    assert "(+1.0 ± 2.0; needs about 12 seeds)" in verdict.grid_table(found)[1][0][1]
    assert any("Holm-corrected for 5 comparisons with the random baseline" in line for line in lines)
    assert "too few seeds" in comparison_page.render(found)


def test_json_has_no_nan():
    json.dumps(verdict.as_dict(SAMPLE.comparison()), allow_nan=False)


def test_the_page_is_deterministic_and_escapes_names():
    text = comparison_page.render(SAMPLE.comparison(SAMPLE.EVIL))
    assert text == comparison_page.render(SAMPLE.comparison(SAMPLE.EVIL))
    assert "<img" not in text
    assert "better than the random baseline by 10.0 ± 2.0 points" in re.sub(
        "<script>.*?</script>", "", text, flags=re.DOTALL
    )


def test_a_result_from_few_seeds_gives_the_number_of_seeds_needed():
    found = SAMPLE.comparison()
    cells = {place: replace(each, p=0.3, seeds_needed=0) for place, each in found.cells.items()}
    found = replace(found, cells=cells)
    assert verdict.sentence(found) == "no selector is significantly better than the random baseline: use uniform"
    cells["facility_location", 0.9] = replace(cells["facility_location", 0.9], seeds_needed=12)
    cells["ccs", 0.9] = replace(cells["ccs", 0.9], seeds_needed=7)  # it loses
    found = replace(found, cells=cells)
    expected = (
        "no selector is significantly better than the random baseline: use uniform; "
        "testing whether facility_location is needs about 12 seeds"
    )
    assert verdict.sentence(found) == expected
