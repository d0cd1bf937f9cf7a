"""The commands `python -m benchmarks show` and `agree`: results that are kept, and whether two runs agree.

Two intervals that each hold the truth 95 times in 100 both hold it at least 90 times in 100, and then they overlap. So
here and there two may stand apart, but hardly at many sizes.
"""

import sys
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from scratch.processes import available_cores
from scratch.terminal import drawable

from .pipeline import draw
from .report import TABLES, Entry, Shown, blocks, put, whole
from .results import SPEED, VARYING, Figures, interval, kept_files, key, of_command, own_file, reading
from .statistics import Spread, digits, times
from .timing import PARTS

Speeds = dict[str, Spread]
"""Of each part of a step: how many times faster the first contestant is; empty where it was not measured."""

NAMES = {"step": "training step", "forward": "forward", "backward": "backward"}
"""The parts as the lines about two runs call them, in their order."""


def show(
    file: Annotated[Path | None, typer.Argument(help="Results [default: this machine's, else those shipped].")] = None,
    beside: Annotated[
        Path | None, typer.Option(help="Results of a CPU, whose rows stand beside those of a GPU at the same sizes.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--table", help=f"{', '.join(TABLES)} [default: the first that is there].")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, … [default: float32, if it is there].")] = None,
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
        rows, said = rows_beside(beside) if beside is not None else ([], "")
        with reading(path) as content:
            there = [one for one in TABLES if one in content]
            if not there:
                raise LookupError("no results")
            found = name or there[0]
            if beside is not None and dtype is not None:
                raise typer.BadParameter("expected --dtype or --beside, got both")
            if beside is not None and found not in ("step", "gpu"):
                raise typer.BadParameter(f"expected --beside with the table step or gpu, got {found}")
            if found not in there:
                raise typer.BadParameter(f"expected --table {', '.join(there)}, which {path.name} has, got {name}")
            dtypes = list(content[found])
            if dtype is not None and dtype not in dtypes:
                raise typer.BadParameter(f"expected --dtype {', '.join(dtypes)}, which {path.name} has, got {dtype}")
            figures = of_command(content, found, dtype)
            chosen = next(name for name, one in content[found].items() if one is figures)
            if beside is not None:
                sizes = {row["problem"] for row in figures["rows"]}
                figures = figures | {"rows": figures["rows"] + [row for row in rows if row["problem"] in sizes]}
                shown = [*TABLES[found](figures), said]
            elif found == "step" and {row["contestant"] for row in figures["rows"]} == {"scratch", "PyTorch"}:
                shown = whole(figures, content.get("memory", {}).get(chosen, {}))
            else:
                shown = TABLES[found](figures)
            draw(found, figures, plot)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if file is None and path != own_file(available_cores()):
        print(f"benchmarks: there are no results of this machine: these are {path.name}", file=sys.stderr)
    put(shown + [f"measured in {', '.join(dtypes)}: --dtype chooses"] * (len(dtypes) > 1))
    return 0


def rows_beside(path: Path) -> tuple[list[Figures], str]:
    """The rows of steps in a file, marked with a star, and what the star means."""
    with reading(path) as content:
        others = of_command(content, "step")
        rows = [row | {"contestant": f"{row['contestant']} *"} for row in others["rows"]]
        for row in rows:  # speeds are beside that file's first, not beside the other's
            row |= {part: row[part] | {SPEED: None} for part in PARTS if part in row}
        return rows, f"* {others['environment']['CPU']}, {path.name}"


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
        pairs = in_both(first, second or kept_files()[0])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    put(agreement(pairs))
    return int(not all(a and b and a["step"].overlaps(b["step"]) for a, b in pairs.values()))


def in_both(first: Path, second: Path) -> dict[str, tuple[Speeds, Speeds]]:
    """The speeds in two runs, by size, without what one of them left out and said why.

    Raises ValueError for files without results of a whole run, for runs on different machines or with different
    settings, for the same run twice, and for runs without a size in common.
    """
    (ours, a), (theirs, b) = run(first), run(second)
    different = [
        f"{name}: {ours.get(name, 'nothing')} and {theirs.get(name, 'nothing')}"
        for name in dict.fromkeys([*ours, *theirs])
        if name not in VARYING and ours.get(name) != theirs.get(name)
    ]
    if different:
        raise ValueError(f"expected two runs on the same machine with the same settings, got {'; '.join(different)}")
    if ours["date"] == theirs["date"]:
        raise ValueError(f"expected two runs, got the one of {ours['date']} twice")
    found = {size: (a.get(size, {}), b.get(size, {})) for size in a | b}
    pairs = {size: (one, other) for size, (one, other) in found.items() if one is not None and other is not None}
    if not any(map(all, pairs.values())):
        raise ValueError("expected two runs with a size in common, got none")
    return pairs


def run(path: Path) -> tuple[dict[str, Any], dict[str, Speeds | None]]:
    """Of the run in a file: its environment, with what each library says of itself among the rest, and the speeds
    beside each contestant on each problem; None where it left one out and said why. Raises ValueError for a file
    without such results, or of several machines.
    """
    with reading(path) as content:
        figures = of_command(content, "step")
        environment = {"date": figures["environment"]["date"]}
        for name, said in figures["environment"].items():
            inner = said if isinstance(said, dict) else {}
            environment |= {f"{name}'s {detail}": value for detail, value in inner.items()} or {name: said}
        speeds: dict[str, Speeds | None] = {}
        for row in figures["rows"]:
            found = {part: one for part in PARTS if (one := interval(row, part, SPEED))}
            if len(found) == len(PARTS) or "skipped" in row:
                speeds[", beside ".join(key(row))] = found or None
        others = [row["problem"] for row in figures["rows"] if "environment" in row]
    if others:
        raise ValueError(f"expected one run in {path}, got sizes of another environment: {', '.join(others)}")
    return environment, speeds


def agreement(pairs: dict[str, tuple[Speeds, Speeds]]) -> Shown:
    """The intervals of the training step in both runs, and whether they and those of its parts overlap; then in a line
    for each part how many do and how far the middles are apart; last what both runs say.
    """
    entries: list[Entry] = []
    for size, (a, b) in pairs.items():
        cells = [times(one["step"]) if one else "not measured" for one in (a, b)]
        cells += [("yes" if a[part].overlaps(b[part]) else "no") if a and b else "" for part in NAMES]
        entries.append((size, "", cells))
    columns = ("first run", "second run", "overlap", "forward's", "backward's")
    shown = blocks("speed of a training step", columns, entries)
    pairs = {size: pair for size, pair in pairs.items() if all(pair)}
    for part, name in NAMES.items():
        overlap = sum(a[part].overlaps(b[part]) for a, b in pairs.values())
        ratios = {size: a[part].median / b[part].median for size, (a, b) in pairs.items()}
        apart = {size: max(ratio, 1 / ratio) for size, ratio in ratios.items()}
        where = max(apart, key=lambda size: apart[size])
        shown.append(
            f"{name}: intervals overlap at {overlap} of {len(pairs)} sizes; middles {digits(median(apart.values()))}× "
            f"apart in the median, most {digits(apart[where])}× at {where}"
        )
    faster = sum(min(a["step"].low, b["step"].low) > 1 for a, b in pairs.values())
    slower = sum(max(a["step"].high, b["step"].high) < 1 for a, b in pairs.values())
    shown.append(f"training step: in both runs the interval lies above 1 at {faster} sizes, below 1 at {slower}")
    return [*shown, "intervals that each hold the truth 95 times in 100 overlap at least 90 times in 100"]
