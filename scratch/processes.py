"""Work that several processes share, and that ends at once for all of them: by Ctrl-C, and however else."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import import_module
from time import perf_counter
from typing import Any, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def available_cores() -> int:
    """How many processes can run at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While this is entered, matrix products run on one thread: small ones gain nothing from more."""
    threadpoolctl: Any = import_module("threadpoolctl")
    with threadpoolctl.threadpool_limits(1):
        yield


TRIAL, WORTH = 0.5, 1.5
"""Seconds of trial, and how many times as fast one thread has to be to be taken: less may be chance."""


@contextmanager
def helpful_blas_threads(
    step: Callable[[], object], told: Callable[[str], object], clock: Callable[[], float] = perf_counter
) -> Iterator[None]:
    """While this is entered, matrix products run on all threads, or on one if that is faster now, which is told.

    On a busy machine threads wait for each other in every product. step: is called for half a second, in turns.
    """
    threadpoolctl: Any = import_module("threadpoolctl")
    threads = max(
        (pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"), default=1
    )
    taken = {1: 0.0, threads: 0.0}
    while threads > 1 and sum(taken.values()) < TRIAL:
        for number in taken:
            with threadpoolctl.threadpool_limits(number, "blas"):
                start = clock()
                step()
                taken[number] += clock() - start
    del step  # and what belongs to it
    busy = taken[threads] > WORTH * taken[1]
    if busy:
        times = taken[threads] / taken[1]
        told(f"the machine is busy: one BLAS thread is {times:.1f} times as fast as {threads}, and is taken")
    with threadpoolctl.threadpool_limits(1 if busy else None, "blas"):
        yield


def shared(
    work: Callable[[Part], Result],
    parts: Sequence[Part],
    processes: int,
    done: Callable[[Part], object] = lambda part: None,
    prepare: Callable[..., object] | None = None,
    arguments: tuple[Any, ...] = (),
) -> list[Result]:
    """What the work makes of every part, in the order of the parts, whichever process was quicker.

    Each process starts afresh, calls `prepare(*arguments)` and takes the next part whenever it is free. All that is
    sent must be of the kind that `pickle` takes. `done` is called here, after each part. Raises what the work raises.
    """
    context = multiprocessing.get_context("spawn")  # this process may have threads, which must not be forked
    with ProcessPoolExecutor(processes, context, initializer=begin, initargs=(prepare, *arguments)) as pool:
        with interrupts_blocked():  # whoever shares out the work ends it
            futures = {pool.submit(work, part): part for part in parts}
        try:
            for future in as_completed(futures):
                future.result()  # or what was raised
                done(futures[future])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return [future.result() for future in futures]


def begin(prepare: Callable[..., object] | None, *arguments: Any) -> None:
    """The first thing that a process does which shares the work of another."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare(*arguments)


def end_with_parent() -> None:
    """Wait for the process whose work this one shares, and end with it: it may be killed and say nothing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """While this is entered, Ctrl-C waits; a process that is started now does not hear it at all."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
