"""Turns: the contestants run one after the other, A B A B …, and are compared pair by pair.

Each turn of a contestant times enough training steps to fill some milliseconds, then the products alone. Whatever
slows the machine for a while slows both of a pair, and drops out of their ratio. A run makes several passes over all
problems, each with new processes: what a process has for its lifetime, such as the places of its memory, is drawn anew.

Those on a GPU come after those on the CPU, one after the other, each with as many turns: its memory would not hold all
of them at once, and what slows a CPU does not slow a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
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
    """Whether the products alone are measured as well: in the first pass, as they take as long as all the rest."""
    passes: int = 1
    on_gpu: int = 0
    """Rounds on a GPU in a pass; 0: as many as on the CPU."""


WHOLE = Effort(passes=5)
QUICK = Effort(fewest=5, most=15, seconds=2.0, least=0.01)


@dataclass(eq=False)
class Row:
    """What was measured of one contestant on one problem, or why nothing was."""

    problem: Problem
    contestant: Contestant
    skipped: str = ""
    """Why it was not measured, though nothing failed."""
    failed: str = ""
    """What went wrong."""
    turns: list[dict[str, float]] = field(default_factory=list)
    """Seconds, by part."""
    passes: list[int] = field(default_factory=list)
    """With which turn each pass begins."""
    prepared: tuple[Worker, int] | None = None
    """The worker that has it ready, and its generation."""
    found: dict[str, Any] = field(default_factory=dict)
    """What the worker said when it was ready, or of the memory."""
    error: float = 0.0
    """How far its results are from the first contestant's."""

    def ask(self, worker: Worker, do: str, **what: Any) -> Any:
        """Have the worker do something. None if that goes wrong, which is noted and ends this row's way."""
        try:
            return worker.ask(do, contestant=asdict(self.contestant), **what)
        except Unavailable as reason:
            self.skipped = str(reason)
        except Failed as reason:
            self.failed = str(reason)
        return None

    @property
    def runs(self) -> bool:
        """Whether nothing has stopped it."""
        return not self.skipped and not self.failed

    def seconds(self, part: str) -> list[float]:
        """Of each turn that measured the part."""
        return [turn[part] for turn in self.turns if part in turn]

    def time(self, part: str) -> Spread:
        """The median over the turns, and the quartiles."""
        return quartiles(self.seconds(part))

    def share_of_floor(self, part: str) -> Spread | None:
        """The time of the products alone by the time of the part, turn by turn. None if that was not measured."""
        floor = self.seconds(f"floor {part}")
        return ratios(floor, self.seconds(part)[: len(floor)]) if floor else None

    def speed(self, part: str, other: Row) -> Spread | None:
        """The other's time by this one's, pair by pair: how many times faster this one is. Over the passes, if there
        are several. None for itself, and where the turns are no pairs.
        """
        theirs, ours = other.seconds(part), self.seconds(part)
        if other is self or not self.runs or len(ours) != len(theirs):
            return None
        if len(self.passes) < 2:
            return ratios(theirs, ours)
        pairs = [a / b for a, b in zip(theirs, ours, strict=True)]
        return across([pairs[start:end] for start, end in zip(self.passes, [*self.passes[1:], None], strict=True)])


def measure(
    rows: list[Row],
    workers: Workers,
    effort: Effort,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """A pass of one problem for its rows. `advance` is called after every turn.

    A problem is skipped that the first contestant cannot compute: there is nothing to stand beside.
    """
    first = rows[0]
    floor = effort.floor and not first.passes
    for row in rows:
        row.passes.append(len(row.turns))

    def ready(row: Row) -> bool:
        """Whether a row's worker has it ready. One that computes something else than the first does not get so far."""
        worker = workers.of(row.contestant)
        if row.runs and row.prepared != (worker, worker.generation):
            what = {"problem": asdict(row.problem), "seed": seed, "least": effort.least, "floor": floor}
            if found := row.ask(worker, "prepare", key=row.contestant.name, **what):
                found["layouts"] = found["layouts"] or row.found.get("layouts", {})  # found in the first pass alone
                row.prepared, row.found = (worker, worker.generation), row.found | found
                row.error, tensor = difference(found["samples"], first.found.get("samples", {}))
                tolerance = max(one.contestant.tolerance(one.problem) for one in (first, row))
                if not row.error <= tolerance:
                    row.failed = f"its results differ: {tensor} by {row.error:.0e}, above {tolerance:.0e}"
        return row.runs

    on_cpu = [row for row in rows if row.contestant.device == "cpu"]
    for group in (on_cpu, *([row] for row in rows if row not in on_cpu)):
        for row in group:
            row.skipped = row.skipped or first.skipped
            ready(row)
        most, fewest, start, done = effort.most, effort.fewest, perf_counter(), 0
        if group is not on_cpu:
            most = fewest = effort.on_gpu or len(first.turns) - first.passes[-1] or fewest
        while done < most and (done < fewest or perf_counter() - start < effort.seconds) and any(r.runs for r in group):
            for row in group:
                if ready(row) and (turn := row.ask(workers.of(row.contestant), "time", key=row.contestant.name)):
                    row.turns.append(turn)
                advance()
            done += 1
        for row in group:
            workers.of(row.contestant).forget()


def memory(rows: list[Row], threads: int, seed: int = 0) -> None:
    """The peak memory of a step, each in a fresh process. As with times, what the first cannot compute is skipped."""
    for row in rows:
        if row is not rows[0] and rows[0].skipped:
            row.skipped = rows[0].skipped
            continue
        with Workers(threads) as workers:
            what = {"problem": asdict(row.problem), "seed": seed}
            row.found = row.ask(workers.of(row.contestant), "memory", **what) or {}
