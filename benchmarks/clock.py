"""What a process can say of itself: how long calls take, by how much memory grows, and whether it is at rest."""

import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

STATUS, PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Clock:
    """The processor's own clock, on which what is called is done when it returns. A GPU's is derived from it."""

    least = 0.0
    """Seconds of work before a turn, and in it."""

    def mark(self) -> Any:
        """Now."""
        return perf_counter()

    def wait(self) -> None:
        """Until everything that was begun is done."""

    def between(self, start: Any, end: Any) -> float:
        """The seconds from one mark to the other, once `wait` has been called."""
        return float(end - start)

    def memory(self, step: Callable[[], object]) -> dict[str, Any]:
        """By how much the resident memory of the process grows at the peak of two steps, and the seconds of one.

        Linux tells it: the peak (VmHWM) is set back before the first step, and memory that is free within the process
        is given back, so that it cannot hide what is used. Elsewhere it is `ru_maxrss`.
        """
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        how = "VmHWM in /proc/self/status"
        peak: Callable[[], int] = partial(in_status, "VmHWM")
        try:
            PEAK_RESET.write_text("5")
            before = in_status("VmRSS")
        except OSError:
            how, peak = "ru_maxrss", largest
            before = largest()
        seconds = run_twice(self, step)
        return {"bytes": max(0, peak() - before), "how": how, "seconds": seconds}


def in_status(name: str) -> int:
    """A number of bytes out of the process's status. Raises OSError if there is no such file."""
    return int(STATUS.read_text().split(f"{name}:")[1].split()[0]) * 1024


def largest() -> int:
    """The most memory that the process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_twice(clock: Clock, step: Callable[[], object]) -> float:
    """The seconds of the second of two steps, in which what the first computed is still there, as in any training."""
    for _ in range(2):
        start = perf_counter()
        step()
        clock.wait()
    return perf_counter() - start


def each(calls: Iterable[Callable[[], object]]) -> None:
    """Make the calls one after the other."""
    for one in calls:
        one()


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


def quickest(clock: Clock, call: Callable[[], object]) -> float:
    """The seconds of a call: the best of five, after two that are not counted."""
    seconds = []
    for _ in range(7):
        start = clock.mark()
        call()
        end = clock.mark()
        clock.wait()
        seconds.append(clock.between(start, end))
    return min(seconds[2:])


def settle(longest: float = 1.0, pause: float = 0.005) -> None:
    """Wait until the threads of this process sleep, which is when it uses no processor; at most `longest` seconds.

    The threads of OpenMP and OpenBLAS wait for more work without sleep for a while, and would slow down whoever is
    next.
    """
    start = perf_counter()
    while perf_counter() - start < longest:
        before, used = perf_counter(), process_time()
        sleep(pause)
        if process_time() - used < 0.05 * (perf_counter() - before):
            break
