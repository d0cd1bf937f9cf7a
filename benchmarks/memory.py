"""How much memory a training step takes: each problem in each library in a fresh process of its own."""

from __future__ import annotations

from dataclasses import replace

from .contestants import Contestant, Unavailable
from .problems import Problem
from .process import Failed, Worker


class Memory:
    """What a training step of one contestant takes beyond its parameters and its input, or why that is not known."""

    def __init__(self, problem: Problem, contestant: Contestant) -> None:
        self.problem, self.contestant = problem, contestant
        self.skipped = self.failed = self.how = ""
        self.bytes: int | None = None
        self.seconds = 0.0
        """Of one step, taken once: an idea of it, no measurement."""


def memory(problem: Problem, contestant: Contestant, threads: int, seed: int = 0) -> Memory:
    """Measure in a fresh process. It runs a tiny problem first, so that what the library loads is not counted."""
    row = Memory(problem, contestant)
    worker = Worker(contestant.library, threads, contestant.device)
    try:
        tiny = replace(problem, T=2, B=1, I=2, H=2, P=min(problem.P, 1))
        for key, one in (("tiny", tiny), ("real", problem)):
            worker.ask("prepare", key=key, contestant=contestant.as_json(), problem=one.as_json(), seed=seed)
            found = worker.ask("memory", key=key)
        row.bytes, row.how, row.seconds = found["bytes"], found["how"], found["seconds"]
    except Unavailable as reason:
        row.skipped = str(reason)
    except Failed as reason:
        row.failed = str(reason)
    finally:
        worker.close()
    return row


def memories(problem: Problem, contestants: list[Contestant], threads: int, seed: int = 0) -> list[Memory]:
    """One for each contestant. As with times, what the first cannot compute is skipped."""
    first, *others = contestants
    rows = [memory(problem, first, threads, seed)]
    for other in others:
        if rows[0].skipped:
            rows.append(Memory(problem, other))
            rows[-1].skipped = rows[0].skipped
        else:
            rows.append(memory(problem, other, threads, seed))
    return rows
