"""What a pool was checked against: the words for the report and the card, and the hits, each beside its text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.report.formatting import count, listed, plural, share, short, value
from curate.report.html import tables
from curate.report.html.tags import Markup, tag
from curate.report.report_data import ContaminatedRow, Decontamination


def method(found: Decontamination) -> list[str]:
    """How it was told which rows to drop, in sentences."""
    told = []
    if found.ngram_size is not None:
        enough = f"at least {share(found.min_overlap_rate)} of the runs" if found.min_overlap_rate else "a run"
        told.append(
            f"Rows that share {enough} of {plural(found.ngram_size, 'word')} with an evaluation text were dropped, "
            f"ignoring case and punctuation; a text of {found.min_words} to {found.ngram_size} words is one run, and a "
            "shorter text has none."
        )
        if found.max_ngram_rows is not None:
            told.append(f"Runs of words that more than {plural(found.max_ngram_rows, 'row')} have did not count.")
    if found.min_similarity is not None:
        also = "were dropped too" if told else "were dropped"
        told.append(
            f"Rows whose embedding by {found.embedding} has a cosine of at least {found.min_similarity:g} with that of "
            f"an evaluation text {also}."
        )
    else:
        told.append("Embeddings were not compared, so that copies in other words were not looked for.")
    return told


def outcome(found: Decontamination) -> str:
    """What was found, in a sentence."""
    names = listed([one.name for one in found.sets])
    if not found.rows:
        return f"No row of the pool was found to hold a text of {names}."
    were = "was" if found.rows == 1 else "were"
    return f"{plural(found.rows, 'row')} of the pool {were} dropped for texts of {names}."


def sets(found: Decontamination) -> tuple[Sequence[str], list[Sequence[str]]]:
    """The header and the rows of a table of the sets."""
    head = ("Set", "Texts", "Without text", "Too short for words", "Found in the pool", "Rows dropped")
    return head, [
        (one.name, *(count(number) for number in (one.texts, one.empty, one.short, one.found, one.rows)))
        for one in found.sets
    ]


def section(found: Decontamination | None, text: int) -> list[Markup | None]:
    """The part of the page."""
    if found is None:
        return []
    files = [(path, digest) for one in found.sets for path, digest in one.files]
    return [
        tag("p", " ".join((outcome(found), *method(found))), class_="aside"),
        tables.plain("The evaluation sets; a row can be dropped for several of them", sets(found)),
        _fold(plural(len(files), "file"), "", tables.plain("What was read", (("File", "sha256"), files))),
        _hits(found, text) if found.hits else None,
    ]


def _hits(found: Decontamination, text: int) -> Markup:
    shown, total = len(found.hits), plural(found.total, "hit")
    of = f"{count(shown)} of {total}; all are in decontaminate/part-*.parquet" if shown < found.total else total
    return _fold(
        "Rows and evaluation texts",
        of,
        tag("div", *(_hit(hit, text) for hit in found.hits), class_="examples"),
        opened=True,
    )


def _fold(title: str, note: str, body: Markup, *, opened: bool = False) -> Markup:
    summary = tag("summary", tag("span", title), tag("small", note) if note else None)
    return tag("details", summary, body, open="" if opened else None)


def _hit(row: ContaminatedRow, text: int) -> Markup:
    hit, place = row.hit, short(f"{row.hit.file}:{row.hit.line}", 120)
    more = f", and {plural(row.texts - 1, 'more text')} of the set" if row.texts > 1 else ""
    similarity = math.nan if hit.similarity is None else hit.similarity
    if hit.shared is not None:
        told = f"{share(similarity)} of the runs of words of {place}{more}"
    else:
        told = f"cosine similarity {value(similarity)} to {place}{more}"
    label = tag("p", "evaluation set ", tag("b", short(hit.set, 80)), class_="reason")
    return tag(
        "article",
        tag("p", tag("b", short(row.id, 80)), f": {told}", class_="reason"),
        tag("p", f"both have: {short(hit.shared, text)}", class_="reason", dir="auto") if hit.shared else None,
        _text(row.text, text),
        tag("div", label, _text(hit.text, text), class_="representative"),
        class_="dropped",
    )


def _text(text: str, length: int) -> Markup:
    return tag("blockquote", short(text, length), dir="auto")
