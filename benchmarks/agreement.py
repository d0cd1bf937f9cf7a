"""Two runs of the same benchmark: whether the intervals that they state agree, size by size.

Two intervals that each hold the truth 95 times in 100 both hold it at least 90 times in 100, and then they overlap. So
here and there two may stand apart, but hardly at many sizes.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from .report import Shown, blocks
from .results import SPEED, VARYING, interval, of_command, reading
from .statistics import Spread, digits, times
from .timing import PARTS

Speeds = dict[str, Spread]
"""Of each part of a step: how many times faster the first contestant is."""
Pairs = dict[tuple[str, str], tuple[Speeds, Speeds]]
"""By problem and contestant what each of two runs found; empty where a run has no figures."""


def compare(first: Path, second: Path) -> Pairs:
    """The runs in two files, side by side, without what one of them skipped.

    Raises ValueError for files without results of a whole run, for runs on different machines or with different
    settings, and for the same run twice.
    """
    (ours, a, skipped), (theirs, b, skipped_too) = run(first), run(second)
    different = [
        f"{name}: {ours.get(name, 'nothing')} and {theirs.get(name, 'nothing')}"
        for name in dict.fromkeys([*ours, *theirs])
        if name not in VARYING and ours.get(name) != theirs.get(name)
    ]
    if different:
        raise ValueError(f"expected two runs on the same machine with the same settings, got {'; '.join(different)}")
    if ours["date"] == theirs["date"]:
        raise ValueError(f"expected two runs, got the one of {ours['date']} twice")
    if not a.keys() & b.keys():
        raise ValueError("expected two runs with a size in common, got none")
    return {key: (a.get(key, {}), b.get(key, {})) for key in {**a, **b} if key not in skipped | skipped_too}


def run(path: Path) -> tuple[dict[str, Any], dict[tuple[str, str], Speeds], set[tuple[str, str]]]:
    """Of the run in a file: its environment, with what each library says of itself among the rest, and the speeds
    beside each contestant on each problem; last what it left out, and said why. Raises ValueError for a file without
    such results, or of several machines.
    """
    with reading(path) as content:
        figures = of_command(content, "step")
        environment = {"date": figures["environment"]["date"]}
        for name, said in figures["environment"].items():
            inner = said if isinstance(said, dict) else {}
            environment |= {f"{name}'s {key}": value for key, value in inner.items()} or {name: said}
        speeds: dict[tuple[str, str], Speeds] = {}
        skipped = {(row["problem"], row["contestant"]) for row in figures["rows"] if "skipped" in row}
        others = [row["problem"] for row in figures["rows"] if "environment" in row]
        for row in figures["rows"]:
            found = {part: interval(row, part, SPEED) for part in PARTS}
            if all(found.values()):
                speeds[row["problem"], row["contestant"]] = {part: one for part, one in found.items() if one}
    if others:
        raise ValueError(f"expected one run in {path}, got sizes of another environment: {', '.join(others)}")
    return environment, speeds, skipped


def agree(pairs: Pairs) -> bool:
    """Whether the intervals of the training step overlap everywhere. What one run alone has figures of does not."""
    return all(a and b and a["step"].overlaps(b["step"]) for a, b in pairs.values())


def intervals(pairs: Pairs) -> Shown:
    """The intervals of the training step in both runs, and whether they and those of its parts overlap."""
    parts = ("step", "forward", "backward")
    entries: list[tuple[str, str, list[str] | str]] = []
    for (problem, contestant), (a, b) in pairs.items():
        cells = [times(one["step"]) if one else "not measured" for one in (a, b)]
        cells += [("yes" if a[part].overlaps(b[part]) else "no") if a and b else "" for part in parts]
        entries.append((f"{problem}, beside {contestant}", "", cells))
    return blocks(
        "speed of a training step", ("first run", "second run", "overlap", "forward's", "backward's"), entries
    )


def summary(pairs: Pairs) -> list[str]:
    """In a line for each part how many intervals overlap and how far the middles are apart; then what both runs say."""
    lines, both = [], {f"{problem}, beside {name}": pair for (problem, name), pair in pairs.items() if all(pair)}
    for part, name in (("step", "training step"), ("forward", "forward"), ("backward", "backward")):
        found = {problem: (a[part], b[part]) for problem, (a, b) in both.items()}
        overlap = sum(a.overlaps(b) for a, b in found.values())
        apart = {problem: max(a.median / b.median, b.median / a.median) for problem, (a, b) in found.items()}
        where = max(apart, key=lambda problem: apart[problem])
        lines.append(
            f"{name}: intervals overlap at {overlap} of {len(found)} sizes; middles {digits(median(apart.values()))}× "
            f"apart in the median, most {digits(apart[where])}× at {where}"
        )
    faster = sum(min(a["step"].low, b["step"].low) > 1 for a, b in both.values())
    slower = sum(max(a["step"].high, b["step"].high) < 1 for a, b in both.values())
    lines.append(f"training step: in both runs the interval lies above 1 at {faster} sizes, below 1 at {slower}")
    lines.append("intervals that each hold the truth 95 times in 100 overlap at least 90 times in 100")
    return lines
