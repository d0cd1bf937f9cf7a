"""One library's process: it reads what to do from standard input, a JSON object a line, and answers in the same way.

    {"do": "environment"}                                    what computes here
    {"do": "prepare", "key": …, "contestant": …, "problem": …, "seed": …, "least": seconds, "floor": …}
                                                             make a problem ready: its results, warnings, calls a turn
    {"do": "time", "key": …}                                 the seconds of each part, and of the floor
    {"do": "memory", "contestant": …, "problem": …, "seed": …}   by how much memory grows in two steps
    {"do": "ceiling", "contestant": …}                       what the device can do at most
    {"do": "forget"}                                         drop what was prepared

The answer is {"answer": …}, or {"unavailable": reason}, or {"error": reason}. It comes only when all threads of the
process sleep. After an error nothing is prepared any more.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np

from .clock import settle, time_parts
from .contestants import Contestant, Unavailable
from .problems import Problem

LIBRARIES = {"scratch": "numpy_runner", "PyTorch": "torch_runner"}

SAMPLE = 1000
"""How many entries of each tensor are compared."""

WARM_UP = 0.5
"""Seconds. A turn begins with a step that is not counted, unless a step takes longer than this."""

KNOWN = "LSTM with projections is not supported with oneDNN"
"""A warning of PyTorch that says nothing about the figures."""


class Prepared:
    """A problem in a library, and how often a turn calls it."""

    def __init__(self, runner: Any) -> None:
        self.runner, self.clock = runner, runner.clock
        self.floor: Any = None

    def step(self) -> None:
        """A whole training step."""
        for part in self.runner.parts.values():
            part()

    def floor_step(self) -> None:
        """The products of a training step."""
        self.floor.forward()
        self.floor.backward()

    def ready(self, least: float, floor: bool) -> dict[str, Any]:
        """Run a step: samples of its results, and what it warned of. Then find out how often a turn calls it."""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            self.step()
        results = {name: np.asarray(value).ravel() for name, value in self.runner.results().items()}
        samples = {name: v[:: max(1, ceil(v.size / SAMPLE))].astype(float).tolist() for name, v in results.items()}
        told = dict.fromkeys(str(one.message).split(". ")[0] for one in said if KNOWN not in str(one.message))
        if floor and (made := self.runner.floor()):
            self.floor = made
            self.floor_calls, self.floor_seconds = self.calls_of(self.floor_step, least)
        self.calls, self.seconds = self.calls_of(self.step, least)
        layouts = self.floor.layouts if self.floor else {}
        return {"samples": samples, "warned": list(told), "calls": self.calls, "layouts": layouts}

    def warm_up(self, step: Callable[[], object], seconds: float) -> None:
        """Steps that are not counted: one, unless it takes long; on a GPU as many as bring up its clock."""
        if seconds >= WARM_UP and not self.clock.least:
            return
        start = perf_counter()
        while True:
            step()
            self.clock.wait()
            if perf_counter() - start >= self.clock.least:
                break

    def calls_of(self, step: Callable[[], object], least: float) -> tuple[int, float]:
        """How many calls take at least so many seconds, and how many one takes. The first, in which libraries are
        loaded, is not counted.
        """
        step()
        self.clock.wait()
        (seconds,) = time_parts(self.clock, [step], 1)
        self.warm_up(step, seconds)
        if seconds < WARM_UP:
            (seconds,) = time_parts(self.clock, [step], 2)
        return max(1, ceil(max(least, self.clock.least) / seconds)), seconds

    def time(self) -> dict[str, float]:
        """One turn: the seconds of each part of a step, and of the products alone."""
        self.warm_up(self.step, self.seconds)
        parts = self.runner.parts
        times = dict(zip(parts, time_parts(self.clock, list(parts.values()), self.calls), strict=True))
        times["step"] = sum(times.values())
        if self.floor is not None:
            self.warm_up(self.floor_step, self.floor_seconds)
            both = time_parts(self.clock, [self.floor.forward, self.floor.backward], self.floor_calls)
            times |= {"floor forward": both[0], "floor backward": both[1], "floor step": sum(both)}
        return times


class Work:
    """What a worker knows how to do, and what it has prepared."""

    def __init__(self, library: str, threads: int) -> None:
        self.library, self.threads = import_module(f".{LIBRARIES[library]}", __package__), threads
        self.prepared: dict[str, Prepared] = {}

    def runner(self, contestant: dict[str, Any], problem: Problem, seed: int) -> Any:
        """A problem in the library."""
        return self.library.runner(Contestant(**contestant), problem, seed, self.threads)

    def environment(self) -> Any:
        """What computes here."""
        return self.library.environment()

    def prepare(
        self, key: str, contestant: dict[str, Any], problem: dict[str, Any], seed: int, least: float, floor: bool
    ) -> dict[str, Any]:
        """Make a problem ready, in its mode."""
        made = Prepared(self.runner(contestant, Problem(**problem), seed))
        with made.runner.turn():
            found = made.ready(least, floor)
        self.prepared[key] = made
        return found

    def time(self, key: str, contestant: Any) -> dict[str, float]:
        """One turn. Its mode is entered once, and not in what is timed."""
        with self.prepared[key].runner.turn():
            return self.prepared[key].time()

    def memory(self, contestant: dict[str, Any], problem: dict[str, Any], seed: int) -> Any:
        """By how much memory grows in two steps. A tiny problem runs first, which pays for what the library loads."""
        real = Problem(**problem)
        for one in (replace(real, T=2, B=1, I=2, H=2, P=min(real.P, 1)), real):
            made = Prepared(self.runner(contestant, one, seed))
            with made.runner.turn():
                found = made.clock.memory(made.step)
        return found

    def ceiling(self, contestant: dict[str, Any]) -> Any:
        """What the device can do at most."""
        return self.library.ceiling(Contestant(**contestant), self.threads)

    def forget(self) -> None:
        """Drop what was prepared."""
        self.prepared.clear()
        self.library.release()

    def do(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a request asks for, as an answer. Nothing that goes wrong goes further than this."""
        try:
            return {"answer": getattr(self, request.pop("do"))(**request)}
        except Unavailable as reason:
            return {"unavailable": str(reason)}
        except Exception as error:
            self.prepared.clear()
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            short = isinstance(error, self.library.OUT_OF_MEMORY) or "can't allocate memory" in str(error)
            return {"error": "out of memory" if short else text}


def main(library: str, threads: str) -> None:
    """Work until there is nothing more to read."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    work = Work(library, int(threads))
    for line in sys.stdin:
        answer = work.do(json.loads(line))
        settle()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
