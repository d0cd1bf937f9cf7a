"""The operations that are said to be counted are those that are made."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.clock import Clock
from benchmarks.contestants import Contestant, contestants, on_cpu, on_cuda
from benchmarks.floor import Floor
from benchmarks.problems import GATES, QUICK, Problem, draw, matching, sizes
from scratch import nn
from tests.strategies import MODULES

size = st.integers(1, 5)


@st.composite
def problems(draw: Any, modules: tuple[str, ...] = tuple(GATES), layers: int = 3) -> Problem:
    """Any recurrence in small."""
    module, H = draw(st.sampled_from(modules)), draw(st.integers(2, 5))
    T, B, inputs, L = draw(size), draw(size), draw(size), draw(st.integers(1, layers))
    return Problem("test", module, T, B, inputs, H, L, draw(st.booleans()), packed=draw(st.booleans()))


def counted(problem: Problem) -> tuple[int, int]:
    """The operations that the floor really makes, forward and backward."""
    made = []

    def multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        assert np.matmul(a, b, out=out) is out and out.shape == (a.shape[0], b.shape[1])
        made.append(2 * a.shape[0] * a.shape[1] * b.shape[1])

    floor = Floor(problem, lambda rows, columns: np.ones((rows, columns)), multiply, Clock())
    made.clear()
    floor.parts["forward"]()
    forward = sum(made)
    floor.parts["backward"]()
    return forward, sum(made) - forward


@given(problems())
@settings(max_examples=30)
def test_the_floor_makes_the_operations_of_the_formula(problem: Problem) -> None:
    forward, backward = problem.flops("forward"), problem.flops("backward")
    assert counted(problem) == (forward, backward)
    assert problem.flops("step") == forward + backward == sum(product.flops for product in problem.products())
    in_loop = [product for product in problem.products() if product.what == "W_hh h"]
    assert sum(product.times for product in in_loop) == problem.L * problem.D * problem.T
    assert sum(product.times * product.columns for product in in_loop) == problem.L * problem.D * sum(problem.lengths)


def test_the_formula_is_the_known_one() -> None:
    inputs, H = 5, 11
    for module, G in GATES.items():
        for packed, lengths in ((False, [8, 8, 8]), (True, [8, 5, 2])):
            problem = Problem("test", module, 8, 3, inputs, H, packed=packed)
            assert problem.lengths == lengths
            assert problem.flops("forward") == 2 * G * sum(lengths) * H * (inputs + H)
            assert problem.flops("backward") == 2 * problem.flops("forward")


@given(problems(MODULES))
@settings(max_examples=30)
def test_numbers_fit_the_recurrence(problem: Problem) -> None:
    numbers = draw(problem, seed=1)
    module = getattr(nn, problem.module)(**problem.arguments)
    shapes = {name: value.shape for name, value in numbers.parameters.items()}
    assert shapes == {name: value.shape for name, value in module.state_dict().items()}
    output, _ = module(numbers.input)
    read = sum(value.size for value in numbers.parameters.values())
    if not problem.packed:
        assert problem.numbers("forward") == read + numbers.input.size + output.size
        assert problem.numbers("step") == problem.numbers("forward") + problem.numbers("backward")
    assert output.shape == numbers.d_output.shape
    again, other = draw(problem, seed=1), draw(problem, seed=2)
    assert np.array_equal(again.input, numbers.input) and not np.array_equal(other.input, numbers.input)


def test_all_promised_sizes_are_there_once() -> None:
    names = [problem.name for problem in sizes()]
    assert len(set(names)) == len(names)
    for expected, count in {
        "toy": 4,
        "characters": 2,
        "DeepBench RNN relu": 8,
        "DeepBench LSTM": 22,
        "DeepBench GRU T187 B32": 2,
        "FlashRNN LSTM T1024 B16 I768 H768": 1,
        " D2": 2,
        " packed": 1,
    }.items():
        assert sum(expected in name for name in names) == count, expected
    assert sum(problem.gpu_only for problem in sizes()) == 8


def test_patterns_choose() -> None:
    everything = sizes()
    assert {problem.B for problem in matching(everything, ["b1"])} == {1}
    assert {problem.B for problem in matching(everything, ["DeepBench * B16"])} == {16}
    assert {problem.H for problem in matching(everything, ["LSTM T25 B16 * H512"])} == {512}
    assert matching(everything, ["no such"]) == []
    assert matching(everything, ["*"]) == everything
    for pattern in QUICK:
        assert matching(everything, [pattern])


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "bfloat16"])
def test_a_gpu_stands_beside_the_cpu(dtype: str | None) -> None:
    everyone = contestants("cuda", dtype)
    assert everyone[2:] == on_cuda(dtype) and all(one.device == "cuda" for one in everyone[2:])
    assert everyone[:2] == on_cpu("float64" if dtype == "float64" else "float32")
    assert len({one.name for one in everyone}) == len(everyone)
    assert Contestant(**asdict(everyone[-1])) == everyone[-1]
