"""Turns: the contestants run one after the other, A B A B …, and are compared pair by pair.

Each turn of a contestant times enough training steps to fill some milliseconds, then the products alone. Whatever
slows the machine for a while slows both of a pair, and drops out of their ratio. A run makes several passes over all
problems, each with new processes: what a process has for its lifetime, such as the places of its memory, is drawn anew.

Those on a GPU come after those on the CPU, one after the other, each with as many turns: its memory would not hold all
of them at once, and what slows a CPU does not slow a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from .contestants import Contestant, Unavailable
from .problems import Problem
from .process import Failed, Worker, Workers
from .statistics import Spread, across, difference, quartiles, ratios

PARTS = ("forward", "backward", "step")


class Effort(NamedTuple):
    """How long to measure a problem in a pass."""

    fewest: int = 1
    """Rounds, in which each contestant has a turn."""
    most: int = 12
    seconds: float = 3.0
    """No further round begins after so long, but for the fewest."""
    least: float = 0.02
    """Seconds that a turn takes at least; a short step is repeated."""
    floor: bool = True
    """Whether the products alone are measured as well."""
    passes: int = 1
    on_gpu: int = 0
    """Rounds on a GPU in a pass; 0: as many as the first contestant has."""

    def of_each_pass(self) -> list[Effort]:
        """The products alone are measured in the first pass: they take as long as all the rest."""
        return [self, *[self._replace(floor=False)] * (self.passes - 1)]

    def exactly(self, rounds: int) -> Effort:
        """The same with so many rounds."""
        return self._replace(fewest=rounds, most=rounds)

    def expected(self, problem: Problem, contestants: int) -> float:
        """About how many seconds a pass takes for a problem, at 50 billion operations in a second; to show progress."""
        of_step = problem.flops("step") / 50e9 * contestants * (2 if self.floor else 1)
        return max(self.seconds, (self.fewest + 4) * of_step) + 1


WHOLE = Effort(passes=5)
QUICK = Effort(fewest=5, most=15, seconds=2.0, least=0.01)


class Row:
    """What was measured of one contestant on one problem, or why nothing was."""

    def __init__(self, problem: Problem, contestant: Contestant) -> None:
        self.problem, self.contestant = problem, contestant
        self.skipped = ""
        """Why it was not measured, though nothing failed."""
        self.failed = ""
        """What went wrong."""
        self.turns: list[dict[str, float]] = []
        self.passes: list[int] = []
        """With which turn each pass begins."""
        self.layouts: dict[str, str] = {}
        """In which layout each of the products alone is the faster."""
        self.calls = 0
        self.error = (0.0, "")
        """How far its results are from the first contestant's, and in which tensor."""
        self.warned: list[str] = []
        """What its library warned of in a step."""
        self.memory: dict[str, Any] = {}
        """The bytes that a step takes, how they were counted, and the seconds of one step."""

    @property
    def measured(self) -> bool:
        """Whether there are figures."""
        return bool(self.turns) and not self.skipped and not self.failed

    def seconds(self, part: str) -> list[float]:
        """Of each turn."""
        return [turn[part] for turn in self.turns]

    def time(self, part: str) -> Spread:
        """The median over the turns, and the quartiles."""
        return quartiles(self.seconds(part))

    def rate(self, part: str) -> float:
        """The operations in a second."""
        return self.problem.flops(part) / self.time(part).median

    def share_of_floor(self, part: str) -> Spread | None:
        """The time of the products alone by the time of the part, turn by turn. None if that was not measured."""
        turns = [turn for turn in self.turns if f"floor {part}" in turn]
        return ratios([turn[f"floor {part}"] for turn in turns], [turn[part] for turn in turns]) if turns else None

    def speed(self, part: str, other: Row) -> Spread:
        """The other's time by this one's, pair by pair: how many times faster this one is. Over the passes, if there
        are several.
        """
        theirs, ours = other.seconds(part), self.seconds(part)
        if len(self.passes) < 2:
            return ratios(theirs, ours)
        pairs = [a / b for a, b in zip(theirs, ours, strict=True)]
        return across([pairs[start:end] for start, end in zip(self.passes, [*self.passes[1:], None], strict=True)])


class Entrant:
    """A contestant on its way through one problem. What goes wrong is noted in its row, and ends its way."""

    def __init__(self, row: Row, worker: Worker, seed: int, effort: Effort) -> None:
        self.row, self.worker, self.seed, self.effort = row, worker, seed, effort
        self.prepared: int | None = None
        """The generation of the worker that has it ready."""

    @property
    def runs(self) -> bool:
        """Whether nothing has stopped it."""
        return not self.row.skipped and not self.row.failed

    def attempt(self, action: Callable[[Entrant], Any]) -> Any:
        """Do something with this problem, which the worker has ready then. Returns None if that went wrong."""
        try:
            if self.prepared is None or self.prepared != self.worker.generation:
                made = {"contestant": asdict(self.row.contestant), "problem": asdict(self.row.problem)}
                self.ask("prepare", **made, seed=self.seed)
                self.prepared = self.worker.generation
                self.calibrate()
            return action(self)
        except Unavailable as reason:
            self.row.skipped = str(reason)
        except Failed as reason:
            self.row.failed = str(reason)
        return None

    def ask(self, do: str, **what: Any) -> Any:
        """Have the worker do something with this problem."""
        return self.worker.ask(do, key=self.row.contestant.name, **what)

    def check(self, expected: Row | None, samples: Any) -> Any:
        """Samples of what a step computes. If it is something else than what is expected, that is what went wrong."""
        found = self.ask("check")
        self.row.warned = found["warned"]
        if expected is not None and samples is not None:
            error, tensor = self.row.error = difference(found["samples"], samples)
            tolerance = max(row.contestant.tolerance(row.problem) for row in (expected, self.row))
            if not error <= tolerance:
                raise Failed(f"its results differ: {tensor} by {error:.0e}, above {tolerance:.0e}")
        return found["samples"]

    def calibrate(self) -> None:
        """Warm up, and find out how often to call."""
        found = self.ask("calibrate", least=self.effort.least, floor=self.effort.floor)
        self.row.layouts, self.row.calls = found["layouts"] or self.row.layouts, found["calls"]

    def turn(self) -> None:
        """Measure once."""
        self.row.turns.append(self.ask("time"))


def measure(
    problem: Problem,
    contestants: list[Contestant],
    workers: Workers,
    effort: Effort,
    seed: int = 0,
    advance: Callable[[float], object] = lambda fraction: None,
    rows: list[Row] | None = None,
) -> list[Row]:
    """A row for each contestant, or a further pass for the `rows` there are.

    `advance` is told which fraction of the work is done, again and again up to 1. A problem is skipped that the first
    contestant cannot compute: there is nothing to stand beside.
    """
    first_pass = not rows
    rows = rows or [Row(problem, contestant) for contestant in contestants]
    for row in rows:
        row.passes.append(len(row.turns))
    first, *others = (Entrant(row, workers.of(row.contestant), seed, effort) for row in rows)
    samples = first.attempt(lambda entrant: entrant.check(None, None)) if first_pass else None
    if first.row.skipped:
        for other in others:
            other.row.skipped = first.row.skipped
    on_cpu = [entrant for entrant in (first, *others) if entrant.row.contestant.device == "cpu"]
    groups = [on_cpu, *([other] for other in others if other not in on_cpu)]
    for place, group in enumerate(groups):
        for entrant in (one for one in group if one.runs):
            begin = partial(Entrant.check, expected=first.row, samples=samples)
            entrant.attempt(begin if first_pass and entrant is not first else lambda ready: None)
        rounds = effort.on_gpu or len(first.row.turns) - first.row.passes[-1] or effort.fewest
        share = partial(lambda before, fraction: advance((before + fraction) / len(groups)), place)
        in_turns(group, effort if group is on_cpu else effort.exactly(rounds), share)
        for entrant in group:
            entrant.worker.forget()
    advance(1.0)
    return rows


def in_turns(entrants: list[Entrant], effort: Effort, advance: Callable[[float], object]) -> None:
    """Rounds, in which each has a turn, until the effort is made."""
    start, done, rounds = perf_counter(), 0.0, 0
    while rounds < effort.most and (rounds < effort.fewest or perf_counter() - start < effort.seconds):
        running = [entrant for entrant in entrants if entrant.runs]
        if not running:
            break
        for entrant in running:
            entrant.attempt(Entrant.turn)
        rounds += 1
        elapsed = (perf_counter() - start) / max(effort.seconds, 1e-9)
        done = max(done, min(1.0, max(rounds / effort.most, min(elapsed, rounds / effort.fewest))))
        advance(done)
