"""How the cost of a training step grows with T, B and H: sweeps around one LSTM, and the exponents of power laws.

In theory time grows as T, as B and (with I = H) as H². In practice small sizes are cheaper than they should be, or
dearer: a product of a matrix and one column takes as long as the matrix takes to read. Memory grows as T: the tape is
the same for every step.
"""

from dataclasses import replace
from typing import Any

from .problems import Problem
from .results import Figures, rounded, seconds
from .statistics import power_law, slope
from .timing import Effort

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


def problems(sweeps: dict[str, tuple[int, ...]]) -> list[Problem]:
    """Every problem of the sweeps, once."""
    return list({one.name: one for letter in sweeps for one in (with_size(letter, n) for n in sweeps[letter])}.values())


def curves(figures: Figures) -> Figures:
    """How the time of each contestant's step grows with each letter, and its memory with T: "times" and "memory".

    Older files hold these in place of rows.
    """
    if "times" in figures:
        return figures
    rows, times, memory = figures["rows"], [], []
    for name in dict.fromkeys(row["contestant"] for row in rows):
        own = [row for row in rows if row["contestant"] == name]
        for letter in THEORY:
            fixed = [other for other in "TBH" if other != letter]
            swept = [row for row in own if all(row["sizes"][one] == getattr(BASE, one) for one in fixed)]
            known = sorted((row["sizes"][letter], seconds(row)) for row in swept if "step" in row)
            sizes, values = [size for size, _ in known], [value for _, value in known]
            law = rounded(power_law(sizes, values)[0]) if len(known) >= 3 else None
            times.append({"letter": letter, "contestant": name, "sizes": sizes, "seconds": values, "exponent": law})
        known = sorted((row["sizes"]["T"], row["bytes"]) for row in own if "bytes" in row)
        steps, sizes = [step for step, _ in known], [size for _, size in known]
        each = rounded(slope(steps, sizes)) if len(known) >= 2 else None
        memory.append({"contestant": name, "steps": steps, "bytes": sizes, "bytes for each step": each})
    return {"times": times, "memory": memory}
