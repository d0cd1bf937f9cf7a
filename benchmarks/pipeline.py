"""One pipeline for all commands: problems in, results out, views beside it.

Stages say what is measured of which problems. Whatever is measured is kept at once, so that a run that ends early, or a
process that dies, costs the size it was at and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from os.path import relpath
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import typer

from scratch.terminal import progress

from .contestants import Contestant
from .memory import memories
from .options import Options
from .problems import Problem
from .process import Workers
from .report import TABLES, console, put, show_environment
from .results import Figures, environment, gpu, keep, key, of_row, results_file
from .timing import Effort, Row, measure


class Stage(NamedTuple):
    """Problems that are measured alike: against the clock, or in fresh processes for their memory."""

    problems: list[Problem]
    effort: Effort | None = None
    """None: memory."""

    def weight(self, problem: Problem, contestants: int) -> float:
        """About how long a problem takes, for the progress."""
        return self.effort.expected(problem, contestants) if self.effort else contestants * 2.0


Tell = Callable[[str, float], object]
"""Is told what is being measured, and how much of the work is done."""


@contextmanager
def telling(total: float) -> Iterator[Tell]:
    """Show progress between measurements, at most once a second: while a process is timed, this one sleeps."""
    with progress("{task.percentage:.0f} %", idle=True) as bar:
        task, last = bar.add_task("measuring", total=total), -inf

        def tell(name: str, done: float) -> None:
            nonlocal last
            if monotonic() - last >= 1:
                bar.update(task, description=name, completed=done, refresh=True)
                last = monotonic()

        yield tell


def within(tell: Tell, name: str, before: float, share: float) -> Callable[[float], object]:
    """Tells of one problem, when it gets the fraction of it that is done."""
    return lambda fraction: tell(name, before + fraction * share)


class Record:
    """What a run has measured so far, and the file in which it is kept, if it is to be kept."""

    def __init__(self, command: str, path: Path | None, dtype: str, view: Callable[[list[Figures]], Figures]) -> None:
        self.command, self.path, self.dtype, self.view = command, path, dtype, view
        self.rows: dict[Any, Figures] = {}
        self.about: Figures = {}

    @property
    def figures(self) -> Figures:
        """All of it."""
        return self.about | self.view(list(self.rows.values()))

    def add(self, rows: list[Figures]) -> None:
        """Put further rows to it, or what was measured anew, and keep it."""
        self.rows |= {(*key(row), "bytes" in row): row for row in rows}
        self.keep()

    def keep(self) -> None:
        """Write it down."""
        if self.path is not None and self.rows:
            keep(self.path, self.command, self.dtype, self.figures)


def as_rows(rows: list[Figures]) -> Figures:
    """Rows as they are."""
    return {"rows": rows}


def begin(
    command: str, options: Options, workers: Workers, whole: bool, view: Callable[[list[Figures]], Figures] = as_rows
) -> Record:
    """An empty record. Raises typer.BadParameter where a GPU is asked for and there is none."""
    name = None
    if options.device == "cuda" and (name := gpu(workers)) is None:
        raise typer.BadParameter("expected a CUDA device for --device cuda, got none")
    path = options.json or (results_file(options.device, options.threads, name) if whole else None)
    return Record(command, path, options.dtype or ("float32" if options.device == "cpu" else "all"), view)


def run(
    command: str,
    options: Options,
    contestants: list[Contestant],
    stages: list[Stage],
    view: Callable[[list[Figures]], Figures] = as_rows,
) -> int:
    """Measure, keep, show and draw; returns the exit status. A whole run is kept without --json too."""
    with Workers(options.threads) as workers:
        record = begin(command, options, workers, options.whole, view)
        fill(record, workers, contestants, stages, options.seed)
        if any(stage.effort for stage in stages):
            record.about["at rest"] = workers.rest()
            record.keep()
    return finish(record, options)


def fill(
    record: Record,
    workers: Workers,
    contestants: list[Contestant],
    stages: list[Stage],
    seed: int,
    until: float = inf,
) -> None:
    """Measure all stages, and keep each size when it is done. until: when no further size is begun, by `monotonic`."""
    record.about["environment"] = found = environment(workers, contestants, seed)
    passes = max(stage.effort.passes if stage.effort else 1 for stage in stages)
    if passes > 1:
        found["passes"] = passes
    show_environment(console(), found, any(stage.effort for stage in stages))
    with telling(
        sum(stage.weight(problem, len(contestants)) for stage in stages for problem in stage.problems)
    ) as tell:
        for rows in measured(stages, contestants, workers, seed, tell):
            record.add(rows)
            if monotonic() > until:
                break


def measured(
    stages: list[Stage], contestants: list[Contestant], workers: Workers, seed: int, tell: Tell
) -> Iterator[list[Figures]]:
    """The rows of one problem after the other."""
    done = 0.0
    for stage in stages:
        rows: dict[str, list[Row]] = {}
        efforts = stage.effort.of_each_pass() if stage.effort else [None]
        for number, effort in enumerate(efforts):
            if number:
                workers.renew()
            for problem in stage.problems:
                share = stage.weight(problem, len(contestants)) / len(efforts)
                advance = within(tell, problem.name, done, share)
                advance(0.0)
                if effort is None:
                    found = [of_row(row, row) for row in memories(problem, contestants, workers.threads, seed)]
                else:
                    before = rows.get(problem.name)
                    own = rows[problem.name] = measure(problem, contestants, workers, effort, seed, advance, before)
                    found = [of_row(row, own[0]) for row in own]
                done += share
                yield found


def finish(record: Record, options: Options) -> int:
    """Show what a record holds, say where it is kept, and draw it. Returns 1 if something failed, else 0."""
    figures, out = record.figures, console()
    put(TABLES[record.command](figures))
    rest = figures.get("at rest", {})
    if rest.get("seconds"):
        share = rest["processor"] / rest["seconds"]
        out.print(f"while a process waited for its turn it used {100 * share:.2f} % of a core")
    if record.path:
        out.print(f"written to {relpath(record.path)}", soft_wrap=True)
    draw(record.command, figures, options.plot)
    return 1 if any("failed" in row for row in record.rows.values()) else 0


def draw(command: str, figures: Figures, path: Path | None) -> None:
    """Write the picture of a command, if there is one and it is asked for."""
    if path is not None:
        from .picture import PICTURES  # matplotlib takes a while to load

        PICTURES[command](figures).savefig(path, dpi=150)
