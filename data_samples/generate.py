"""Write the sample pool and its ground truth: ``python data_samples/generate.py [FOLDER]``.

Every text is composed of the words in topics.yaml and the sentences in grammar.yaml. Every run writes the same files.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import yaml

HERE = Path(__file__).parent
SEED = 20_240

LINES = 2_000
EXACT, EXACT_ORIGINALS = 100, 80
NEAR, NEAR_ORIGINALS = 160, 130
WRONG, JUNK, FOREIGN = 60, 80, 60
LEAKED, FRESH = 5, 15  # questions of the evaluation set that are, and are not, in the pool
RARE_SIZES = (4, 4, 3, 3, 2, 2)  # rows of the six rarest topics
ZIPF_SHIFT, ZIPF_EXPONENT = 8, 1.8  # the topic of rank r has rows in proportion to (r + shift) ** -exponent
WORDS = range(30, 121)  # number of words in a text of the grammar
DAYS = 2_000  # range of the dates of rows, from the start of 2019

T = TypeVar("T")


class Dice:
    """Random choices based on ``random()`` only, the one method with the same numbers in all Python versions."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def below(self, n: int) -> int:
        return int(self.random() * n)

    def between(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        return sorted(items, key=lambda _: self.random())


@dataclass(frozen=True, kw_only=True)
class Row:
    """Row of the pool, and the kind of problem that is planted in it."""

    source: str
    instruction: str
    output: str
    topic: str
    kind: str = ""
    """Kind of the planted problem; "" in a clean row."""

    detail: str | None = None
    """Details of the planted problem, as described in the README."""

    of: Row | None = None
    """Original of a copy."""


class Slots:
    """Words for one text, in which a phrase is repeated only after its list is used up."""

    def __init__(self, lists: Mapping[str, str], dice: Dice) -> None:
        self.lists = {name: text.split("; ") for name, text in lists.items()}
        self.dice = dice
        self.left: dict[str, list[str]] = {}

    def draw(self, slot: str) -> str:
        if slot == "number":
            return str(self.dice.between(2, 99))
        if slot == "year":
            return str(self.dice.between(1890, 2019))
        if not self.left.get(slot):
            self.left[slot] = self.dice.shuffled(self.lists[slot])
        return self.left[slot].pop()

    def fill(self, template: str) -> str:
        """Fill every {slot} of a template, and correct "a" and "an" and the case of sentences."""
        text = re.sub(r"\{(\w+)\}", lambda slot: self.draw(slot[1]), template)
        text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
        return re.sub(r"(^|[.?!] )([a-z])", lambda start: start[1] + start[2].upper(), text)


class Author:
    """Writer of rows of all kinds."""

    def __init__(self, topics: dict[str, dict[str, str]], grammar: dict[str, Any], dice: Dice) -> None:
        self.topics, self.grammar, self.dice = topics, grammar, dice
        self.wheel: list[str] = [
            name for name, manner in grammar["sources"].items() for _ in range(round(100 * manner["share"]))
        ]
        self.common = list(topics)[: -len(RARE_SIZES)]
        self.written: set[tuple[str, str]] = set()

    def source(self) -> str:
        """Draw a source in proportion to the shares of the sources."""
        return self.dice.pick(self.wheel)

    def new(self, write: Callable[[], Row]) -> Row:
        """Return a row with a new text, so that all exact duplicates are planted ones."""
        while ((row := write()).instruction, row.output) in self.written:
            pass
        self.written.add((row.instruction, row.output))
        return row

    # ------------------------------------------------------------ rows

    def clean(self, topic: str) -> Row:
        """Return a row about a topic, in the style of its source."""
        source = self.source()
        manner = self.grammar["sources"][source]
        lists = {**self.grammar["words"], **self.topics[topic], "topic": topic.replace("_", " ")}
        while True:
            slots = Slots(lists, self.dice)
            instruction = slots.fill(self.dice.pick(manner["instruction"]))
            body = self.dice.shuffled(manner["body"])[: self.dice.between(*manner["sentences"])]
            output = " ".join(slots.fill(sentence) for sentence in body)
            if len(f"{instruction} {output}".split()) in WORDS:
                kind = "" if topic in self.common else "rare_topic"
                return Row(source=source, instruction=instruction, output=output, topic=topic, kind=kind)

    def mislabeled(self, row: Row) -> Row:
        """Return the row with a wrong label."""
        label = self.dice.pick([topic for topic in self.common if topic != row.topic])
        return replace(row, topic=label, kind="wrong_label", detail=row.topic)

    def exact_copy(self, row: Row) -> Row:
        """Return a row with the same text, usually in another source."""
        return replace(row, source=self.source(), kind="exact_duplicate", of=row)

    def near_copy(self, row: Row) -> Row:
        """Return the row after one to four edits, which the ground truth lists; at least one changes the text."""
        output = row.output
        done: list[str] = []
        edits = (self.typo, self.synonym, self.number, self.closing, self.lost_word, self.lost_sentence)
        while not done:
            for edit in self.dice.shuffled(edits)[: self.dice.between(1, 4)]:
                edited = edit(output)
                if edited != output:
                    output = edited
                    done.append(edit.__name__)
        return replace(row, source=self.source(), output=output, kind="near_duplicate", detail="+".join(done), of=row)

    def junk(self, mess: Callable[[], str]) -> Row:
        """Return a meaningless row with a random label."""
        topic = self.dice.pick(self.common)
        return Row(source=self.source(), instruction="", output=mess(), topic=topic, kind="junk", detail=mess.__name__)

    def foreign(self, language: str) -> Row:
        """Return a row in another language."""
        words = self.grammar["languages"][language]
        topic = self.dice.pick(list(words["topics"]))
        slots = Slots(self.grammar["words"], self.dice)
        sentences = self.dice.shuffled(words["topics"][topic]["say"])[: self.dice.between(4, 6)]
        sentences += [slots.fill(sentence) for sentence in self.dice.shuffled(words["close"])[:1]]
        question = self.dice.pick(words["topics"][topic]["ask"])
        return Row(
            source=self.source(),
            instruction=question,
            output=" ".join(sentences),
            topic=topic,
            kind="other_language",
            detail=language,
        )

    # ------------------------------------------------------------ edits of near-duplicates

    def typo(self, text: str) -> str:
        """Swap two adjacent letters inside a long word."""
        start = self.dice.pick(list(re.finditer(r"[a-z]{6,}", text))).start() + self.dice.between(1, 3)
        return text[:start] + text[start + 1] + text[start] + text[start + 2 :]

    def synonym(self, text: str) -> str:
        """Replace a word with a synonym."""
        for word, other in self.dice.shuffled(sorted(self.grammar["synonyms"].items())):
            edited = re.sub(rf"(?<![\w-]){word}(?![\w-])", other, text, count=1)
            if edited != text:
                return edited
        return text

    def number(self, text: str) -> str:
        """Increase the first number by one."""
        return re.sub(r"\b\d+\b", lambda digits: str(int(digits[0]) + 1), text, count=1)

    def closing(self, text: str) -> str:
        """Append a polite sentence."""
        closings: list[str] = self.grammar["closings"]
        return f"{text} {self.dice.pick(closings)}"

    def lost_word(self, text: str) -> str:
        """Remove one word."""
        words = text.split(" ")
        del words[self.dice.below(len(words))]
        return " ".join(words)

    def lost_sentence(self, text: str) -> str:
        """Remove one sentence from a text of more than three sentences."""
        sentences = re.split(r"(?<=[.?!]) ", text)
        if len(sentences) > 3:
            del sentences[self.dice.below(len(sentences))]
        return " ".join(sentences)

    # ------------------------------------------------------------ kinds of junk

    def keyboard_mash(self) -> str:
        return self.noise("asdfghjkl;qwertyuiop")

    def symbol_noise(self) -> str:
        return self.noise("#@$%&*=+~^|<>/\\{}[]_-0123456789")

    def noise(self, keys: str) -> str:
        return " ".join(
            "".join(self.dice.pick(keys) for _ in range(self.dice.between(2, 11)))
            for _ in range(self.dice.between(8, 25))
        )

    def boilerplate(self) -> str:
        return " ".join(self.dice.shuffled(self.grammar["boilerplate"])[: self.dice.between(2, 4)])

    def repeated_words(self) -> str:
        slots = Slots(self.grammar["words"], self.dice)
        return " ".join([slots.draw("adjective")] * self.dice.between(10, 40) + [slots.draw("adjective")])

    def ultra_short(self) -> str:
        shorts: list[str] = self.grammar["shorts"]
        return self.dice.pick(shorts)


# ---------------------------------------------------------------- the pool


def topic_sizes(topics: Sequence[str], rows: int) -> dict[str, int]:
    """Return the number of rows of each topic, most frequent first: a shifted Zipf law, then the rare topics."""
    common = rows - sum(RARE_SIZES)
    weights = [(rank + ZIPF_SHIFT) ** -ZIPF_EXPONENT for rank in range(1, len(topics) - len(RARE_SIZES) + 1)]
    sizes = [int(common * weight / sum(weights)) for weight in weights]
    sizes[0] += common - sum(sizes)
    return dict(zip(topics, (*sizes, *RARE_SIZES), strict=True))


def broken_rows() -> list[Row]:
    """Return rows that will be quarantined: one without text, one without an id, and one that is truncated."""
    return [
        Row(source="forum", instruction="", output=" ", topic="garden", kind="blank"),
        Row(source="tickets", instruction="Where is it?", output="It left on Monday.", topic="coffee", kind="null_id"),
        Row(source="web", instruction="The upload", output="stopped half-way", topic="tea", kind="unparsable"),
    ]


def all_rows(author: Author) -> list[Row]:
    """Return all rows of the pool in their final order; copies and wrong labels have different originals."""
    dice = author.dice
    sizes = topic_sizes(list(author.topics), LINES - EXACT - NEAR - JUNK - FOREIGN - len(broken_rows()))
    originals = [author.new(partial(author.clean, topic)) for topic, size in sizes.items() for _ in range(size)]
    free = iter(dice.shuffled([row for row in originals if not row.kind]))
    mislabeled = {row: author.mislabeled(row) for row in islice(free, WRONG)}
    exact, near = list(islice(free, EXACT_ORIGINALS)), list(islice(free, NEAR_ORIGINALS))
    messes = (author.keyboard_mash, author.symbol_noise, author.boilerplate, author.repeated_words, author.ultra_short)
    rows = [mislabeled.get(row, row) for row in originals]
    rows += [author.exact_copy(row) for row in islice(cycle(exact), EXACT)]
    rows += [author.new(partial(author.near_copy, row)) for row in islice(cycle(near), NEAR)]
    rows += [author.new(partial(author.junk, mess)) for mess in islice(cycle(messes), JUNK)]
    rows += [author.new(partial(author.foreign, name)) for name in islice(cycle(author.grammar["languages"]), FOREIGN)]
    return dice.shuffled(rows + broken_rows())


def line_of(row: Row, name: str, author: Author) -> str:
    """Return the line of a row in its file, with additional columns."""
    manner, dice = author.grammar["sources"][row.source], author.dice
    record = {
        "id": None if row.kind == "null_id" else name,
        "instruction": row.instruction,
        "output": row.output,
        "topic": row.topic,
        "source": row.source,
        "created": (datetime.date(2019, 1, 1) + datetime.timedelta(days=dice.below(DAYS))).isoformat(),
        "stars": None if manner["stars"] is None else dice.between(*manner["stars"]),
        "tags": dice.shuffled(manner["tags"])[: dice.below(len(manner["tags"]) + 1)],
    }
    line = json.dumps(record, ensure_ascii=False)
    return line[: len(line) // 2] if row.kind == "unparsable" else line


def evaluation(rows: Sequence[Row], author: Author) -> list[dict[str, str]]:
    """Return benchmark questions; the first ones quote clean rows of the pool without copies, in capital letters."""
    copied = {row.of for row in rows}
    leaked = islice((row for row in rows if not row.kind and row not in copied), LEAKED)
    fresh = [author.new(partial(author.clean, topic)) for topic in islice(author.topics, FRESH)]
    quoted = [*(row.output.upper() for row in leaked), *(row.output for row in fresh)]
    return [{"question": f"{text} What is this text about?"} for text in quoted]


def generate(folder: Path) -> None:
    """Write ``pool/*.jsonl``, ``key.parquet`` and ``evaluation.jsonl`` under ``folder``."""
    topics = yaml.safe_load((HERE / "topics.yaml").read_text(encoding="utf-8"))
    grammar = yaml.safe_load((HERE / "grammar.yaml").read_text(encoding="utf-8"))
    author = Author(topics, grammar, Dice(SEED))

    rows = all_rows(author)
    count: Counter[str] = Counter()
    numbered: list[tuple[Row, str, int]] = []
    for row in rows:
        count[row.source] += 1
        numbered.append((row, f"{row.source}-{count[row.source]:04}", count[row.source]))
    names = {row: name for row, name, _ in numbered if not row.of}

    (folder / "pool").mkdir(parents=True, exist_ok=True)
    for source in grammar["sources"]:
        lines = [line_of(row, name, author) for row, name, _ in numbered if row.source == source]
        (folder / "pool" / f"{source}.jsonl").write_bytes("".join(f"{line}\n" for line in lines).encode())

    key = [
        {
            "id": None if row.kind in ("null_id", "unparsable") else name,
            "file": f"{row.source}.jsonl",
            "line": line,
            "kind": row.kind,
            "of": names[row.of] if row.of else None,
            "detail": row.detail,
        }
        for row, name, line in numbered
        if row.kind
    ]
    schema = dict.fromkeys(("id", "file", "line", "kind", "of", "detail"), pl.String) | {"line": pl.Int32}
    pl.DataFrame(key, schema).sort("file", "line").write_parquet(folder / "key.parquet", compression="zstd")

    questions = [json.dumps(question, ensure_ascii=False) for question in evaluation(rows, author)]
    (folder / "evaluation.jsonl").write_bytes("".join(f"{line}\n" for line in questions).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", nargs="?", type=Path, default=HERE, help="where to write (default: %(default)s)")
    target = parser.parse_args().target
    generate(target)
