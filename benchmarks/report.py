"""Tables that a person can read, out of the figures that are kept.

Each command's table has a line for each contestant at each problem; what differs are its columns and closing lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from statistics import geometric_mean
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from .contestants import Contestant
from .growth import THEORY, curves
from .results import CEILING, ONCE, SHARE, SPEED, Figures, by_problem, interval, reason, seconds
from .rungs import GAINS
from .statistics import digits, in_bytes, in_seconds, in_unit, percent, times
from .timing import PARTS

WIDTH = 80
"""Of a file or a pipe, which has no width of its own."""

Shown = list[Any]
"""What rich prints, one after the other."""

Columns = dict[str, Callable[[Figures], str]]
"""What stands in each column, out of a row."""


def console() -> Console:
    """Where tables go."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def put(shown: Shown) -> None:
    """Print what is shown. A line of text is as long as it is; a table fits."""
    out = console()
    for one in shown:
        out.print(one, soft_wrap=isinstance(one, str))


def show_environment(out: Console, found: dict[str, Any], timing: bool) -> None:
    """Where the figures come from, and a warning if the machine is too busy for times to mean anything."""
    threads = found["threads"]
    out.print(Text(f"{found['CPU']}, {found['cores']} cores, threads of each library: {threads}"))
    for library in ("scratch", "PyTorch"):
        if isinstance(said := found.get(library), dict):
            shown = ", ".join(f"{name} {' '.join(v) if isinstance(v, list) else v}" for name, v in said.items())
            out.print(Text(f"{library}: {shown}"), soft_wrap=True)
    if timing and found["load before"] and (load := found["load before"][0]) > 0.5:
        text = f"benchmarks: the machine is busy with other work (load {load:.1f}): do not believe the times"
        print(text, file=sys.stderr)


def blocks(title: str, columns: Iterable[str], entries: Iterable[tuple[str, str, list[str] | str]]) -> Shown:
    """Names with cells, or a text instead, in columns; a line above each group of the same heading.

    entries: heading, name, cells.
    """
    columns, entries = list(columns), list(entries)
    filled = [cells for _, _, cells in entries if isinstance(cells, list)]
    widths = [max(len(head), *(len(cells[k]) for cells in filled), 0) for k, head in enumerate(columns)]
    first = max(len(name) for _, name, _ in entries) + 2

    def line(name: str, cells: list[str] | str) -> Text:
        padded = [cells] if isinstance(cells, str) else [c.rjust(w) for c, w in zip(cells, widths, strict=True)]
        return Text(" ".join([name.ljust(first), *padded]).rstrip())

    shown: Shown = [Text(title, style="bold"), line("", columns)]
    above = ""
    for heading, name, cells in entries:
        if heading != above:
            shown.append(Text(heading, style="bold"))
        above = heading
        shown.append(line(f"  {name}", cells))
    return shown


def sections(title: str, rows: list[Figures], columns: Columns) -> Shown:
    """Each problem with its contestants below it, or why one was not measured; then what is to be noted."""
    return blocks(
        title,
        columns,
        (
            (problem, row["contestant"], reason(row) if {"failed", "skipped"} & set(row) else cells(row, columns))
            for problem, own in by_problem(rows).items()
            for row in own
        ),
    ) + notes(rows)


def cells(row: Figures, columns: Columns) -> list[str]:
    """What stands in a row's columns."""
    return [column(row) for column in columns.values()]


def notes(rows: list[Figures]) -> Shown:
    """What a library warned of, and which rows are from another environment."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        said = [f"warned: {text}" for text in row.get("warned", [])]
        said += [f"measured before, with other {', '.join(row['environment'])}"] if "environment" in row else []
        for text in said:
            lines.setdefault(text, []).append(f"{row['contestant']} at {row['problem']}")
    return [
        Text(f"{text} ({wheres[0]}{f' and {len(wheres) - 1} more' if wheres[1:] else ''})")
        for text, wheres in lines.items()
    ]


def time(part: str, row: Figures) -> str:
    """The median time of a part."""
    return in_seconds(seconds(row, part))


def rate(row: Figures) -> str:
    """The operations in a second of a training step."""
    return in_unit(row["step"]["operations in a second"], {"T": 1e12, "G": 1e9, "M": 1e6})


def share(row: Figures) -> str:
    """Of the floor, in a step."""
    found = interval(row, "step", SHARE)
    return percent(found.median) if found else ""


def ceiling(row: Figures) -> str:
    """The share of what the device can do at most."""
    found = row["step"].get(CEILING)
    return percent(found) if found else ""


def speed(row: Figures) -> str:
    """How many times faster the first contestant is."""
    return times(interval(row, "step", SPEED))


TIMES: Columns = {part: partial(time, part) for part in PARTS}


def by_name(rows: list[Figures], ratio: Callable[[Figures], float | None]) -> dict[str, dict[str, float]]:
    """Of each contestant that was measured, in their order, the ratio at each problem that has one."""
    found: dict[str, dict[str, float]] = {row["contestant"]: {} for row in rows}
    for row in rows:
        if "step" in row and (value := ratio(row)):
            found[row["contestant"]][row["problem"]] = value
    return {name: ratios for name, ratios in found.items() if ratios}


def at_end(pick: Callable[..., str], ratios: dict[str, float]) -> str:
    """The least or the most of the ratios, and where. pick: `min` or `max`."""
    problem = pick(ratios, key=lambda one: ratios[one])
    return f"{digits(ratios[problem])}× at {problem}"


def beside(first: str, rows: list[Figures]) -> Shown:
    """In a line for each other contestant how the first stands beside it."""

    def median(row: Figures) -> float | None:
        found = interval(row, "step", SPEED)
        return found.median if found else None

    return [
        f"{first} beside {name}: no slower at {sum(speed >= 1 for speed in speeds.values())} of {len(speeds)} sizes, "
        f"geometric mean {digits(geometric_mean(speeds.values()))}×, least {at_end(min, speeds)}"
        for name, speeds in by_name(rows, median).items()
    ]


def steps(figures: Figures) -> Shown:
    """The times of a step, and how the first contestant stands beside each other."""
    rows = figures["rows"]
    first = rows[0]["contestant"]
    columns = TIMES | {"FLOP/s": rate, "floor": share, f"speed of {first}": speed}
    return sections("a training step", rows, columns) + beside(first, rows)


def text(figures: Figures) -> Shown:
    """Characters in a second."""

    def characters(row: Figures) -> str:
        return f"{row['sizes']['T'] * row['sizes']['B'] / seconds(row):,.0f}"

    columns = {"characters/s": characters, "a step": TIMES["step"], "speed of scratch": speed}
    rows = figures["rows"]
    return sections("training on text", rows, columns) + beside(rows[0]["contestant"], rows)


def ladder(figures: Figures) -> Shown:
    """The rungs from below, each with what it gained beside the measured one below; then what is new on each."""
    rows, gained = figures["rows"], {}
    for own in by_problem(rows).values():
        for below, row in pairwise([row for row in own if "step" in row]):
            for name, other in (("gained", below), ("in all", own[0])):
                turns = [one["step"]["turns"] for one in (other, row)] if "step" in other else [[], []]
                if turns[0] and len(turns[0]) == len(turns[1]):
                    gained[id(row), name] = f"{digits(float(np.median(np.divide(*turns))))}×"
    gains = {name: partial(lambda name, row: gained.get((id(row), name), ""), name) for name in ("gained", "in all")}
    rungs = {Contestant(**row["form"]).rung: row["contestant"] for row in reversed(rows)}
    return sections("rungs", rows, TIMES | gains | {"FLOP/s": rate, "floor": share}) + [
        Text(f"{rungs[rung]}: {new}") for rung, new in GAINS.items() if rung in rungs
    ]


def memories(figures: Figures) -> Shown:
    """The memory of a step, what each takes by the first, and the seconds of one."""
    rows = figures["rows"]
    first = {problem: own[0].get("bytes") for problem, own in by_problem(rows).items()}

    def ratio(row: Figures) -> str:
        others = first[row["problem"]]
        return f"{digits(row['bytes'] / others)}×" if others and row["contestant"] != rows[0]["contestant"] else ""

    columns: Columns = {
        "memory": lambda row: in_bytes(row["bytes"]),
        f"by {rows[0]['contestant']}": ratio,
        "seconds, once": lambda row: in_seconds(row[ONCE]),
    }
    return sections("a training step", rows, columns)


def growth(figures: Figures) -> Shown:
    """With which power of a size the time grows, and the memory of a further step; then what was not measured."""
    found = curves(figures)
    laws = {(one["contestant"], one["letter"]): one["exponent"] for one in found["times"]}

    def law(name: str, letter: str) -> str:
        return f"{letter}^{laws[name, letter]:.2f}" if laws[name, letter] is not None else "not measured"

    entries: list[tuple[str, str, list[str] | str]] = [
        ("", "operations", [f"{letter}^{theory}" for letter, theory in THEORY.items()] + [""])
    ]
    for one in found["memory"]:
        name, further = one["contestant"], one["bytes for each step"]
        further = in_bytes(further) if further is not None else "not measured"
        entries.append(("", name, [law(name, letter) for letter in THEORY] + [further]))
    missing = [row for row in figures.get("rows", []) if {"failed", "skipped"} & set(row)]
    return blocks("a training step grows as", [*THEORY, "memory of a further step"], entries) + [
        Text(f"{row['contestant']} at {row['problem']}: {reason(row)}") for row in missing
    ]


def gpu(figures: Figures) -> Shown:
    """The headline: how many times as fast as `scratch`; then each size with its contestants."""
    rows = figures["rows"]
    ours = {row["problem"]: row for row in rows if row["contestant"] == "scratch" and "step" in row}

    def faster(row: Figures) -> float | None:
        first = ours.get(row["problem"])
        return seconds(first) / seconds(row) if first is not None and row is not first else None

    def gain(row: Figures) -> str:
        return f"{digits(found)}×" if (found := faster(row)) else ""

    lines: Shown = []
    for name, gains in by_name(rows, faster).items():
        mean = digits(geometric_mean(gains.values()))
        if not lines:
            what = "at one size" if len(gains) == 1 else f"in the geometric mean of {len(gains)} sizes"
            lines.append(Text(f"{name} is {mean} times as fast as scratch, {what}", style="bold"))
            lines.append(Text(f"  least {at_end(min, gains)}, most {at_end(max, gains)}"))
        else:
            lines.append(Text(f"{name}: {mean}× ({digits(min(gains.values()))} to {digits(max(gains.values()))})"))
    lines += sections("a training step", rows, TIMES | {"FLOP/s": rate, "ceiling": ceiling, "by scratch": gain})
    for name, one in figures.get("ceilings", {}).items():
        product, copy = digits(one["operations in a second"] / 1e12), digits(one["bytes in a second"] / 1e9)
        lines.append(Text(f"ceiling, {name}: {product} TFLOP/s in a large product, {copy} GB/s in a copy"))
    return lines


TABLES: dict[str, Callable[[Figures], Shown]] = {
    "step": steps,
    "gpu": gpu,
    "ladder": ladder,
    "memory": memories,
    "long": memories,
    "growth": growth,
    "text": text,
}
"""By the name under which figures are kept."""


def whole(figures: Figures, memory: Figures) -> Shown:
    """A line for each size of a run on the CPU: the times of a step, how many times faster `scratch` is in it and in
    its parts, its share of the floor, and by how many times its memory is the smaller.

    Raises ValueError for a size that was measured without speeds.
    """
    used = {(row["problem"], row["contestant"]): row.get("bytes", 0) for row in memory.get("rows", [])}
    entries: list[tuple[str, str, list[str] | str]] = []
    for problem, rows in by_problem(figures["rows"]).items():
        own = {row["contestant"]: row for row in rows}
        heading, _, size = problem.partition(" T")
        if without := next((row for row in rows if "step" not in row), None):
            entries.append((heading, f"T{size}", reason(without)))
            continue
        speeds = [interval(own["PyTorch"], part, SPEED) for part in ("step", "forward", "backward")]
        if None in speeds:
            raise ValueError(f"expected speeds beside PyTorch of {problem}")
        ours, theirs = (used.get((problem, name)) for name in ("scratch", "PyTorch"))
        line = [*(in_seconds(seconds(own[name])) for name in ("scratch", "PyTorch")), times(speeds[0])]
        line += [*(f"{digits(one.median)}×" for one in speeds[1:] if one), share(own["scratch"])]
        line.append(f"{digits(theirs / ours)}×" if ours and theirs else "")
        entries.append((heading, f"T{size}", line))
    columns = ("scratch", "PyTorch", "speed (95 %)", "fwd", "bwd", "floor", "bytes")
    return [
        *blocks("a training step", columns, entries),
        *notes(figures["rows"]),
        "speed, fwd, bwd: PyTorch's time by scratch's, of the step, forward and backward",
        "floor: the time of the matrix products alone by scratch's",
        "bytes: PyTorch's peak memory by scratch's",
    ]
