"""The next steps of a training in both libraries, from one checkpoint on, and how far their losses come apart.

What differs is rounding, and training magnifies it: Adam divides each gradient by its own size, so that the sign of
what is nearly nothing decides about a whole step. How much it does so can be seen in `scratch` alone: it makes the same
steps again from weights that are each moved by one rounding, up or down. In float32 that is the measure of what the two
libraries may differ; in float64 the promise is 1e-9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from scratch import text as scratch
from scratch.text import Checkpoint

from ..side_by_side import LOSS_TOLERANCE, MARGIN
from . import files
from .training import Training


class Row(NamedTuple):
    """One step."""

    step: int
    scratch: float
    torch: float
    nearby: float
    """The loss in `scratch` if every weight was one rounding away at the start."""

    @property
    def difference(self) -> float:
        """Between the libraries."""
        return abs(self.scratch - self.torch)

    @property
    def rounding(self) -> float:
        """What one rounding at the start has become."""
        return abs(self.scratch - self.nearby)


def follow(checkpoint: Checkpoint, text: str, steps: int) -> Iterator[Row]:
    """The next steps in both libraries, without dropout, of which each would draw its own.

    Raises what `Training.resumed` raises, at once; with the steps, Diverged.
    """
    checkpoint = files.with_dropout(checkpoint, 0.0)
    rng = np.random.default_rng(checkpoint.step)
    moved = {
        name: np.nextafter(value, rng.choice([-np.inf, np.inf], value.shape).astype(value.dtype))
        for name, value in checkpoint.model.items()
    }
    ours = scratch.Training.resumed(checkpoint, text)
    theirs = Training.resumed(checkpoint, text)
    nearby = scratch.Training.resumed(checkpoint._replace(model=moved), text)

    def step() -> Row:
        losses = ours.advance(), theirs.advance(), nearby.advance()
        return Row(ours.step, *losses)

    return (step() for _ in range(steps))


def allowed(rows: list[Row], dtype: str) -> float:
    """How far the losses of these steps may come apart.

    float64: 1e-9. float32: some margin over what one rounding at the start becomes, and over the rounding of a loss.
    """
    if dtype == "float64":
        return LOSS_TOLERANCE
    eps = float(np.finfo(dtype).eps)
    return MARGIN * max(max(row.rounding, eps * row.scratch) for row in rows)
