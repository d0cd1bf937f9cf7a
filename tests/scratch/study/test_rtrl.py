"""Real-time recurrent learning testifies for the backward pass: written from other equations, the same gradient."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from reference.equivalence import assert_close
from reference.problems import Configuration, Problem, draw
from reference.runs import Run, initial_state, make_scratch, pack, run_scratch, split, unpack, upstream
from scratch import nn
from scratch.nn import bptt
from scratch.nn.recurrent import Recurrent
from scratch.nn.tape import Tape
from scratch.study import rtrl
from scratch.types import Array
from tests.strategies import configurations

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
def test_rtrl_agrees_in_every_dtype_and_uses_no_backward_pass_and_no_tape(
    configuration: Configuration, dtype: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = draw(configuration).astype(dtype)
    truth, masks = run_scratch(problem)
    module = make_scratch(problem)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("expected a computation that is independent of backpropagation")

    for owner, name in [(bptt, "forward"), (bptt, "backward"), (Recurrent, "forward"), (Recurrent, "backward")]:
        monkeypatch.setattr(owner, name, forbidden)
    monkeypatch.setattr(Tape, "__init__", forbidden)
    module.cell = module.cell._replace(step_backward=forbidden)
    assert_close(run_rtrl(problem, masks, module), truth, tolerance)
    assert all(parameter.grad is None for parameter in module.parameters())


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
