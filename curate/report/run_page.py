"""The report of a run, as one page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from curate.report import contamination_text, evaluation_text, ground_truth_table, sentences
from curate.report.charts import bars, error_bars, scatter, threshold_curve
from curate.report.charts.bars import Figure
from curate.report.evaluation_data import Evaluation
from curate.report.formatting import count, listed, number, plural, seconds, share, short, value
from curate.report.html import page_frame, tables
from curate.report.html.page_frame import section
from curate.report.html.tags import Markup, tag
from curate.report.report_data import Example, Examples, Report

MOST_BYTES = 2_000_000
"""Size that a page stays below, by shortening the texts that it quotes."""

TEXTS = (700, 350, 175, 80, 40, 20)
"""Characters of a quoted text: the first with which the page is small enough, else the last."""

FACTS = 4
"""Scores shown with an example; more of them are folded away."""

CLUSTER_TEXT = 160
"""Most characters of the example of a cluster."""

UNIFORM = (
    "A uniform selection is as many rows, drawn at random from the pool: what choosing rows gains is the difference."
)

_PAIRED = "the difference to uniform is paired, seed by seed"
_LEARNT = f"What models reach on test rows; {_PAIRED}"
_ITSELF = f"What needs no model; {_PAIRED}"
_GROUPS = "Groups of test rows, those that lose most first"
_CAPTIONS = ("The lowest accuracy of any group of test rows", "How stable the choice is: 1 is the same rows, 0 none")


def render(report: Report) -> str:
    """Return the page, of at most ``MOST_BYTES`` bytes unless names and the configuration alone take more.

    Its bytes depend on the report alone.
    """
    for text in TEXTS:
        page = _page(report, text)
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _page(report: Report, text: int) -> str:
    drawn = _figures(report, text)
    title = f"{sentences.headline(report)} · {report.run}"
    sections = _sections(report, drawn, text)
    shown = [(key, name, body) for key, name, parts in sections if (body := section(key, name, parts)) is not None]
    header = _header(report, [(key, name) for key, name, _ in shown], text)
    return page_frame.document(title, header, [body for *_, body in shown], list(drawn.values()), report.version)


def _figures(report: Report, text: int) -> dict[str, Figure]:
    drawn = [scatter.of_map(report, report.map, text)] if report.map is not None and report.map.ids else []
    if report.neighbors is not None and any(map(len, (report.neighbors.before, report.neighbors.after))):
        drawn.append(bars.of_neighbors(report.neighbors))
    drawn += [bars.of_shares(number, part) for number, part in enumerate(report.shares) if len(part.names) > 1]
    drawn += [threshold_curve.of_retention(number, part) for number, part in enumerate(report.retention) if part.rows]
    scores = sentences.scores(report)
    drawn += [bars.of_scores(f"score-{number}", score) for number, score in enumerate(scores.leading)]
    drawn += [bars.of_scores(f"folded-{number}", score) for number, score in enumerate(scores.others)]
    if report.evaluation is not None:
        groups = error_bars.of_groups(report.evaluation)
        drawn += [*error_bars.of_models(report.evaluation), *([groups] if groups else [])]
    return {figure.key: figure for figure in drawn}


def _header(report: Report, parts: list[tuple[str, str]], text: int) -> Markup:
    rows, sources = report.rows, report.source_count
    kept_tokens, of_tokens = sentences.tokens(report)
    spent = sum(stage.seconds for stage in report.stages if not stage.reused)
    verdict = evaluation_text.sentence(report.evaluation) if report.evaluation else ""
    gained = [*sentences.gains(report), *([verdict] if verdict else [])]
    tiles = [
        ("Pool", count(rows.rows_in), f"rows from {plural(sources, 'source')}" if sources else "rows"),
        ("Kept", count(rows.kept), f"rows, {share(rows.kept, rows.rows_in)} of the pool"),
        ("Tokens kept", kept_tokens, of_tokens) if report.tokens else None,
        _judged(report.evaluation),
        ("Time", seconds(spent), plural(len(report.stages), "stage")) if not math.isnan(spent) else None,
    ]
    return tag(
        "header",
        tag("p", tag("span", "curate", class_="brand"), tag("span", report.run), class_="run"),
        tag("h1", sentences.headline(report)),
        tag("p", sentences.story(report), class_="story"),
        tag("ul", *(tag("li", line) for line in gained), class_="gains") if gained else None,
        tag("p", sentences.change(report), class_="aside") if report.change else None,
        tag("p", changes, class_="aside") if (changes := sentences.changes(report)) else None,
        _warnings(report.warnings),
        tag("dl", *(page_frame.tile(*tile) for tile in tiles if tile is not None), class_="tiles"),
        tag("p", f"seed {report.seed} · curate {report.version}{_shortened(text)}", class_="meta"),
        page_frame.contents_list(parts),
    )


def _shortened(text: int) -> str:
    """Return that texts are shorter than usual, where they are."""
    return "" if text == TEXTS[0] else f" · texts cut to {text} characters, to keep the page small"


def _judged(found: Evaluation | None) -> tuple[str, str, str] | None:
    """The tile of what was measured."""
    line = None if found is None else found.line(found.primary)
    if line is None:
        return None
    return evaluation_text.titled(line), number(line.selection.mean, rate=line.rate), evaluation_text.beside(line)


def _warnings(warnings: tuple[str, ...]) -> Markup | None:
    if not warnings:
        return None
    title = tag("strong", plural(len(warnings), "warning"))
    return tag("aside", title, tag("ul", *(tag("li", text) for text in warnings)), class_="warnings")


def _sections(report: Report, drawn: dict[str, Figure], text: int) -> list[tuple[str, str, Sequence[Markup | None]]]:
    """Return the key, the title and the parts of each section; those without parts are not shown."""

    def charts(prefix: str) -> list[Markup]:
        return [page_frame.figure(figure) for key, figure in drawn.items() if key.startswith(prefix)]

    alone = [sentences.of_shares(part) for part in report.shares if len(part.names) == 1]
    notes = [_aside(f"{line}.") for line in alone]
    unevaluated = [_aside(report.unevaluated)] if report.unevaluated else []
    more = charts("folded")
    folded = _fold(plural(len(more), "more score"), page_frame.grid(more)) if more else None
    compared = [tables.evidence(report), *charts("neighbors"), *unevaluated]
    shares = [page_frame.grid(charts("shares")), tables.clusters(report, min(text, CLUSTER_TEXT)), *notes]
    scores = [page_frame.grid(charts("score")), folded, _constant(report)]
    checked = contamination_text.section(report.decontamination, text)
    return [
        ("models", "Does it train a better model?", _models(report, charts)),
        ("stages", "What each stage did", [tables.stages(report)]),
        ("map", "The pool and the selection", charts("map")),
        ("evidence", "Compared with a uniform selection", [_aside(UNIFORM), *compared] if any(compared) else []),
        ("answers", "Compared with the ground truth", ground_truth_table.section(report.ground_truth)),
        ("shares", "What the selection is made of", shares),
        ("conflicts", "The same text, different labels", _conflicts(report)),
        ("scores", "Scores", scores),
        ("duplicates", "What other thresholds would keep", [page_frame.grid(charts("retention"))]),
        ("sources", "What became of each source", [tables.sources(report)]),
        ("examples", "Rows to look at", [_examples(group, text) for group in report.examples if group.rows]),
        ("decontamination", "Checked against evaluation sets", checked),
        ("again", "How to make it again", _again(report)),
    ]


def _conflicts(report: Report) -> list[Markup | None]:
    """Texts with different labels, in a sentence where there are none."""
    part = report.conflicts
    if part is None:
        return []
    return [tables.conflicts(part) or _aside(f"{sentences.of_conflicts(part)}.")]


def _aside(*children: str) -> Markup:
    return tag("p", *children, class_="aside")


def _models(report: Report, charts: Callable[[str], list[Markup]]) -> list[Markup | None]:
    """What an evaluation found; and where selectors were compared."""
    link = tag("a", report.comparison, href=report.comparison) if report.comparison else None
    compared: list[Markup | None] = [_aside("Other selectors, other prune rates: ", link, ".")] if link else []
    found = report.evaluation
    if found is None:
        return compared
    learnt = [line for line in found.metrics if line.learns]
    others = [line for line in found.metrics if not line.learns]
    more, smaller = charts("probes"), (evaluation_text.worst(found), evaluation_text.stability(found))
    itself = tables.plain(_ITSELF, evaluation_text.metrics(others))
    return [
        *charts("models"),
        tables.plain(_LEARNT, evaluation_text.metrics(learnt)) if learnt else _aside("No metric trained a model."),
        *charts("groups"),
        _fold("The same groups as a table", tables.plain(_GROUPS, evaluation_text.groups(found)))
        if found.slices
        else None,
        *(tables.plain(told, table) for told, table in zip(_CAPTIONS, smaller, strict=True) if table[1]),
        _fold(f"{plural(len(more), 'more chart')} of models", page_frame.grid(more)) if more else None,
        _fold(f"{plural(len(others), 'number')} of the choice itself", itself) if others else None,
        *(_aside(f"{note}.") for note in found.notes),
        *compared,
    ]


def _fold(title: str, body: Markup | None) -> Markup:
    return tag("details", tag("summary", tag("span", title)), body)


def _constant(report: Report) -> Markup | None:
    """Scores that say nothing about this pool, in a sentence instead of a chart."""
    alike, empty = [], []
    for score in sentences.scores(report).constant:
        if math.isnan(score.pool_median):
            empty.append(score.name)
        else:
            alike.append(f"{score.name} ({value(score.pool_median)})")
    parts = [f"One value throughout: {listed(alike)}."] if alike else []
    parts += [f"No value in any row: {listed(empty)}."] if empty else []
    return tag("p", " ".join(parts), class_="aside") if parts else None


def _examples(group: Examples, text: int) -> Markup:
    shown = len(group.rows)
    what = f"Dropped by {group.entry}" if group.entry else "Kept"
    of = f"{count(shown)} of {plural(group.total, 'row')}" if shown < group.total else plural(shown, "row")
    return tag(
        "details",
        tag("summary", tag("span", what), tag("small", of)),
        tag("div", *(_example(example, text, kept=not group.entry) for example in group.rows), class_="examples"),
        open="",
    )


def _example(example: Example, text: int, *, kept: bool) -> Markup:
    facts = [
        ("id", short(example.id, 80)),
        ("source", short(example.source, 60)),
        ("cluster", short(example.cluster, 60)),
    ]
    scores = [(name, value(number)) for name, number in example.scores.items() if not math.isnan(number)]
    if len(scores) <= FACTS:
        facts, scores = facts + scores, []
    return tag(
        "article",
        tag("p", short(example.reason, text), class_="reason") if example.reason else None,
        _text(example.text, text),
        _representative(example, text) if example.representative else None,
        _facts(facts),
        tag("details", tag("summary", plural(len(scores), "score")), _facts(scores)) if scores else None,
        class_="kept" if kept else "dropped",
    )


def _facts(facts: list[tuple[str, str]]) -> Markup:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", text)) for name, text in facts if text))


def _representative(example: Example, text: int) -> Markup:
    before, name, after = sentences.of_representative(example)
    label = tag("p", before, tag("b", name), after, class_="reason")
    return tag("div", label, _text(example.representative_text, text), class_="representative")


def _text(text: str, length: int) -> Markup:
    return (
        tag("blockquote", short(text, length), dir="auto") if text else tag("blockquote", "(no text)", class_="empty")
    )


def _again(report: Report) -> list[Markup | None]:
    commands = tag("pre", tag("code", "\n".join(report.reproduce)), tabindex="0") if report.reproduce else None
    config = tag("pre", tag("code", report.config), tabindex="0") if report.config else None
    return [commands, _fold("Resolved configuration", config) if config else None]
