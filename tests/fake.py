"""Plugins called fake: a language model and an annotator, whose outputs depend on the text of a row only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.kernels.types import Advance
from curate.plugins.batches import AnnotationBatch
from curate.plugins.interfaces import annotator, model
from curate.plugins.language_models import Example, Outputs, Request
from curate.plugins.results import Annotations
from tests.fake_models import run_fake_model


@model(version=1, abilities=("loss", "hidden", "answers", "gradients"))
@dataclass(frozen=True, slots=True, kw_only=True)
class FakeModel:
    """Outputs from a hash of the text."""

    model: str

    def revision(self) -> str:
        return self.model

    def estimate_seconds(self, tokens: float) -> float | None:
        return None

    def run(self, examples: Sequence[Example], request: Request, advance: Advance) -> Outputs:
        return run_fake_model(None, examples, request)


@annotator(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class FakeAnnotator:
    """First letter of the text."""

    def columns(self) -> Mapping[str, pa.DataType]:
        return {"": pa.string()}

    def annotate(self, batch: AnnotationBatch, rng: np.random.Generator) -> Annotations:
        return Annotations(columns={"": [one.response[:1] for block in batch.examples.blocks() for one in block]})
