"""The results that are kept, as a table in Markdown: what the README shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .report import digits, in_seconds, percent, times
from .statistics import Spread

HEADER = (
    "| size | scratch | PyTorch | speed: training step | forward | backward | of the floor | memory |\n"
    "|:--|--:|--:|:--|--:|--:|--:|--:|"
)


@contextmanager
def reading(path: Path, dtype: str) -> Iterator[dict[str, Any]]:
    """The content of a file. Raises ValueError if it cannot be read, or whatever is looked for in it is not there."""
    try:
        yield json.loads(path.read_text(errors="replace"))
    except OSError as error:
        raise ValueError(f"expected a file of results, got {path}: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"expected results of a whole run in {dtype}, got none in {path}") from error


def as_markdown(path: Path, dtype: str = "float32") -> str:
    """A line for each size: the times of a step, how many times faster `scratch` is, its share of the floor, and by how
    many times its memory is the smaller. Raises ValueError for a file without results of a whole run.
    """
    with reading(path, dtype) as content:
        by_problem: dict[str, dict[str, Any]] = {}
        for row in content["step"][dtype]["rows"]:
            by_problem.setdefault(row["problem"], {})[row["contestant"]] = row
        memory: dict[str, dict[str, int]] = {}
        for row in content.get("memory", {}).get(dtype, {"rows": []})["rows"]:
            memory.setdefault(row["problem"], {})[row["contestant"]] = row.get("bytes", 0)
        lines = [line(problem, rows, memory.get(problem, {})) for problem, rows in by_problem.items()]
    return "\n".join([HEADER, *lines])


def speed(row: dict[str, Any], part: str) -> Spread:
    """How many times faster the first contestant is than that of a row."""
    low, median, high = row[part]["speed of the first (95 %)"]
    if not 0 < low <= median <= high:
        raise ValueError(f"expected an interval around a ratio, got {low}, {median}, {high}")
    return Spread(median, low, high)


def line(problem: str, rows: dict[str, Any], memory: dict[str, int]) -> str:
    """One size."""
    ours, theirs = rows["scratch"], rows["PyTorch"]
    for row in (ours, theirs):
        if "step" not in row:
            return f"| {problem} | {row.get('skipped') or row['failed']} | | | | | | |"

    cells = [in_seconds(row["step"]["seconds (quartile, median, quartile)"][1]) for row in (ours, theirs)]
    cells.append(times(speed(theirs, "step")))
    cells += [f"{digits(speed(theirs, part).median)}×" for part in ("forward", "backward")]
    cells.append(percent(ours["step"]["share of the floor (95 %)"][1]))
    used = memory.get("scratch"), memory.get("PyTorch")
    cells.append(f"{digits(used[1] / used[0])}×" if used[0] and used[1] else "")
    return f"| {problem} | {' | '.join(cells)} |"
