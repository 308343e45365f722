"""Texts and tables about contamination, for the report and the dataset card."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.report.formatting import count, join_words, plural, share, short, value
from curate.report.html import tables
from curate.report.html.tags import Markup, tag
from curate.report.report_data import ContaminatedRow, Decontamination


def method(result: Decontamination) -> list[str]:
    """Return sentences about how contaminated rows were found."""
    lines = []
    if result.ngram_size is not None:
        size = plural(result.ngram_size, "word")
        least = (
            f"at least {share(result.min_overlap_rate)} of the sequences" if result.min_overlap_rate else "a sequence"
        )
        lines.append(
            f"Rows that share {least} of {size} with an evaluation text were dropped, ignoring case and punctuation. "
            f"Evaluation texts of {result.min_words} to {result.ngram_size} words were compared as one sequence, "
            "shorter ones were not compared."
        )
        if result.max_ngram_rows is not None:
            lines.append(f"Sequences that occur in more than {plural(result.max_ngram_rows, 'row')} were ignored.")
    if result.min_similarity is not None:
        also = "were also dropped" if lines else "were dropped"
        lines.append(
            f"Rows whose embedding ({result.embedding}) has a cosine similarity of at least {result.min_similarity:g} "
            f"to that of an evaluation text {also}."
        )
    else:
        lines.append("Embeddings were not compared, so paraphrases of evaluation texts were not detected.")
    return lines


def outcome(result: Decontamination) -> str:
    """Return a sentence about the result."""
    names = join_words([one.name for one in result.sets])
    if not result.rows:
        return f"No row of the pool overlaps a text of {names}."
    verb = "was" if result.rows == 1 else "were"
    return f"{plural(result.rows, 'row')} of the pool {verb} dropped because of overlaps with texts of {names}."


def sets(result: Decontamination) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the header and the rows of a table of the evaluation sets."""
    head = ("Evaluation set", "Texts", "Rows without text", "Too short", "Found in the pool", "Pool rows dropped")
    return head, [
        (one.name, *(count(number) for number in (one.texts, one.empty, one.short, one.found, one.rows)))
        for one in result.sets
    ]


def section(result: Decontamination | None, text: int) -> list[Markup | None]:
    """Return the section of the report; empty without evaluation sets."""
    if result is None:
        return []
    files = [(path, digest) for one in result.sets for path, digest in one.files]
    return [
        tag("p", " ".join((outcome(result), *method(result))), class_="aside"),
        tables.plain("Evaluation sets. A pool row may overlap several sets, and is counted in each", sets(result)),
        _fold(
            plural(len(files), "file"), "", tables.plain("Files of the evaluation sets", (("File", "sha256"), files))
        ),
        _hits(result, text) if result.hits else None,
    ]


def _hits(result: Decontamination, text: int) -> Markup:
    n_shown, total = len(result.hits), plural(result.total, "hit")
    note = f"{count(n_shown)} of {total}; all are in decontaminate/part-*.parquet" if n_shown < result.total else total
    return _fold(
        "Overlapping rows and evaluation texts",
        note,
        tag("div", *(_hit(hit, text) for hit in result.hits), class_="examples"),
        opened=True,
    )


def _fold(title: str, note: str, body: Markup, *, opened: bool = False) -> Markup:
    summary = tag("summary", tag("span", title), tag("small", note) if note else None)
    return tag("details", summary, body, open="" if opened else None)


def _hit(row: ContaminatedRow, text: int) -> Markup:
    hit, location = row.hit, short(f"{row.hit.file}:{row.hit.line}", 120)
    more = f"; it overlaps {plural(row.texts - 1, 'more text')} of the set" if row.texts > 1 else ""
    similarity = math.nan if hit.similarity is None else hit.similarity
    if hit.shared is not None:
        overlap = f"contains {share(similarity)} of the word sequences of {location}{more}"
    else:
        overlap = f"has a cosine similarity of {value(similarity)} to {location}{more}"
    label = tag("p", "evaluation set ", tag("b", short(hit.set, 80)), class_="reason")
    return tag(
        "article",
        tag("p", tag("b", short(row.id, 80)), f" {overlap}", class_="reason"),
        tag("p", f"shared text: {short(hit.shared, text)}", class_="reason", dir="auto") if hit.shared else None,
        _text(row.text, text),
        tag("div", label, _text(hit.text, text), class_="representative"),
        class_="dropped",
    )


def _text(text: str, length: int) -> Markup:
    return tag("blockquote", short(text, length), dir="auto")
