"""The command `python -m benchmarks long`: memory against T, up to a million steps."""

from __future__ import annotations

from os.path import relpath
from typing import Any

from scratch.terminal import progress

from . import long as sequences
from .memory import Memory
from .memory import memory as measure
from .options import Dtype, Json, Plot, Quick, Seed, Threads, checked, write
from .process import Workers
from .report import console, show_environment
from .report import long as as_table
from .results import environment, of_memory


def long(
    quick: Quick = False,
    threads: Threads = None,
    dtype: Dtype = None,
    json: Json = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> int:
    """Measure the peak memory of a training step on sequences of up to a million steps, with and without recomputation.

    An LSTM with I = 2, H = 32 and B = 1, in a fresh process each. Counted is what grows beyond the parameters, the
    input and d_output: the tape, the output, the gradients. The seconds are those of one step, taken once.
    """
    options = checked(threads, "cpu", dtype, json, plot, seed)
    taking_part = sequences.contestants(dtype or "float32")
    steps = sequences.QUICK_STEPS if quick else sequences.STEPS
    with Workers(options.threads) as workers:
        found = environment(workers, taking_part, seed)
    out = console()
    show_environment(out, found, timing=False)
    rows: list[list[Memory]] = []
    with progress(idle=True) as bar:
        task = bar.add_task("measuring", total=sum(steps) * len(taking_part))
        for T in steps:
            rows.append([])
            for contestant in taking_part:
                bar.update(task, description=f"T {T:,}, {contestant.name}", refresh=True)
                rows[-1].append(measure(sequences.problem(T), contestant, options.threads, seed))
                bar.advance(task, T)
    out.print(as_table(rows))

    def draw() -> Any:
        from .picture import long as as_picture  # matplotlib takes a while to load

        return as_picture(rows)

    figures = {"environment": found, "rows": [of_memory(row) for one in rows for row in one]}
    path = write(options, "long", figures, None, not quick, draw)
    if path:
        out.print(f"written to {relpath(path)}", soft_wrap=True)
    return 1 if any(row.failed for one in rows for row in one) else 0
