"""Time and cell are apart: a cell that is not in the house needs four functions and a class of a few lines.

A leaky integrator, in which h_prev also acts on h directly: z = σ(a_z), u = tanh(a_u), h = h_prev + z ⊙ (u − h_prev).
"""

from dataclasses import replace

import numpy as np
from hypothesis import given

from reference import problems
from reference.problems import Configuration, draw
from reference.runs import run_module
from scratch import nn
from scratch.nn.activations import sigmoid
from scratch.nn.cell import Cell, State
from scratch.nn.recurrent import Recurrent
from scratch.types import Array
from tests.strategies import configurations


def step(a: Array, state_prev: State, state: State, kept: State) -> None:
    (h_prev,), (h,) = state_prev, state
    z, u = a
    sigmoid(z)
    np.tanh(u, out=u)
    h[...] = h_prev + z * (u - h_prev)


def linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
    (h_prev,), (z, u) = state_prev, a
    slopes[0] = (u - h_prev) * z * (1 - z)
    slopes[1] = z * (1 - u * u)
    slopes[2] = 1 - z


def step_backward(d_state: State, slopes: Array, d_a: Array) -> tuple[Array, State]:
    (d_h,) = d_state
    np.multiply(d_h, slopes[:2], out=d_a)
    return d_h * slopes[2], ()


def step_tangent(a_dot: Array, state_prev_dot: State, slopes: Array) -> State:
    (h_prev_dot,) = state_prev_dot
    return (slopes[0] * a_dot[0] + slopes[1] * a_dot[1] + slopes[2] * h_prev_dot,)


CELL = Cell(
    gates=("z", "u"),
    state=("h",),
    keeps_a=True,
    kept=0,
    slopes=3,
    step=step,
    linearize=linearize,
    step_backward=step_backward,
    step_tangent=step_tangent,
)


class Leaky(Recurrent[Array]):
    def __init__(self, input_size: int, hidden_size: int, num_layers: int, **options: object) -> None:
        names = ("bias", "batch_first", "dropout", "bidirectional", "proj_size", "dtype", "rng")
        super().__init__(CELL, input_size, hidden_size, num_layers, *(options.get(name, 0) for name in names))


@given(configurations(cells=("RNN tanh",)))
def test_a_new_cell_has_right_gradients(configuration: Configuration) -> None:
    """Every option but the projection, against complex-step derivatives in the direction of each gradient itself."""
    problem = draw(replace(configuration, upstream=("output", "h_n")))
    c, step_size = problem.configuration, 1e-100
    rng = np.random.default_rng(c.seed)

    def leaky(dtype: type) -> Leaky:
        return Leaky(**c.arguments(), dtype=dtype, rng=c.seed)

    parameters = {name: rng.uniform(-0.5, 0.5, value.shape) for name, value in leaky(float).state_dict().items()}
    initial = {name: value for name, value in problem.initial.items() if name == "h_0"}
    problem = replace(problem, parameters=parameters, initial=initial)
    gradients = run(problem, leaky(float))
    for name, leaf in ({"input": problem.input} | initial | parameters).items():
        direction = gradients[f"d_{name}"]

        def shift(value: Array, leaf: Array = leaf, direction: Array = direction) -> Array:
            return value + 1j * step_size * direction if value is leaf else value.astype(complex)

        outputs = run(problem.map(shift), leaky(complex))
        derivative = sum((outputs[key] * upstream).sum().imag for key, upstream in problem.upstream.items()) / step_size
        squared = (direction * direction).sum()
        assert abs(derivative - squared) <= 1e-10 * squared, name


def run(problem: problems.Problem, module: nn.Module) -> dict[str, Array]:
    module.load_state_dict(problem.parameters)
    return run_module(module, problem)[0]
