"""The command `python -m benchmarks`: every size, in each library, beside the floor."""

from __future__ import annotations

from os.path import relpath
from typing import Any

import typer

from scratch.terminal import progress

from .contestants import contestants
from .options import Device, Dtype, Json, List, Patterns, Plot, Quick, Seed, Threads, checked, chosen, gpu_of, write
from .process import Workers
from .report import console, measurements, show_environment, show_rest, summary
from .results import environment, of_row
from .timing import QUICK, WHOLE, Row
from .timing import measure as measure_problem


def measure(
    context: typer.Context,
    quick: Quick = False,
    patterns: Patterns = None,
    list_sizes: List = False,
    threads: Threads = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    json: Json = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> int:
    """Measure a training step in scratch (NumPy) beside PyTorch on the CPU and, with --device cuda, on a GPU.

    Each library computes in a process of its own, with as many processors as threads, and they take turns; while one
    computes, the threads of the other sleep. A whole run makes several passes, each with new processes. Times are
    medians over all turns; speeds are ratios pair by pair with a 95 % interval over the passes (--quick makes one pass,
    and its intervals tell of that one alone). Beside every time stand the operations in a second and, from the first
    pass, the share of the floor: the time of the step's matrix products alone, in the same library.

    A run of all sizes writes benchmarks/results/<machine>.json. Exit status: 0, 1 if something failed, 2 if the command
    is wrong.
    """
    if context.invoked_subcommand:
        given = quick or patterns or list_sizes or threads or device != "cpu" or dtype or json or plot or seed
        if given:
            raise typer.BadParameter(f"options belong behind {context.invoked_subcommand}: see its own --help")
        return 0
    options = checked(threads, device, dtype, json, plot, seed)
    problems = chosen(patterns, quick, device)
    if list_sizes:
        for problem in problems:
            print(f"{problem.name}    {problem.step_flops / 1e9:.3g} GFLOP a step")
        return 0

    effort = QUICK if quick else WHOLE
    with Workers(options.threads) as workers:
        gpu = gpu_of(options, workers)
        taking_part = contestants(device, dtype, gpu is not None)
        found = environment(workers, taking_part, seed) | {"passes": effort.passes}
        out = console()
        show_environment(out, found)
        rows: list[list[Row]] = [[] for _ in problems]
        passes = effort.of_each_pass()
        with progress("{task.percentage:.0f} %", idle=True) as bar:
            total = sum(one.expected(problem, len(taking_part)) for one in passes for problem in problems)
            task, done = bar.add_task("measuring", total=total), 0.0
            for one in passes:
                workers.renew()
                for place, problem in enumerate(problems):
                    bar.update(task, description=problem.name, refresh=True)
                    weight = one.expected(problem, len(taking_part))

                    def advance(fraction: float, weight: float = weight, done: float = done) -> None:
                        bar.update(task, completed=done + fraction * weight, refresh=True)

                    rows[place] = measure_problem(problem, taking_part, workers, one, seed, advance, rows[place])
                    done += weight
        rest = workers.rest()
    out.print(measurements(rows))
    for line in summary(rows):
        out.print(line)
    show_rest(out, rest)

    def draw() -> Any:
        from .picture import speeds  # matplotlib takes a while to load

        return speeds(rows)

    figures = {"environment": found, "at rest": rest, "rows": [of_row(row, one[0]) for one in rows for row in one]}
    path = write(options, "step", figures, gpu, not quick and not patterns, draw)
    if path:
        out.print(f"written to {relpath(path)}", soft_wrap=True)
    return 1 if any(not row.measured and not row.skipped for one in rows for row in one) else 0
