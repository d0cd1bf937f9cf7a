"""Two runs of the same benchmark: whether the intervals that they state agree, size by size.

Two intervals that each hold the truth 95 times in 100 both hold it at least 90 times in 100, and then they overlap. So
here and there two may stand apart, but hardly at many sizes.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from .report import Entry, Shown, blocks
from .results import SPEED, VARYING, interval, key, of_command, reading
from .statistics import Spread, digits, times
from .timing import PARTS

Speeds = dict[str, Spread]
"""Of each part of a step: how many times faster the first contestant is; empty where it was not measured."""


def agreement(first: Path, second: Path) -> tuple[bool, Shown]:
    """Whether the intervals of the training step in two files overlap everywhere, and what is to be shown of them.

    What one run skipped is left out; what it alone has figures of does not agree. Raises ValueError for files without
    results of a whole run, for runs on different machines or with different settings, and for the same run twice.
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
    found = {
        f"{problem}, beside {name}": (a.get((problem, name), {}), b.get((problem, name), {})) for problem, name in a | b
    }
    pairs = {size: (one, other) for size, (one, other) in found.items() if one is not None and other is not None}
    both = {size: pair for size, pair in pairs.items() if all(pair)}
    if not both:
        raise ValueError("expected two runs with a size in common, got none")
    agree = all(size in both and one["step"].overlaps(other["step"]) for size, (one, other) in pairs.items())
    return agree, intervals(pairs) + summary(both)


def run(path: Path) -> tuple[dict[str, Any], dict[tuple[str, str], Speeds | None]]:
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
        speeds: dict[tuple[str, str], Speeds | None] = {}
        for row in figures["rows"]:
            found = {part: one for part in PARTS if (one := interval(row, part, SPEED))}
            if len(found) == len(PARTS) or "skipped" in row:
                speeds[key(row)] = found or None
        others = [row["problem"] for row in figures["rows"] if "environment" in row]
    if others:
        raise ValueError(f"expected one run in {path}, got sizes of another environment: {', '.join(others)}")
    return environment, speeds


def intervals(pairs: dict[str, tuple[Speeds, Speeds]]) -> Shown:
    """The intervals of the training step in both runs, and whether they and those of its parts overlap."""
    entries: list[Entry] = []
    for size, (a, b) in pairs.items():
        cells = [times(one["step"]) if one else "not measured" for one in (a, b)]
        parts = ("step", "forward", "backward")
        cells += [("yes" if a[part].overlaps(b[part]) else "no") if a and b else "" for part in parts]
        entries.append((size, "", cells))
    columns = ("first run", "second run", "overlap", "forward's", "backward's")
    return blocks("speed of a training step", columns, entries)


def summary(pairs: dict[str, tuple[Speeds, Speeds]]) -> Shown:
    """In a line for each part how many intervals overlap and how far the middles are apart; then what both runs say."""
    lines: Shown = []
    for part, name in (("step", "training step"), ("forward", "forward"), ("backward", "backward")):
        overlap = sum(a[part].overlaps(b[part]) for a, b in pairs.values())
        ratios = {size: a[part].median / b[part].median for size, (a, b) in pairs.items()}
        apart = {size: max(ratio, 1 / ratio) for size, ratio in ratios.items()}
        where = max(apart, key=lambda size: apart[size])
        lines.append(
            f"{name}: intervals overlap at {overlap} of {len(pairs)} sizes; middles {digits(median(apart.values()))}× "
            f"apart in the median, most {digits(apart[where])}× at {where}"
        )
    faster = sum(min(a["step"].low, b["step"].low) > 1 for a, b in pairs.values())
    slower = sum(max(a["step"].high, b["step"].high) < 1 for a, b in pairs.values())
    lines.append(f"training step: in both runs the interval lies above 1 at {faster} sizes, below 1 at {slower}")
    return [*lines, "intervals that each hold the truth 95 times in 100 overlap at least 90 times in 100"]
