"""Keras computes from carried weights what `scratch` computes, and `scratch` from Keras' weights what Keras does."""

from collections.abc import Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.problems import CELLS, Problem
from reference.runs import Run, forward_scratch, make_scratch
from reference.weights import from_keras, to_keras
from tests.reference.weights.recurrences import problems

with pytest.MonkeyPatch.context() as environment, TemporaryDirectory() as home:
    environment.setenv("KERAS_BACKEND", "torch")
    environment.setenv("KERAS_TORCH_DEVICE", "cpu")
    environment.setenv("KERAS_HOME", home)  # importing it writes its configuration there
    import keras

# Keras' variables become arrays in the way of NumPy 1.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning:keras"
)

TOLERANCE = 1e-4
"""Without TensorFlow, Keras multiplies float64 in float32, so that float32 it is. Values of order 1, rounded by 1e-7 at
each of at most nine steps (three, in three layers), each of which magnifies by less than 2, as the weights are within
±1/√H and H is at most 4."""


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


@given(problems(), st.booleans())
def test_both_compute_the_same_whoever_had_the_weights(problem: Problem, keras_own: bool) -> None:
    problem = problem.astype(np.float32)
    stack, module = list(layers(problem)), make_scratch(problem)
    if keras_own:
        rng, bound = np.random.default_rng(problem.configuration.seed), 1 / np.sqrt(problem.configuration.hidden_size)
        for layer in stack:  # Keras' own biases are zeros and ones
            layer.set_weights([rng.uniform(-bound, bound, array.shape) for array in layer.get_weights()])
        from_keras([layer.get_weights() for layer in stack], module)
        problem = replace(problem, parameters=module.state_dict())
    else:
        for layer, arrays in zip(stack, to_keras(module), strict=True):
            layer.set_weights(arrays)
    ours, theirs = forward_scratch(problem), run_keras(stack, problem)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], TOLERANCE, TOLERANCE, err_msg=name)
