"""What is kept: figures with the environment they are from, as JSON, one file for each machine and device.

A file holds for each command and dtype its figures. A further run adds its rows; one that measures a size anew replaces
that row alone. Nothing in it was entered by hand.
"""

import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from reference.summary import cpu_name
from scratch.files import write_whole
from scratch.processes import available_cores

from .contestants import Contestant
from .process import Failed, Workers
from .statistics import Spread
from .timing import PARTS, Row

RESULTS = Path(__file__).parent / "results"

SECONDS, SHARE, SPEED = (
    "seconds (quartile, median, quartile)",
    "share of the floor (95 %)",
    "speed of the first (95 %)",
)
"""What is kept of each part of a step as low, median, high."""
CEILING, ONCE = "share of the ceiling", "seconds, once"

WIDTH = {"bfloat16": "float16"}
"""A dtype that NumPy knows, as wide as one that it does not."""

VARYING = ("date", "load before")
"""In what two runs of the same benchmark on the same machine may differ."""

Figures = dict[str, Any]
"""A row, or all that a command has measured, in JSON's terms."""


def environment(workers: Workers, contestants: list[Contestant], seed: int) -> dict[str, Any]:
    """Where the figures come from: the machine, and what each library says of itself in the process that computes."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "CPU": cpu_name(),
        "cores": available_cores(),
        "threads": workers.threads,
        "load before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "seed": seed,
    }
    for library, one in {each.library: each for each in contestants}.items():  # the last: on a GPU, if there is one
        try:
            found[library] = workers.of(one).ask("environment")
        except Failed as reason:
            found[library] = str(reason)
    return found


def results_file(name: str) -> Path:
    """Where the results of a machine or a GPU are kept."""
    return RESULTS / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def own_file(threads: int) -> Path:
    """Where the results of this machine's processor are kept."""
    return results_file(f"{cpu_name()} {threads} threads")


def kept_files() -> list[Path]:
    """What there are results in: first this machine's, then those of others. A run before it is `<name>-first.json`."""
    own = own_file(available_cores())
    others = [path for path in sorted(RESULTS.glob("*.json")) if not path.stem.endswith("-first") and path != own]
    return [own] * (own.exists() or not others) + others


def keep(path: Path, command: str, dtype: str, figures: Figures) -> None:
    """Put the figures of one command in one dtype into a file, beside what else is there."""
    path.parent.mkdir(exist_ok=True)
    content = kept(path)
    section = content.setdefault(command, {})
    section[dtype] = with_rows_of(section[dtype], figures) if dtype in section else figures
    text = json.dumps(content, indent=1, ensure_ascii=False)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"
    write_whole(path, text.encode(errors="backslashreplace"))


def with_rows_of(before: Figures, figures: Figures) -> Figures:
    """The figures of a run, and the rows of the runs before it that it did not measure anew.

    Such a row says in what its environment was another.
    """
    then, now = before.get("environment", {}), figures.get("environment", {})
    rows: dict[tuple[str, str], Figures] = {}
    for row in before.get("rows", []):
        own = then | row.get("environment", {})
        other = {name: own.get(name) for name in own | now if name not in VARYING and own.get(name) != now.get(name)}
        rows[key(row)] = {name: value for name, value in row.items() if name != "environment"}
        rows[key(row)] |= {"environment": other} if other else {}
    rows |= {key(row): row for row in figures.get("rows", [])}
    merged = {"rows": list(rows.values()), "ceilings": before.get("ceilings", {}) | figures.get("ceilings", {})}
    return figures | {name: value for name, value in merged.items() if value}


def key(row: Figures) -> tuple[str, str]:
    """What a row is about."""
    return row["problem"], row["contestant"]


@contextmanager
def reading(path: Path) -> Iterator[dict[str, Any]]:
    """The content of a file. Raises ValueError if it cannot be read, or whatever is looked for in it is not there."""
    try:
        yield json.loads(path.read_text("utf-8", "replace"))
    except OSError as error:
        raise ValueError(f"expected a file of results, got {path}: {error.strerror}") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(f"expected results of a run, got none of this kind in {path}") from error


def kept(path: Path | None) -> dict[str, Any]:
    """The content of a file that a run adds to; none if it is new. Raises ValueError if it is of another kind."""
    if path is None or not path.exists() or (path.is_file() and not path.stat().st_size):
        return {}
    if not path.is_file():
        raise ValueError(f"expected a file of results, got {path}")
    with reading(path) as content:
        for one in (one for found in content.values() for one in found.values()):
            with_rows_of(one, {})  # what cannot be added to is refused now
        return content


def of_command(content: dict[str, Any], command: str, dtype: str | None = None) -> Figures:
    """The figures of a command in a dtype: float32, else what there is. Raises KeyError if there are none."""
    found: dict[str, Figures] = content[command]
    return found[dtype or ("float32" if "float32" in found else next(iter(found)))]


def rounded(number: float) -> float:
    """Five digits, which is more than any of them is good for."""
    return float(f"{number:.5g}")


def spread(values: Spread) -> list[float]:
    """Low, median, high."""
    return [rounded(values.low), rounded(values.median), rounded(values.high)]


def interval(row: Figures, part: str, what: str) -> Spread | None:
    """What is kept of a part of a step; None if it was not measured. Raises ValueError for what cannot be such."""
    found = row.get(part, {}).get(what)
    if found is None:
        return None
    low, median, high = found
    if not 0 < low <= median <= high:
        raise ValueError(f"expected three rising numbers above 0, got {low}, {median}, {high}")
    return Spread(median, low, high)


def seconds(row: Figures, part: str = "step") -> float:
    """The median time of a part. Raises LookupError or ValueError if there is none."""
    found = interval(row, part, SECONDS)
    if found is None:
        raise LookupError(f"no time of {part}")
    return found.median


def reason(row: Figures) -> str:
    """Why there are no figures; empty if there are."""
    return row.get("skipped") or (f"failed: {row['failed']}" if "failed" in row else "")


def by_problem(rows: list[Figures]) -> dict[str, list[Figures]]:
    """The rows of each problem."""
    found: dict[str, list[Figures]] = {}
    for row in rows:
        found.setdefault(row["problem"], []).append(row)
    return found


def of_row(row: Row, first: Row, best: Figures | None = None) -> Figures:
    """A row in JSON's terms. best: what its device can do at most, if that was measured."""
    found: Figures = {
        "problem": row.problem.name,
        "sizes": asdict(row.problem),
        "contestant": row.contestant.name,
        "form": asdict(row.contestant),
    }
    if "bytes" in row.found:
        return found | {"bytes": row.found["bytes"], "how": row.found["how"], ONCE: rounded(row.found["seconds"])}
    if not row.runs or not row.turns:
        return found | ({"skipped": row.skipped} if row.skipped else {"failed": row.failed or "not measured"})
    found |= {"calls in a turn": row.found["calls"], "difference of results": row.error}
    found |= {"layout of the products": row.found["layouts"]}
    found |= {"warned": row.found["warned"]} if row.found["warned"] else {}
    for part in PARTS:
        if not row.seconds(part):  # of a character model the step alone
            continue
        time, share, speed = row.time(part), row.share_of_floor(part), first.speed(part, row)
        operations = row.problem.flops(part)
        found[part] = {
            SECONDS: spread(time),
            "operations": operations,
            "operations in a second": rounded(operations / time.median),
            SHARE: spread(share) if share else None,
            SPEED: spread(speed) if speed else None,
            "turns": [rounded(seconds) for seconds in row.seconds(part)],
        }
        if best:
            moved = row.problem.numbers(part) * np.dtype(WIDTH.get(row.contestant.dtype, row.contestant.dtype)).itemsize
            least = max(operations / best["operations in a second"], moved / best["bytes in a second"])
            found[part][CEILING] = rounded(least / time.median)
    return found
