"""The command `python -m benchmarks agree`: whether two runs agree within the intervals that they state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .agreement import agree as agreed
from .agreement import compare, intervals, summary
from .report import console
from .results import available_cores, results_file


def agree(
    first: Annotated[Path | None, typer.Argument(help="Results of a run [default: this machine's first].")] = None,
    second: Annotated[Path | None, typer.Argument(help="Results of another [default: this machine's].")] = None,
) -> int:
    """Compare two runs of all sizes on the same machine: do they agree within the intervals that they state?

    For each size the speed in both runs with its 95 % interval, whether the two overlap, and whose middle lies in the
    other's. Runs on different machines, with other versions or other settings are refused.

    Exit status: 0 if the intervals of the training step overlap at every size; 1 if not, or if one run alone has
    measured a size that the other did not skip; 2 if the command is wrong. Sound intervals stand apart, too, at up to
    10 sizes in 100.
    """
    kept = results_file("cpu", available_cores(), None)
    try:
        pairs = compare(first or kept.with_stem(f"{kept.stem}-first"), second or kept)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    out = console()
    out.print(intervals(pairs))
    for line in summary(pairs):
        out.print(line, soft_wrap=True)
    return 0 if agreed(pairs) else 1
