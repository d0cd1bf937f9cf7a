"""How much memory a training step takes: each problem in each library in a fresh process of its own."""

from __future__ import annotations

from dataclasses import asdict, replace

from .contestants import Contestant, Unavailable
from .problems import Problem
from .process import Failed, Worker
from .timing import Row


def memory(problem: Problem, contestant: Contestant, threads: int, seed: int = 0) -> Row:
    """Measure in a fresh process. It runs a tiny problem first, so that what the library loads is not counted."""
    row = Row(problem, contestant)
    worker = Worker(contestant.library, threads, contestant.device)
    try:
        tiny = replace(problem, T=2, B=1, I=2, H=2, P=min(problem.P, 1))
        for key, one in (("tiny", tiny), ("real", problem)):
            worker.ask("prepare", key=key, contestant=asdict(contestant), problem=asdict(one), seed=seed)
            found = worker.ask("memory", key=key)
        row.memory = found
    except Unavailable as reason:
        row.skipped = str(reason)
    except Failed as reason:
        row.failed = str(reason)
    finally:
        worker.close()
    return row


def memories(problem: Problem, contestants: list[Contestant], threads: int, seed: int = 0) -> list[Row]:
    """A row for each contestant. As with times, what the first cannot compute is skipped."""
    rows: list[Row] = []
    for contestant in contestants:
        if rows and rows[0].skipped:
            rows.append(Row(problem, contestant))
            rows[-1].skipped = rows[0].skipped
        else:
            rows.append(memory(problem, contestant, threads, seed))
    return rows
