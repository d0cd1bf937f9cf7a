"""Tables that a person can read."""

from __future__ import annotations

import sys
from math import exp, log
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scratch.terminal import table

from .growth import THEORY, Curve, MemoryCurve
from .ladder import GAINS
from .memory import Memory
from .results import comparable
from .statistics import Spread
from .timing import PARTS, Row

WIDTH = 160
"""Of a file or a pipe, which has no width of its own."""


def console() -> Console:
    """Where tables go."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def in_seconds(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{digits(seconds / size)} {unit}"
    return f"{digits(seconds / 1e-9)} ns"


def in_bytes(number: float) -> str:
    """An amount of memory in the unit that suits it."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if number >= size:
            return f"{digits(number / size)} {unit}"
    return f"{digits(number / 2**10)} KiB"


def digits(number: float) -> str:
    """Three digits."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def times(values: Spread) -> str:
    """A ratio with its interval."""
    return f"{digits(values.median)}× ({digits(values.low)}–{digits(values.high)})"


def percent(share: float) -> str:
    """A share."""
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def show_environment(out: Console, found: dict[str, Any], timing: bool = True) -> None:
    """Where the figures come from, and a warning if the machine is too busy for times to mean anything."""
    threads, cores = found["threads"], found["cores"]
    out.print(Text(f"{found['CPU']}, {cores} cores, {threads} thread{'s' if threads > 1 else ''} for each library"))
    for library in ("scratch", "PyTorch"):
        said = found.get(library)
        if isinstance(said, dict):
            shown = ", ".join(f"{name} {' '.join(v) if isinstance(v, list) else v}" for name, v in said.items())
            out.print(Text(f"{library}: {shown}"), soft_wrap=True)
    if timing and found["load before"] and found["load before"][0] > 0.5:
        load = found["load before"][0]
        print(
            f"benchmarks: the machine is busy with other work (load {load:.1f}): do not believe the times",
            file=sys.stderr,
        )


def show_rest(out: Console, rest: dict[str, float]) -> None:
    """What the processes did while they waited for their turn."""
    if rest["seconds"]:
        share = rest["processor"] / rest["seconds"]
        out.print(Text(f"while a process waited for its turn it used {100 * share:.2f} % of a core"))


def reason(row: Row | Memory) -> str:
    """Why there are no figures."""
    return row.skipped or (f"failed: {row.failed}" if row.failed else "not measured")


def measurements(rows: list[list[Row]]) -> Table:
    """Each problem with its contestants below it."""
    speed = f"speed of {rows[0][0].contestant.name}"
    shown = table("a training step", *PARTS, "quartiles of step", "GFLOP/s", "of the floor", speed)
    for of_problem in rows:
        first = of_problem[0]
        shown.add_row(Text(first.problem.name, style="bold"))
        for row in of_problem:
            name = f"  {row.contestant.name}"
            if not row.measured:
                shown.add_row(name, Text(reason(row)))
                continue
            step, share = row.time("step"), row.share_of_floor("step")
            shown.add_row(
                name,
                *(in_seconds(row.time(part).median) for part in PARTS),
                f"{in_seconds(step.low)} – {in_seconds(step.high)}",
                digits(row.rate("step") / 1e9),
                percent(share.median) if share else "",
                times(first.speed("step", row)) if comparable(first, row) else "",
            )
        shown.add_section()
    return shown


def summary(rows: list[list[Row]]) -> list[str]:
    """In a line for each contestant: how often the first is no slower, on the whole, and where it is slowest."""
    speeds: dict[str, dict[str, float]] = {}
    for first, *others in rows:
        for row in others:
            if comparable(first, row):
                speed = first.speed("step", row).median
                speeds.setdefault(row.contestant.name, {})[row.problem.name] = speed
    lines = []
    for name, of_problem in speeds.items():
        ahead, mean = sum(speed >= 1 for speed in of_problem.values()), sum(map(log, of_problem.values()))
        slowest = min(of_problem, key=lambda problem: of_problem[problem])
        lines.append(
            f"{rows[0][0].contestant.name} beside {name}: no slower at {ahead} of {len(of_problem)} sizes, "
            f"geometric mean {digits(exp(mean / len(of_problem)))}×, "
            f"least {digits(of_problem[slowest])}× at {slowest}"
        )
    return lines


def ladder(rows: list[Row]) -> Table:
    """The rungs from below, each with what it gained."""
    shown = table(f"rung, {rows[0].problem.name}", *PARTS, "gained", "in all", "GFLOP/s", "of the floor", "what is new")
    shown.columns[-1].justify = "left"
    below: Row | None = None
    for row in rows:
        if not row.measured:
            shown.add_row(row.contestant.name, Text(reason(row)))
            continue
        share = row.share_of_floor("step")
        shown.add_row(
            row.contestant.name,
            *(in_seconds(row.time(part).median) for part in PARTS),
            f"{digits(row.speed('step', below).median)}×" if below and comparable(below, row) else "",
            f"{digits(row.speed('step', rows[0]).median)}×" if comparable(rows[0], row) else "",
            digits(row.rate("step") / 1e9),
            percent(share.median) if share else "",
            GAINS[row.contestant.rung],
        )
        below = row
    return shown


def memories(rows: list[list[Memory]]) -> Table:
    """The memory of a training step, the contestants side by side."""
    names = list(dict.fromkeys(row.contestant.name for of_problem in rows for row in of_problem))
    shown = table("memory of a training step", *names, *([f"{names[1]} by {names[0]}"] if len(names) == 2 else []))
    for of_problem in rows:
        known = [row.bytes for row in of_problem]
        cells = [in_bytes(row.bytes) if row.bytes is not None else reason(row) for row in of_problem]
        if len(known) == 2 and known[0] and known[1] is not None:
            cells.append(f"{digits(known[1] / known[0])}×")
        shown.add_row(of_problem[0].problem.name, *map(Text, cells))
    return shown


def long(rows: list[list[Memory]]) -> Table:
    """Memory and seconds of a step against T, the contestants side by side."""
    problem = rows[0][0].problem
    shown = table(f"T steps, B{problem.B} I{problem.I} H{problem.H}", *(row.contestant.name for row in rows[0]))
    for of_length in rows:
        cells = [f"{in_bytes(row.bytes)}, {in_seconds(row.seconds)}" if row.bytes else reason(row) for row in of_length]
        shown.add_row(f"{of_length[0].problem.T:,}", *map(Text, cells))
    return shown


def exponents(curves: list[Curve]) -> Table:
    """With which power of a size the time grows."""
    names = list(dict.fromkeys(curve.contestant.name for curve in curves))
    shown = table("time of a step grows as", *names, "operations grow as")
    for letter, theory in THEORY.items():
        own = {curve.contestant.name: curve for curve in curves if curve.letter == letter}
        laws = [own[name].law if name in own else None for name in names]
        shown.add_row(
            letter, *(f"{letter}^{law.exponent:.2f}" if law else "not measured" for law in laws), f"{letter}^{theory}"
        )
    return shown


def growth_in_time(curves: list[Curve], memory: list[MemoryCurve]) -> Table:
    """Time and memory for each step of the sequence, against T: as good as constant where growth is linear."""
    own = [curve for curve in curves if curve.letter == "T"]
    columns = [
        f"{curve.contestant.name} {what}" for what, group in (("time", own), ("memory", memory)) for curve in group
    ]
    shown = table("for each of T steps", *columns)
    for T in sorted({T for curve in own for T in curve.sizes} | {T for curve in memory for T in curve.steps}):
        cells = []
        for curve in own:
            cells.append(in_seconds(curve.seconds[curve.sizes.index(T)] / T) if T in curve.sizes else "")
        for other in memory:
            cells.append(in_bytes(other.bytes[other.steps.index(T)] / T) if T in other.steps else "")
        shown.add_row(str(T), *cells)
    slopes = [curve.per_step for curve in memory]
    shown.add_section()
    shown.add_row("each further step", *[""] * len(own), *("" if s is None else in_bytes(s) for s in slopes))
    return shown
