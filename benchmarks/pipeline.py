"""One pipeline for all commands: problems in, results out, views beside it.

Whatever is measured is kept at once, so that a run that ends early, or a process that dies, costs the size it was at
and no other.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from math import inf
from os.path import relpath
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import typer

from reference.devices import NO_DEVICE
from scratch.terminal import progress

from . import results
from .contestants import Contestant
from .options import Options
from .problems import Problem
from .process import Failed, Workers
from .report import TABLES, console, put, show_environment
from .results import Figures, by_problem, key, rounded
from .timing import Effort, Row, measure, memory


class Job(NamedTuple):
    """What a command measures."""

    contestants: list[Contestant]
    timed: Sequence[Problem] = ()
    """The problems that are measured against the clock."""
    effort: Effort = Effort()
    weighed: Sequence[Problem] = ()
    """Those whose memory is measured, in fresh processes."""
    ceilings: bool = False
    """Whether the share of what the device can do at most is asked for."""
    goes_on: bool = False
    """Whether sizes are left out that are in the file already."""


def run(command: str, options: Options, job: Job) -> int:
    """Measure, keep, show and draw. Returns 1 if something failed, else 0. A whole run is kept without --json too.

    Raises typer.BadParameter where a GPU is asked for and there is none.
    """
    out = console()
    with Workers(options.threads) as workers:
        figures: Figures = {"environment": results.environment(workers, job.contestants, options.seed)}
        own = results.own_file(options.threads)
        if options.device == "cuda":
            said = figures["environment"]["PyTorch"]
            if not isinstance(said, dict) or said["GPU"] == NO_DEVICE:
                raise typer.BadParameter("expected a CUDA device for --device cuda, got none")
            own = results.results_file(said["GPU"])
        whole = not options.quick and not options.patterns and options.file is None
        path = options.json or (own if whole or job.ceilings else None)
        dtype = options.dtype or ("float32" if options.device == "cpu" else "all")
        if job.goes_on and command in (before := results.kept(path)):
            there = by_problem(results.of_command(before, command).get("rows", []))
            job = job._replace(timed=[one for one in job.timed if one.name not in there])
            if not job.timed:
                out.print("every size is in the file already: --again measures anew")
                return 0
        if job.effort.passes > 1:
            figures["environment"]["passes"] = job.effort.passes
        show_environment(out, figures["environment"], bool(job.timed))
        if job.ceilings:
            figures["ceilings"] = ceilings(job.contestants, workers)
        rows: dict[Any, Figures] = {}
        until = monotonic() + 60 * options.minutes
        for found in measured(job, workers, options.seed, figures.get("ceilings", {})):
            rows |= {key(row): row for row in found}
            figures["rows"] = list(rows.values())
            if path is not None:
                results.keep(path, command, dtype, figures)
            if monotonic() > until:
                break
    if left := len(job.timed) + len(job.weighed) - len(by_problem(figures["rows"])):
        more = ": the next run goes on" if job.goes_on else ""
        out.print(f"{left} sizes are left after {options.minutes:g} minutes{more}")
    shown = results.kept(path)[command][dtype] if path is not None and job.goes_on else figures
    put(TABLES[command](shown))
    if path:
        out.print(f"written to {relpath(path)}", soft_wrap=True)
    draw(command, shown, options.plot)
    return int(any("failed" in row for row in figures["rows"]))


def measured(job: Job, workers: Workers, seed: int, best: Figures) -> Iterator[list[Figures]]:
    """The rows of one problem after the other. Progress is shown between turns, at most once a second."""
    work = [("time", number, one) for number in range(job.effort.passes) for one in job.timed]
    work += [("memory", 0, one) for one in job.weighed]
    all_rows: dict[str, list[Row]] = {}
    with progress("{task.percentage:.0f} %", idle=True) as bar:
        task, told = bar.add_task("measuring", total=len(work)), -inf
        for done, (what, number, problem) in enumerate(work):

            def tell(name: str = problem.name, done: int = done) -> None:
                nonlocal told
                if monotonic() - told >= 1:
                    bar.update(task, description=name, completed=done, refresh=True)
                    told = monotonic()

            tell()
            if number and problem is job.timed[0]:
                workers.renew()
            rows = all_rows.setdefault(problem.name, [Row(problem, one) for one in job.contestants])
            if what == "time":
                measure(rows, workers, job.effort, seed, tell)
            else:
                memory(rows, workers.threads, seed)
            yield [results.of_row(row, rows[0], best.get(ceiling_of(row.contestant))) for row in rows]


def ceiling_of(one: Contestant) -> str:
    """What a contestant is held to: what its device can do in its mode."""
    return f"{one.device.upper()} {one.mode}"


def ceilings(contestants: list[Contestant], workers: Workers) -> Figures:
    """What each device can do at most in each mode. The shares of a mode in which that fails stay empty."""
    found: Figures = {}
    print("benchmarks: measuring the ceilings", file=sys.stderr)
    for one in contestants:
        with suppress(Failed):
            if ceiling_of(one) not in found:
                answer = workers.of(one).ask("ceiling", contestant=asdict(one))
                found[ceiling_of(one)] = {name: rounded(value) for name, value in answer.items()}
    return found


def draw(command: str, figures: Figures, path: Path | None) -> None:
    """Write the picture of a command, if it is asked for."""
    if path is not None:
        from .picture import PICTURES  # matplotlib takes a while to load

        PICTURES[command](figures).savefig(path, dpi=150)
