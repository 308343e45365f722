"""Fixtures of texts for filters, and of their outcomes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from curate.kernels.types import Texts
from curate.plugins.batches import Pool

LINES = (
    "The cat and the dog have been with us for years, and that is how it ought to be.",
    "It was the end of a long day. Nobody spoke! Was that to be all?",
    "- buy the milk and the bread",
    "• home",
    "Read more...",
    "to be continued with that …",
    "#### ## # #",
    "12 345 6.7 8,9 10",
    "Please enable JavaScript to see that page.",
    "By using the site you accept the Terms of Use and the privacy policy of it.",
    "Lorem ipsum dolor sit amet, consectetur.",
    "if (x) { return y; }",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützen überall",
    "a b c d e f g",
    'He said that it was over.[12] "So be it."',
    "我们去了市场。然后回家了！",
    "שלום לכולם, מה שלומכם היום?",
    "\ud800 \udc00\0 \ud83d",
    "x" * 300,
    "",
    " \t\u3000",
)


@pytest.fixture(scope="session")
def junk():
    """Return 600 texts of varied, partly repeated lines, including adversarial ones."""
    draw = random.Random(1)
    texts = ["", " \n\n", "word", "\ud800", "。" * 60, ". " * 60, "\n" * 60]
    while len(texts) < 600:
        lines = draw.choices(draw.sample(LINES, draw.randint(1, 4)), k=draw.randint(1, 12))
        if draw.random() < 0.5:
            lines = [f"{draw.randrange(10 ** draw.randint(1, 9))} {line[draw.randint(0, 40) :]}" for line in lines]
        texts.append(draw.choice(["\n", "\n\n", "\r\n", " "]).join(lines))
    return texts


@pytest.fixture(scope="session")
def outcomes():
    """Return the reason a filter drops each text; "" for kept texts."""

    def outcomes(plugin, texts, block=7):
        n = len(texts)
        nothing = np.zeros((n, 0), np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32)
        pool = Pool(*nothing, texts=Texts.from_list(texts, block))
        selection = plugin.select(pool, None, np.random.default_rng(0)).check(n, None)
        kept = set(selection.indices.tolist())
        return ["" if row in kept else selection.reasons[selection.reason[row]] for row in range(n)]

    return outcomes
