"""Threads that take the steps of a recurrence together, each for some of its rows.

NumPy's matrix products have threads of their own, which serve one large product well and a long row of small ones
badly: what lies between two products runs on one core, and a product of few columns is mostly spent on copying its
matrix into another order. So a large layer is divided among threads by hidden units. Each makes its rows of every
product and of every gate, on one core, and the threads meet once a step, when all of h is there. Which rows a thread
has does not depend on how the threads run, so neither do the results.

While a team is at work the BLAS is held to one thread; the team has as many as the BLAS had. Where the BLAS does not
say how many threads it has, as others than OpenBLAS, there is no team.
"""

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import NamedTuple

TO_MEET = 20_000_000
"""Multiplications in a step, for each member and each other member, that make a team worth having. To meet takes 30 µs,
in which a core makes 1.5 million; and only one thread at a time runs Python. Measured with two."""
TO_START = 50_000_000
"""Multiplications in all steps. To start a thread takes 100 µs."""
SMALL = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""OpenBLAS's kernels for AVX-512."""


class Member(NamedTuple):
    """One thread of a team, or the only one."""

    number: int
    size: int
    barrier: threading.Barrier | None = None

    def share(self, length: int) -> slice:
        """Which of so many rows are this member's."""
        return slice(length * self.number // self.size, length * (self.number + 1) // self.size)

    def meet(self) -> None:
        """Wait until every member is here."""
        if self.barrier is not None:
            self.barrier.wait()


def size_for(multiplications: int, steps: int) -> int:
    """How many threads are best for so many steps of so many multiplications: as many as the BLAS has, or one."""
    blas = _blas()
    if blas is None or multiplications * steps < TO_START:
        return 1
    threads = blas.get_num_threads()
    return threads if multiplications >= TO_MEET * threads * (threads - 1) else 1


def together(size: int, task: Callable[[Member], None]) -> None:
    """Have each member of a team do the task. What one raises, this raises, after all have ended."""
    if size == 1:
        task(Member(0, 1))
        return
    barrier = threading.Barrier(size)

    def work(member: Member) -> None:
        try:
            task(member)
        except BaseException:
            barrier.abort()  # nobody shall wait for this one
            raise

    members = [Member(number, size, barrier) for number in range(size)]
    with one_thread_each(), ThreadPoolExecutor(size) as pool:
        # In copies of this context, because NumPy keeps there which warnings are silenced.
        try:
            ends = [pool.submit(copy_context().run, work, member) for member in members]
            wait(ends)
        except BaseException:  # interrupted, or there is no further thread: nobody may go on writing to the tape
            barrier.abort()
            raise
    errors = [error for end in ends if (error := end.exception()) is not None]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error


class _Blas(NamedTuple):
    """OpenBLAS's own switches."""

    get_num_threads: Callable[[], int]
    set_num_threads: Callable[[int], None]
    kernels: str
    """For which processors."""


@cache
def _blas() -> _Blas | None:
    """Those of the OpenBLAS that NumPy brings along, if it does."""
    numpy = sys.modules.get("numpy._core._multiarray_umath")  # linked against it
    if numpy is None or numpy.__file__ is None:
        return None
    library = ctypes.CDLL(numpy.__file__)
    for form in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
        if hasattr(library, form.format("set_num_threads")):
            get, put, name = (
                getattr(library, form.format(what)) for what in ("get_num_threads", "set_num_threads", "get_corename")
            )
            name.restype = ctypes.c_char_p
            return _Blas(get, put, name().decode())
    return None


def has_small_products() -> bool:
    """Whether a product runs on one core, which makes small ones without copying their factors."""
    blas = _blas()
    return blas is not None and blas.kernels in SMALL and blas.get_num_threads() == 1


_lock = threading.Lock()
_teams = 0
_before = 1


@contextmanager
def one_thread_each() -> Iterator[None]:
    """While this is entered, every product runs on the thread that asks for it, if the BLAS can be told so."""
    global _teams, _before
    blas = _blas()
    if blas is None:
        yield
        return
    with _lock:
        if _teams == 0:
            _before = blas.get_num_threads()
            blas.set_num_threads(1)
        _teams += 1
    try:
        yield
    finally:
        with _lock:
            _teams -= 1
            if _teams == 0:
                blas.set_num_threads(_before)
