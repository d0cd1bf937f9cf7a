"""Time: how long calls take on the CPU or on a GPU, and whether a process is really at rest."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from time import perf_counter, process_time, sleep
from typing import Any, Protocol


class Clock(Protocol):
    """Marks points in time, and tells the seconds between two of them once `wait` has been called."""

    least: float
    """Seconds of work before a turn, and in it."""

    def mark(self) -> Any:
        """Now."""

    def wait(self) -> None:
        """Until everything that was begun is done."""

    def between(self, start: Any, end: Any) -> float:
        """The seconds from one mark to the other."""


class CpuClock:
    """The processor's own clock. What is called is done when it returns."""

    least = 0.0
    mark = staticmethod(perf_counter)

    def wait(self) -> None:
        """Nothing is left to wait for."""

    def between(self, start: float, end: float) -> float:
        """The seconds from one mark to the other."""
        return end - start


def time_parts(clock: Clock, parts: Sequence[Callable[[], object]], calls: int) -> list[float]:
    """Call the parts one after the other, `calls` times over. Returns the seconds of each part, for a single call.

    Python's search for garbage is off meanwhile.
    """
    marks = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(calls):
            marks.append(clock.mark())
            for part in parts:
                part()
                marks.append(clock.mark())
        clock.wait()
    finally:
        gc.enable()
    of_each, stride = [], len(parts) + 1
    for k in range(len(parts)):
        starts, ends = marks[k::stride], marks[k + 1 :: stride]
        of_each.append(sum(map(clock.between, starts, ends)) / calls)
    return of_each


def settle(longest: float = 1.0, pause: float = 0.005) -> float:
    """Wait until the threads of this process sleep, which is when it uses no processor while it waits.

    The threads of OpenMP and OpenBLAS wait for more work without sleep for a while, and would slow down whoever is
    next. Returns the seconds waited; at most `longest`.
    """
    start = perf_counter()
    while perf_counter() - start < longest:
        before, used = perf_counter(), process_time()
        sleep(pause)
        if process_time() - used < 0.05 * (perf_counter() - before):
            break
    return perf_counter() - start
