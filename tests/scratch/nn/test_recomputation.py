"""Computing steps again instead of keeping them: the same numbers, from less memory."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from reference.problems import Configuration, Problem, draw
from reference.runs import Masks, Run, run_module, run_scratch
from reference.runs import make_scratch as make
from scratch import nn, no_grad
from scratch.types import Array
from tests.strategies import MODULES, configurations

RECURRENCES = [getattr(nn, name) for name in MODULES]

every = st.sampled_from([1, 2, 3, 5, 100])


def run(problem: Problem, checkpoint_every: int, masks: Masks) -> Run:
    c = problem.configuration
    module = getattr(nn, c.module)(
        **c.arguments(), dtype=problem.input.dtype, rng=c.seed, checkpoint_every=checkpoint_every
    )
    module.load_state_dict(problem.parameters)
    module.train(c.training)
    if masks:
        module.rng = make(problem, masks).rng
    return run_module(module, problem)[0]


@example(Configuration("LSTM", bidirectional=True, layout="packed", lengths=(9, 7, 2)), 4)
@given(configurations(), every)
def test_outputs_and_gradients_are_those_of_the_ordinary_run(configuration: Configuration, k: int) -> None:
    """Every option. The sums over all steps are added up in another order, and the products may round otherwise."""
    problem = draw(configuration)
    expected, masks = run_scratch(problem)
    found = run(problem, k, masks)
    assert found.keys() == expected.keys()
    size = {name: max(1.0, float(np.abs(value).max(initial=0))) for name, value in expected.items()}
    truth = {name: value / size[name] for name, value in expected.items()}
    for name, value in found.items():
        error = np.abs(value / size[name] - truth[name]).max(initial=0)
        assert error <= (1e-12 if configuration.weight_scale <= 1 else 1e-8), name  # saturated units magnify rounding


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_a_graph_that_is_retained_is_undone_again_and_upstream_may_be_left_out(recurrence: type) -> None:
    module = recurrence(3, 4, num_layers=2, bidirectional=True, dtype=np.float64, rng=0, checkpoint_every=3)
    x = np.random.default_rng(1).standard_normal((8, 2, 3))
    output, _ = module(x)
    first, _ = module.backward(output, retain_graph=True)
    grad = module.weight_hh_l0.grad
    x[...] = np.nan
    second, _ = module.backward(output, retain_graph=True)
    assert np.array_equal(first, second)
    assert np.array_equal(module.weight_hh_l0.grad, 2 * grad)
    nothing, _ = module.backward()
    assert not nothing.any()
    with pytest.raises(RuntimeError, match="forward"):
        module.backward(output)


def test_inference_gives_the_same_output() -> None:
    x = np.random.default_rng(1).standard_normal((8, 2, 3))
    lstm, ordinary = nn.LSTM(3, 4, dtype=float, rng=0, checkpoint_every=3), nn.LSTM(3, 4, dtype=float, rng=0)
    with no_grad():
        output, _ = lstm(x)
    assert_close({"output": output}, {"output": ordinary(x)[0]}, 1e-14)
    with pytest.raises(RuntimeError, match="forward"):
        lstm.backward(output)


def peak(lstm: nn.LSTM, x: Array, d_output: Array) -> int:
    """Bytes at most allocated at a time by a training step, beyond what is there before it."""
    gc.collect()
    tracemalloc.start()
    lstm(x)
    lstm.backward(d_output)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_grows_with_the_root_of_the_steps() -> None:
    """But for what is handed in and out, and the rows of x, which are kept."""
    H = 32
    beyond = {}
    for T in (1024, 8192):
        x, d_output = np.ones((T, 1, 1)), np.ones((T, 1, H))
        unavoidable = d_output.nbytes + 2 * x.nbytes  # the output, d_x, the copy of x
        for k in (None, round(T**0.5)):
            beyond[T, k] = peak(nn.LSTM(1, H, dtype=float, rng=0, checkpoint_every=k), x, d_output) - unavoidable
    assert beyond[8192, None] > 3.2 * beyond[1024, None], "a tape of all steps, and one section whatever T"
    assert beyond[8192, 91] < 3.2 * beyond[1024, 32]  # the root of 8 is 2.8
    assert beyond[8192, 91] < beyond[8192, None] / 15


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)])
def test_a_wrong_number_of_steps_is_refused(value: object, error: type[Exception]) -> None:
    for recurrence in RECURRENCES:
        with pytest.raises(error, match="checkpoint_every"):
            recurrence(2, 3, checkpoint_every=value)


def test_the_option_is_shown() -> None:
    assert repr(nn.LSTM(2, 3, checkpoint_every=7)) == "LSTM(2, 3, checkpoint_every=7)"
    assert repr(nn.LSTM(2, 3)) == "LSTM(2, 3)"


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble])
def test_the_dtype_is_kept(dtype: type) -> None:
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(dtype)
    kept = nn.LSTM(3, 4, dtype=dtype, rng=0)
    again = nn.LSTM(3, 4, dtype=dtype, rng=0, checkpoint_every=2)
    output, _ = kept(x)
    assert np.array_equal(again(x)[0], output)
    (d_x, _), (expected, _) = again.backward(output), kept.backward(output)
    assert d_x.dtype == dtype
    assert_close({"d_x": d_x}, {"d_x": expected}, 64 * float(np.finfo(dtype).eps))
