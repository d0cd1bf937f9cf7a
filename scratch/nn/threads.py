"""Sequences do not know of each other: the batch can be cut into parts, each taken through all steps by a thread.

NumPy computes its elementwise functions on one core, and OpenBLAS cannot use two well for a product with few columns.
Two threads with half of the sequences each need not wait for each other at any step. What they compute does not depend
on which is faster.
"""

import contextvars
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")


def number_of_threads() -> int:
    """As many as OpenBLAS uses: OPENBLAS_NUM_THREADS or OMP_NUM_THREADS where set, else one for each core."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if (value := os.environ.get(name, "")).isdecimal() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


THREADS = number_of_threads()


def slices(batch_sizes: Sequence[int], multiplications: int) -> list[slice]:
    """The parts of a batch, given the multiplications of one step of one sequence.

    It stays whole where sequences differ in length, and where a step is too short for threads to gain by it. The last
    part has no end: to it belong the columns of a state whose sequences take no part in these steps.
    """
    batch = batch_sizes[0]
    parts = min(THREADS, batch // 8, len(batch_sizes) * batch * multiplications // 20_000_000)
    if batch * multiplications < 4_000_000 or batch_sizes[-1] != batch or parts < 2:
        return [slice(0, None)]
    starts = [n * batch // parts for n in range(parts)]
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], None], strict=True)]


def in_threads(run: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Run the function for each part, in as many threads. Returns when all have ended; raises what one has raised."""
    if len(parts) == 1:
        run(parts[0])
        return
    with ThreadPoolExecutor(len(parts) - 1) as pool:  # leaving it waits for all
        # A thread has none of the caller's settings (NumPy's errstate is one) unless it is given them.
        others = [pool.submit(contextvars.copy_context().run, run, part) for part in parts[1:]]
        run(parts[0])
    for other in others:
        other.result()
