"""Lint step: report words and openings of docstrings that this project does not use, with plain alternatives.

    python tests/docs/words.py

Reads curate/, docs/, configs/, README.md, CHANGELOG.md and CONTRIBUTING.md; the help of the command line is a page of
docs/. An underscore separates words, so that identifiers count too. Exits with 1 if it finds anything.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("curate", "docs", "configs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
SUFFIXES = {".py", ".md", ".yaml", ".html", ".css", ".js"}
BUNDLED = {"plotly-basic.min.js"}
"""Files of other projects."""

WORDS = {
    r"told|tells of": "say what the code does: report, warn, return, message",
    r"(stand|stands|stood|standing) for": "represent",
    r"looked (at|for)": "read, compare, search",
    r"anew": "again",
    r"beside": "next to, compared with",
    r"mend|mends|mended|mending": "fix",
    r"unless said": "by default",
    r"(set|sets|setting) aside": "quarantine",
    r"whole": "complete, entire, integer; corrupt for the opposite",
    r"(is|are|was|were) gone": "is missing",
    r"learnt": "learned, fitted",
    r"comes to": "reach, become",
    r"asked": "requested",
    r"of (its own|ours)": "own, our",
    r"in words": "as text, number of words",
    r"neighbour[a-z]*": "neighbor",
    r"(re|multi)?centre[a-z]*|centring": "center",
    r"colour[a-z]*": "color",
    r"behaviour[a-z]*": "behavior",
    r"favour[a-z]*|honour[a-z]*": "favor, honor",
    r"[a-z]*(normal|regular|initial|serial|general|special|token)is(e|es|ed|ing|er|ation)": "-ize",
    r"[a-z]*(minim|maxim|summar|organ|random|standard|memor)is(e|es|ed|ing|er|ation)": "-ize",
    r"optimis(e|es|ed|ing|er|ation)|recognis[a-z]*|utilis[a-z]*|parallelis[a-z]*|categoris[a-z]*": "-ize",
    r"analys(e|ed|ing)": "-yze",
    r"(mis|un)?labelled|labelling|modelled|modelling|cancelled|cancelling|travelled": "one l: labeled",
    r"judgement|artefact[a-z]*|whilst|spelt|grey": "American spelling",
}
"""Patterns of words, each with what to write."""

PATTERN = re.compile(
    r"(?<![a-zA-Z])("
    + "|".join(f"(?P<w{number}>{word})" for number, word in enumerate(WORDS)).replace(" ", r"[\s_]+")
    + r")(?![a-zA-Z])",
    re.IGNORECASE,
)
QUESTIONS = ("What", "How", "Who", "Whom", "Whose", "Which", "Where", "When", "Why", "Of")
"""Words with which no docstring begins."""
NOUN_OPENINGS = ("The", "A", "An", "Whether", "If")
"""Words with which no docstring of a function begins: it begins with a verb."""


def files() -> Iterator[Path]:
    """Yield the files to read, sorted."""
    for place in PLACES:
        path = ROOT / place
        yield from sorted(path.rglob("*")) if path.is_dir() else [path]


def find_words(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the complaint for every word that is not used."""
    for match in PATTERN.finditer(text):
        number = next(number for number in range(len(WORDS)) if match[f"w{number}"])
        yield text.count("\n", 0, match.start()) + 1, f"{match[0]!r}: {list(WORDS.values())[number]}"


def find_openings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the complaint for every docstring of Python code that opens as none should."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            is_function = not isinstance(node, ast.Module | ast.ClassDef) and not is_property(node)
            refused = (*QUESTIONS, *(NOUN_OPENINGS if is_function else ()))
            yield from complain(node.body[0] if node.body else None, refused)
        if isinstance(node, ast.Module | ast.ClassDef):
            for statement, following in zip(node.body, node.body[1:], strict=False):
                if isinstance(statement, ast.Assign | ast.AnnAssign):
                    yield from complain(following, QUESTIONS)


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a method is a property, whose docstring is a noun phrase."""
    names = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(name.rpartition(".")[2] in ("property", "cached_property", "setter") for name in names)


def complain(statement: ast.stmt | None, refused: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield a complaint if a statement is a docstring that opens with one of some words."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return
    text = statement.value.value
    if isinstance(text, str) and (first := re.match(r"\W*(\w+)", text)) and first[1] in refused:
        yield statement.lineno, f"a docstring opens with {first[1]!r}: begin with a verb (functions) or a noun"


def main() -> int:
    """Print every finding; return 1 if there is one."""
    count = 0
    for path in files():
        if path.suffix not in SUFFIXES or path.name in BUNDLED:
            continue
        text = path.read_text(encoding="utf-8")
        found = [*find_words(text), *(find_openings(text) if path.suffix == ".py" else ())]
        for line, complaint in sorted(found):
            print(f"{path.relative_to(ROOT)}:{line}: {complaint}")
        count += len(found)
    if count:
        print(f"{count} findings; CONTRIBUTING.md has the rules")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
