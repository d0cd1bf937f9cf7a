"""Processes: one library each, alive after whatever goes wrong, and what went wrong is a row that says so."""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import pytest
import torch

from benchmarks import numpy_runner
from benchmarks.contestants import Contestant
from benchmarks.memory import memory
from benchmarks.problems import Problem
from benchmarks.process import Failed, Worker, Workers
from benchmarks.timing import Effort, Row, measure
from benchmarks.worker import Work
from reference.devices import Mode, precision_settings

SMALL = Problem("test", "LSTM", 2, 1, 2, 3)
OURS, RUNG = Contestant("scratch", "float64"), Contestant("scratch", "float64", form="textbook")
EFFORT = Effort(fewest=3, most=3, seconds=0.0, least=0.0)


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(threads=1) as found:
        yield found


def test_the_process_of_scratch_never_loads_pytorch() -> None:
    code = "import sys; from benchmarks import worker, numpy_runner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell")
def test_a_process_has_as_many_processors_as_threads(workers: Workers) -> None:
    before = os.sched_getaffinity(0)
    worker = workers.of(OURS)
    assert worker.ask("environment")["threads"] == 1
    assert worker.process is not None and len(os.sched_getaffinity(worker.process.pid)) == 1
    assert os.sched_getaffinity(0) == before


def test_turns_make_pairs_and_progress(workers: Workers) -> None:
    told: list[float] = []
    rows = measure(SMALL, [OURS, RUNG], workers, EFFORT, advance=told.append)
    assert told == sorted(told) and told[-1] == 1
    for row in rows:
        assert row.measured and len(row.turns) == 3 and row.calls == 1
        assert set(row.layouts) == {product.what for product in SMALL.products()}
        assert row.share_of_floor("step") is not None and row.error[0] < 1e-12
    rest = workers.rest()
    assert rest["seconds"] > 0 and rest["processor"] >= 0


def test_what_a_library_refuses_is_a_row_that_says_so(workers: Workers) -> None:
    wrong = Problem("test", "LSTM", 2, 1, 2, 3, options={"nonsense": 1})
    ours, rung = measure(wrong, [OURS, RUNG], workers, EFFORT)
    assert "TypeError" in ours.failed and "nonsense" in ours.failed and not ours.measured
    assert "nonsense" in rung.failed
    assert measure(SMALL, [OURS], workers, EFFORT)[0].measured


def test_a_process_that_dies_is_a_row_that_says_so_and_is_started_again(workers: Workers) -> None:
    def kill(fraction: float) -> None:
        process = workers.of(OURS).process
        if not killed and process is not None:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    killed: list[int] = []
    ours, rung = measure(SMALL, [OURS, RUNG], workers, EFFORT, advance=kill)
    assert ours.failed == "the process died of SIGKILL (out of memory?)" and not ours.measured
    assert rung.measured and len(rung.turns) == 3, "in the next process it was made ready again"
    assert all(row.measured for row in measure(SMALL, [OURS, RUNG], workers, EFFORT))


def test_a_process_that_cannot_begin_tells_why() -> None:
    worker = Worker("no such library", 1)
    with pytest.raises(Failed, match="ended with status 1: KeyError"):
        worker.ask("environment")
    worker.close()


def test_what_the_first_cannot_compute_is_skipped(workers: Workers) -> None:
    rows = measure(Problem("test", "Transformer", 1, 1, 1, 1), [OURS, RUNG], workers, EFFORT)
    assert [(row.skipped, row.failed, row.turns) for row in rows] == [("not in scratch yet", "", [])] * 2


def test_too_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work("scratch", 1)
    request = {"key": "x", "contestant": asdict(OURS), "problem": asdict(SMALL), "seed": 0}
    assert work.do({"do": "prepare", **request}) == {"answer": None}
    assert work.do({"do": "check", "key": "y"}) == {"error": "KeyError: 'y'"}

    def draw(*_: object) -> None:
        raise MemoryError("so much")

    monkeypatch.setattr(numpy_runner, "draw", draw)
    assert work.do({"do": "prepare", **request}) == {"error": "out of memory"}
    assert not work.prepared, "what was there is let go"


def mode() -> list[Any]:
    """What is on now: cuDNN, the precisions of float32 products, and whether oneDNN's warning is ignored."""
    precisions = [getattr(owner, name) for owner, name, _ in precision_settings("ieee")]
    return [torch.backends.cudnn.enabled, *precisions, "oneDNN" in str(warnings.filters)]


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "ask", [{"do": "check"}, {"do": "calibrate", "least": 0.0}, {"do": "time"}, {"do": "memory"}], ids=str
)
def test_a_turn_enters_the_mode_once_and_leaves_it_whatever_happens(
    monkeypatch: pytest.MonkeyPatch, precision: str, fails: bool, ask: dict[str, Any]
) -> None:
    contestant = Contestant("PyTorch", precision=precision, cudnn=False)
    work, during, entered = Work("PyTorch", 1), [], []
    prepare = {"do": "prepare", "contestant": asdict(contestant), "problem": asdict(SMALL), "seed": 0}
    assert work.do(prepare | {"key": "x"}) == {"answer": None}
    module, switched_on, before = work.prepared["x"].runner.module, Mode.switched_on, mode()
    forward = module.forward
    work.prepared["x"].calls = 3

    def watched(x: torch.Tensor) -> Any:
        during.append(mode())
        return forward(x)

    def watch_gradient(gradient: torch.Tensor) -> torch.Tensor:
        during.append(mode())
        if fails:
            raise RuntimeError("on purpose")
        return gradient

    def counted(self: Mode) -> AbstractContextManager[None]:
        entered.append(self)
        return switched_on(self)

    monkeypatch.setattr(module, "forward", watched)
    monkeypatch.setattr(Mode, "switched_on", counted)
    module.weight_hh_l0.register_hook(watch_gradient)
    answer = work.do({**ask, "key": "x"})
    assert answer == {"error": "RuntimeError: on purpose"} if fails else "answer" in answer
    assert len(during) >= (2 if fails or ask["do"] == "check" else 4), "forward and backward of each step"
    precisions = [value for _, _, value in precision_settings(precision)]
    assert all(found == [False, *precisions, True] for found in during)
    assert len(entered) == 1, "not at every step"
    assert mode() == before


def test_other_results_are_not_measured(monkeypatch: pytest.MonkeyPatch, workers: Workers) -> None:
    ask = Worker.ask

    def falsified(self: Worker, do: str, **what: object) -> object:
        answer = ask(self, do, **what)
        if do == "check" and what["key"] == RUNG.name:
            answer["samples"]["d_input"][0] += 1
        return answer

    monkeypatch.setattr(Worker, "ask", falsified)
    ours, rung = measure(SMALL, [OURS, RUNG], workers, EFFORT)
    assert ours.measured and rung.failed.startswith("its results differ: d_input")


def test_speed_and_floor_from_made_up_times() -> None:
    ours, theirs = Row(SMALL, OURS), Row(SMALL, RUNG)
    for drift in (1.0, 3.0, 2.0):
        ours.turns.append({"step": 2 * drift, "floor step": drift, "forward": drift, "backward": drift})
        theirs.turns.append({"step": 3 * drift})
    assert ours.speed("step", theirs) == pytest.approx((1.5, 1.5, 1.5))
    assert ours.share_of_floor("step") == pytest.approx((0.5, 0.5, 0.5))
    assert theirs.share_of_floor("step") is None
    assert ours.rate("step") == pytest.approx(SMALL.flops("step") / 4)


def test_memory_holds_the_tape() -> None:
    problem = Problem("test", "LSTM", T=200, B=32, I=4, H=64)
    row = memory(problem, OURS, threads=1)
    tape = 8 * problem.T * problem.B * 7 * problem.H  # four gates, h, c and tanh(c), in float64
    assert tape < row.memory["bytes"] < 5 * tape
    assert memory(Problem("test", "Transformer", 1, 1, 1, 1), OURS, threads=1).skipped == "not in scratch yet"
