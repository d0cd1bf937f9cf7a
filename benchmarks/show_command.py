"""The commands `python -m benchmarks show` and `agree`: results that are kept, and whether two runs agree."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from scratch.processes import available_cores
from scratch.terminal import drawable

from .agreement import agreement
from .pipeline import draw
from .report import TABLES, Shown, put, whole
from .results import Figures, kept_files, of_command, own_file, reading


def show(
    file: Annotated[Path | None, typer.Argument(help="Results [default: this machine's, else those shipped].")] = None,
    beside: Annotated[
        Path | None, typer.Option(help="Results of a CPU, whose rows stand beside those of a GPU at the same sizes.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--table", help=f"{', '.join(TABLES)} [default: the first that is there].")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them into this file: .png, .svg or .pdf.")] = None,
) -> int:
    """Show results that are kept in a file: of steps on the CPU a line for each size, any other as its command does.

    Speeds are PyTorch's time by scratch's, so that above 1 scratch is faster, with a 95 % interval for the training
    step; memory is PyTorch's by scratch's at the peak of a step.
    """
    if plot is not None:
        drawable("--plot", plot)
    path = file or kept_files()[0]
    try:
        with reading(path) as content:
            there = [one for one in TABLES if one in content]
            found = name or there[0]
            if found not in there:
                raise typer.BadParameter(f"expected --table {', '.join(there)}, which {path.name} has, got {name}")
            figures = of_command(content, found)
            if beside is not None:
                figures, shown = with_rows_beside(figures, beside, TABLES[found])
            elif found == "step" and {row["contestant"] for row in figures["rows"]} == {"scratch", "PyTorch"}:
                shown = whole(figures, of_command(content, "memory") if "memory" in content else {})
            else:
                shown = TABLES[found](figures)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if file is None and path != own_file(available_cores()):
        print(f"benchmarks: there are no results of this machine: these are {path.name}", file=sys.stderr)
    put(shown)
    draw(found, figures, plot)
    return 0


def with_rows_beside(figures: Figures, beside: Path, table: Callable[[Figures], Shown]) -> tuple[Figures, Shown]:
    """The figures with the rows of another file at the same sizes, marked with a star; and their table."""
    sizes = {row["problem"] for row in figures["rows"]}
    with reading(beside) as content:
        others = of_command(content, "step")
        rows = [row | {"contestant": f"{row['contestant']} *"} for row in others["rows"] if row["problem"] in sizes]
        said = f"* {others['environment']['CPU']}, {beside.name}"
    figures = figures | {"rows": figures["rows"] + rows}
    return figures, [*table(figures), said]


def agree(
    first: Annotated[Path | None, typer.Argument(help="Results of a run [default: this machine's first].")] = None,
    second: Annotated[Path | None, typer.Argument(help="Results of another [default: this machine's].")] = None,
) -> int:
    """Compare two runs of all sizes on the same machine: do they agree within the intervals that they state?

    For each size the speed in both runs with its 95 % interval, and whether the two overlap. Runs on different
    machines, with other versions or other settings are refused. Without two runs of this machine,
    <machine>-first.json and <machine>.json, it takes two that are shipped.

    Exit status: 0 if the intervals of the training step overlap at every size; 1 if not, or if one run alone has
    measured a size that the other did not skip; 2 if the command is wrong. Sound intervals stand apart, too, at up to
    10 sizes in 100.
    """
    if first is None:
        runs = [(path.with_stem(f"{path.stem}-first"), path) for path in kept_files()]
        first, second = next((pair for pair in runs if pair[0].exists()), (None, None))
    if first is None:
        raise typer.BadParameter(
            "there are no two runs here to compare: measure twice on one machine, with `python -m benchmarks --json "
            "first.json` and once more into second.json, then `python -m benchmarks agree first.json second.json`"
        )
    try:
        agreed, shown = agreement(first, second or kept_files()[0])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    put(shown)
    return 0 if agreed else 1
