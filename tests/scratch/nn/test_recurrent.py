"""RNN, LSTM and GRU over whole sequences: everything they compute, over the whole space of options."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reference.conditioning import assert_matches_pytorch, tolerances
from reference.equivalence import assert_close, relative_error
from reference.problems import CELLS, Configuration, draw
from reference.runs import (
    initial_state,
    make_scratch,
    pack,
    run_module,
    run_scratch,
    run_torch,
    split,
    unpack,
    upstream,
)
from scratch import nn, no_grad
from scratch.nn.cell import State
from scratch.nn.utils.rnn import pack_sequence
from scratch.types import Array
from tests.strategies import MODULES, configurations

from .passes import arrays, assert_same, by_pytorch, complex_step_errors, gradients, undone

ALL = ("output", "h_n", "c_n")
EACH_NAME = pytest.mark.parametrize("name", MODULES)


@settings(max_examples=5 * settings().max_examples)  # the promise itself: 10,000 in the thorough profile
@given(configurations())
def test_outputs_and_gradients_match_pytorch(configuration: Configuration) -> None:
    assert_matches_pytorch(configuration)


@given(configurations())
def test_gradients_are_complex_step_derivatives(configuration: Configuration) -> None:
    """No PyTorch: from the forward pass alone."""
    problem = draw(replace(configuration, upstream=ALL))
    errors = complex_step_errors(problem, lambda problem: run_scratch(problem)[0])
    allowed = tolerances(problem, errors)
    assert {name: error for name, error in errors.items() if error > allowed[name]} == {}


ACCURACY = {
    "ordinary": {"input_size": 12, "hidden_size": 16, "num_layers": 2, "bidirectional": True, "lengths": (20,) * 5},
    "saturated": {"input_size": 12, "hidden_size": 16, "num_layers": 2, "lengths": (20,) * 5, "weight_scale": 20.0},
    "long": {"input_size": 4, "hidden_size": 16, "lengths": (500,)},
    "closed gates": {"input_size": 4, "hidden_size": 8, "lengths": (10,) * 5, "bias_shift": -12.0},
}


@pytest.mark.parametrize(
    ("cell", "kind"),
    [(cell, kind) for cell in ("RNN tanh", "LSTM") for kind in ACCURACY if cell == "LSTM" or kind != "closed gates"],
)
def test_float32_is_as_accurate_as_pytorch(cell: str, kind: str) -> None:
    """Tensor by tensor the error against longdouble is at most twice PyTorch's, in the geometric mean over seeds."""
    ratios: dict[str, list[float]] = {}
    for seed in range(6 if kind == "long" else 12):
        problem = draw(Configuration(cell, seed=seed, **ACCURACY[kind])).astype(np.float32)
        truth, _ = run_scratch(problem.astype(np.longdouble))
        ours, theirs = run_scratch(problem)[0], run_torch(problem)
        for name, exact in truth.items():
            errors = [relative_error(run[name].astype(np.longdouble), exact) for run in (ours, theirs)]
            ratios.setdefault(name, []).append(errors[0] / errors[1])
    means = {name: float(np.exp(np.mean(np.log(values)))) for name, values in ratios.items()}
    assert max(means.values()) <= 2, means


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128])
@pytest.mark.parametrize("cell", CELLS)
def test_dtype_is_kept_and_nothing_warns_when_gates_saturate(cell: str, dtype: type) -> None:
    problem = draw(Configuration(cell, num_layers=2, bidirectional=True, weight_scale=500.0, seed=1)).astype(dtype)
    run, _ = run_scratch(problem)  # a warning is an error here
    assert {value.dtype for value in run.values()} == {np.dtype(dtype)}
    assert np.isfinite(run["output"]).all()


# One problem in several ways: all give the same.


def strided(value: Array) -> Array:
    """The values, read-only and neither C- nor Fortran-contiguous."""
    value = np.asfortranarray(np.repeat(value, 2, axis=-1))[..., ::2]
    value.flags.writeable = False
    return value


@example(Configuration("LSTM", bidirectional=True, layout="packed", lengths=(9, 7, 2)), 4)
@given(configurations(), st.sampled_from([1, 2, 3, 5, 100]))
def test_computed_again_or_from_other_memory_or_with_less_asked_for_it_is_the_same(c: Configuration, k: int) -> None:
    """The sums over all steps are added up in another order if steps are computed again, and may round otherwise."""
    problem = draw(c)
    expected, masks = run_scratch(problem)
    sizes = {name: max(1.0, float(np.abs(value).max(initial=0))) for name, value in expected.items()}
    truth = {name: value / sizes[name] for name, value in expected.items()}
    module = make_scratch(problem, masks)
    module.checkpoint_every = k
    found, _ = run_module(module, problem)
    assert found.keys() == expected.keys()
    allowed = 1e-12 if c.weight_scale <= 1 else 1e-8  # saturated units magnify rounding
    errors = {name: np.abs(value / sizes[name] - truth[name]).max(initial=0) for name, value in found.items()}
    assert max(errors.values()) <= allowed, errors

    elsewhere = replace(problem.map(strided), parameters={})
    assert_close(run_module(make_scratch(problem, masks), elsewhere)[0], expected, 1e-13)

    for every in (None, k):
        module = make_scratch(problem, masks)
        module.checkpoint_every = every
        output, final = module(pack(problem.input, c), initial_state(problem))
        d_output, d_state = upstream(problem)
        d_input, d_initial = module.backward(d_output, d_state, retain_graph=True)
        spared = [d_initial, gradients(module)]
        module.zero_grad()
        nothing, *again = module.backward(d_output, d_state, input_gradient=False), gradients(module)
        assert nothing[0] is None and d_input is not None
        assert all(map(np.array_equal, arrays([nothing[1], *again]), arrays(spared)))
        with pytest.raises(TypeError, match="expected input_gradient "):
            module.backward(input_gradient=0)
        with no_grad():
            module = make_scratch(problem, masks)
            module.checkpoint_every = every
            unrecorded, state = module(pack(problem.input, c), initial_state(problem))
        found = {"output": unpack(unrecorded)} | split(state, c, "{}_n")
        assert_close(found, {"output": unpack(output)} | split(final, c, "{}_n"), 1e-14)


ONE = Configuration("LSTM", bidirectional=True, lengths=(3, 3))
AS_MANY_ROWS = [
    ONE, replace(ONE, lengths=(2, 2, 2)), replace(ONE, layout="unbatched", lengths=(6,)),
    replace(ONE, layout="packed", lengths=(3, 2, 1)),
]  # fmt: skip


@example([*AS_MANY_ROWS, *AS_MANY_ROWS[::-1]])
@given(st.lists(configurations(dropout=False), min_size=2, max_size=4))
def test_a_module_is_none_the_worse_for_other_shapes_before(shapes: list[Configuration]) -> None:
    """Calls of any number of steps and sequences, packed or not, in any order, are independent."""
    first = replace(shapes[0], upstream=ALL)
    parameters = draw(first).parameters
    module = make_scratch(draw(first))
    for s in [*shapes, shapes[0]]:
        shape = {"layout": s.layout, "lengths": s.lengths, "initial_state": s.initial_state, "seed": s.seed}
        problem = replace(draw(replace(first, **shape)), parameters=parameters)
        module.load_state_dict(parameters)
        module.zero_grad()
        # A tape of another shape would show near 1; where memory lies may round.
        assert_close(run_module(module, problem)[0], run_scratch(problem)[0], 1e-9)


# What PyTorch leaves to chance, or leaves open.


@EACH_NAME
def test_dropout_drops_between_layers_only_and_only_in_training(name: str) -> None:
    module = getattr(nn, name)(3, 50, num_layers=2, dropout=0.4, dtype=np.float64, rng=0)
    x = np.random.default_rng(1).standard_normal((20, 30, 3))
    first, _ = module(x)
    (mask,) = module.dropout_masks
    module.dropout_masks[0][...] = 7
    assert np.array_equal(module.dropout_masks[0], mask), "a copy each time"
    assert set(np.unique(mask)) == {0.0, 1 / (1 - 0.4)}
    assert abs((mask == 0).mean() - 0.4) < 0.02  # 30,000 draws: 5 standard deviations are 0.014
    again, final = module(x)
    assert not np.array_equal(first, again), "drawn anew each time"
    assert all((part != 0).all() for part in arrays([again, final]))
    with no_grad():
        module(x)
    assert module.dropout_masks == []
    module(x)
    module.eval()
    assert np.array_equal(module(x)[0], module(x)[0]) and module.dropout_masks == []


def test_relu_stops_even_an_infinite_gradient_at_an_inactive_unit() -> None:
    ours, theirs = (lib.RNN(1, 2, nonlinearity="relu", bias=False) for lib in (nn, torch.nn))
    weights = {"weight_ih_l0": np.array([[1.0], [-1.0]]), "weight_hh_l0": np.zeros((2, 2))}
    ours.load_state_dict(weights)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    x, d_output = np.ones((1, 1, 1), np.float32), np.array([[[1.0, np.inf]]], np.float32)
    output, final = ours(x)
    expected = by_pytorch(theirs, (x,), (d_output, np.zeros_like(final)))
    d_x, _ = ours.backward(d_output)
    assert np.array_equal(output, expected[0]) and np.array_equal(d_x, expected[2])
    assert np.array_equal(ours.weight_ih_l0.grad, expected[3])


@EACH_NAME
def test_numbers_beyond_the_dtype_come_out_as_in_pytorch_without_a_warning(name: str) -> None:
    """Also where the caller has NumPy raise for them."""
    ours, theirs = (getattr(library, name)(1, 3, 2, bidirectional=True) for library in (nn, torch.nn))
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in ours.state_dict().items()})
    for number, d in [(np.inf, 1.0), (3e38, 3e38), (np.nan, 1.0), (1.0, np.inf)]:
        x, d_output = np.full((4, 1, 1), number, np.float32), np.full((4, 1, 6), d, np.float32)
        with np.errstate(all="raise"):
            output, _ = ours(x)
            d_x, _ = ours.backward(d_output)
        leaf = torch.tensor(x, requires_grad=True)
        expected, _ = theirs(leaf)
        expected.backward(torch.from_numpy(d_output))
        assert np.array_equal(np.isnan(output), np.isnan(expected.detach().numpy()))
        assert np.array_equal(np.isfinite(d_x), np.isfinite(leaf.grad.numpy()))


def test_two_biases_share_a_gradient_but_not_its_memory() -> None:
    lstm = nn.LSTM(3, 4, rng=0)
    lstm.backward(lstm(np.ones((2, 1, 3), np.float32))[0])
    assert np.array_equal(lstm.bias_ih_l0.grad, lstm.bias_hh_l0.grad)
    assert not np.shares_memory(lstm.bias_ih_l0.grad, lstm.bias_hh_l0.grad)


def test_upstream_of_a_step_may_be_left_out() -> None:
    cell, x, d_c = nn.LSTMCell(3, 4, dtype=np.float64, rng=0), np.ones((2, 3)), np.ones((2, 4))
    cell(x)
    without, zeros, nothing = (
        cell.backward(d_state, retain_graph=True)[0] for d_state in ((None, d_c), (0 * d_c, d_c), None)
    )
    assert np.array_equal(without, zeros) and without.any() and not nothing.any()


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)])
def test_a_wrong_number_of_steps_is_refused_and_a_right_one_shown(value: object, error: type[Exception]) -> None:
    for name in MODULES:
        with pytest.raises(error, match="checkpoint_every"):
            getattr(nn, name)(2, 3, checkpoint_every=value)
        assert repr(getattr(nn, name)(2, 3, checkpoint_every=7)) == f"{name}(2, 3, checkpoint_every=7)"


@EACH_NAME
def test_packed_output_and_gradients_are_packed_like_the_input_and_all_may_be_written_over(name: str) -> None:
    """An order that is written out is the same order, also where fewer sequences take part in the second step."""
    rng, module = np.random.default_rng(0), getattr(nn, name)(3, 4, batch_first=True, dtype=np.float64, rng=0)
    for lengths, enforce_sorted in [((2, 5, 1, 5), False), ((3, 1), True)]:
        packed = pack_sequence([rng.standard_normal((length, 3)) for length in lengths], enforce_sorted)
        order = [None if part is None else part.copy() for part in packed[1:]]
        output, final = module(packed)
        d_output = output._replace(data=output.data.copy(), **dict(zip(packed._fields[1:], order, strict=True)))
        d_state = tuple(map(np.copy, final)) if isinstance(final, tuple) else final.copy()
        d_input, d_initial = module.backward(d_output, d_state, retain_graph=True)
        for each in (output, d_input):
            assert all(np.array_equal(*pair) for pair in zip(each[1:], order, strict=True) if pair[1] is not None)
        assert d_input.data.shape == packed.data.shape
        expected = [d_input.data.copy(), *map(np.copy, arrays(d_initial))]
        for array in arrays([packed, output, final, d_input, d_initial]):
            array[...] = 0
        if enforce_sorted:
            d_output = d_output._replace(sorted_indices=np.arange(2), unsorted_indices=np.arange(2))
        again, d_initial = module.backward(d_output, d_state)
        assert all(map(np.array_equal, [again.data, *arrays(d_initial)], expected))


@pytest.mark.parametrize("where", ["step", "step_backward"])
def test_an_interrupted_pass_changes_nothing(where: str) -> None:
    """Forward it leaves no tape, and the one before it alone; backward it can be made again."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    rnn, x = nn.RNN(2, 3, num_layers=2, rng=0), np.random.default_rng(0).standard_normal((4, 1, 2), np.float32)
    output, _ = rnn(x)
    expected = undone(rnn, (output,), retain_graph=True)
    rnn.zero_grad()
    whole, rnn.cell = rnn.cell, rnn.cell._replace(**{where: interrupted})
    with pytest.raises(KeyboardInterrupt):
        rnn(-x) if where == "step" else rnn.backward(output)
    assert gradients(rnn) == [None] * 8
    rnn.cell = whole
    assert_same(undone(rnn, (output,)), expected, 0)
    with pytest.raises(RuntimeError, match="forward"):
        rnn.backward(output)
    assert np.array_equal(rnn(x)[0], output)


def test_another_cell_does_not_get_the_memory_of_the_one_before() -> None:
    """Here one that keeps a, which all steps of an RNN's tape share."""

    def linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
        slopes[...] = 1 - np.tanh(a) ** 2

    rnn, x = nn.RNN(2, 3, dtype=np.float64, rng=0), np.random.default_rng(0).standard_normal((4, 1, 2))
    output, _ = rnn(x)
    expected = undone(rnn, (output,))
    rnn.zero_grad()
    rnn.cell = rnn.cell._replace(keeps_a=True, linearize=linearize)
    rnn(x)
    assert_same(undone(rnn, (output,)), expected)
