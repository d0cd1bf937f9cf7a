"""RNN and LSTM over whole sequences: everything they compute, over the whole space of options."""

import gc
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.conditioning import assert_matches_pytorch, sensitivity
from reference.equivalence import assert_close, relative_error
from reference.problems import CELLS, Configuration, Problem, draw
from reference.runs import initial_state, make_scratch, pack, run_module, run_scratch, run_torch, upstream
from scratch import nn
from scratch.nn.utils.rnn import pack_sequence, unpack_sequence
from scratch.types import Array
from tests.strategies import MODULES, configurations

RECURRENCES = [getattr(nn, name) for name in MODULES]


def parts(state: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    return state if isinstance(state, tuple) else (state,)


@settings(max_examples=5 * settings().max_examples)  # the promise itself: 10,000 in the thorough profile
@given(configurations())
def test_outputs_and_gradients_match_pytorch(configuration: Configuration) -> None:
    assert_matches_pytorch(configuration)


@given(configurations(), st.integers(0, 2**32 - 1))
def test_gradients_match_complex_step(configuration: Configuration, seed: int) -> None:
    """No PyTorch: the derivative along a random direction of every tensor, from the forward pass alone."""
    step = 1e-100
    problem = draw(replace(configuration, upstream=("output", "h_n", "c_n")))
    gradients, _ = run_scratch(problem)
    rng = np.random.default_rng(seed)
    leaves = {"input": problem.input} | problem.initial | problem.parameters
    for name, leaf in leaves.items():
        direction = rng.standard_normal(leaf.shape)

        def shift(value: Array, leaf: Array = leaf, direction: Array = direction) -> Array:
            return value + 1j * step * direction if value is leaf else value.astype(complex)

        run, _ = run_scratch(problem.map(shift))
        loss = sum((run[tensor] * upstream).sum() for tensor, upstream in problem.upstream.items())
        gradient = gradients[f"d_{name}"]
        size = np.linalg.norm(gradient) * np.linalg.norm(direction)
        error = abs(np.imag(loss) / step - (gradient * direction).sum())
        # The complex step is exact to rounding, and so is the gradient, unless the problem magnifies rounding.
        if error > 1e-11 * size:
            assert error <= 16 * sensitivity(problem)[f"d_{name}"] * size, name


ACCURACY = {
    "ordinary": {"input_size": 12, "hidden_size": 16, "num_layers": 2, "bidirectional": True, "lengths": (20,) * 5},
    "saturated": {"input_size": 12, "hidden_size": 16, "num_layers": 2, "lengths": (20,) * 5, "weight_scale": 20.0},
    "closed gates": {"input_size": 4, "hidden_size": 8, "lengths": (10,) * 5, "bias_shift": -12.0},
    "long": {"input_size": 4, "hidden_size": 16, "lengths": (2000,)},
}


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (cell, kind)
        for cell in ("RNN tanh", "LSTM")
        for kind in ACCURACY
        if (cell, kind) != ("RNN tanh", "closed gates")
    ],
)
def test_float32_is_as_accurate_as_pytorch(cell: str, kind: str) -> None:
    """Tensor by tensor the error against longdouble is at most twice PyTorch's, in the geometric mean over seeds."""
    ratios: dict[str, list[float]] = {}
    for seed in range(12 if kind == "long" else 24):
        configuration = Configuration(cell, seed=seed, **ACCURACY[kind])
        problem = draw(configuration).astype(np.float32)
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


def batched(configuration: Configuration) -> Configuration:
    """The same without packing, with every upstream gradient."""
    lengths = (max(configuration.lengths, default=3),) * len(configuration.lengths)
    return replace(configuration, layout="batched", lengths=lengths, upstream=("output", "h_n", "c_n"))


def module_of(problem: Problem) -> nn.RNN | nn.LSTM:
    c = problem.configuration
    module = getattr(nn, c.module)(**c.arguments(), dtype=problem.input.dtype, rng=0)
    module.load_state_dict(problem.parameters)
    return module


def run(module: nn.RNN | nn.LSTM, problem: Problem, retain_graph: bool = False) -> dict[str, Array]:
    initial = tuple(problem.initial.values()) if problem.initial else None
    output, final = module(problem.input, initial[0] if initial and len(initial) == 1 else initial)
    run = {"output": output, "final": np.concatenate([part.ravel() for part in parts(final)])}
    return run | backward(module, problem, retain_graph)


def backward(module: nn.RNN | nn.LSTM, problem: Problem, retain_graph: bool = False) -> dict[str, Array]:
    d_output, *d_final = problem.upstream.values()
    module.zero_grad()
    d_state = d_final[0] if len(d_final) == 1 else tuple(d_final)
    d_input, d_initial = module.backward(d_output, d_state, retain_graph=retain_graph)
    gradients = {f"d_{name}": parameter.grad for name, parameter in module.named_parameters()}
    return {"d_input": d_input} | {f"d_initial {k}": part for k, part in enumerate(parts(d_initial))} | gradients


@given(configurations(dropout=False))
def test_what_was_handed_in_is_never_written_to_nor_read_again(configuration: Configuration) -> None:
    problem = draw(batched(configuration))
    expected = run(module_of(problem), problem)

    def read_only(value: Array) -> Array:
        value = np.asfortranarray(np.repeat(value, 2, axis=-1))[..., ::2]  # neither C- nor Fortran-contiguous
        value.flags.writeable = False
        return value

    module = module_of(problem)
    assert_close(run(module, replace(problem.map(read_only), parameters={})), expected, 1e-14)

    module, x = module_of(problem), problem.input.copy()
    initial = {name: value.copy() for name, value in problem.initial.items()}
    states = tuple(initial.values()) or None
    module(x, states[0] if states and len(states) == 1 else states)
    for array in (x, *initial.values()):
        array[...] = np.nan  # the caller uses its buffers again
    assert_close(backward(module, problem), {name: expected[name] for name in expected if name[:2] == "d_"}, 0.0)


@given(configurations(dropout=False), st.booleans())
def test_packed_sequences_are_independent(configuration: Configuration, initial: bool) -> None:
    """A packed batch computes for each sequence what the sequence alone computes."""
    configuration = replace(configuration, weight_scale=1.0)  # saturated units magnify rounding
    problem = draw(
        replace(configuration, layout="packed", lengths=configuration.lengths or (2, 1), initial_state=initial)
    )
    together, _ = run_scratch(problem)
    gradients: dict[str, Array] = {}
    for b, length in enumerate(problem.configuration.lengths):
        alone = Problem(
            replace(problem.configuration, layout="unbatched", lengths=(length,)),
            problem.parameters,
            problem.input[:length, b],
            {name: value[:, b] for name, value in problem.initial.items()},
            {n: value[:length, b] if n == "output" else value[:, b] for n, value in problem.upstream.items()},
        )
        for name, value in run_scratch(alone)[0].items():
            if name in ("output", "d_input"):
                assert relative_error(together[name][:length, b], value) < 1e-10, name
                assert not together[name][length:, b].any()
            elif name in ("h_n", "c_n", "d_h_0", "d_c_0"):
                assert relative_error(together[name][:, b], value) < 1e-10, name
            else:
                gradients[name] = gradients.get(name, 0) + value
    for name, value in gradients.items():
        assert np.abs(together[name] - value).max() <= 1e-12 * max(1, np.abs(value).max()), name


@given(st.lists(configurations(dropout=False), min_size=2, max_size=4))
def test_a_module_is_none_the_worse_for_other_shapes_before(shapes: list[Configuration]) -> None:
    """Calls of any number of steps and sequences, packed or not, in any order, are independent."""
    first = replace(shapes[0], upstream=("output", "h_n", "c_n"))
    module = module_of(draw(first))
    for shape in [*shapes, shapes[0]]:
        layout = {
            "layout": shape.layout,
            "lengths": shape.lengths,
            "initial_state": shape.initial_state,
            "seed": shape.seed,
        }
        problem = replace(draw(replace(first, **layout)), parameters=draw(first).parameters)
        module.load_state_dict(problem.parameters)
        module.zero_grad()
        used, fresh = run_module(module, problem)[0], run_scratch(problem)[0]
        assert_close(used, fresh, 1e-9)  # a tape of another shape would show near 1; where memory lies may round


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_shapes_of_as_many_rows_are_told_apart(recurrence: type) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 2))
    shapes = [rows.reshape(3, 2, 2), rows.reshape(2, 3, 2), rows, pack_sequence([rows[:3], rows[3:5], rows[5:]])]
    module = recurrence(2, 3, bidirectional=True, dtype=np.float64, rng=0)
    for x in [*shapes, *shapes[::-1]]:
        (output, _), (expected, _) = module(x), recurrence(2, 3, bidirectional=True, dtype=np.float64, rng=0)(x)
        assert np.array_equal(*(o.data if isinstance(o, tuple) else o for o in (output, expected)))


def test_packed_sequences_need_no_padded_array() -> None:
    """One long sequence among many short ones: memory goes with the steps there are, not with the longest."""
    rng = np.random.default_rng(0)
    lengths = [3000] + [1] * 2999
    packed = pack_sequence([rng.standard_normal((length, 2)) for length in lengths])
    lstm = nn.LSTM(2, 3, bidirectional=True, dtype=np.float64, rng=0)
    gc.collect()
    tracemalloc.start()
    output, _ = lstm(packed)
    lstm.backward(output)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    padded = 3000 * 3000 * 2 * 8
    assert peak < padded / 5


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_reverse_direction_is_the_forward_one_on_the_reversed_sequence(recurrence: type) -> None:
    both = recurrence(3, 4, bidirectional=True, dtype=np.float64, rng=0)
    one = recurrence(3, 4, dtype=np.float64)
    one.load_state_dict({n.removesuffix("_reverse"): v for n, v in both.state_dict().items() if n.endswith("_reverse")})
    x = np.random.default_rng(1).standard_normal((6, 2, 3))
    output, final = both(x)
    reversed_output, reversed_final = one(x[::-1])
    assert np.allclose(output[:, :, 4:], reversed_output[::-1], rtol=1e-14, atol=0)
    assert np.allclose(parts(final)[0][1], parts(reversed_final)[0][0], rtol=1e-14, atol=0)
    assert np.array_equal(output[0, :, 4:], parts(final)[0][1]), "the reverse direction ends at step 0"


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_dropout_drops_between_layers_only_and_only_in_training(recurrence: type) -> None:
    module = recurrence(3, 50, num_layers=2, dropout=0.4, dtype=np.float64, rng=0)
    x = np.random.default_rng(1).standard_normal((20, 30, 3))
    first, _ = module(x)
    (mask,) = module.dropout_masks
    assert set(np.unique(mask)) == {0.0, 1 / (1 - 0.4)}
    assert abs((mask == 0).mean() - 0.4) < 0.02  # 30,000 draws: 5 standard deviations are 0.014
    again, final = module(x)
    assert not np.array_equal(first, again), "drawn anew each time"
    assert (parts(final)[0] != 0).all() and (again != 0).all()
    module.eval()
    assert np.array_equal(module(x)[0], module(x)[0])
    assert module.dropout_masks == []


@given(configurations(), st.sampled_from([None, 1, 3]))
def test_the_input_gradient_can_be_spared(configuration: Configuration, every: int | None) -> None:
    """Everything else stays the same, bit by bit."""
    problem = draw(configuration)
    module = make_scratch(problem)
    module.checkpoint_every = every
    module(pack(problem.input, configuration), initial_state(problem))

    def gradients(**options: bool) -> list[Any]:
        module.zero_grad()
        d_input, d_initial = module.backward(*upstream(problem), **options)
        return [d_input, *parts(d_initial), *(parameter.grad for parameter in module.parameters())]

    expected, found = gradients(retain_graph=True), gradients(retain_graph=True, input_gradient=False)
    assert expected[0] is not None and found[0] is None
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(expected[1:], found[1:], strict=True))
    with pytest.raises(TypeError, match="expected input_gradient "):
        module.backward(input_gradient=0)


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_parameters_are_pytorchs(recurrence: type) -> None:
    options = {"num_layers": 2, "bidirectional": True} | ({"proj_size": 3} if recurrence is nn.LSTM else {})
    ours, theirs = recurrence(5, 6, **options, rng=0), getattr(torch.nn, recurrence.__name__)(5, 6, **options)
    expected = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(expected)
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    values = np.concatenate([parameter.data.ravel() for parameter in recurrence(50, 100, rng=0).parameters()])
    assert values.dtype == np.float32
    assert np.abs(values).max() <= 0.1 and abs(values.mean()) < 0.001 and abs(values.std() - 0.1 / np.sqrt(3)) < 0.001
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_same_seed_same_parameters_in_every_dtype(recurrence: type) -> None:
    one, other = recurrence(3, 4, rng=7), recurrence(3, 4, dtype=np.longdouble, rng=np.random.default_rng(7))
    for name, value in one.state_dict().items():
        assert np.array_equal(value, other.state_dict()[name].astype(np.float32))
    assert not np.array_equal(recurrence(3, 4, rng=8).weight_ih_l0.data, one.weight_ih_l0.data)


@pytest.mark.parametrize("recurrence", RECURRENCES)
def test_packed_output_and_gradients_are_packed_like_the_input(recurrence: type) -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((length, 3)) for length in (2, 5, 1, 5)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    module = recurrence(3, 4, batch_first=True, dtype=np.float64, rng=0)
    output, _ = module(packed)
    d_input, _ = module.backward(output)
    assert [len(s) for s in unpack_sequence(output)] == [2, 5, 1, 5]
    assert all(np.array_equal(getattr(output, f), getattr(packed, f)) for f in packed._fields[1:])
    assert d_input.data.shape == packed.data.shape


def test_two_biases_share_a_gradient_but_not_its_memory() -> None:
    lstm = nn.LSTM(3, 4, rng=0)
    output, _ = lstm(np.ones((2, 1, 3), np.float32))
    lstm.backward(output)
    assert np.array_equal(lstm.bias_ih_l0.grad, lstm.bias_hh_l0.grad)
    assert not np.shares_memory(lstm.bias_ih_l0.grad, lstm.bias_hh_l0.grad)


def test_relu_stops_even_an_infinite_gradient_at_an_inactive_unit() -> None:
    upstream = np.array([[[1.0, np.inf]]])
    rnn = nn.RNN(1, 2, nonlinearity="relu", bias=False, dtype=np.float64)
    rnn.load_state_dict({"weight_ih_l0": np.array([[1.0], [-1.0]]), "weight_hh_l0": np.zeros((2, 2))})
    theirs = torch.nn.RNN(1, 2, nonlinearity="relu", bias=False, dtype=torch.float64)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in rnn.state_dict().items()})
    rnn(np.ones((1, 1, 1)))
    d_input, _ = rnn.backward(upstream)
    leaf = torch.ones((1, 1, 1), dtype=torch.float64, requires_grad=True)
    theirs(leaf)[0].backward(torch.from_numpy(upstream))
    assert np.array_equal(d_input, leaf.grad.numpy())
    assert np.array_equal(rnn.weight_ih_l0.grad, theirs.weight_ih_l0.grad.numpy())


@pytest.mark.parametrize("name", MODULES)
def test_numbers_beyond_the_dtype_come_out_as_in_pytorch_without_a_warning(name: str) -> None:
    """Also where the caller has NumPy raise for them."""
    options = {"num_layers": 2, "bidirectional": True}
    ours, theirs = getattr(nn, name)(1, 3, **options, rng=0), getattr(torch.nn, name)(1, 3, **options)
    for x, d in [(np.inf, 1.0), (3e38, 3e38), (np.nan, 1.0), (1.0, np.inf)]:
        theirs.load_state_dict({key: torch.from_numpy(value) for key, value in ours.state_dict().items()})
        input, d_output = np.full((4, 1, 1), x, np.float32), np.full((4, 1, 6), d, np.float32)
        with np.errstate(all="raise"):
            output, _ = ours(input)
            d_input, _ = ours.backward(d_output)
        leaf = torch.tensor(input, requires_grad=True)
        expected, _ = theirs(leaf)
        expected.backward(torch.from_numpy(d_output))
        assert np.array_equal(np.isnan(output), np.isnan(expected.detach().numpy()))
        assert np.array_equal(np.isfinite(d_input), np.isfinite(leaf.grad.numpy()))


@pytest.mark.parametrize("replacement", [np.zeros((16, 4)), np.zeros((16, 5), np.float32)], ids=["dtype", "shape"])
def test_a_replaced_parameter_that_does_not_fit_is_refused_at_the_door(replacement: Array) -> None:
    lstm = nn.LSTM(3, 4, rng=0)
    lstm.weight_hh_l0 = nn.Parameter(replacement)
    with pytest.raises(RuntimeError, match="weight_hh_l0"):
        lstm(np.ones((2, 1, 3), np.float32))


def test_the_callers_packing_may_change_after_the_call() -> None:
    packed = pack_sequence([np.ones((length, 2)) for length in (1, 3, 2)], enforce_sorted=False)
    rnn = nn.RNN(2, 3, dtype=np.float64, rng=0)
    rnn(packed)
    d_h_n = np.arange(9.0).reshape(1, 3, 3)
    _, before = rnn.backward(None, d_h_n, retain_graph=True)
    packed.sorted_indices[:] = packed.unsorted_indices[:] = [0, 1, 2]
    _, after = rnn.backward(None, d_h_n)
    assert np.array_equal(before, after)


def test_an_interrupted_forward_pass_leaves_no_tape_and_the_one_before_it_alone() -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    rnn, x = nn.RNN(2, 3, rng=0), np.ones((4, 1, 2), np.float32)
    output, _ = rnn(x)
    expected, _ = rnn.backward(output, retain_graph=True)
    whole, rnn.cell = rnn.cell, rnn.cell._replace(step=interrupted)
    with pytest.raises(KeyboardInterrupt):
        rnn(-x)
    rnn.cell = whole
    assert np.array_equal(rnn.backward(output)[0], expected)
    with pytest.raises(RuntimeError, match="forward"):
        rnn.backward(output)
    assert np.array_equal(rnn(x)[0], output)


def test_an_interrupted_backward_pass_can_be_made_again() -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    rnn, x = nn.RNN(2, 3, num_layers=2, rng=0), np.random.default_rng(0).standard_normal((4, 1, 2), np.float32)
    output, _ = rnn(x)
    expected, _ = rnn.backward(output, retain_graph=True)
    gradients = [parameter.grad for parameter in rnn.parameters()]
    rnn.zero_grad()
    whole, rnn.cell = rnn.cell, rnn.cell._replace(step_backward=interrupted)
    with pytest.raises(KeyboardInterrupt):
        rnn.backward(output)
    assert all(parameter.grad is None for parameter in rnn.parameters())
    rnn.cell = whole
    assert np.array_equal(rnn.backward(output)[0], expected)
    assert all(np.array_equal(p.grad, gradient) for p, gradient in zip(rnn.parameters(), gradients, strict=True))


def test_what_is_handed_out_may_be_written_over() -> None:
    packed = pack_sequence([np.ones((length, 2)) for length in (1, 3, 2)], enforce_sorted=False)
    lstm = nn.LSTM(2, 3, num_layers=2, dropout=0.5, dtype=np.float64, rng=0)
    output, (h_n, c_n) = lstm(packed)
    d_output, d_h_n = output._replace(data=np.ones_like(output.data)), np.arange(18.0).reshape(2, 3, 3)
    d_input, (d_h_0, d_c_0) = lstm.backward(d_output, (d_h_n, None), retain_graph=True)
    expected = [d_input.data.copy(), d_h_0.copy(), d_c_0.copy()]
    for array in (*output, *lstm.dropout_masks[0], h_n, c_n, *d_input, d_h_0, d_c_0):
        array[...] = 0
    again, (d_h_0, d_c_0) = lstm.backward(packed._replace(data=np.ones_like(output.data)), (d_h_n, None))
    for value, kept in zip([again.data, d_h_0, d_c_0], expected, strict=True):
        assert np.array_equal(value, kept)


@pytest.mark.parametrize("dtype", [None, ">f4", "float32"])
def test_dtype_is_native_and_float32_unless_given(dtype: str | None) -> None:
    rnn = nn.RNN(2, 3, dtype=dtype)
    output, _ = rnn(np.ones((1, 1, 2), np.float32))
    rnn.backward(output)
    assert output.dtype == rnn.weight_hh_l0.grad.dtype == np.float32


def test_an_order_that_is_written_out_is_the_same_order() -> None:
    """Also where fewer sequences take part in the second step than in the first."""
    packed = pack_sequence([np.ones((length, 2)) for length in (3, 1)])
    rnn = nn.RNN(2, 3, dtype=np.float64, rng=0)
    output, _ = rnn(packed)
    written_out = output._replace(sorted_indices=np.arange(2), unsorted_indices=np.arange(2))
    expected, _ = rnn.backward(output, retain_graph=True)
    assert np.array_equal(rnn.backward(written_out)[0].data, expected.data)
