"""Two runs of the same benchmark: whether the intervals that they state agree, size by size.

Two intervals that each hold the truth 95 times in 100 both hold it at least 90 times in 100, and then they overlap. So
here and there two may stand apart, but hardly at many sizes.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from .report import blocks
from .results import SPEED, VARYING, interval, of_command, reading
from .statistics import Spread
from .timing import PARTS
from .units import digits, times

Speeds = dict[str, Spread]
"""Of each part of a step: how many times faster the first contestant is."""


class Pair(NamedTuple):
    """What two runs found of a problem and a contestant; None where a run has no figures."""

    problem: str
    contestant: str
    first: Speeds | None
    second: Speeds | None

    def part(self, part: str) -> tuple[Spread, Spread] | None:
        """The intervals of both, if there are two."""
        return (self.first[part], self.second[part]) if self.first and self.second else None


def compare(first: Path, second: Path) -> list[Pair]:
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
    pairs = [Pair(*key, a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b]) if key not in skipped | skipped_too]
    if not any(pair.part("step") for pair in pairs):
        raise ValueError("expected two runs with a size in common, got none")
    return pairs


def run(path: Path) -> tuple[dict[str, Any], dict[tuple[str, str], Speeds], set[tuple[str, str]]]:
    """Of the run in a file: its environment, with what each library says of itself among the rest, and the speeds
    beside each contestant on each problem; last what it left out, and said why. Raises ValueError for a file without
    such results, or of several machines.
    """
    with reading(path) as content:
        figures = of_command(content, "step")
        environment = {"date": figures["environment"]["date"]}
        for name, said in figures["environment"].items():
            inner = said.items() if isinstance(said, dict) else ()
            environment |= {f"{name}'s {key}": value for key, value in inner} if inner else {name: said}
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


def agree(pairs: list[Pair]) -> bool:
    """Whether the intervals of the training step overlap everywhere. What one run alone has figures of does not."""
    return all((both := pair.part("step")) and both[0].overlaps(both[1]) for pair in pairs)


def intervals(pairs: list[Pair]) -> list[Any]:
    """The intervals of the training step in both runs, how they lie, and whether those of its parts overlap."""
    entries: list[tuple[str, str, list[str] | str]] = []
    for pair in pairs:
        cells = [times(one["step"]) if one else "not measured" for one in (pair.first, pair.second)]
        both = pair.part("step")
        cells.append(inside(*both) if both else "")
        for part in ("step", "forward", "backward"):
            both = pair.part(part)
            cells.append(("yes" if both[0].overlaps(both[1]) else "no") if both else "")
        entries.append((f"{pair.problem}, beside {pair.contestant}", "", cells))
    columns = ("first run", "second run", "middle inside", "overlap", "forward's", "backward's")
    return blocks("speed of a training step", columns, entries)


def inside(first: Spread, second: Spread) -> str:
    """Whose middle lies in the interval of the other."""
    lies = {"first": second.holds(first.median), "second": first.holds(second.median)}
    return "both" if all(lies.values()) else next((name for name in lies if lies[name]), "neither")


def summary(pairs: list[Pair]) -> list[str]:
    """In a line for each part how many intervals overlap and how far the middles are apart; then what both runs say."""
    lines = []
    for part, name in (("step", "training step"), ("forward", "forward"), ("backward", "backward")):
        found = [(pair.problem, *both) for pair in pairs if (both := pair.part(part))]
        overlap = sum(a.overlaps(b) for _, a, b in found)
        middles = sum(inside(a, b) == "both" for _, a, b in found)
        apart = [(max(a.median / b.median, b.median / a.median), problem) for problem, a, b in found]
        most, where = max(apart)
        lines.append(
            f"{name}: intervals overlap at {overlap} of {len(found)} sizes, both middles lie in both at {middles}; "
            f"middles {digits(median(by for by, _ in apart))}× apart in the median, most {digits(most)}× at {where}"
        )
    steps = [both for pair in pairs if (both := pair.part("step"))]
    faster = sum(min(a.low, b.low) > 1 for a, b in steps)
    slower = sum(max(a.high, b.high) < 1 for a, b in steps)
    lines.append(f"training step: in both runs the interval lies above 1 at {faster} sizes, below 1 at {slower}")
    lines.append("intervals that each hold the truth 95 times in 100 overlap at least 90 times in 100")
    return lines
