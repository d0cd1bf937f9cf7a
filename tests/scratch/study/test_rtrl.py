"""Real-time recurrent learning testifies for the backward pass: written from other equations, the same gradient."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from reference.problems import CELLS, Configuration, Problem, draw
from reference.runs import Run, initial_state, make_scratch, pack, run_scratch, split, unpack, upstream
from scratch import nn, study
from scratch.nn import bptt
from scratch.nn.cell import Cell, State
from scratch.nn.recurrent import Recurrent
from scratch.nn.tape import Tape
from scratch.study import rtrl
from scratch.types import Array
from tests.scratch.nn import test_new_cell
from tests.scratch.nn.test_pages import lines_of
from tests.strategies import configurations

CELL_OF = {
    name: getattr(nn, arguments["module"])(1, 1, **{k: v for k, v in arguments.items() if k != "module"}).cell
    for name, arguments in CELLS.items()
} | {"minimal gated unit": test_new_cell.mgu.CELL}

EVERY_OPTION = [
    Configuration("RNN tanh", num_layers=2, bidirectional=True, lengths=(3, 5, 1), layout="packed"),
    Configuration("RNN relu", num_layers=3, dropout=0.4, batch_first=True, initial_state=False, seed=1),
    Configuration("LSTM", num_layers=2, bidirectional=True, proj_size=2, bias=False, seed=2),
    Configuration("LSTM", lengths=(6,), layout="unbatched", upstream=("output", "c_n"), seed=3),
    Configuration("LSTM", num_layers=2, dropout=0.3, proj_size=1, lengths=(2, 4, 4), layout="packed", seed=4),
    Configuration("GRU", num_layers=2, bidirectional=True, lengths=(3, 5, 1), layout="packed", seed=5),
    Configuration("GRU", num_layers=2, dropout=0.4, bias=False, batch_first=True, initial_state=False, seed=6),
]


def by_name(c: Configuration, output: Any, state: Any, d_input: Any, d_initial: Any, d_parameters: Any) -> Run:
    """What a module computes, with its gradients, by the names of `run_scratch`."""
    run = {"output": unpack(output)} | split(state, c, "{}_n") | {"d_input": unpack(d_input)}
    run |= split(d_initial, c, "d_{}_0") if c.initial_state else {}
    return run | {f"d_{name}": value for name, value in d_parameters.items()}


def run_rtrl(problem: Problem, masks: list[Array], module: Any = None) -> Run:
    """What `run_scratch` gives, by real-time recurrent learning."""
    c = problem.configuration
    given = module or make_scratch(problem), pack(problem.input, c), initial_state(problem), *upstream(problem)
    return by_name(c, *rtrl(*given, dropout_masks=[pack(mask, c) for mask in masks]))


@given(configurations())
def test_rtrl_agrees_with_backpropagation(configuration: Configuration) -> None:
    """In longdouble, where 1e-12 is 2e7 roundings: no cancellation in these small problems comes near that."""
    problem = draw(configuration).astype(np.longdouble)
    truth, masks = run_scratch(problem)
    assert_close(run_rtrl(problem, masks), truth)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12), ("complex128", 1e-12)])
@pytest.mark.parametrize("configuration", EVERY_OPTION, ids=str)
def test_rtrl_agrees_in_every_dtype(configuration: Configuration, dtype: str, tolerance: float) -> None:
    problem = draw(configuration).astype(dtype)
    truth, masks = run_scratch(problem)
    assert_close(run_rtrl(problem, masks), truth, tolerance)


def test_packed_results_are_in_the_order_of_the_input() -> None:
    """Also where equally long sequences are sorted as `pack_sequence` would not sort them."""
    rng = np.random.default_rng(0)
    batch_sizes, sorted_indices = np.array([3, 3]), np.array([2, 0, 1])
    x, d_output = (
        nn.utils.rnn.PackedSequence(rng.standard_normal((6, n)), batch_sizes, sorted_indices) for n in (3, 4)
    )
    h_0 = rng.standard_normal((1, 3, 4))
    rnn = nn.RNN(3, 4, dtype=np.float64)
    output, h_n = rnn(x, h_0)
    d_x, d_h_0 = rnn.backward(d_output)
    ours = rtrl(rnn, x, h_0, d_output)
    for packed, theirs in ((ours.output, output), (ours.d_input, d_x)):
        assert all(np.array_equal(one, other) for one, other in zip(packed[1:], theirs[1:], strict=True))
    assert_close(
        {"output": ours.output.data, "h_n": ours.state, "d_input": ours.d_input.data, "d_h_0": ours.d_initial},
        {"output": output.data, "h_n": h_n, "d_input": d_x.data, "d_h_0": d_h_0},
    )


@pytest.mark.parametrize("configuration", EVERY_OPTION, ids=str)
def test_rtrl_uses_no_backward_pass_and_no_tape(configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = draw(configuration)
    truth, masks = run_scratch(problem)
    module = make_scratch(problem)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("expected a computation that is independent of backpropagation")

    for owner, name in [(bptt, "forward"), (bptt, "backward"), (Recurrent, "forward"), (Recurrent, "backward")]:
        monkeypatch.setattr(owner, name, forbidden)
    monkeypatch.setattr(Tape, "__init__", forbidden)
    module.cell = module.cell._replace(step_backward=forbidden)
    assert_close(run_rtrl(problem, masks, module), truth)
    assert all(parameter.grad is None for parameter in module.parameters())


def frozen(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    value = rng.standard_normal(shape)
    value.flags.writeable = False
    return value


def after_step(cell: Cell, a: Array, state_prev: State) -> tuple[Array, State, State]:
    """One step: a as it leaves it (NaN if the cell does not keep it), the state and what is kept, all read-only."""
    a, shape = a.copy(), state_prev[0].shape
    state, kept = (tuple(np.empty(shape, a.dtype) for _ in range(n)) for n in (len(cell.state), cell.kept))
    cell.step(a, state_prev, state, kept)
    a = a if cell.keeps_a else np.full_like(a, np.nan)
    for value in (a, *state, *kept):
        value.flags.writeable = False
    return a, state, kept


def linearized(cell: Cell, a: Array, state_prev: State) -> Array:
    """The slopes of one step, read-only."""
    a, state, kept = after_step(cell, a, state_prev)
    slopes = np.full((cell.slopes, *state_prev[0].shape), np.nan)
    cell.linearize(a, state_prev, state, kept, slopes)
    slopes.flags.writeable = False
    return slopes


H, B = 5, 4
of_every_cell = pytest.mark.parametrize("cell", CELL_OF.values(), ids=CELL_OF)
seeds = st.integers(0, 2**32 - 1)


def random_step(cell: Cell, seed: int, K: int = B, B: int = B) -> tuple[Array, Array, State, State, State]:
    """a, a_dot, the state before, its tangent (K columns) and a gradient of the state after, all read-only."""
    rng = np.random.default_rng(seed)
    a, a_dot = (frozen((len(cell.blocks), H, columns), rng) for columns in (B, K))
    states = (tuple(frozen((H, columns), rng) for _ in cell.state) for columns in (B, K, B))
    return a, a_dot, *states


@of_every_cell
@given(seeds)
def test_step_tangent_is_the_complex_step_derivative_and_the_transpose_of_step_backward(cell: Cell, seed: int) -> None:
    """⟨d_state, state_dot⟩ = ⟨d_a, a_dot⟩ + ⟨d_state_prev, state_prev_dot⟩, up to roundings of the products."""
    small, (a, a_dot, state_prev, state_prev_dot, d_state) = 1e-100, random_step(cell, seed)
    slopes = linearized(cell, a, state_prev)
    state_dot = cell.step_tangent(a_dot, state_prev_dot, slopes)
    moved = tuple(value + 1j * small * dot for value, dot in zip(state_prev, state_prev_dot, strict=True))
    _, complex_state, _ = after_step(cell, a + 1j * small * a_dot, moved)
    derivative = [part.imag / small for part in complex_state]
    assert_close(dict(zip(cell.state, state_dot, strict=True)), dict(zip(cell.state, derivative, strict=True)))

    d_a = np.full_like(a, np.nan)
    d_h_prev, d_rest = cell.step_backward(tuple(d.copy() for d in d_state), slopes.copy(), d_a)
    d_state_prev = (np.zeros((H, B)) if d_h_prev is None else d_h_prev, *d_rest)
    forward = [d * dot for d, dot in zip(d_state, state_dot, strict=True)]
    backward = [d_a * a_dot, *(d * dot for d, dot in zip(d_state_prev, state_prev_dot, strict=True))]
    size = sum(np.abs(product).sum() for product in (*forward, *backward))
    assert abs(sum(map(np.sum, forward)) - sum(map(np.sum, backward))) <= 1e-14 * size


@of_every_cell
@pytest.mark.parametrize("S", [1, 2, 7])
@pytest.mark.parametrize("units", [slice(0, H), slice(1, 3)])
def test_many_steps_are_linearized_at_once_as_one_by_one(cell: Cell, S: int, units: slice) -> None:
    """Of all units or of some, to the last bit. The arrays lie in memory as on a tape: step by step, gate by gate."""
    rng = np.random.default_rng(S)
    a = frozen((S, len(cell.blocks), H, B), rng)
    state_prev = tuple(frozen((S, H, B), rng) for _ in cell.state)
    of_each = [tuple(part[t] for part in state_prev) for t in range(S)]
    left, states, kepts = zip(*(after_step(cell, a[t], of_each[t]) for t in range(S)), strict=True)
    state, kept = (tuple(np.stack(part)[:, units] for part in zip(*parts, strict=True)) for parts in (states, kepts))
    slopes = np.full((cell.slopes, S, units.stop - units.start, B), np.nan)
    before = tuple(part[:, units] for part in state_prev)
    cell.linearize(np.stack(left)[:, :, units].swapaxes(0, 1), before, state, kept, slopes)
    one_by_one = [linearized(cell, a[t], of_each[t])[:, units] for t in range(S)]
    assert np.array_equal(slopes, np.stack(one_by_one, axis=1))


x = np.ones((5, 2, 3))
BAD: list[tuple[type[Exception], dict[str, Any]]] = [
    (TypeError, {"input": x.tolist()}),
    (ValueError, {"input": x[0, 0]}),
    (ValueError, {"input": x.astype(np.float32)}),
    (RuntimeError, {"input": x[:0]}),
    (RuntimeError, {"input": x[:, :, :2]}),
    (TypeError, {"hx": np.ones((2, 2, 4))}),
    (RuntimeError, {"hx": (np.ones((2, 2, 4)), np.ones((2, 1, 4)))}),
    (RuntimeError, {"d_output": np.ones((5, 2, 5))}),
    (RuntimeError, {"d_state": (np.ones((2, 4)), None)}),
    (RuntimeError, {"dropout_masks": [np.ones((5, 2, 4))] * 2}),
    (RuntimeError, {"dropout_masks": [np.ones((5, 2, 3))]}),
]


@pytest.mark.parametrize(("error", "arguments"), BAD)
def test_bad_input_is_refused_as_the_module_does(error: type[Exception], arguments: dict[str, Any]) -> None:
    lstm = nn.LSTM(3, 4, num_layers=2, dtype=np.float64)
    with pytest.raises(error, match="expected"):
        rtrl(lstm, **{"input": x} | arguments)


def test_quoted_code_is_the_code() -> None:
    folder = Path(study.__file__).parent
    code = lines_of((folder / "rtrl.py").read_text())
    quoted = re.findall(r"```python\n(.*?)```", (folder / "rtrl.md").read_text(), flags=re.DOTALL)
    assert quoted
    assert set().union(*map(lines_of, quoted)) - code == set()
