"""The command `python -m benchmarks ladder`: what each rung gains, from the textbook to the core and to PyTorch."""

from __future__ import annotations

from os.path import relpath
from typing import Any

import typer

from scratch.terminal import progress

from .ladder import rungs
from .options import Device, Dtype, Json, Plot, Quick, Seed, Threads, checked, gpu_of, write
from .problems import Problem
from .process import Workers
from .report import console, show_environment, show_rest
from .report import ladder as as_table
from .results import environment, of_row
from .timing import QUICK, Effort, Row, measure

EFFORT = Effort(fewest=7, most=40, seconds=15.0)

PROBLEMS = [
    Problem("ladder", "LSTM", T=100, B=1, I=256, H=256),
    Problem("ladder", "LSTM", T=50, B=32, I=65, H=128),
    Problem("ladder", "LSTM", T=25, B=32, I=512, H=512),
]
"""One sequence alone, where products of all steps at once matter most; one in which the elementwise work weighs; and
one in which the products do. `--quick` climbs the first two."""


def ladder(
    quick: Quick = False,
    threads: Threads = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    json: Json = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> int:
    """Climb from the textbook's LSTM to the core and to PyTorch's, rung by rung, and tell what each gained.

    All rungs compute the same step to rounding (benchmarks/ladder.py): the textbook's page on NumPy arrays, the same
    with its products taken out of the loop, and the core; then both pages on PyTorch tensors, a Python loop over
    PyTorch's LSTMCell, and torch.nn.LSTM. With --device cuda all of PyTorch's are on a GPU, torch.nn.LSTM without and
    with cuDNN. This is the answer to "why is cuDNN fast".
    """
    options = checked(threads, device, dtype, json, plot, seed)
    if dtype in ("float16", "bfloat16"):
        raise typer.BadParameter(f"expected --dtype float32 or float64, in which the rungs compute, got {dtype}")
    effort = QUICK if quick else EFFORT
    problems = PROBLEMS[:2] if quick else PROBLEMS
    rows: list[list[Row]] = []
    with Workers(options.threads) as workers:
        gpu = gpu_of(options, workers)
        taking_part = rungs(dtype or "float32", device)
        found = environment(workers, taking_part, seed)
        out = console()
        show_environment(out, found)
        with progress("{task.percentage:.0f} %", idle=True) as bar:
            task = bar.add_task("climbing", total=len(problems))
            for problem in problems:
                bar.update(task, description=problem.name, refresh=True)
                start = len(rows)

                def advance(fraction: float, start: int = start) -> None:
                    bar.update(task, completed=start + fraction, refresh=True)

                rows.append(measure(problem, taking_part, workers, effort, seed, advance))
        rest = workers.rest()
    for one in rows:
        out.print(as_table(one))
    show_rest(out, rest)

    def draw() -> Any:
        from .picture import ladder as as_picture  # matplotlib takes a while to load

        return as_picture(rows)

    figures = {"environment": found, "at rest": rest, "rows": [of_row(row, one[0]) for one in rows for row in one]}
    path = write(options, "ladder", figures, gpu, not quick, draw)
    if path:
        out.print(f"written to {relpath(path)}", soft_wrap=True)
    return 1 if any(not row.measured and not row.skipped for one in rows for row in one) else 0
