"""The command `python -m benchmarks growth`: with which power of T, B and H the cost of a step grows."""

from __future__ import annotations

from os.path import relpath
from typing import Any

from scratch.terminal import progress

from . import growth as sweep
from .contestants import Contestant, contestants
from .growth import Curve, MemoryCurve
from .memory import Memory, memories
from .options import Device, Dtype, Json, Plot, Quick, Seed, Threads, checked, gpu_of, write
from .process import Workers
from .report import console, exponents, growth_in_time, reason, show_environment, show_rest
from .results import environment, of_curve, of_memory_curve
from .timing import Row, measure


def growth(
    quick: Quick = False,
    threads: Threads = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    json: Json = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> int:
    """Sweep T, B and H around one LSTM, and fit power laws to the time of a training step.

    The exponents are those of the line of least squares through the upper half of each sweep, in logarithms. Memory is
    measured against T alone: the tape is the same for every step.
    """
    options = checked(threads, device, dtype, json, plot, seed)
    sweeps = sweep.QUICK_SWEEPS if quick else sweep.SWEEPS
    steps = sweep.QUICK_MEMORY_STEPS if quick else sweep.MEMORY_STEPS
    effort = sweep.QUICK_EFFORT if quick else sweep.EFFORT
    rows: dict[str, list[list[Row]]] = {letter: [] for letter in sweeps}
    in_memory: list[list[Memory]] = []
    with Workers(options.threads) as workers:
        gpu = gpu_of(options, workers)
        taking_part: list[Contestant] = contestants(device, dtype, gpu is not None)
        found = environment(workers, taking_part, seed)
        out = console()
        show_environment(out, found)
        with progress(idle=True) as bar:
            task = bar.add_task("sweeping", total=sum(map(len, sweeps.values())) + len(steps))
            for letter, problem in sweep.problems(sweeps):
                bar.update(task, description=problem.name, refresh=True)
                rows[letter].append(measure(problem, taking_part, workers, effort, seed))
                bar.advance(task)
            rest = workers.rest()
    with progress() as bar:
        task = bar.add_task("memory", total=len(steps))
        for T in steps:
            in_memory.append(memories(sweep.with_size("T", T), taking_part, options.threads, seed))
            bar.advance(task)
    curves = [Curve(letter, list(own)) for letter, found_rows in rows.items() for own in zip(*found_rows, strict=True)]
    memory_curves = [MemoryCurve(list(own)) for own in zip(*in_memory, strict=True)]
    out.print(exponents(curves))
    out.print(growth_in_time(curves, memory_curves))
    missing = [row for own in rows.values() for one in own for row in one if not row.measured]
    for row in missing:
        out.print(f"{row.problem.name}, {row.contestant.name}: {reason(row)}")
    show_rest(out, rest)

    def draw() -> Any:
        from .picture import growth as as_picture  # matplotlib takes a while to load

        return as_picture(curves, memory_curves)

    figures = {
        "environment": found,
        "at rest": rest,
        "base": sweep.BASE.name,
        "times": [of_curve(curve) for curve in curves],
        "memory": [of_memory_curve(curve) for curve in memory_curves],
    }
    path = write(options, "growth", figures, gpu, not quick, draw)
    if path:
        out.print(f"written to {relpath(path)}", soft_wrap=True)
    failed = [row for row in missing if row.failed] + [row for one in in_memory for row in one if row.failed]
    return 1 if failed else 0
