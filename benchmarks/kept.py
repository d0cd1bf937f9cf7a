"""The results that are kept, as a table in Markdown: what the README shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .report import digits, in_seconds, percent, times
from .statistics import Spread

HEADER = (
    "| size | scratch | PyTorch | speed: training step | forward | backward | of the floor | memory |\n"
    "|:--|--:|--:|:--|--:|--:|--:|--:|"
)


def as_markdown(path: Path, dtype: str = "float32") -> str:
    """A line for each size: the times of a step, how many times faster `scratch` is, its share of the floor, and by how
    many times its memory is the smaller. Raises OSError for a file that cannot be read, ValueError for one without
    results of a whole run.
    """
    text = path.read_text(errors="replace")
    try:
        content = json.loads(text)
        by_problem: dict[str, dict[str, Any]] = {}
        for row in content["step"][dtype]["rows"]:
            by_problem.setdefault(row["problem"], {})[row["contestant"]] = row
        memory: dict[str, dict[str, int]] = {}
        for row in content.get("memory", {}).get(dtype, {"rows": []})["rows"]:
            memory.setdefault(row["problem"], {})[row["contestant"]] = row.get("bytes", 0)
        lines = [line(problem, rows, memory.get(problem, {})) for problem, rows in by_problem.items()]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"expected results of a whole run in {dtype}, got none in {path}") from error
    return "\n".join([HEADER, *lines])


def line(problem: str, rows: dict[str, Any], memory: dict[str, int]) -> str:
    """One size."""
    ours, theirs = rows["scratch"], rows["PyTorch"]
    for row in (ours, theirs):
        if "step" not in row:
            return f"| {problem} | {row.get('skipped') or row['failed']} | | | | | | |"

    def speed(part: str) -> Spread:
        low, median, high = theirs[part]["speed of the first (95 %)"]
        return Spread(median, low, high)

    cells = [in_seconds(row["step"]["seconds (quartile, median, quartile)"][1]) for row in (ours, theirs)]
    cells += [times(speed("step")), *(f"{digits(speed(part).median)}×" for part in ("forward", "backward"))]
    cells.append(percent(ours["step"]["share of the floor (95 %)"][1]))
    used = memory.get("scratch"), memory.get("PyTorch")
    cells.append(f"{digits(used[1] / used[0])}×" if used[0] and used[1] else "")
    return f"| {problem} | {' | '.join(cells)} |"
