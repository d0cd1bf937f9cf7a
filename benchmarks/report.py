"""Tables that a person can read, out of the figures that are kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from statistics import geometric_mean
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from scratch.terminal import table

from .growth import THEORY
from .problems import Problem
from .results import SHARE, SPEED, Figures, by_problem, interval, name_of, reason, seconds
from .rungs import GAINS
from .statistics import Spread
from .timing import PARTS
from .units import digits, in_bytes, in_seconds, in_unit, percent, times

WIDTH = 80
"""Of a file or a pipe, which has no width of its own."""

Shown = list[Any]
"""What rich prints, one after the other."""


def console() -> Console:
    """Where tables go."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def put(shown: Shown) -> None:
    """Print what is shown. A line of text is as long as it is; a table fits."""
    out = console()
    for one in shown:
        out.print(one, soft_wrap=isinstance(one, str))


def rate(row: Figures) -> str:
    """The operations in a second of a training step."""
    return in_unit(row["step"]["operations in a second"], {"T": 1e12, "G": 1e9, "M": 1e6})


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


def blocks(title: str, columns: Iterable[str], entries: Iterable[tuple[str, str, list[str] | str]]) -> Shown:
    """Names with cells, or a text instead, in columns; a line above each group of the same heading.

    entries: heading, name, cells.
    """
    columns, entries = list(columns), list(entries)
    filled = [cells for _, _, cells in entries if isinstance(cells, list)]
    widths = [max(len(head), *(len(cells[k]) for cells in filled), 0) for k, head in enumerate(columns)]
    first = max(len(name) for _, name, _ in entries) + 2

    def line(name: str, cells: list[str]) -> str:
        return " ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))])

    shown: Shown = [Text(title, style="bold"), Text(line("", columns))]
    above = ""
    for heading, name, cells in entries:
        if heading != above:
            shown.append(Text(heading, style="bold"))
        above = heading
        shown.append(
            Text(line(f"  {name}", cells) if isinstance(cells, list) else f"  {name.ljust(first - 2)} {cells}")
        )
    return shown


def sections(
    title: str, columns: Iterable[str], rows: list[Figures], cells: Callable[[Figures], list[str]], what: str = "step"
) -> Shown:
    """Each problem with its contestants below it; or why one has not `what`."""
    entries = [
        (problem, name_of(row), cells(row) if what in row else reason(row))
        for problem, own in by_problem(rows).items()
        for row in own
    ]
    return blocks(title, columns, entries) + notes(rows)


def notes(rows: list[Figures]) -> Shown:
    """What a library warned of, and which rows are from another environment."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        where = f"{name_of(row)} at {row['problem']}"
        for text in row.get("warned", []):
            lines.setdefault(f"warned: {text}", []).append(where)
        if "environment" in row:
            lines.setdefault(f"measured before, with other {', '.join(row['environment'])}", []).append(where)
    return [
        Text(f"{text} ({wheres[0]}{f' and {len(wheres) - 1} more' if wheres[1:] else ''})")
        for text, wheres in lines.items()
    ]


def share(row: Figures, part: str = "step") -> str:
    """Of the floor."""
    found = interval(row, part, SHARE)
    return percent(found.median) if found else ""


def parts(row: Figures) -> list[str]:
    """The times of a step and its parts."""
    return [in_seconds(seconds(row, part)) for part in PARTS]


def by_name(rows: list[Figures], ratio: Callable[[Figures], float | None]) -> dict[str, dict[str, float]]:
    """Of each contestant that was measured, in their order, the ratio at each problem that has one."""
    found: dict[str, dict[str, float]] = {name_of(row): {} for row in rows}
    for row in rows:
        if "step" in row and (value := ratio(row)):
            found[name_of(row)][row["problem"]] = value
    return {name: ratios for name, ratios in found.items() if ratios}


def at_end(pick: Callable[..., str], ratios: dict[str, float]) -> str:
    """The least or the most of the ratios, and where. pick: `min` or `max`."""
    problem = pick(ratios, key=lambda one: ratios[one])
    return f"{digits(ratios[problem])}× at {problem}"


def measurements(figures: Figures) -> Shown:
    """Each problem with its contestants below it; in a line for each how the first stands beside it."""
    rows = figures["rows"]
    first = name_of(rows[0])

    def cells(row: Figures) -> list[str]:
        return [*parts(row), rate(row), share(row), times(interval(row, "step", SPEED))]

    def speed(row: Figures) -> float | None:
        found = interval(row, "step", SPEED)
        return found.median if found else None

    return sections("a training step", [*PARTS, "FLOP/s", "floor", f"speed of {first}"], rows, cells) + [
        f"{first} beside {name}: no slower at {sum(speed >= 1 for speed in speeds.values())} of {len(speeds)} sizes, "
        f"geometric mean {digits(geometric_mean(speeds.values()))}×, least {at_end(min, speeds)}"
        for name, speeds in by_name(rows, speed).items()
    ]


def ladder(figures: Figures) -> Shown:
    """The rungs from below, each with what it gained beside the measured one below; then what is new on each."""
    rows, gained = figures["rows"], {}
    for own in by_problem(rows).values():
        measured = [row for row in own if "step" in row]
        for below, row in pairwise(measured):
            for name, other in (("below", below), ("first", own[0])):
                turns = [one["step"]["turns"] for one in (other, row)] if "step" in other else [[], []]
                if turns[0] and len(turns[0]) == len(turns[1]):
                    gained[id(row), name] = f"{digits(float(np.median(np.divide(*turns))))}×"

    def cells(row: Figures) -> list[str]:
        gains = [gained.get((id(row), name), "") for name in ("below", "first")]
        return [*parts(row), *gains, rate(row), share(row)]

    shown = sections("rungs", [*PARTS, "gained", "in all", "FLOP/s", "floor"], rows, cells)
    forms = dict.fromkeys(row["contestant"].split(", CUDA f")[0] for row in rows)
    return shown + [Text(f"{form}: {GAINS[form]}") for form in forms if form in GAINS]


def memories(figures: Figures) -> Shown:
    """The memory of a training step, the contestants side by side; of more than three below each other."""
    groups = by_problem(figures["rows"])
    names = list(dict.fromkeys(map(name_of, figures["rows"])))
    if len(names) > 3:
        return sections(
            "memory of a training step", ["bytes"], figures["rows"], lambda row: [in_bytes(row["bytes"])], "bytes"
        )
    shown = table("memory of a training step", *names, *([f"{names[1]} by {names[0]}"] if len(names) == 2 else []))
    for problem, own in groups.items():
        cells = [in_bytes(row["bytes"]) if "bytes" in row else reason(row) for row in own]
        known = [row.get("bytes") for row in own]
        if len(known) == 2 and known[0] and known[1] is not None:
            cells.append(f"{digits(known[1] / known[0])}×")
        shown.add_row(problem, *map(Text, cells))
    return [shown]


def long(figures: Figures) -> Shown:
    """Memory and seconds of a step against T, the contestants side by side."""
    rows = figures["rows"]
    problem = Problem(**rows[0]["sizes"])
    shown = table(f"T, B{problem.B} I{problem.I} H{problem.H}", *dict.fromkeys(map(name_of, rows)))
    for own in by_problem(rows).values():
        cells = [
            f"{in_bytes(row['bytes'])}, {in_seconds(row['seconds, once'])}" if "bytes" in row else reason(row)
            for row in own
        ]
        shown.add_row(f"{own[0]['sizes']['T']:,}", *map(Text, cells))
    return [shown]


def growth(figures: Figures) -> Shown:
    """With which power of a size the time grows; then time and memory for each of T steps, which growth in proportion
    leaves constant.
    """
    names = [curve["contestant"] for curve in figures["memory"]]
    times, memory = figures["times"], {curve["contestant"]: curve for curve in figures["memory"]}
    exponents = {(curve["letter"], curve["contestant"]): curve["exponent"] for curve in times}

    def law(letter: str, name: str) -> str:
        found = exponents.get((letter, name))
        return "not measured" if found is None else f"{letter}^{found:.2f}"

    slopes = ["" if (each := memory[name]["bytes for each step"]) is None else in_bytes(each) for name in names]
    if len(names) > 3:
        short = table("time of a step grows as", *THEORY, "memory of a further step")
        for place, name in enumerate(names):
            short.add_row(name, *(law(letter, name) for letter in THEORY), slopes[place])
        return [short, *map(Text, figures.get("not measured", []))]
    laws = table("time of a step grows as", *names, "operations grow as")
    for letter, theory in THEORY.items():
        laws.add_row(letter, *(law(letter, name) for name in names), f"{letter}^{theory}")
    against = {
        curve["contestant"]: dict(zip(curve["sizes"], curve["seconds"], strict=True))
        for curve in times
        if curve["letter"] == "T"
    }
    steps = {name: dict(zip(curve["steps"], curve["bytes"], strict=True)) for name, curve in memory.items()}
    each = table("for each of T steps", *(f"{name} {what}" for what in ("time", "memory") for name in names))
    for T in sorted({T for one in (*against.values(), *steps.values()) for T in one}):
        cells = [in_seconds(against[name][T] / T) if T in against.get(name, {}) else "" for name in names]
        each.add_row(str(T), *cells, *(in_bytes(steps[name][T] / T) if T in steps[name] else "" for name in names))
    each.add_section()
    each.add_row("each further step", *[""] * len(names), *slopes)
    return [laws, each, *map(Text, figures.get("not measured", []))]


def text(figures: Figures) -> Shown:
    """The models, both libraries side by side."""
    sides = ("scratch: characters/s", "a step", "PyTorch: characters/s", "a step")
    shown = table(f"training on {figures.get('text', 'text')}", *sides, "speed", "losses differ", "reading")
    for row in figures["rows"]:
        cells = []
        for library in ("scratch", "PyTorch"):
            step = row[library]["seconds of a step (quartile, median, quartile)"][1]
            cells += [f"{row[library]['characters a second']:,.0f}", in_seconds(step)]
        low, median, high = row["speed of scratch (95 %)"]
        cells += [times(Spread(median, low, high)), f"{row['difference of losses']:.0e}"]
        shown.add_row(row["model"], *map(Text, [*cells, percent(row["scratch"]["share of reading"])]))
    return [shown]


def gpu(figures: Figures) -> Shown:
    """The headline: how many times as fast as `scratch`; then each size with its contestants."""
    rows = figures["rows"]
    ours = {row["problem"]: row for row in rows if name_of(row) == "scratch" and "step" in row}

    def faster(row: Figures) -> float | None:
        first = ours.get(row["problem"])
        return seconds(first) / seconds(row) if first is not None and row is not first else None

    def cells(row: Figures) -> list[str]:
        gain, ceiling = faster(row), row["step"].get("share of the ceiling")
        return [*parts(row), rate(row), percent(ceiling) if ceiling else "", f"{digits(gain)}×" if gain else ""]

    lines: Shown = []
    for name, gains in by_name(rows, faster).items():
        mean = digits(geometric_mean(gains.values()))
        if not lines:
            what = "at one size" if len(gains) == 1 else f"in the geometric mean of {len(gains)} sizes"
            lines.append(Text(f"{name} is {mean} times as fast as scratch, {what}", style="bold"))
            lines.append(Text(f"  least {at_end(min, gains)}, most {at_end(max, gains)}"))
        else:
            lines.append(Text(f"{name}: {mean}× ({digits(min(gains.values()))} to {digits(max(gains.values()))})"))
    columns = [*PARTS, "FLOP/s", "ceiling", "by scratch"]
    lines += sections("a training step", columns, rows, cells)
    for name, one in figures.get("ceilings", {}).items():
        product, copy = digits(one["operations in a second"] / 1e12), digits(one["bytes in a second"] / 1e9)
        lines.append(Text(f"ceiling, {name}: {product} TFLOP/s in a large product, {copy} GB/s in a copy"))
    return lines + ([Text(figures["beside"])] if "beside" in figures else [])


TABLES: dict[str, Callable[[Figures], Shown]] = {
    "step": measurements,
    "gpu": gpu,
    "ladder": ladder,
    "memory": memories,
    "long": long,
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
        without = next((row for row in own.values() if "step" not in row), None)
        if without:
            entries.append((heading, f"T{size}", reason(without)))
            continue
        speeds = [interval(own["PyTorch"], part, SPEED) for part in ("step", "forward", "backward")]
        if None in speeds:
            raise ValueError(f"expected speeds beside PyTorch of {problem}")
        ours, theirs = (used.get((problem, name)) for name in ("scratch", "PyTorch"))
        cells = [*(in_seconds(seconds(own[name])) for name in ("scratch", "PyTorch")), times(speeds[0])]
        cells += [*(f"{digits(one.median)}×" for one in speeds[1:] if one), share(own["scratch"])]
        cells.append(f"{digits(theirs / ours)}×" if ours and theirs else "")
        entries.append((heading, f"T{size}", cells))
    columns = ("scratch", "PyTorch", "speed (95 %)", "fwd", "bwd", "floor", "bytes")
    return [
        *blocks("a training step", columns, entries),
        *notes(figures["rows"]),
        "speed, fwd, bwd: PyTorch's time by scratch's, of the step, forward and backward",
        "floor: the time of the matrix products alone by scratch's",
        "bytes: PyTorch's peak memory by scratch's",
    ]
