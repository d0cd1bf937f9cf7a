"""Tables that a person can read, out of the figures that are kept.

Each command's table has a line for each contestant at each problem; what differs are its columns and closing lines.
"""

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

Entry = tuple[str, str, "list[str] | str"]
"""A line of a table: the heading above it, a name, cells or a text in their place."""


def console() -> Console:
    """Where tables go."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False, emoji=False)


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
    for text in busy(found) if timing else ():
        print(f"benchmarks: {text}", file=sys.stderr)


def busy(environment: dict[str, Any]) -> list[str]:
    """A warning, if the machine had too much else to do for times to mean anything."""
    load = (environment["load before"] or [0.0])[0]
    return [f"the machine is busy with other work (load {load:.1f}): do not believe the times"] * (load > 0.5)


def blocks(title: str, columns: Iterable[str], entries: list[Entry]) -> Shown:
    """Names with cells in columns; a line above each group of the same heading."""
    columns = list(columns)
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
    entries: list[Entry] = [
        (row["problem"], row["contestant"], reason(row) or [column(row) for column in columns.values()])
        for own in by_problem(rows).values()
        for row in own
    ]
    return blocks(title, columns, entries) + notes(rows)


def notes(rows: list[Figures]) -> Shown:
    """What a library warned of, and which rows are from another environment."""
    wheres: dict[str, list[str]] = {}
    for row in rows:
        said = [f"warned: {text}" for text in row.get("warned", [])]
        said += [f"measured before, with other {', '.join(row['environment'])}"] if "environment" in row else []
        for text in said:
            wheres.setdefault(text, []).append(f"{row['contestant']} at {row['problem']}")
    return [Text(f"{text} ({at[0]}{f' and {len(at) - 1} more' if at[1:] else ''})") for text, at in wheres.items()]


def median(row: Figures, part: str, what: str) -> float | None:
    """The middle of what is kept of a part."""
    found = interval(row, part, what)
    return found.median if found else None


def share(found: float | None) -> str:
    """In percent, where there is one."""
    return percent(found) if found else ""


TIMES: Columns = {part: partial(lambda part, row: in_seconds(seconds(row, part)), part) for part in PARTS}
RATE: Columns = {"FLOP/s": lambda row: in_unit(row["step"]["operations in a second"], {"T": 1e12, "G": 1e9, "M": 1e6})}
FLOOR: Columns = {"floor": lambda row: share(median(row, "step", SHARE))}
TRAINED: Columns = {
    "characters/s": lambda row: f"{row['sizes']['T'] * row['sizes']['B'] / seconds(row):,.0f}",
    "a step": TIMES["step"],
}


def speed(row: Figures) -> str:
    """How many times faster the first contestant is."""
    return times(interval(row, "step", SPEED))


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
    return [
        f"{first} beside {name}: no slower at {sum(speed >= 1 for speed in speeds.values())} of {len(speeds)} sizes, "
        f"geometric mean {digits(geometric_mean(speeds.values()))}×, least {at_end(min, speeds)}"
        for name, speeds in by_name(rows, lambda row: median(row, "step", SPEED)).items()
    ]


def steps(title: str, columns: Columns, figures: Figures) -> Shown:
    """Columns of a step, how the first contestant stands beside each other, and whether that is to be believed."""
    rows = figures["rows"]
    first = rows[0]["contestant"]
    said = beside(first, rows) + busy(figures["environment"])
    return sections(title, rows, columns | {f"speed of {first}": speed}) + said


def ladder(figures: Figures) -> Shown:
    """The rungs from below, each with what it gained beside the measured one below; then what is new on each."""
    rows, gained = figures["rows"], {}
    for own in by_problem(rows).values():
        for below, row in pairwise([row for row in own if "step" in row]):
            for name, other in (("gained", below), ("in all", own[0])):
                turns = [one["step"]["turns"] for one in (other, row) if "step" in one]
                if len(turns) == 2 and len(turns[0]) == len(turns[1]):
                    gained[id(row), name] = f"{digits(float(np.median(np.divide(*turns))))}×"
    gains = {name: partial(lambda name, row: gained.get((id(row), name), ""), name) for name in ("gained", "in all")}
    rungs = {Contestant(**row["form"]).rung: row["contestant"] for row in reversed(rows)}
    new = [Text(f"{rungs[rung]}: {new}") for rung, new in GAINS.items() if rung in rungs]
    return sections("rungs", rows, TIMES | gains | RATE | FLOOR) + new


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
    entries: list[Entry] = [("", "operations", [f"{letter}^{theory}" for letter, theory in THEORY.items()] + [""])]
    for one in found["memory"]:
        exponents = {letter: laws[one["contestant"], letter] for letter in THEORY}
        cells = [f"{letter}^{law:.2f}" if law is not None else "-" for letter, law in exponents.items()]
        further = one["bytes for each step"]
        entries.append(("", one["contestant"], [*cells, in_bytes(further) if further is not None else "-"]))
    missing = [
        f"{row['contestant']} at {row['problem']}: {why}" for row in figures.get("rows", []) if (why := reason(row))
    ]
    return blocks("a training step grows as", [*THEORY, "a further step"], entries) + [Text(one) for one in missing]


def gpu(figures: Figures) -> Shown:
    """The headline: how many times as fast as `scratch`; then each size with its contestants."""
    rows = figures["rows"]
    ours = {row["problem"]: row for row in rows if row["contestant"] == "scratch" and "step" in row}

    def faster(row: Figures) -> float | None:
        first = ours.get(row["problem"])
        return seconds(first) / seconds(row) if first is not None and row is not first else None

    lines: Shown = []
    for name, gains in by_name(rows, faster).items():
        mean = digits(geometric_mean(gains.values()))
        if not lines:
            what = "at one size" if len(gains) == 1 else f"in the geometric mean of {len(gains)} sizes"
            lines.append(Text(f"{name} is {mean} times as fast as scratch, {what}", style="bold"))
            lines += [f"  least {at_end(min, gains)}", f"  most {at_end(max, gains)}"]
        else:
            lines.append(Text(f"{name}: {mean}× ({digits(min(gains.values()))} to {digits(max(gains.values()))})"))
    columns: Columns = {
        "ceiling": lambda row: share(row["step"].get(CEILING)),
        "by scratch": lambda row: f"{digits(found)}×" if (found := faster(row)) else "",
    }
    lines += sections("a training step", rows, TIMES | RATE | columns)
    for name, one in figures.get("ceilings", {}).items():
        product, copy = digits(one["operations in a second"] / 1e12), digits(one["bytes in a second"] / 1e9)
        lines.append(Text(f"ceiling, {name}: {product} TFLOP/s in a large product, {copy} GB/s in a copy"))
    return lines + busy(figures["environment"])


TABLES: dict[str, Callable[[Figures], Shown]] = {
    "step": partial(steps, "a training step", TIMES | RATE | FLOOR),
    "gpu": gpu,
    "ladder": ladder,
    "memory": memories,
    "long": memories,
    "growth": growth,
    "text": partial(steps, "training on text", TRAINED),
}
"""By the name under which figures are kept."""


def whole(figures: Figures, memory: Figures) -> Shown:
    """A line for each size of a run on the CPU: the times of a step, how many times faster `scratch` is in it and in
    its parts, its share of the floor, and by how many times its memory is the smaller.

    Raises ValueError for a size that was measured without speeds.
    """
    used = {(row["problem"], row["contestant"]): row.get("bytes", 0) for row in memory.get("rows", [])}
    entries: list[Entry] = []
    for problem, (ours, *others) in by_problem(figures["rows"]).items():
        heading, _, size = problem.partition(" T")
        theirs = others[0] if others else ours
        if why := reason(ours) or reason(theirs):
            entries.append((heading, f"T{size}", why))
            continue
        faster, *parts = [interval(theirs, part, SPEED) for part in ("step", "forward", "backward")]
        if not faster or not all(parts):
            raise ValueError(f"expected speeds beside PyTorch of {problem}")
        line = [in_seconds(seconds(ours)), in_seconds(seconds(theirs)), times(faster)]
        line += [*(f"{digits(one.median)}×" for one in parts if one), share(median(ours, "step", SHARE))]
        bytes_of = [used.get((problem, name)) for name in ("PyTorch", "scratch")]
        line.append(f"{digits(bytes_of[0] / bytes_of[1])}×" if bytes_of[0] and bytes_of[1] else "")
        entries.append((heading, f"T{size}", line))
    columns = ("scratch", "PyTorch", "speed (95 %)", "fwd", "bwd", "floor", "bytes")
    return [
        *blocks("a training step", columns, entries),
        *notes(figures["rows"]),
        "speed, fwd, bwd: PyTorch's time by scratch's, of the step, forward and backward",
        "floor: the time of the matrix products alone by scratch's",
        "bytes: PyTorch's peak memory by scratch's",
    ]
