"""How the cost of a training step grows with T, B and H: sweeps around one LSTM, and the exponents of power laws.

In theory time grows as T, as B and (with I = H) as H². In practice small sizes are cheaper than they should be, or
dearer: a product of a matrix and one column takes as long as the matrix takes to read. Memory grows as T: the tape is
the same for every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .memory import Memory
from .problems import Problem
from .statistics import PowerLaw, power_law, slope
from .timing import Effort, Row

BASE = Problem("growth", "LSTM", T=32, B=32, I=128, H=128)
"""What a sweep does not change."""

SWEEPS = {
    "T": (4, 8, 16, 32, 64, 128, 256, 512),
    "B": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "H": (16, 32, 64, 128, 256, 512, 1024),
}
QUICK_SWEEPS = {"T": (4, 8, 16, 32, 64), "B": (1, 4, 16, 64), "H": (16, 32, 64, 128)}
MEMORY_STEPS = (64, 128, 256, 512, 1024)
QUICK_MEMORY_STEPS = (128, 256, 512)

THEORY = {"T": 1, "B": 1, "H": 2}
"""The exponents of the number of operations."""

EFFORT = Effort(fewest=5, most=25, seconds=4.0, floor=False)
QUICK_EFFORT = Effort(fewest=5, most=10, seconds=0.5, least=0.005, floor=False)


def with_size(letter: str, size: int) -> Problem:
    """The base with another T, B or H. I goes with H."""
    changes: dict[str, Any] = {"H": size, "I": size} if letter == "H" else {letter: size}
    return replace(BASE, **changes)


def problems(sweeps: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, Problem]]:
    """Every problem of the sweeps, with the letter that it belongs to."""
    for letter, sizes in sweeps.items():
        for size in sizes:
            yield letter, with_size(letter, size)


class Curve:
    """How the time of one contestant's step grows with one letter."""

    def __init__(self, letter: str, rows: list[Row]) -> None:
        self.letter, self.contestant = letter, rows[0].contestant
        self.rows = [row for row in rows if row.measured]
        self.sizes = [getattr(row.problem, letter) for row in self.rows]
        self.seconds = [row.time("step").median for row in self.rows]

    @property
    def law(self) -> PowerLaw | None:
        """The power law of the upper part, if there are points enough to see one."""
        return power_law(self.sizes, self.seconds) if len(self.sizes) >= 3 else None


class MemoryCurve:
    """How the memory of one contestant's step grows with T."""

    def __init__(self, rows: list[Memory]) -> None:
        self.contestant = rows[0].contestant
        known = [(row.problem.T, row.bytes) for row in rows if row.bytes is not None]
        self.steps = [T for T, _ in known]
        self.bytes = [number for _, number in known]

    @property
    def per_step(self) -> float | None:
        """By how many bytes it grows with each step."""
        return slope(self.steps, self.bytes) if len(self.steps) >= 2 else None
