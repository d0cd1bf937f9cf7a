"""Weights go to PyTorch, Keras and ONNX and back: all compute the same, and what does not fit changes nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from reference import models, weights
from reference.equivalence import assert_close
from reference.problems import CELLS, Configuration, Problem, draw
from reference.runs import Run, forward_scratch, make_scratch
from scratch import nn, text
from scratch.types import Array
from tests.strategies import MODULES

with pytest.MonkeyPatch.context() as environment, TemporaryDirectory() as home:
    environment.setenv("KERAS_BACKEND", "torch")
    environment.setenv("KERAS_TORCH_DEVICE", "cpu")
    environment.setenv("KERAS_HOME", home)  # importing it writes its configuration there
    import keras

TOLERANCE = 1e-4
"""Without TensorFlow, Keras multiplies float64 in float32, so that float32 it is. Values of order 1, rounded by 1e-7 at
each of at most nine steps (three, in three layers), each of which magnifies by less than 2, as the weights are within
±1/√H and H is at most 4."""


def problems(cells: Sequence[str] = tuple(CELLS)) -> st.SearchStrategy[Problem]:
    """Problems with random weights, input and initial states, in float64."""
    sizes, few = st.integers(1, 4), st.integers(1, 3)
    return st.builds(
        lambda batch, steps, **options: draw(Configuration(lengths=(steps,) * batch, **options)),
        cell=st.sampled_from(cells),
        input_size=sizes,
        hidden_size=sizes,
        num_layers=few,
        bias=st.booleans(),
        bidirectional=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
        batch=few,
        steps=few,
    )


def layers(problem: Problem) -> Iterator[Any]:
    """The Keras layers of the same form, built, with weights of their own."""
    c = problem.configuration
    kind = getattr(keras.layers, {"RNN": "SimpleRNN"}.get(c.module, c.module))
    options = {"activation": CELLS[c.cell]["nonlinearity"]} if "nonlinearity" in CELLS[c.cell] else {}
    for k in range(c.num_layers):
        layer = kind(c.hidden_size, use_bias=c.bias, return_sequences=True, return_state=True, **options)
        layer = keras.layers.Bidirectional(layer) if c.bidirectional else layer
        layer.build((None, None, (1 + c.bidirectional) * c.hidden_size if k else c.input_size))
        yield layer


def run_keras(stack: list[Any], problem: Problem) -> Run:
    parts, directions = problem.configuration.parts, 1 + problem.configuration.bidirectional
    output, final = problem.input.swapaxes(0, 1), []  # B, T, I
    for k, layer in enumerate(stack):
        indices = range(k * directions, (k + 1) * directions)
        initial = [keras.ops.convert_to_tensor(problem.initial[f"{part}_0"][i]) for i in indices for part in parts]
        output, *states = layer(output, initial_state=initial)
        final += [keras.ops.convert_to_numpy(state) for state in states]
    run = {f"{part}_n": np.stack(final[n :: len(parts)]) for n, part in enumerate(parts)}
    return run | {"output": keras.ops.convert_to_numpy(output).swapaxes(0, 1)}


# Keras' variables become arrays in the way of NumPy 1.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning:keras")
@given(problems(), st.booleans())
def test_keras_and_scratch_compute_the_same_whoever_had_the_weights(problem: Problem, keras_own: bool) -> None:
    problem = problem.astype(np.float32)
    stack, module = list(layers(problem)), make_scratch(problem)
    if keras_own:
        rng, bound = np.random.default_rng(problem.configuration.seed), 1 / np.sqrt(problem.configuration.hidden_size)
        for layer in stack:  # Keras' own biases are zeros and ones
            layer.set_weights([rng.uniform(-bound, bound, array.shape) for array in layer.get_weights()])
        weights.from_keras([layer.get_weights() for layer in stack], module)
        problem = replace(problem, parameters=module.state_dict())
    else:
        for layer, arrays in zip(stack, weights.to_keras(module), strict=True):
            layer.set_weights(arrays)
    ours, theirs = forward_scratch(problem), run_keras(stack, problem)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], TOLERANCE, TOLERANCE, err_msg=name)


def run_layer(kind: str, inputs: dict[str, Any], outputs: list[str], **options: Any) -> list[Any]:
    """A node by itself, whose inputs are in the operator's order; None is one that is left out."""
    given = {name: value for name, value in inputs.items() if value is not None}
    node = helper.make_node(kind, [name if name in given else "" for name in inputs], outputs, **options)
    tensor, double = helper.make_tensor_value_info, onnx.TensorProto.DOUBLE
    ends = [tensor(name, double, value.shape) for name, value in given.items()]
    made = helper.make_model(
        helper.make_graph(
            [node], kind, ends, [tensor(name, double, [None] * (4 if name == "Y" else 3)) for name in outputs]
        )
    )
    onnx.checker.check_model(made, full_check=True)
    return ReferenceEvaluator(made).run(None, given)


def run_onnx(problem: Problem) -> Run:
    """A node for each layer."""
    c, x, final = problem.configuration, problem.input, []
    D = 1 + c.bidirectional
    options = {"hidden_size": c.hidden_size, "direction": "bidirectional" if c.bidirectional else "forward"}
    options |= {"linear_before_reset": 1} if nn.RECURRENCES[c.cell].cell.apart else {}
    for layer, (W, R, *B) in enumerate(weights.to_onnx(make_scratch(problem))):
        inputs = {"X": x, "W": W, "R": R, "B": B[0] if B else None, "lengths": None}
        inputs |= {name: value[layer * D : (layer + 1) * D] for name, value in problem.initial.items()}
        y, *states = run_layer(c.module, inputs, ["Y", *(f"{part}_n" for part in c.parts)], **options)
        x = y.swapaxes(1, 2).reshape(*x.shape[:2], -1)  # T, D, B, H → T, B, D·H
        final.append(states)
    return {"output": x} | {
        f"{part}_n": np.concatenate(states) for part, states in zip(c.parts, zip(*final, strict=True), strict=True)
    }


# The evaluator computes in NumPy, in the dtype of its inputs; relu it does not know.
@given(problems(cells=[cell for cell in CELLS if cell != "RNN relu"]))
def test_onnx_computes_the_same(problem: Problem) -> None:
    assert_close(run_onnx(problem), forward_scratch(problem))


# Most nodes add the two biases before anything else, so that only the arrays tell them apart.
@given(problems())
def test_the_biases_of_the_input_come_first(problem: Problem) -> None:
    module, kind = make_scratch(problem), nn.RECURRENCES[problem.configuration.cell]
    first, H = kind.cell.gates.index(kind.onnx[0]), problem.configuration.hidden_size
    for layer, (_, _, *biases) in enumerate(weights.to_onnx(module)):
        for B in biases:
            rows = problem.parameters[f"bias_ih_l{layer}"][first * H : (first + 1) * H]
            np.testing.assert_array_equal(B[0, :H], rows)


Arrays = list[list[np.ndarray]]
FORMATS = [(weights.to_keras, weights.from_keras), (weights.to_onnx, weights.from_onnx)]
both_formats = pytest.mark.parametrize(("to", "read"), FORMATS, ids=["keras", "onnx"])


def same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", MODULES)
def test_round_trip_to_pytorch_is_exact(cell: str, dtype: type) -> None:
    ours = text.CharacterModel(cell, 5, 7, num_layers=2, dtype=dtype, rng=0)
    theirs = models.CharacterModel(cell, 5, 7, num_layers=2, dtype=weights.torch_dtype(np.dtype(dtype)))
    back = text.CharacterModel(cell, 5, 7, num_layers=2, dtype=dtype, rng=1)
    weights.to_torch(ours, theirs)
    weights.from_torch(theirs, back)
    assert same({name: value.numpy() for name, value in theirs.state_dict().items()}, ours.state_dict())
    assert same(back.state_dict(), ours.state_dict())
    with torch.no_grad():
        theirs.fc.bias += 1
    assert same(back.state_dict(), ours.state_dict()), "the copies share no memory"
    narrow = models.CharacterModel(cell, 5, 6, num_layers=2, dtype=theirs.fc.bias.dtype)
    for source in (torch.nn.LSTM(3, 4), narrow, theirs.half()):
        with pytest.raises(RuntimeError, match="expected"):
            weights.from_torch(source, back)
    assert same(back.state_dict(), ours.state_dict()), "what does not fit is refused, and nothing is copied"


@both_formats
@given(problem=problems(), dtype=st.sampled_from([np.float32, np.float64]))
def test_round_trip_keeps_the_function_and_shares_no_memory(
    to: Callable, read: Callable, problem: Problem, dtype: type
) -> None:
    """Bit by bit: ONNX has two biases, and Keras' one is the sum that the core adds up first."""
    problem = problem.astype(dtype)
    module, back = make_scratch(problem), make_scratch(problem)
    back.reset_parameters()
    arrays = to(module)
    read(arrays, back)
    state = back.state_dict()
    for one, two in zip(to(back), arrays, strict=True):
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, two, strict=True))
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


WRONG: list[tuple[Callable[[Arrays], Any], type[Exception], str]] = [
    (lambda layers: layers[:-1], RuntimeError, r"each layer \(2\), got 1"),
    (lambda layers: [*layers, layers[-1]], RuntimeError, r"each layer \(2\), got 3"),
    (lambda layers: [layers[0], layers[1][:-1]], RuntimeError, r"layer 1 to be \d arrays .*, got \d"),
    (lambda layers: [layers[0], [*layers[1], layers[1][0]]], RuntimeError, r"layer 1 .*, got \d"),
    (
        lambda layers: [layers[0], [layers[1][0].T, *layers[1][1:]]],
        RuntimeError,
        r"layer 1's .* of shape \(.*10.*\), got \(.*10.*\)",
    ),
    (last(lambda array: array[..., :-1]), RuntimeError, r"layer 1's .* of shape \(.*\), got \(.*\)"),
    (last(lambda array: array.astype(float)), RuntimeError, r"layer 1's .* of dtype float32.*, got float64"),
    (last(np.ndarray.tolist), TypeError, r"layer 1's .* NumPy array, got list"),
    (lambda layers: [layers[0], None], TypeError, "layer 1 to be an iterable, got NoneType"),
    (lambda _: None, TypeError, "source to be an iterable, got NoneType"),
]


@both_formats
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("module", [nn.LSTM, nn.RNN])
def test_what_does_not_fit_is_refused_and_nothing_copied(module: Any, bias: bool, to: Callable, read: Callable) -> None:
    options = {"num_layers": 2, "bias": bias, "bidirectional": True}
    target = module(3, 5, **options)
    before = target.state_dict()
    for change, error, message in WRONG:
        arrays = change(to(module(3, 5, **options)))
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
