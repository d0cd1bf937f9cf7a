"""What a device can do at most, measured with what it is told to do best: a large product, and a large copy.

A training step of so many operations, which reads and writes so many bytes at least, takes no less than the longer of
both takes at these rates (the roofline of Williams, Waterman and Patterson 2009).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .clock import Clock, time_parts

LARGEST = 16384
"""Rows of a square product."""
ENOUGH = 0.02
"""Seconds of a product that is large enough."""
COPIED = 2**26
"""Numbers that are copied: more than a cache holds."""


def ceiling(
    make: Callable[..., Any], multiply: Callable[..., Any], copy: Callable[[Any, Any], Any], clock: Clock
) -> dict[str, float]:
    """Operations in a second of the best of ever larger products, and bytes in a second, read and written, of a copy.

    make: random numbers of a shape; multiply: (a, b, out=c); copy: (to, from).
    """
    best, n, seconds = 0.0, 256, 0.0
    while n <= LARGEST and seconds < ENOUGH:
        a, b, out = (make(n, n) for _ in range(3))
        seconds = quickest(clock, partial(multiply, a, b, out=out))
        best = max(best, 2 * n**3 / seconds)
        n *= 2
    rows = max(1, COPIED // 2**13)
    source, target = make(rows, 2**13), make(rows, 2**13)
    moved = 2 * source.nbytes / quickest(clock, lambda: copy(target, source))
    return {"operations in a second": best, "bytes in a second": moved}


def quickest(clock: Clock, call: Callable[[], object]) -> float:
    """The seconds of a call: the best of five, after two that are not counted."""
    time_parts(clock, [call], 2)
    return min(time_parts(clock, [call], 1)[0] for _ in range(5))
