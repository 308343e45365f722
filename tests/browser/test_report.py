"""Tests of the report in a browser, for properties that cannot be checked in the HTML."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("browser")  # one browser

READY = "return [...document.querySelectorAll('.chart')].every(c => c.querySelector('.point, .js-line'))"
DOTS = "#figure-map .scatterlayer .trace:last-child .point"


def colour_scheme(driver: Any, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def wait(driver: Any, done: Callable[[Any], bool]) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(driver, 20, poll_frequency=0.05).until(done)


@pytest.fixture
def page(driver: Any, report_file: Path) -> Any:
    """Return the report, newly opened with the light color scheme, with all charts drawn."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    colour_scheme(driver, "light")
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(report_file.as_uri())
    wait(driver, lambda d: d.execute_script(READY))
    return driver


def to_middle(page: Any, element: Any) -> None:
    """Scroll, and wait until the page has received the event."""
    page.execute_async_script(
        "arguments[0].scrollIntoView({block: 'center'});"
        "requestAnimationFrame(() => requestAnimationFrame(arguments[1]))",
        element,
    )


def dots(page: Any) -> list[str]:
    return page.execute_script(f"return [...document.querySelectorAll('{DOTS}')].map(d => getComputedStyle(d).fill)")


def loneliest(page: Any) -> list[int]:
    """Return the dots of the last visible trace, first those that no other dot covers."""
    figure = page.execute_script("return JSON.parse(document.getElementById('figures').textContent)[0]")
    rest, kept = (np.array([trace["x"], trace["y"]]).T for trace in figure["data"][:2])
    distance = np.linalg.norm(kept[:, None] - np.concatenate([kept, rest])[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(-distance.min(axis=1)).tolist()


def hover(page: Any, dot: int) -> dict[str, Any]:
    """Point at a dot of the last visible trace, and return its row."""
    from selenium.webdriver import ActionChains

    element = page.find_elements("css selector", DOTS)[dot]
    to_middle(page, element)
    ActionChains(page).move_to_element(element).perform()
    wait(page, lambda d: d.find_element("id", "card").is_displayed())
    figure = page.execute_script("return JSON.parse(document.getElementById('figures').textContent)[0]")
    row = figure["data"][1]["customdata"][dot]
    return {name: column[row] for name, column in figure["rows"].items()}


def test_every_chart_draws_its_marks(page: Any) -> None:
    drawn = page.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.chart')].map("
        "c => [c.id, c.querySelectorAll('.point, .js-line').length]))"
    )
    assert drawn.pop("figure-map") == 900
    assert drawn.pop("figure-retention-0") == 2
    assert len(drawn) == 12
    assert all(marks >= 3 for marks in drawn.values()), drawn


@pytest.mark.parametrize(("chart", "marks", "bars"), [("models", 6, 6), ("groups", 12, 4), ("probes-1", 3, 3)])
def test_results_of_models_are_drawn_with_their_intervals(page: Any, chart: str, marks: int, bars: int) -> None:
    page.execute_script("document.querySelectorAll('#models details').forEach(fold => fold.open = true)")
    count = f"return document.querySelectorAll('#figure-{chart} %s').length"
    wait(page, lambda d: d.execute_script(count % ".point") == marks)
    paths = f"[...document.querySelectorAll('#figure-{chart} .errorbar path')]"
    assert page.execute_script(f"return {paths}.filter(p => p.getBoundingClientRect().width > 5).length") == bars
    legend = page.execute_script(f"return document.querySelector('#figure-{chart}').previousElementSibling.textContent")
    assert legend == "●This selection◆Random baseline■All rows"


def test_the_console_is_silent_and_the_network_untouched(page: Any) -> None:
    page.find_element("css selector", "[data-view='1']").click()
    assert [line["message"] for line in page.get_log("browser")] == []
    events = [json.loads(line["message"])["message"] for line in page.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert len(asked) == 1, asked
    assert asked[0].startswith("file:")


def test_pointing_at_a_dot_shows_its_row(page: Any) -> None:
    row = hover(page, loneliest(page)[0])
    card = page.find_element("id", "card").text
    for column in ("text", "id", "cluster", "source", "outcome"):
        assert row[column] in card


def test_the_card_keeps_to_the_window(page: Any) -> None:
    for dot in loneliest(page)[:6]:
        hover(page, dot)
        box = page.execute_script("return document.getElementById('card').getBoundingClientRect().toJSON()")
        assert box["left"] >= 0
        assert box["right"] <= page.execute_script("return innerWidth")
        assert box["bottom"] <= page.execute_script("return innerHeight")


def test_hostile_text_is_shown_and_never_executed(page: Any) -> None:
    """One row of the sample contains a script, an image with a handler and a bold tag."""
    shown = page.execute_script(
        "return [...document.querySelectorAll('blockquote')].map(b => b.textContent).find(t => t.includes('onerror'))"
    )
    assert shown.startswith("</script><img src=x onerror=")
    assert page.execute_script("return document.images.length") == 0


@pytest.mark.parametrize(("view", "name"), [(0, "Kept"), (1, "Kept by the random baseline"), (2, "ccs")])
def test_the_buttons_change_the_selection_that_the_map_shows(page: Any, view: int, name: str) -> None:
    button = page.find_element("css selector", f"[data-view='{view}']")
    to_middle(page, button)
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    legend = page.find_element("css selector", "#map .legend").text
    assert name in legend
    shown = page.execute_script("return document.querySelectorAll('#figure-map .point').length")
    assert shown == 900


def test_unfolded_charts_fill_their_place(page: Any) -> None:
    """A chart that was drawn while collapsed is drawn again when it is expanded."""
    page.execute_script("document.getElementById('figure-folded-0').closest('details').open = true")
    room = "document.getElementById('figure-folded-0').clientWidth"
    drawn = "document.querySelector('#figure-folded-0 .main-svg').getBoundingClientRect().width"
    wait(page, lambda d: abs(d.execute_script(f"return {room} - {drawn}")) < 2)
    assert page.execute_script(f"return {room}") > 300


def test_charts_follow_the_color_scheme(page: Any) -> None:
    light = dots(page)
    colour_scheme(page, "dark")
    wait(page, lambda d: dots(d) != light)
    dark = dots(page)
    assert len(set(light)) == len(set(dark)) == 1
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(20, 23, 28)"
    colour_scheme(page, "light")
    wait(page, lambda d: dots(d) == light)


@pytest.mark.parametrize("width", [360, 390, 768, 961, 1280])
def test_the_page_never_scrolls_sideways(page: Any, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wait(page, lambda d: d.execute_script("return innerWidth") == width)
    drawn = "[...document.querySelectorAll('.chart .main-svg')].filter(s => s.checkVisibility())"
    charts = f"{drawn}.map(s => s.getBoundingClientRect().right)"
    widest = f"return Math.max(document.documentElement.scrollWidth, ...{charts})"
    wait(page, lambda d: d.execute_script(widest) <= width)  # charts follow the window a moment later


OVERFLOWING = """
const width = document.documentElement.clientWidth;
const scrolls = (element) => element.closest("pre, blockquote, .js-plotly-tester, #js-plotly-tester");
return [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && !scrolls(element))
  .filter((element) => {
    const box = element.getBoundingClientRect();
    return box.width && box.height && (box.right > width + 1 || box.left < -1);
  })
  .map((element) => `${element.tagName} ${element.textContent.slice(0, 60)}`);
"""
CLIPPED = """
return [...document.querySelectorAll(".chart")].filter((chart) => chart.checkVisibility()).flatMap((chart) => {
  const frame = chart.getBoundingClientRect();
  return [...chart.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.width && (box.right > frame.right + 1 || box.left < frame.left - 1 || box.bottom > frame.bottom + 1);
  }).map((text) => `${chart.id}: ${text.textContent}`);
});
"""


@pytest.mark.parametrize("width", [420, 1400])
def test_nothing_is_clipped(page: Any, width: int) -> None:
    """No element extends beyond the window, and no text beyond its chart, with sections expanded or collapsed."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_script("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    wait(page, lambda d: d.execute_script("return innerWidth") == width)
    wait(page, lambda d: d.execute_script(OVERFLOWING) == [])  # charts follow the window a moment later
    wait(page, lambda d: d.execute_script(CLIPPED) == [])


def test_a_page_is_small(report_file: Path) -> None:
    assert report_file.stat().st_size <= 2_000_000


def test_the_table_of_contents_links_every_section(page: Any) -> None:
    links = page.find_elements("css selector", ".contents a")
    sections = page.find_elements("css selector", "main section")
    assert [link.get_attribute("href").partition("#")[2] for link in links] == [
        one.get_attribute("id") for one in sections
    ]


def test_print_is_light_and_leaves_the_page_as_it_was(page: Any) -> None:
    colour_scheme(page, "dark")
    wait(
        page, lambda d: d.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    )
    before = dots(page)
    printed = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert base64.b64decode(printed).startswith(b"%PDF")
    assert page.execute_script("return document.documentElement.dataset.theme") is None
    wait(page, lambda d: dots(d) == before)
