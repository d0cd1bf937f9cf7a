"""Processes: one library each, alive after whatever goes wrong, and what went wrong is a row that says so."""

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial

import pytest

from benchmarks import clock, numpy_runner, worker
from benchmarks.contestants import Contestant
from benchmarks.problems import Problem
from benchmarks.process import Failed, Worker, Workers
from benchmarks.timing import Effort, Row, measure, memory

SMALL, MISSING = Problem("test", "LSTM", 2, 1, 2, 3), Problem("test", "Transformer", 1, 1, 1, 1)
OURS, RUNG = Contestant("scratch", "float64"), Contestant("scratch", "float64", form="textbook")
EFFORT = Effort(fewest=3, most=3, seconds=0.0, least=0.0)
PREPARE = {"do": "prepare", "key": "x", "problem": asdict(SMALL), "seed": 0, "least": 0.0, "floor": False}


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(threads=1) as found:
        yield found


def measured(workers: Workers, problem: Problem = SMALL, advance: Callable[[], object] = lambda: None) -> list[Row]:
    """A pass of the core and of the textbook."""
    rows = [Row(problem, OURS), Row(problem, RUNG)]
    measure(rows, workers, EFFORT, advance=advance)
    return rows


def test_a_process_has_one_library_and_as_many_processors_as_threads(workers: Workers) -> None:
    code = "import sys; from benchmarks import worker, numpy_runner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    before = os.sched_getaffinity(0)
    ours = workers.of(OURS)
    assert ours.ask("environment")["threads"] == 1
    assert ours.process is not None and len(os.sched_getaffinity(ours.process.pid)) == 1
    assert os.sched_getaffinity(0) == before


def test_turns_make_pairs(workers: Workers) -> None:
    told: list[None] = []
    rows = measured(workers, advance=lambda: told.append(None))
    assert len(told) == 6
    for row in rows:
        assert row.runs and len(row.turns) == 3 and row.found["calls"] == 1
        assert set(row.found["layouts"]) == {product.what for product in SMALL.products()}
        assert row.share_of_floor("step") is not None and row.error < 1e-12
    measure(rows, workers, EFFORT)
    assert rows[1].passes == [0, 3] and len(rows[0].turns) == 6
    assert len(rows[0].seconds("floor step")) == 3, "the floor is measured in the first pass"
    assert all(row.found["layouts"] for row in rows), "and what was found then is kept"


def test_speed_and_floor_from_made_up_times() -> None:
    ours, theirs = Row(SMALL, OURS), Row(SMALL, RUNG)
    for drift in (1.0, 3.0, 2.0):
        ours.turns.append({"step": 2 * drift, "floor step": drift})
        theirs.turns.append({"step": 3 * drift})
    assert ours.speed("step", theirs) == pytest.approx((1.5, 1.5, 1.5))
    assert ours.share_of_floor("step") == pytest.approx((0.5, 0.5, 0.5))
    assert theirs.share_of_floor("step") is None and ours.speed("step", ours) is None
    theirs.turns.pop()
    assert ours.speed("step", theirs) is None, "they are no pairs"


def test_a_turn_begins_with_a_step_that_is_not_counted_unless_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for warm_up, to_begin, in_a_turn in ((worker.WARM_UP, 5, 2), (0.0, 2, 1)):
        monkeypatch.setattr(worker, "WARM_UP", warm_up)
        made: list[None] = []
        repeated = worker.Repeated({"step": partial(made.append, None)}, clock.Clock(), 0.0)
        assert (len(made), repeated.calls) == (to_begin, 1), "the very first does not count either"
        repeated.time()
        assert len(made) == to_begin + in_a_turn


def test_what_goes_wrong_is_a_row_that_says_so_and_a_process_that_dies_is_started_again(workers: Workers) -> None:
    def kill() -> None:
        process = workers.of(OURS).process
        if not killed and process is not None:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    ours, rung = measured(workers, Problem("test", "LSTM", 2, 1, 2, 3, options={"nonsense": 1}))
    assert "TypeError" in ours.failed and "nonsense" in ours.failed and "nonsense" in rung.failed
    rows = measured(workers, MISSING)
    assert [(row.skipped, row.failed, row.turns) for row in rows] == [("not in scratch yet", "", [])] * 2
    killed: list[int] = []
    ours, rung = measured(workers, advance=kill)
    assert rung.failed == "the process died of SIGKILL (out of memory?)" and not rung.turns
    assert ours.runs and len(ours.turns) == 3, "in the next process it was made ready again"
    assert all(row.runs and row.turns for row in measured(workers))
    with pytest.raises(Failed, match="ended with status 1: KeyError"):
        Worker("no such library", 1).ask("environment")


def test_whoever_is_told_to_end_ends_the_workers_first(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("sys.argv", ["benchmarks", "--list"])
    monkeypatch.delitem(sys.modules, "benchmarks.__main__", raising=False)
    try:
        with pytest.raises(SystemExit, match="0"):
            runpy.run_module("benchmarks", run_name="__main__")
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_too_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    work, request = worker.Work("scratch", 1), PREPARE | {"contestant": asdict(OURS)}
    assert work.do(dict(request))["answer"]["calls"] == 1
    monkeypatch.setattr(numpy_runner, "draw", lambda *_: bytearray(2**62))
    assert work.do(dict(request)) == {"error": "out of memory"}
    assert not work.prepared, "what was there is let go"
    assert work.do({"do": "time", "key": "y", "contestant": None}) == {"error": "KeyError: 'y'"}


def test_memory_holds_the_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem("test", "LSTM", T=100, B=32, I=4, H=64)
    rows = [Row(problem, OURS)]
    memory(rows, threads=1)
    tape = 8 * problem.T * problem.B * 7 * problem.H  # four gates, h, c and tanh(c), in float64
    assert tape < rows[0].found["bytes"] < 5 * tape and rows[0].found["how"].startswith("VmHWM")
    rows = [Row(MISSING, one) for one in (OURS, RUNG)]
    memory(rows, threads=1)
    assert [row.skipped for row in rows] == ["not in scratch yet"] * 2
    monkeypatch.setattr(clock, "STATUS", clock.STATUS.with_name("no such file"))
    assert clock.Clock().memory(lambda: None)["how"] == "ru_maxrss"
