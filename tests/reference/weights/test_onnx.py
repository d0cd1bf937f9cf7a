"""ONNX' own reference implementation computes from the carried weights what `scratch` computes."""

import numpy as np
import onnx
from hypothesis import given
from onnx import helper
from onnx.reference import ReferenceEvaluator

from reference.equivalence import assert_close
from reference.problems import CELLS, Problem
from reference.runs import Run, forward_scratch, make_scratch
from reference.weights import to_onnx
from scratch import nn
from tests.reference.weights.recurrences import problems


def model(problem: Problem) -> onnx.ModelProto:
    """A node for each layer, and between two of them what puts the directions side by side."""
    c = problem.configuration
    directions = 1 + c.bidirectional
    apart = {"linear_before_reset": 1} if nn.RECURRENCES[c.cell].cell.apart else {}
    constants, nodes, final = {"shape": np.array([0, 0, -1])}, [], []
    for layer, arrays in enumerate(to_onnx(make_scratch(problem))):
        inputs = {f"{name}{layer}": array for name, array in zip("WRB", arrays, strict=False)}
        chosen = slice(layer * directions, (layer + 1) * directions)
        states = {f"{name}_l{layer}": value[chosen] for name, value in problem.initial.items()}
        constants |= inputs | states
        final += [f"{part}_n_l{layer}" for part in c.parts]
        no_bias, no_lengths = [] if c.bias else [""], [""]
        nodes += [
            helper.make_node(
                c.module,
                [f"x{layer}", *inputs, *no_bias, *no_lengths, *states],
                [f"y{layer}", *final[-len(c.parts) :]],
                hidden_size=c.hidden_size,
                direction="bidirectional" if c.bidirectional else "forward",
                **apart,
            ),
            helper.make_node("Transpose", [f"y{layer}"], [f"z{layer}"], perm=[0, 2, 1, 3]),  # T, B, D, H
            helper.make_node("Reshape", [f"z{layer}", "shape"], [f"x{layer + 1}"]),  # T, B, D·H
        ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "recurrence",
        [tensor("x0", onnx.TensorProto.DOUBLE, problem.input.shape)],
        [tensor(name, onnx.TensorProto.DOUBLE, [None] * 3) for name in (f"x{c.num_layers}", *final)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph)
    onnx.checker.check_model(made, full_check=True)
    return made


def run_onnx(problem: Problem) -> Run:
    parts = problem.configuration.parts
    output, *final = ReferenceEvaluator(model(problem)).run(None, {"x0": problem.input})
    return {"output": output} | {f"{p}_n": np.concatenate(final[k :: len(parts)]) for k, p in enumerate(parts)}


# The evaluator computes in NumPy, in the dtype of its inputs; relu it does not know.
@given(problems(cells=[cell for cell in CELLS if cell != "RNN relu"]))
def test_onnx_computes_the_same(problem: Problem) -> None:
    assert_close(run_onnx(problem), forward_scratch(problem))


# Most nodes add the two biases before anything else, so that only the arrays tell them apart.
@given(problems())
def test_the_biases_of_the_input_come_first(problem: Problem) -> None:
    module, kind = make_scratch(problem), nn.RECURRENCES[problem.configuration.cell]
    first, H = kind.cell.gates.index(kind.onnx[0]), problem.configuration.hidden_size
    for layer, (_, _, *biases) in enumerate(to_onnx(module)):
        for B in biases:
            rows = problem.parameters[f"bias_ih_l{layer}"][first * H : (first + 1) * H]
            np.testing.assert_array_equal(B[0, :H], rows)
