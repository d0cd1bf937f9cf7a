"""Keras' and ONNX' arrays come back as they went, and what does not fit changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import weights
from reference.problems import Problem
from reference.runs import forward_scratch, make_scratch
from scratch import nn
from tests.reference.weights.recurrences import problems
from tests.reference.weights.test_pytorch import same

Arrays = list[list[np.ndarray]]
FORMATS = [(weights.to_keras, weights.from_keras), (weights.to_onnx, weights.from_onnx)]
both_formats = pytest.mark.parametrize(("to", "read"), FORMATS, ids=["keras", "onnx"])


def other(problem: Problem) -> Any:
    """A module of the same form with other weights."""
    module = make_scratch(problem)
    module.reset_parameters()
    return module


def equal(ours: Arrays, theirs: Arrays) -> bool:
    pairs = [pair for layers in zip(ours, theirs, strict=True) for pair in zip(*layers, strict=True)]
    return all(np.array_equal(one, two) and one.dtype == two.dtype for one, two in pairs)


@both_formats
@given(problem=problems(), dtype=st.sampled_from([np.float32, np.float64]))
def test_round_trip_keeps_the_function_and_shares_no_memory(
    to: Callable, read: Callable, problem: Problem, dtype: type
) -> None:
    """Bit by bit: ONNX has two biases, and Keras' one is the sum that the core adds up first."""
    problem = problem.astype(dtype)
    module, back = make_scratch(problem), other(problem)
    arrays = to(module)
    read(arrays, back)
    state = back.state_dict()
    assert equal(to(back), arrays)
    assert same(forward_scratch(replace(problem, parameters=state)), forward_scratch(problem))
    two_biases = to is weights.to_onnx or back.cell.apart
    for name, value in problem.parameters.items():
        if two_biases or name.startswith("weight"):
            np.testing.assert_array_equal(state[name], value)
        elif name.startswith("bias_hh"):
            assert not state[name].any()
    for array in (array for layer in arrays for array in layer):
        array += 1
    assert same(module.state_dict(), problem.parameters)
    assert same(back.state_dict(), state)


def last(change: Callable[[Any], Any]) -> Callable[[Arrays], Any]:
    """The change of the last array, so that all others have been looked at before."""
    return lambda layers: [*layers[:-1], [*layers[-1][:-1], change(layers[-1][-1])]]


WRONG: dict[str, tuple[Callable[[Arrays], Any], type[Exception], str]] = {
    "a layer less": (lambda layers: layers[:-1], RuntimeError, r"each layer \(2\), got 1"),
    "a layer more": (lambda layers: [*layers, layers[-1]], RuntimeError, r"each layer \(2\), got 3"),
    "an array less": (lambda layers: [layers[0], layers[1][:-1]], RuntimeError, r"layer 1 to be \d arrays .*, got \d"),
    "an array more": (lambda layers: [layers[0], [*layers[1], layers[1][0]]], RuntimeError, r"layer 1 .*, got \d"),
    "on its side": (
        lambda layers: [layers[0], [layers[1][0].T, *layers[1][1:]]],
        RuntimeError,
        r"layer 1's .* of shape \(.*10.*\), got \(.*10.*\)",
    ),
    "a column less": (last(lambda array: array[..., :-1]), RuntimeError, r"layer 1's .* of shape \(.*\), got \(.*\)"),
    "float64": (last(lambda array: array.astype(float)), RuntimeError, r"layer 1's .* of dtype float32.*, got float64"),
    "a list": (last(np.ndarray.tolist), TypeError, r"layer 1's .* NumPy array, got list"),
    "no layer": (lambda layers: [layers[0], None], TypeError, "layer 1 to be an iterable, got NoneType"),
    "nothing": (lambda _: None, TypeError, "source to be an iterable, got NoneType"),
}


@both_formats
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("module", [nn.LSTM, nn.RNN])
def test_what_does_not_fit_is_refused_and_nothing_copied(
    module: Any, wrong: str, bias: bool, to: Callable, read: Callable
) -> None:
    change, error, message = WRONG[wrong]
    options = {"num_layers": 2, "bias": bias, "bidirectional": True}
    target, arrays = module(3, 5, **options), change(to(module(3, 5, **options)))
    before = target.state_dict()
    with pytest.raises(error, match=message):
        read(arrays, target)
    assert same(target.state_dict(), before)


@both_formats
def test_what_the_formats_do_not_have_is_refused(to: Callable, read: Callable) -> None:
    projected, linear = nn.LSTM(3, 5, proj_size=2), nn.Linear(3, 5)
    for call in (lambda module: to(module), lambda module: read(to(nn.LSTM(3, 5)), module)):
        with pytest.raises(ValueError, match=r"proj_size 0 .*, got 2"):
            call(projected)
        with pytest.raises(TypeError, match=r"RNN or LSTM or .*, got Linear"):
            call(linear)
