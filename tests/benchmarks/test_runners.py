"""Everyone who is timed computes the same: each rung of the ladder, both libraries, the loop over PyTorch's cell."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import numpy_runner, torch_runner
from benchmarks.clock import time_parts
from benchmarks.contestants import CHECKPOINTED, Contestant
from benchmarks.ladder import GAINS, LOOP, RUNGS, rungs
from benchmarks.problems import Problem
from benchmarks.unavailable import Unavailable
from reference.equivalence import assert_close
from scratch import nn
from scratch.types import Array
from tests.strategies import MODULES

from .test_problems import problems, size


def results(problem: Problem, contestant: Contestant, seed: int = 0, steps: int = 1) -> dict[str, Array]:
    """What the last of some steps computes."""
    library: Any = numpy_runner if contestant.library == "scratch" else torch_runner
    runner = library.Runner(contestant, problem, seed, 1)
    with runner.turn():
        for _ in range(steps):
            runner.clear()
            runner.forward()
            runner.backward()
    found: dict[str, Array] = runner.results()
    return found


@pytest.mark.parametrize("rung", [*RUNGS, LOOP])
@given(T=size, B=size, I=size, H=size, seed=st.integers(0, 10), steps=st.integers(1, 3))
@settings(max_examples=10)
def test_every_rung_computes_what_scratch_computes(rung: str, T: int, B: int, I: int, H: int, seed: int, steps: int):  # noqa: E741
    problem = Problem("test", "LSTM", T, B, I, H)
    library = "PyTorch" if rung == LOOP else "scratch"
    found = results(problem, Contestant(library, "float64", form=rung), seed, steps)
    assert_close(found, results(problem, Contestant("scratch", "float64"), seed))


@given(problem=problems(MODULES), seed=st.integers(0, 10))
@settings(max_examples=20)
def test_both_libraries_compute_the_same(problem: Problem, seed: int) -> None:
    ours = results(problem, Contestant("scratch", "float64"), seed)
    assert_close(ours, results(problem, Contestant("PyTorch", "float64"), seed))


def test_recomputation_keeps_some_states_and_computes_the_same() -> None:
    problem, contestant = Problem("test", "LSTM", 20, 2, 3, 4), Contestant("scratch", "float64", form=CHECKPOINTED)
    assert numpy_runner.Runner(contestant, problem, 0, 1).module.checkpoint_every == 4
    assert_close(results(problem, contestant), results(problem, Contestant("scratch", "float64")))


def test_a_rung_takes_another_shape_after_the_first() -> None:
    numbers = numpy_runner.draw(Problem("test", "LSTM", 3, 2, 4, 5), 0, np.float64)
    rng = np.random.default_rng(0)
    for make in RUNGS.values():
        rung, lstm = make(numbers), nn.LSTM(4, 5, dtype=np.float64)
        lstm.load_state_dict(numbers.parameters)
        for T, B in ((3, 2), (6, 1), (2, 4)):
            x, d_output = rng.standard_normal((T, B, 4)), rng.standard_normal((T, B, 5))
            output, (d_x, _) = rung.forward(x), rung.backward(d_output)
            expected, _ = lstm(x)
            assert_close({"output": output, "d_x": d_x}, {"output": expected, "d_x": lstm.backward(d_output)[0]})


def test_every_rung_says_what_is_new() -> None:
    ladder = rungs("float32", "cpu")
    assert [one.name for one in ladder] == [*RUNGS, "scratch", LOOP, "PyTorch"]
    assert [one.rung for one in ladder] == list(GAINS)
    assert {one.rung for one in rungs("float32", "cuda")} == set(GAINS)


def test_what_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="not in scratch yet"):
        numpy_runner.Runner(Contestant("scratch"), Problem("test", "Transformer", 1, 1, 1, 1), 0, 1)
    if not torch.cuda.is_available():
        with pytest.raises(Unavailable, match="no CUDA device"):
            torch_runner.Runner(Contestant("PyTorch", device="cuda"), Problem("test", "LSTM", 1, 1, 1, 1), 0, 1)


class CountingClock:
    """Its time goes on by as much as it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def mark(self) -> float:
        return self.now

    def wait(self) -> None:
        pass

    def between(self, start: float, end: float) -> float:
        return end - start

    def spend(self, seconds: float) -> None:
        self.now += seconds


@given(st.lists(st.floats(0, 10), min_size=1, max_size=4), st.integers(1, 5))
@settings(max_examples=5)
def test_parts_are_timed_apart(seconds: list[float], calls: int) -> None:
    clock = CountingClock()
    parts = [lambda one=one: clock.spend(one) for one in seconds]
    assert time_parts(clock, parts, calls) == pytest.approx(seconds)
