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

import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np

from .clock import Clock, each, settle, time_parts
from .contestants import Contestant, Unavailable
from .problems import Problem

LIBRARIES = {"scratch": "numpy_runner", "PyTorch": "torch_runner"}

SAMPLE = 1000
"""How many entries of each tensor are compared."""

WARM_UP = 0.5
"""Seconds. A turn begins with a step that is not counted, unless a step takes longer than this."""


class Repeated:
    """A training step or its products alone, in parts that a turn calls in order, often enough to be timed.

    The very first call, in which libraries are loaded, is not counted.
    """

    def __init__(self, parts: dict[str, Callable[[], object]], clock: Clock, least: float) -> None:
        self.parts, self.clock, self.whole = parts, clock, partial(each, list(parts.values()))
        self.whole()
        clock.wait()
        (self.seconds,) = time_parts(clock, [self.whole], 1)
        self.warm_up()
        if self.seconds < WARM_UP:
            (self.seconds,) = time_parts(clock, [self.whole], 2)
        self.calls = max(1, ceil(max(least, clock.least) / self.seconds))

    def warm_up(self) -> None:
        """Calls that are not counted: one, unless it takes long; on a GPU as many as bring up its clock."""
        start, more = perf_counter(), self.seconds < WARM_UP or self.clock.least > 0
        while more:
            self.whole()
            self.clock.wait()
            more = perf_counter() - start < self.clock.least

    def time(self) -> dict[str, float]:
        """The seconds of each part in a turn, for a single call."""
        self.warm_up()
        return dict(zip(self.parts, time_parts(self.clock, list(self.parts.values()), self.calls), strict=True))


class Work:
    """What a worker knows how to do, and what it has prepared."""

    def __init__(self, library: str, threads: int) -> None:
        self.library, self.threads = import_module(f".{LIBRARIES[library]}", __package__), threads
        self.prepared: dict[str, tuple[Any, dict[str, Repeated]]] = {}

    def runner(self, contestant: dict[str, Any], problem: Problem, seed: int) -> Any:
        """A problem in the library."""
        return self.library.runner(Contestant(**contestant), problem, seed, self.threads)

    def environment(self) -> Any:
        """What computes here."""
        return self.library.environment()

    def prepare(
        self, key: str, contestant: dict[str, Any], problem: dict[str, Any], seed: int, least: float, floor: bool
    ) -> dict[str, Any]:
        """Run a step in its mode: samples of its results, and what it warned of. Then make it and its floor ready."""
        runner = self.runner(contestant, Problem(**problem), seed)
        with runner.turn():
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                each(runner.parts.values())
            results = {name: np.asarray(value).ravel() for name, value in runner.results().items()}
            alone = runner.floor() if floor else None
            timed = {"floor ": Repeated(alone.parts, runner.clock, least)} if alone else {}
            timed[""] = Repeated(runner.parts, runner.clock, least)
        self.prepared[key] = runner, timed
        return {
            "samples": {
                name: v[:: max(1, ceil(v.size / SAMPLE))].astype(float).tolist() for name, v in results.items()
            },
            "warned": list(dict.fromkeys(str(one.message).split(". ")[0] for one in said)),
            "calls": timed[""].calls,
            "layouts": alone.layouts if alone else {},
        }

    def time(self, key: str, contestant: Any) -> dict[str, float]:
        """One turn: the seconds of each part of a step, and of the products alone. Its mode is entered once, and not in
        what is timed.
        """
        found: dict[str, float] = {}
        runner, timed = self.prepared[key]
        with runner.turn():
            for name in sorted(timed):
                parts = timed[name].time()
                found |= {name + part: seconds for part, seconds in parts.items()} | {
                    f"{name}step": sum(parts.values())
                }
        return found

    def memory(self, contestant: dict[str, Any], problem: dict[str, Any], seed: int) -> Any:
        """By how much memory grows in two steps. A tiny problem runs first, which pays for what the library loads."""
        real = Problem(**problem)
        for one in (replace(real, T=2, B=1, I=2, H=2), real):
            runner = self.runner(contestant, one, seed)
            with runner.turn():
                found = runner.clock.memory(partial(each, list(runner.parts.values())))
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
