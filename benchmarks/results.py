"""What is kept: figures with the environment they are from, as JSON, one file for each machine and device.

A file holds for each command and dtype its latest figures. Nothing in it was entered by hand.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reference.devices import NO_DEVICE
from reference.summary import cpu_name

from .contestants import Contestant
from .growth import Curve, MemoryCurve
from .memory import Memory
from .process import Failed, Workers
from .statistics import Spread
from .timing import PARTS, Row

RESULTS = Path(__file__).parent / "results"

CUDA = Contestant("PyTorch", device="cuda")


def available_cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(workers: Workers, contestants: Iterable[Contestant], seed: int) -> dict[str, Any]:
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
    for contestant in contestants:
        if contestant.library not in found:
            try:
                found[contestant.library] = workers.of(contestant).ask("environment")
            except Failed as reason:
                found[contestant.library] = str(reason)
    return found


def gpu(workers: Workers) -> str | None:
    """The name of the GPU, or None."""
    try:
        name = workers.of(CUDA).ask("environment")["GPU"]
    except Failed:
        return None
    return None if name == NO_DEVICE else str(name)


def results_file(device: str, threads: int, gpu_name: str | None) -> Path:
    """Where the results of this machine and device are kept."""
    name = f"{cpu_name()} {threads} threads" if device == "cpu" else gpu_name or NO_DEVICE
    return RESULTS / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def keep(path: Path, command: str, dtype: str, figures: dict[str, Any]) -> None:
    """Put the figures of one command in one dtype into a file, beside what else is there."""
    path.parent.mkdir(exist_ok=True)
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        content = {}
    section = content.get(command) if isinstance(content, dict) else None
    content = (content if isinstance(content, dict) else {}) | {command: (section or {}) | {dtype: figures}}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n")


def rounded(number: float) -> float:
    """Five digits, which is more than any of them is good for."""
    return float(f"{number:.5g}")


def spread(values: Spread) -> list[float]:
    """Low, median, high."""
    return [rounded(values.low), rounded(values.median), rounded(values.high)]


def of_row(row: Row, first: Row) -> dict[str, Any]:
    """A row in JSON's terms."""
    found: dict[str, Any] = {
        "problem": row.problem.name,
        "sizes": row.problem.as_json(),
        "contestant": row.contestant.name,
        "form": row.contestant.as_json(),
    }
    if not row.measured:
        return found | ({"skipped": row.skipped} if row.skipped else {"failed": row.failed or "not measured"})
    found |= {"calls in a turn": row.calls, "cores used": rounded(sum(row.seconds("cores")) / len(row.turns))}
    found |= {"difference of results": row.error[0], "layout of the products": row.layouts}
    for part in PARTS:
        share = row.share_of_floor(part)
        found[part] = {
            "seconds (quartile, median, quartile)": spread(row.time(part)),
            "operations": row.flops(part),
            "operations in a second": rounded(row.rate(part)),
            "share of the floor (95 %)": spread(share) if share else None,
            "speed of the first (95 %)": spread(first.speed(part, row)) if comparable(first, row) else None,
            "turns": [rounded(seconds) for seconds in row.seconds(part)],
        }
    return found


def comparable(first: Row, row: Row) -> bool:
    """Whether the two have turns that make pairs."""
    return row is not first and first.measured and row.measured and len(first.turns) == len(row.turns)


def of_memory(row: Memory) -> dict[str, Any]:
    """A row of memory in JSON's terms."""
    found: dict[str, Any] = {"problem": row.problem.name, "contestant": row.contestant.name}
    if row.bytes is None:
        return found | ({"skipped": row.skipped} if row.skipped else {"failed": row.failed})
    return found | {"bytes": row.bytes, "how": row.how, "seconds, once": rounded(row.seconds)}


def of_curve(curve: Curve) -> dict[str, Any]:
    """A curve of times in JSON's terms."""
    return {
        "letter": curve.letter,
        "contestant": curve.contestant.name,
        "sizes": curve.sizes,
        "seconds": [rounded(seconds) for seconds in curve.seconds],
        "exponent": rounded(curve.law.exponent) if curve.law else None,
    }


def of_memory_curve(curve: MemoryCurve) -> dict[str, Any]:
    """A curve of memory in JSON's terms."""
    return {
        "contestant": curve.contestant.name,
        "steps": curve.steps,
        "bytes": curve.bytes,
        "bytes for each step": rounded(curve.per_step) if curve.per_step is not None else None,
    }
