"""Frame of a self-contained HTML page, which opens offline and never accesses the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from curate.report.charts.bars import Figure
from curate.report.html.tags import Markup, tag

ASSETS = ("page.css", "page.js", "plotly-basic.min.js")
"""Files in ``curate.report``. The last is the npm package plotly.js-basic-dist-min 4.1.1: bars and scatter plots."""


def document(
    title: str, header: Markup, sections: Sequence[Markup | None], figures: Sequence[Figure], version: str
) -> str:
    """Return the complete HTML file.

    Every text is escaped by construction. The content security policy allows only the scripts of the page, by their
    hashes, so that no text can run code or access the network.
    """
    style, script, library = (files("curate.report").joinpath(name).read_text("utf-8") for name in ASSETS)
    allowed = " ".join(_hash(text) for text in (library, script))
    policy = f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {allowed}"
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", title),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        header,
        tag("main", *sections),
        tag("footer", f"Created by curate {version}. This file is self-contained: it opens offline and sends no data."),
        tag("div", id="card", hidden="", role="tooltip"),
        tag("script", Markup(_json(figures)), id="figures", type="application/json"),
        tag("script", Markup(library)),
        tag("script", Markup(script)),
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n{head}\n{body}\n</html>\n'


def section(key: str, title: str, children: Sequence[Markup | None]) -> Markup | None:
    """Return a section of the page with a title; None if it is empty."""
    if not any(children):
        return None
    return tag("section", tag("h2", title, id=f"{key}-title"), *children, id=key, aria_labelledby=f"{key}-title")


def contents_list(sections: Sequence[tuple[str, str]]) -> Markup:
    """Return the table of contents, from the keys and titles of the sections."""
    links = (tag("li", tag("a", title, href=f"#{key}")) for key, title in sections)
    return tag("nav", tag("ul", *links), class_="contents", aria_label="Contents")


def grid(charts: list[Markup]) -> Markup | None:
    """Return charts side by side, as far as there is space; None without charts."""
    return tag("div", *charts, class_="grid") if charts else None


def tile(name: str, number: str, note: str) -> Markup:
    """Return a tile with one number for the top of the page."""
    return tag("div", tag("dt", name), tag("dd", number, class_="number"), tag("dd", note, class_="note"))


def figure(drawn: Figure) -> Markup:
    """Return the element of a chart, with its title and texts."""
    buttons = [
        tag("button", view.label, type="button", data_view=str(number), aria_pressed="true" if number == 0 else "false")
        for number, view in enumerate(drawn.views)
    ]
    return tag(
        "figure",
        tag("h3", drawn.title),
        tag("div", *buttons, class_="views", role="group", aria_label="Choose the view of the chart")
        if buttons
        else None,
        tag("ul", class_="legend"),
        tag(
            "div",
            class_="chart",
            id=f"figure-{drawn.key}",
            role="img",
            aria_label=drawn.alt,
            style=f"height:{drawn.height}px",
        ),
        tag("figcaption", drawn.note),
        tag("noscript", tag("p", drawn.alt)),
    )


def _json(value: object) -> str:
    """Return JSON that is safe inside a script element; numbers that are not finite become null."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
