"""The command `python -m benchmarks memory`: what a training step takes beyond its parameters and its input."""

from __future__ import annotations

from os.path import relpath
from typing import Any

from scratch.terminal import progress

from .contestants import contestants
from .memory import Memory
from .memory import memories as measure
from .options import Device, Dtype, Json, Patterns, Plot, Quick, Seed, Threads, checked, chosen, gpu_of, write
from .process import Workers
from .report import console, show_environment
from .report import memories as as_table
from .results import environment, of_memory


def memory(
    quick: Quick = False,
    patterns: Patterns = None,
    threads: Threads = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    json: Json = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> int:
    """Measure the peak memory of a training step, of each library in a fresh process.

    On the CPU it is the growth of the process's resident memory from before the first of two steps to the peak within
    them; on a GPU the growth of what PyTorch has allocated there. Parameters and input are not counted; gradients, the
    tape and all temporary memory are.
    """
    options = checked(threads, device, dtype, json, plot, seed)
    problems = chosen(patterns, quick, device)
    rows: list[list[Memory]] = []
    with Workers(options.threads) as workers:
        gpu = gpu_of(options, workers)
        taking_part = contestants(device, dtype, gpu is not None)
        found = environment(workers, taking_part, seed)
    out = console()
    show_environment(out, found, timing=False)
    with progress() as bar:
        task = bar.add_task("measuring", total=len(problems))
        for problem in problems:
            bar.update(task, description=problem.name)
            rows.append(measure(problem, taking_part, options.threads, seed))
            bar.advance(task)
    out.print(as_table(rows))

    def draw() -> Any:
        from .picture import memories as as_picture  # matplotlib takes a while to load

        return as_picture(rows)

    figures = {"environment": found, "rows": [of_memory(row) for one in rows for row in one]}
    path = write(options, "memory", figures, gpu, not quick and not patterns, draw)
    if path:
        out.print(f"written to {relpath(path)}", soft_wrap=True)
    return 1 if any(row.failed for one in rows for row in one) else 0
