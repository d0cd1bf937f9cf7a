"""Everyone who is timed computes the same: each rung of the ladder, both libraries, the loop over PyTorch's cell."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import hoisted, numpy_runner, torch_runner
from benchmarks.clock import Clock, quickest, time_parts
from benchmarks.contestants import CHECKPOINTED, LOOP, Contestant, Unavailable
from benchmarks.problems import Problem
from benchmarks.rungs import AS_GRAPH, GAINS, ON_NUMPY, ON_TORCH, rungs
from reference.equivalence import assert_close
from scratch.textbook import lstm
from scratch.types import Array
from tests.strategies import MODULES

from .test_problems import problems, size


def results(problem: Problem, contestant: Contestant, seed: int = 0, steps: int = 1) -> dict[str, Array]:
    """What the last of some steps computes."""
    library: Any = numpy_runner if contestant.library == "scratch" else torch_runner
    runner = library.runner(contestant, problem, seed, 1)
    with runner.turn():
        for _ in range(steps):
            for part in runner.parts.values():
                part()
    found: dict[str, Array] = runner.results()
    return found


@pytest.mark.parametrize("rung", [*ON_NUMPY, *ON_TORCH, LOOP])
@given(T=size, B=size, I=size, H=size, seed=st.integers(0, 10), steps=st.integers(1, 3))
@settings(max_examples=10)
def test_every_rung_computes_what_scratch_computes(rung: str, T: int, B: int, I: int, H: int, seed: int, steps: int):
    problem = Problem("test", "LSTM", T, B, I, H)
    library = "scratch" if rung in ON_NUMPY else "PyTorch"
    found = results(problem, Contestant(library, "float64", form=rung), seed, steps)
    assert_close(found, results(problem, Contestant("scratch", "float64"), seed))


@given(problem=problems(MODULES), seed=st.integers(0, 10))
@settings(max_examples=20)
def test_both_libraries_compute_the_same(problem: Problem, seed: int) -> None:
    ours = results(problem, Contestant("scratch", "float64"), seed)
    assert_close(ours, results(problem, Contestant("PyTorch", "float64"), seed))


def test_recomputation_keeps_some_states_and_computes_the_same() -> None:
    problem, contestant = Problem("test", "LSTM", 20, 2, 3, 4), Contestant("scratch", "float64", form=CHECKPOINTED)
    assert numpy_runner.Runner(contestant, problem, 0).module.checkpoint_every == 4
    assert_close(results(problem, contestant), results(problem, Contestant("scratch", "float64")))


@pytest.mark.parametrize("xp", [np, torch], ids=["NumPy", "torch"])
@given(T=size, B=size, inputs=size, H=size, seed=st.integers(0, 10))
@settings(max_examples=10)
def test_the_hoisted_loop_is_the_textbook(xp: Any, T: int, B: int, inputs: int, H: int, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def some(*shape: int) -> Any:
        return xp.asarray(rng.standard_normal(shape))

    shapes = {"weight_ih": (4 * H, inputs), "weight_hh": (4 * H, H), "bias_ih": (4 * H,), "bias_hh": (4 * H,)}
    parameters = {name: some(*shape) for name, shape in shapes.items()}
    x, d_output, state, d_state = some(T, B, inputs), some(T, B, H), (some(B, H), some(B, H)), (some(B, H), some(B, H))

    def run(page: Any) -> dict[str, Array]:
        output, (h_n, c_n), tape = page.forward(x, state, parameters, xp=xp)
        d_x, (d_h_0, d_c_0), d_parameters = page.backward(d_output, d_state, tape, xp=xp)
        found = {"output": output, "h_n": h_n, "c_n": c_n, "d_x": d_x, "d_h_0": d_h_0, "d_c_0": d_c_0} | d_parameters
        return {name: np.asarray(value) for name, value in found.items()}

    assert_close(run(hoisted), run(lstm))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_rung_says_what_is_new_and_only_pytorchs_own_module_is_called_cudnn(dtype: str) -> None:
    ladder, there = rungs(dtype, "cpu"), rungs(dtype, "cuda")
    assert [one.name for one in ladder] == [*ON_NUMPY, "scratch", *ON_TORCH, LOOP, "PyTorch"]
    assert [one.rung for one in ladder] == [name for name in GAINS if name not in AS_GRAPH]
    assert list(dict.fromkeys(one.rung for one in there)) == list(GAINS)
    assert all(("cuDNN" in one.name) == (one.rung == "PyTorch") for one in there if one.device == "cuda")
    assert len({one.name for one in there}) == len(there)


@pytest.mark.parametrize("rung", ON_TORCH)
@pytest.mark.parametrize("module", ["RNN", "LSTM", "GRU"])
def test_the_textbooks_pages_stand_beside_pytorch(rung: str, module: str) -> None:
    for options in ({}, {"nonlinearity": "relu"}) if module == "RNN" else ({},):
        problem = Problem("test", module, 6, 3, 2, 4, options=options)
        contestant = Contestant("PyTorch", "float64", form=rung)
        if rung.startswith("hoisted") and module != "LSTM":
            with pytest.raises(Unavailable, match="one layer of LSTM"):
                results(problem, contestant)
            continue
        assert_close(results(problem, contestant), results(problem, Contestant("PyTorch", "float64")))


def test_what_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    lstm, page = Problem("test", "LSTM", 2, 2, 2, 2), Contestant("scratch", form="textbook")
    for problem, contestant, reason in (
        (replace(lstm, module="Transformer"), Contestant("scratch"), "not in scratch yet"),
        (replace(lstm, L=2), page, "one layer"),
        (replace(lstm, bidirectional=True), page, "one layer"),
        (replace(lstm, packed=True), page, "one layer"),
        (lstm, Contestant("PyTorch", form=AS_GRAPH[0]), "needs a GPU"),
        (lstm, Contestant("PyTorch", device="cuda"), "no CUDA device"),
    ):
        with pytest.raises(Unavailable, match=reason):
            results(problem, contestant)


class CountingClock(Clock):
    """Its time goes on by as much as it is told."""

    now = 0.0

    def mark(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@given(st.lists(st.floats(0, 10), min_size=1, max_size=4), st.integers(1, 5))
@settings(max_examples=5)
def test_parts_are_timed_apart(seconds: list[float], calls: int) -> None:
    clock = CountingClock()
    parts = [partial(clock.spend, one) for one in seconds]
    assert time_parts(clock, parts, calls) == pytest.approx(seconds)
    turns = iter([0.0, 1.0, 5.0, 3.0, 2.0, 4.0, 6.0])
    assert quickest(clock, lambda: clock.spend(next(turns))) == pytest.approx(2), "the first two are not counted"
