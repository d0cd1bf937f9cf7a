"""Very long sequences: the memory of a training step against T, with a tape of every step and with recomputation.

A tape grows as T. With `checkpoint_every` near √T, of which the state is kept and the rest computed again, what is kept
grows as √T (Chen et al. 2016); what is handed in and out, and the rows of the input, still as T.
"""

from __future__ import annotations

from dataclasses import replace

from .contestants import CHECKPOINTED, Contestant
from .problems import Problem

BASE = Problem("long", "LSTM", T=1000, B=1, I=2, H=32)
STEPS = (1_000, 10_000, 100_000, 1_000_000)
QUICK_STEPS = (1_000, 4_000, 16_000)


def problem(T: int) -> Problem:
    """The sequence of so many steps."""
    return replace(BASE, T=T)


def contestants(dtype: str) -> list[Contestant]:
    """The core with recomputation, the core without, and PyTorch."""
    return [Contestant("scratch", dtype, form=CHECKPOINTED), Contestant("scratch", dtype), Contestant("PyTorch", dtype)]
