"""Everyone who is timed computes the same, and the operations that are said to be counted are those that are made."""

import gc
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import contestants, floor, hoisted, numpy_runner, torch_runner
from benchmarks.clock import Clock, quickest, time_parts
from benchmarks.contestants import CHECKPOINTED, CPU_DTYPES, LOOP, MODULE, Contestant, Unavailable
from benchmarks.floor import Floor
from benchmarks.problems import GATES, QUICK, Problem, draw, matching, sizes
from benchmarks.rungs import AS_GRAPH, GAINS, ON_NUMPY, ON_TORCH, PAGES, rungs
from reference.equivalence import assert_close
from scratch import nn
from scratch.textbook import lstm
from scratch.types import Array

size = st.integers(1, 5)
LSTM = Problem("test", "LSTM", 3, 2, 5, 4)


@st.composite
def problems(draw: Any) -> Problem:
    """Any recurrence in small, half of them of one layer in one direction."""
    module = draw(st.sampled_from(tuple(GATES)))
    options = {"nonlinearity": "relu"} if module == "RNN" and draw(st.booleans()) else {}
    plain = Problem("test", module, draw(size), draw(size), draw(size), draw(st.integers(2, 5)), options=options)
    if draw(st.booleans()):
        return plain
    return replace(plain, L=draw(st.integers(1, 3)), bidirectional=draw(st.booleans()), packed=draw(st.booleans()))


def results(problem: Problem, contestant: Contestant, seed: int = 0, steps: int = 1) -> dict[str, Array]:
    """What the last of some steps computes."""
    library: Any = numpy_runner if contestant.library == "scratch" else torch_runner
    runner = library.runner(contestant, problem, seed, 1)
    with runner.turn():
        for _ in range(steps):
            for part in runner.parts.values():
                part()
    assert not hasattr(runner.module, "tape"), "a rung's is spent"
    found: dict[str, Array] = runner.results()
    return found


@pytest.mark.parametrize("form", [CHECKPOINTED, *ON_NUMPY, MODULE, *ON_TORCH, LOOP])
@given(problem=problems(), seed=st.integers(0, 10), steps=st.integers(1, 3))
@settings(max_examples=15)
def test_everyone_computes_what_scratch_computes(form: str, problem: Problem, seed: int, steps: int) -> None:
    problem = replace(LSTM, T=problem.T, B=problem.B, I=problem.I, H=problem.H) if form == LOOP else problem
    contestant = Contestant("scratch" if form in (CHECKPOINTED, *ON_NUMPY) else "PyTorch", "float64", form=form)
    page = form.split(",")[0]
    several = problem.L > 1 or problem.bidirectional or problem.packed
    if page in PAGES and (several or problem.module not in PAGES[page]):
        with pytest.raises(Unavailable, match="one layer of"):
            results(problem, contestant)
    else:
        assert_close(
            results(problem, contestant, seed, steps), results(problem, Contestant("scratch", "float64"), seed)
        )


def test_recomputation_keeps_some_states() -> None:
    contestant = Contestant("scratch", "float64", form=CHECKPOINTED)
    assert numpy_runner.Runner(contestant, replace(LSTM, T=20), 0).module.checkpoint_every == 4


@pytest.mark.parametrize("xp", [np, torch], ids=["NumPy", "torch"])
def test_the_hoisted_loop_is_the_textbook_from_any_state(xp: Any) -> None:
    numbers = draw(LSTM, 0, np.float64)
    parameters = {name.removesuffix("_l0"): xp.asarray(value) for name, value in numbers.parameters.items()}
    x, d_output, others = xp.asarray(numbers.input), xp.asarray(numbers.d_output), draw(replace(LSTM, T=4, I=4), 1)
    h_0, c_0, d_h_n, d_c_n = (xp.asarray(one.astype(np.float64)) for one in others.input)

    def run(page: Any) -> dict[str, Array]:
        output, (h_n, c_n), tape = page.forward(x, (h_0, c_0), parameters, xp=xp)
        d_x, (d_h_0, d_c_0), d_parameters = page.backward(d_output, (d_h_n, d_c_n), tape, xp=xp)
        found = {"output": output, "h_n": h_n, "c_n": c_n, "d_x": d_x, "d_h_0": d_h_0, "d_c_0": d_c_0} | d_parameters
        return {name: np.asarray(value) for name, value in found.items()}

    assert_close(run(hoisted), run(lstm))


def test_what_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for problem, contestant, reason in (
        (replace(LSTM, module="Transformer"), Contestant("scratch"), "not in scratch yet"),
        (LSTM, Contestant("PyTorch", form=AS_GRAPH[0]), "needs a GPU"),
        (LSTM, Contestant("PyTorch", device="cuda"), "no CUDA device"),
    ):
        with pytest.raises(Unavailable, match=reason):
            results(problem, contestant)


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "bfloat16"])
def test_a_gpu_stands_beside_the_cpu_and_every_rung_says_what_is_new(dtype: str | None) -> None:
    everyone, own = contestants.contestants("cuda", dtype), dtype if dtype in CPU_DTYPES else "float32"
    on_gpu = contestants.on_cuda(dtype)
    assert everyone == contestants.on_cpu(own) + on_gpu and {one.device for one in on_gpu} == {"cuda"}
    assert Contestant(**asdict(everyone[-1])) == everyone[-1]
    ladder, there = rungs(own, "cpu"), rungs(own, "cuda")
    assert [one.name for one in ladder] == [*ON_NUMPY, "scratch", *ON_TORCH, LOOP, "PyTorch"]
    assert [one.rung for one in ladder] == [name for name in GAINS if name not in AS_GRAPH]
    assert list(dict.fromkeys(one.rung for one in there)) == list(GAINS)
    assert all(("cuDNN" in one.name) == (one.rung == "PyTorch") for one in there if one.device == "cuda")
    assert all(len({one.name for one in some}) == len(some) for some in (everyone, there))


@given(problems())
@settings(max_examples=25)
def test_the_floor_makes_the_operations_of_the_known_formula_and_nothing_but_the_numbers(problem: Problem) -> None:
    made: list[int] = []

    def multiply(a: Array, b: Array, out: Array) -> None:
        assert np.matmul(a, b, out=out) is out and out.shape == (a.shape[0], b.shape[1])
        made.append(2 * a.shape[0] * a.shape[1] * b.shape[1])

    p, columns = problem, sum(problem.lengths)
    layers = [p.I] * p.D + [p.D * p.H] * (p.D * (p.L - 1))
    forward = sum(2 * GATES[p.module] * columns * p.H * (inputs + p.H) for inputs in layers)
    floor = Floor(problem, lambda rows, columns: np.ones((rows, columns)), multiply, Clock())
    for part, expected in (("forward", forward), ("backward", 2 * forward)):
        made.clear()
        floor.parts[part]()
        assert sum(made) == problem.flops(part) == expected
    assert problem.flops("step") == 3 * forward == sum(product.flops for product in problem.products())
    in_loop = [product for product in problem.products() if product.what == "W_hh h"]
    assert sum(product.times for product in in_loop) == p.L * p.D * p.T
    numbers, module = draw(problem, seed=1), getattr(nn, problem.module)(**problem.arguments)
    shapes = {name: value.shape for name, value in numbers.parameters.items()}
    assert shapes == {name: value.shape for name, value in module.state_dict().items()}
    assert numbers.input.shape == (p.T, p.B, p.I) and numbers.d_output.shape == (p.T, p.B, p.D * p.H)
    read = sum(value.size for value in numbers.parameters.values())
    assert problem.numbers("forward") == read + columns * (p.I + p.D * p.H)
    assert problem.numbers("step") == 3 * problem.numbers("forward")
    again, other = draw(problem, seed=1), draw(problem, seed=2)
    assert np.array_equal(again.input, numbers.input) and not np.array_equal(other.input, numbers.input)


def test_all_promised_sizes_are_there_once_and_patterns_choose() -> None:
    everything, names = sizes(), [problem.name for problem in sizes()]
    assert len(set(names)) == len(names) and sum(problem.gpu_only for problem in everything) == 8
    for pattern, count in {
        "toy": 4,
        "characters": 2,
        "DeepBench RNN relu": 8,
        "DeepBench LSTM": 22,
        "DeepBench GRU T187 B32": 2,
        "FlashRNN LSTM T1024 B16 I768 H768": 1,
        " D2": 2,
        " packed": 1,
        "b1": 4,
        "DeepBench * B16": 8,
        "LSTM T25 B16 * H512": 1,
        "no such": 0,
        "*": len(names),
    }.items():
        assert len(matching(everything, [pattern])) == count, pattern
    assert all(matching(everything, [pattern]) for pattern in QUICK)
    packed = Problem("test", "GRU", 8, 3, 2, 2, packed=True)
    assert packed.lengths == [8, 5, 2] and replace(packed, packed=False).lengths == [8, 8, 8]


class CountingClock(Clock):
    """Its time goes on by as much as it is told."""

    now = 0.0

    def mark(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


def test_parts_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.clock.gc", gc)  # the others here do without it
    clock, seconds = CountingClock(), [0.5, 2.0, 0.0]
    assert time_parts(clock, [partial(clock.spend, one) for one in seconds], calls=3) == pytest.approx(seconds)
    turns = iter([0.0, 1.0, 5.0, 3.0, 2.0, 4.0, 6.0])
    assert quickest(clock, lambda: clock.spend(next(turns))) == pytest.approx(2), "the first two are not counted"
    with pytest.raises(ZeroDivisionError):
        time_parts(clock, [lambda: 1 / 0], calls=1)
    assert gc.isenabled(), "whatever happens"


def test_a_copy_reads_and_writes_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor, "LARGEST", 0)
    clock = CountingClock()
    copied = floor.ceiling(lambda *shape: np.empty(shape, np.int8), np.matmul, lambda *_: clock.spend(2.0), clock)
    assert copied["bytes in a second"] == floor.COPIED


def test_relu_may_differ_by_more() -> None:
    relu = replace(LSTM, module="RNN", options={"nonlinearity": "relu"})
    found = [Contestant("PyTorch", dtype).tolerance(one) for dtype in CPU_DTYPES for one in (LSTM, relu)]
    assert found == [1e-3, 1e-2, 1e-12, 1e-11]
