"""Whether two runs agree: what overlaps, what is refused, and what the README says of the two that are kept."""

import json
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.agreement import Pair, agree, inside, run, summary
from benchmarks.statistics import Spread, across
from benchmarks.units import digits

from .conftest import Command

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / "benchmarks" / "results" / "intel-xeon-2-threads.json"
PARTS = ("forward", "backward", "step")

spreads = st.lists(st.sampled_from([0.5, 0.9, 1.0, 1.1, 2.0, 7.0]) | st.floats(0.1, 10), min_size=3, max_size=3).map(
    lambda ends: Spread(sorted(ends)[1], min(ends), max(ends))
)


@given(spreads, spreads)
def test_intervals_overlap_where_they_share_a_value(a: Spread, b: Spread) -> None:
    ends = (*a, *b)
    assert a.overlaps(b) == b.overlaps(a) == any(a.holds(value) and b.holds(value) for value in ends)
    assert inside(a, b) == "neither" or a.overlaps(b)
    swapped = {"first": "second", "second": "first"}
    assert inside(b, a) == swapped.get(inside(a, b), inside(a, b))
    assert inside(a, a) == "both"


@pytest.mark.parametrize("passes", range(2, 11))
def test_runs_of_the_same_truth_overlap_as_often_as_is_said(passes: int) -> None:
    rng = np.random.default_rng(passes)
    found = [across(run.tolist()) for run in np.exp(0.1 * rng.standard_normal((2000, passes, 1)))]
    assert np.mean([a.overlaps(b) for a, b in zip(found[::2], found[1::2], strict=True)]) >= 0.9


@given(st.lists(st.tuples(spreads, spreads), min_size=1, max_size=5))
def test_runs_agree_if_all_intervals_of_the_step_overlap(found: list[tuple[Spread, Spread]]) -> None:
    apart = Spread(100, 99, 101)
    pairs = [
        Pair(
            f"size {k}",
            "PyTorch",
            {"step": a, "forward": a, "backward": a},
            {"step": b, "forward": apart, "backward": b},
        )
        for k, (a, b) in enumerate(found)
    ]
    overlapping = sum(max(a.low, b.low) <= min(a.high, b.high) for a, b in found)
    step, forward, *_ = summary(pairs)
    assert agree(pairs) == (overlapping == len(found))
    assert f"step: intervals overlap at {overlapping} of {len(found)} sizes" in step
    assert f"intervals overlap at 0 of {len(found)} sizes" in forward
    assert not agree([*pairs, Pair("alone", "PyTorch", pairs[0].first, None)])


def figures(date: str = "1", **speeds: Any) -> dict[str, Any]:
    """A run as it is kept, with the same interval for each part of a size; None where it was not measured."""
    rows: list[dict[str, Any]] = []
    for problem, speed in speeds.items():
        for name, value in (("scratch", None), ("PyTorch", speed)):
            parts = {part: {"speed of the first (95 %)": value} for part in PARTS} if speed else {"skipped": "no"}
            rows.append({"problem": problem, "contestant": name, **parts})
    environment = {"date": date, "CPU": "x", "threads": 2, "load before": [int(date)], "PyTorch": {"PyTorch": "2.13"}}
    return {"environment": environment, "rows": rows}


def compared(command: Command, folder: Path, first: Any, second: Any) -> tuple[int, str, str]:
    """Compare two runs. Returns exit status, standard output and standard error."""
    paths = [folder / "a.json", folder / "b.json"]
    for path, content in zip(paths, (first, second), strict=True):
        path.write_text(json.dumps({"step": {"float32": content}}))
    return command("agree", *paths)


SIZE = [1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    ("other", "status", "shown"),
    [
        ({"size": [1.9, 2.5, 3.0]}, 0, "overlap at 1 of 1"),
        ({"size": [1.9, 2.5, 3.0], "further": None}, 0, "overlap at 1 of 1"),
        ({"size": [2.1, 2.5, 3.0]}, 1, "overlap at 0 of 1"),
        ({"size": SIZE, "further": SIZE}, 1, "not measured"),
    ],
)
def test_the_exit_status_tells_whether_runs_agree(
    command: Command,
    tmp_path: Path,
    other: dict[str, Any],
    status: int,
    shown: str,
) -> None:
    found, out, error = compared(command, tmp_path, figures(size=SIZE), figures("2", **other))
    assert (found, error) == (status, "")
    assert shown in out and "1.50× (1.00–2.00)" in out


def changed(**what: Any) -> dict[str, Any]:
    """Another run, with something else in its environment."""
    run = figures("2", size=SIZE)
    return run | {"environment": run["environment"] | what}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (changed(CPU="y"), "got CPU: x and y"),
        (changed(threads=1, passes=5), "got threads: 2 and 1; passes: nothing and 5"),
        (changed(PyTorch={"PyTorch": "2.14"}), "got PyTorch's PyTorch: 2.13 and 2.14"),
        (changed(PyTorch="not installed"), "PyTorch: nothing and not installed"),
        (changed(date="1"), "expected two runs, got the one of 1 twice"),
        (figures("2", another=SIZE), "a size in common"),
        (figures("2", size=[2.0, 1.5, 1.0]), "got none of this kind"),
        (figures("2", size=[1.0, 1.5]), "got none of this kind"),
        (figures("2", size=[1.0, "1.5", 2.0]), "got none of this kind"),
        (figures("2", size=[1.0, float("nan"), 2.0]), "got none of this kind"),
        ({"rows": []}, "got none of this kind"),
        ({"environment": "x", "rows": []}, "got none of this kind"),
        ([], "got none of this kind"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(command: Command, tmp_path: Path, second: Any, said: str) -> None:
    status, out, error = compared(command, tmp_path, figures(size=SIZE), second)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert error.startswith("benchmarks: ") and said in error


def test_the_readme_says_how_the_kept_run_ended() -> None:
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    speeds = {problem: found["step"].median for (problem, _), found in run(KEPT)[1].items()}
    least = min(speeds, key=lambda problem: speeds[problem])
    mean = exp(sum(map(log, speeds.values())) / len(speeds))
    assert (
        f"no slower at {sum(speed >= 1 for speed in speeds.values())} of {len(speeds)} sizes, "
        f"geometric mean {digits(mean)}×, least {digits(speeds[least])}× at {least}\n"
    ) in readme
