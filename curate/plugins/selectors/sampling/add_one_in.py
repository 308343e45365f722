"""Add-One-In: a judge chooses, again and again, the row that would improve a set most."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le, MinLen

from curate.errors import DataError, PluginError
from curate.kernels.types import Rows
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import ContentPath, selector
from curate.plugins.judging import Judge, Question, UnparsableReplyError
from curate.plugins.language_models import Turn
from curate.plugins.questions import read_text
from curate.plugins.results import Selection

INSTRUCTION = """You help to build a data set for training a language model, one example at a time. You see a set of \
examples that were chosen before, and candidates for the next one. Imagine the set with each candidate in turn. Choose \
the candidate whose addition improves the set most: it should be correct, clear and useful by itself, and it should \
bring something that the set does not have yet.

Chosen examples:
{chosen}

Candidates:
{candidates}

Reply with the label of the best candidate in brackets, and nothing else."""

Choose = Callable[[Sequence[tuple[Rows, Rows]]], Sequence[int | None]]
"""Function of several rounds, each with the shown chosen rows (a,) and the candidates (b,), which returns the position
of the best candidate of each; None for no answer."""


def label(position: int) -> str:
    """Return the label of a candidate, as columns of a spreadsheet have them.

    >>> [label(position) for position in (0, 25, 26, 701)]
    ['A', 'Z', 'AA', 'ZZ']
    """
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def parse_label(reply: str, candidates: int) -> int:
    """Return the position of the candidate that a reply names first.

    Raises
    ------
    UnparsableReplyError
        It names none of the candidates.

    Examples
    --------
    >>> parse_label("[B] because [A] repeats the set", 3)
    1
    """
    first_line = reply.strip().partition("\n")[0]
    found = re.search(r"\[\s*([A-Z]+)\s*\]", reply) or re.fullmatch(r"\W*([A-Z]{1,2})\W*", first_line)
    positions = {label(position): position for position in range(candidates)}
    if found is None or found[1] not in positions:
        raise UnparsableReplyError(f"it has no label from [A] to [{label(candidates - 1)}]")
    return positions[found[1]]


def add_one_in(
    n: int, budget: int, choose: Choose, set_size: int, n_candidates: int, n_chains: int, rng: np.random.Generator
) -> Rows:
    """Build a set of rows by repeated choices among random candidates.

    Parameters
    ----------
    n : number of rows
    budget : number of rows to choose
    choose : function that chooses candidates, see ``Choose``
    set_size : number of chosen rows a that are shown, and with which each chain begins
    n_candidates : number of candidates b
    n_chains : number of parts of the rows that are processed side by side
    rng : random generator

    Returns
    -------
    (budget,) rows: the random first ones, then the choices in their order

    Raises
    ------
    DataError
        There is no answer for several draws in a row.

    Notes
    -----
    Cost: ``budget`` minus the first rows choices, and O(n) memory. The order of the candidates is random, so a judge
    that always prefers one position chooses uniformly at random.

    Deviations from the authors' code: a choice without an answer is drawn again at most ten times, not for ever; labels
    go beyond 26 candidates; the judge gives no reason after the label, which cannot change it and costs most of the
    tokens; chains take turns, so their number changes the result, but not their speed.
    """
    parts = [np.sort(part) for part in np.array_split(rng.permutation(n), max(1, min(n_chains, n)))]
    shares = [len(part) for part in np.array_split(np.arange(budget), len(parts))]
    shares = _fit_shares(shares, [len(part) for part in parts])
    chains = [_Chain(part, share, set_size, rng) for part, share in zip(parts, shares, strict=True)]
    order = [row for chain in chains for row in chain.chosen]
    failures = 0
    while active := [chain for chain in chains if len(chain.chosen) < chain.share]:
        rounds = [chain.draw(set_size, n_candidates, rng) for chain in active]
        choices = choose(rounds)
        for chain, (_, candidates), choice in zip(active, rounds, choices, strict=True):
            if choice is not None:
                chain.add(int(candidates[choice]))
                order.append(int(candidates[choice]))
        failures = failures + 1 if all(choice is None for choice in choices) else 0
        if failures > _MAX_FAILURES:
            message = f"add_one_in: the judge gave no answer in {failures} draws in a row"
            raise DataError(
                message, hint="see the questions without an answer in the folder judge of the run directory"
            )
    return np.array(order, np.intp)


_MAX_FAILURES = 10


def _fit_shares(shares: list[int], sizes: list[int]) -> list[int]:
    """Return the shares of the budget, none of which exceeds the size of its part."""
    for number, size in enumerate(sizes):
        excess = max(0, shares[number] - size)
        shares[number] -= excess
        for other in range(len(sizes)):
            moved = min(excess, max(0, sizes[other] - shares[other])) if other != number else 0
            shares[other] += moved
            excess -= moved
    return shares


class _Chain:
    """Rows of a part that are chosen, and those that remain."""

    def __init__(self, rows: Rows, share: int, set_size: int, rng: np.random.Generator) -> None:
        order = rng.permutation(rows)
        first = min(set_size, share)
        self.share = share
        self.chosen: list[int] = order[:first].tolist()
        self._rest = order[first:]
        self._end = len(self._rest)

    def draw(self, set_size: int, n_candidates: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Return some chosen rows and some of the rest, in random orders."""
        shown = rng.choice(np.array(self.chosen, np.intp), min(set_size, len(self.chosen)), replace=False)
        candidates = rng.choice(self._end, min(n_candidates, self._end), replace=False)
        return shown, self._rest[candidates]

    def add(self, row: int) -> None:
        """Move a row of the rest to the chosen ones."""
        position = int(np.flatnonzero(self._rest[: self._end] == row)[0])
        self._end -= 1
        self._rest[position] = self._rest[self._end]
        self.chosen.append(row)


@selector(
    version=1,
    scope="pool",
    reads={"judge", "text"},
    cost="one call of the judge for each row of the budget after the first ones",
    guarantee="with all rows as candidates, the greedy choices of the judge",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class AddOneIn:
    """Add-One-In: let a judge add one row at a time, the one among a few candidates that improves the set most.

    Use it to choose a small set for fine-tuning that is good and diverse in the eyes of a language model, without
    scoring the pool: the number of calls depends on the budget only. It needs the section ``judge``. Calls of a chain
    follow each other, so set ``n_chains`` to the number of requests that the endpoint answers at once. Replies are
    kept: an interrupted run goes on without repeating a call.

    Texts are held in memory up to ``max_characters`` each.

    References
    ----------
    Add-One-In: Li et al. (2025), arXiv:2503.02359.
    """

    set_size: Annotated[int, Ge(1)] = 10
    """Number of chosen rows that the judge sees; as many random rows begin each chain."""

    n_candidates: Annotated[int, Ge(1), Le(700)] = 10
    """Number of candidates among which it chooses."""

    n_chains: Annotated[int, Ge(1), Le(256)] = 1
    """Number of random parts of the rows that are processed side by side, each with its share of the budget."""

    instruction: Annotated[str, MinLen(1), ContentPath()] | None = None
    """Path of a file with the instruction, with {chosen} and {candidates} in place of the two lists; null: our own."""

    max_characters: Annotated[int, Ge(1)] = 1_500
    """Number of characters of a text that the judge reads."""

    def count_questions(self, rows: int, budget: int | None) -> int:
        return rows if budget is None else budget

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        judge, texts = require(pool.judge), require(pool.texts)
        instruction = INSTRUCTION if self.instruction is None else read_text(self.instruction)
        if "{chosen}" not in instruction or "{candidates}" not in instruction:
            raise PluginError("the instruction needs a place for both lists", hint="write {chosen} and {candidates}")
        shown = [" ".join(text[: self.max_characters].split()) for block in texts.blocks() for text in block]
        rows = add_one_in(
            len(pool),
            budget,
            self._chooser(judge, shown, instruction),
            self.set_size,
            self.n_candidates,
            self.n_chains,
            rng,
        )
        return Selection(rows, np.zeros(budget, np.float32))

    def _chooser(self, judge: Judge, shown: Sequence[str], instruction: str) -> Choose:
        def fill(chosen: Rows, candidates: Rows) -> str:
            parts = {
                "chosen": "\n".join(f"{number}. {shown[row]}" for number, row in enumerate(chosen.tolist(), 1)),
                "candidates": "\n".join(
                    f"[{label(place)}] {shown[row]}" for place, row in enumerate(candidates.tolist())
                ),
            }
            return re.sub(r"\{(chosen|candidates)\}", lambda match: parts[match[1]], instruction)

        def choose(rounds: Sequence[tuple[Rows, Rows]]) -> Sequence[int | None]:
            questions = [Question(messages=(Turn("user", fill(*one)),), max_tokens=16) for one in rounds]
            sizes = [len(candidates) for _, candidates in rounds]
            answers = judge.ask(questions, partial(parse_label, candidates=max(sizes)))
            values = [answer.value for answer in answers]
            return [None if one is None or one >= size else one for one, size in zip(values, sizes, strict=True)]

        return choose
