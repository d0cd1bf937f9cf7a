"""One library's process: it reads what to do from standard input, a JSON object a line, and answers in the same way.

    {"do": "environment"}                                                    what computes here
    {"do": "prepare", "key": …, "contestant": …, "problem": …, "seed": …}    make a problem ready, under a key
    {"do": "check", "key": …}                                                run a step: its results and warnings
    {"do": "calibrate", "key": …, "least": seconds}                          warm up, and find out how often to call
    {"do": "time", "key": …}                                                 the seconds of each part, and of the floor
    {"do": "ceiling", "contestant": …}                                       what the device can do at most
    {"do": "memory", "key": …}                                               by how much memory grows in two steps
    {"do": "learn", "path": …, "steps": …, "seconds": …}                     train a character model; its first losses
    {"do": "train"}                                                          train it on: the seconds of a step
    {"do": "forget"}                                                         drop what was prepared

The answer is {"answer": …, "at rest": …}, or {"unavailable": reason}, or {"error": reason}. It comes only when all
threads of the process sleep. "at rest" tells what the process did since its last answer: the seconds that passed and
the seconds of processor time that it used in them, which are next to none. After an error nothing is prepared any more.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from math import ceil
from time import perf_counter, process_time
from typing import Any

import numpy as np

from scratch.text.checkpoint import read
from scratch.text.corpus import read_texts

from .clock import CpuClock, settle, time_parts
from .contestants import Contestant, Unavailable
from .peak import growth_of_memory
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

    def __init__(self, library: Any, contestant: Contestant, problem: Problem, seed: int, threads: int) -> None:
        self.library = library
        self.runner = library.Runner(contestant, problem, seed, threads)
        self.floor: Any = None
        self.calls = self.floor_calls = 1
        self.seconds = 0.0

    def step(self) -> None:
        """A whole training step."""
        self.runner.clear()
        self.runner.forward()
        self.runner.backward()

    def floor_step(self) -> None:
        """The products of a training step."""
        self.floor.forward()
        self.floor.backward()

    def check(self) -> dict[str, Any]:
        """Samples of what a step computes, and what it warned of."""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            self.step()
        results = {name: np.asarray(value).ravel() for name, value in self.runner.results().items()}
        samples = {name: v[:: max(1, ceil(v.size / SAMPLE))].astype(float).tolist() for name, v in results.items()}
        told = dict.fromkeys(str(one.message).split(". ")[0] for one in said if KNOWN not in str(one.message))
        return {"samples": samples, "warned": list(told)}

    def warm_up(self, step: Callable[[], object]) -> None:
        """Steps that are not counted: one, unless it takes long; on a GPU as many as bring up its clock."""
        clock = self.runner.clock
        if self.seconds >= WARM_UP and not clock.least:
            return
        start = perf_counter()
        while True:
            step()
            clock.wait()
            if perf_counter() - start >= clock.least:
                break

    def calls_of(self, step: Callable[[], object], least: float) -> int:
        """How many calls take at least so many seconds. The first, in which libraries are loaded, is not counted."""
        clock = self.runner.clock
        step()
        clock.wait()
        (self.seconds,) = time_parts(clock, [step], 1)
        self.warm_up(step)
        if self.seconds < WARM_UP:
            (self.seconds,) = time_parts(clock, [step], 2)
        return max(1, ceil(max(least, clock.least) / self.seconds))

    def calibrate(self, least: float, floor: bool = True) -> dict[str, Any]:
        """Warm up, and find out how often a turn calls the products alone, if they are measured, and the step."""
        if floor:
            self.floor = self.runner.floor()
            self.floor_calls = self.calls_of(self.floor_step, least)
        self.calls = self.calls_of(self.step, least)
        return {"calls": self.calls, "layouts": self.floor.layouts if self.floor else {}}

    def time(self) -> dict[str, float]:
        """One turn: the seconds of each part of a step, and of the products alone."""
        clock, runner = self.runner.clock, self.runner
        self.warm_up(self.step)
        start, used = perf_counter(), process_time()
        clear, forward, backward = time_parts(clock, [runner.clear, runner.forward, runner.backward], self.calls)
        cores = (process_time() - used) / (perf_counter() - start)
        times = {"forward": forward, "backward": backward, "step": clear + forward + backward, "cores": cores}
        if self.floor is not None:
            self.warm_up(self.floor_step)
            forward, backward = time_parts(clock, [self.floor.forward, self.floor.backward], self.floor_calls)
            times |= {"floor forward": forward, "floor backward": backward, "floor step": forward + backward}
        return times

    def memory(self) -> dict[str, Any]:
        """By how much memory grows in two steps."""
        return growth_of_memory(self)


OF_A_PROBLEM = ("check", "calibrate", "time", "memory")
"""What is asked of a problem that is prepared, by its key."""


class Work:
    """What a worker knows how to do, and what it has prepared."""

    def __init__(self, library: str, threads: int) -> None:
        self.library, self.threads = import_module(f".{LIBRARIES[library]}", __package__), threads
        self.prepared: dict[str, Prepared] = {}
        self.training: Any = None
        self.steps = 1
        """Of training, in a turn."""

    def environment(self) -> dict[str, Any]:
        """What computes here."""
        found: dict[str, Any] = self.library.environment()
        return found

    def prepare(self, key: str, contestant: dict[str, Any], problem: dict[str, Any], seed: int) -> None:
        """Make a problem ready."""
        made = Contestant(**contestant), Problem(**problem)
        self.prepared[key] = Prepared(self.library, *made, seed, self.threads)

    def forget(self) -> None:
        """Drop what was prepared."""
        self.prepared.clear()
        self.library.release()

    def ceiling(self, contestant: dict[str, Any]) -> dict[str, float]:
        """What the device can do at most."""
        found: dict[str, float] = self.library.ceiling(Contestant(**contestant), self.threads)
        return found

    def learn(self, path: str, steps: int, seconds: float) -> dict[str, Any]:
        """Go on from a checkpoint for some steps, and find out how many take about so many seconds."""
        found = read(path)
        self.training = self.library.training(found, read_texts(found.sources))
        losses = [self.training.advance() for _ in range(steps)]
        self.steps = max(1, round(seconds / self.train()))
        segments = self.training.streams.segments
        read_alone = time_parts(CpuClock(), [lambda: self.training.streams.segment(0)], min(100, segments))
        return {"losses": losses, "reading": read_alone[0]}

    def train(self) -> float:
        """The seconds of a step of training, over a turn of several."""
        (seconds,) = time_parts(CpuClock(), [self.training.advance], self.steps)
        return seconds

    def do(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a request asks for, as an answer. Nothing that goes wrong goes further than this."""
        try:
            what = request.pop("do")
            if what not in OF_A_PROBLEM:
                return {"answer": getattr(self, what)(**request)}
            prepared = self.prepared[request.pop("key")]
            with prepared.runner.turn():  # in its mode, entered once and not in what is timed
                return {"answer": getattr(prepared, what)(**request)}
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
    waited = used = 0.0
    for line in sys.stdin:
        if waited:
            rest = {"seconds": perf_counter() - waited, "processor": process_time() - used}
        else:
            rest = {"seconds": 0.0, "processor": 0.0}
        answer = work.do(json.loads(line)) | {"at rest": rest}
        settle()
        print(json.dumps(answer), file=answers, flush=True)
        waited, used = perf_counter(), process_time()


if __name__ == "__main__":
    main(*sys.argv[1:])
