"""Second order by hand against complex steps through the backward pass, and PyTorch's torch.func."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from reference.equivalence import assert_close
from reference.problems import Configuration, Problem, draw
from reference.runs import Run, initial_state, make_scratch, make_torch, pack, run_scratch, upstream
from scratch import nn, no_grad, study
from scratch.nn.utils.rnn import PackedSequence, pack_sequence
from scratch.study import Loss, cross_entropy, gauss_newton, hvp, jvp, linear_in_output, squared_error
from scratch.study.second_derivatives import SECOND_DERIVATIVES
from scratch.types import Array
from tests.scratch.nn import test_new_cell
from tests.scratch.nn.test_pages import lines_of
from tests.scratch.study.test_rtrl import EVERY_OPTION, by_name
from tests.strategies import configurations

STEP = np.longdouble(2) ** -332
"""Of the complex steps: so small that its square is nothing, and a power of two."""

some_examples = settings(max_examples=max(1, settings.default.max_examples // 6))  # the other side takes long


def each(function: Callable[..., Array], *values: Any) -> Any:
    """The function of arrays, tuples of them, or packed ones; None where the first is None."""
    first = values[0]
    if first is None:
        return None
    if isinstance(first, PackedSequence):
        return first._replace(data=function(*(value.data for value in values)))
    if isinstance(first, tuple):
        return tuple(each(function, *parts) for parts in zip(*values, strict=True))
    return function(*values)


def bent(problem: Problem) -> Loss:
    """Σ u ⊙ (y + ½y² + ⅓y³) over everything that the problem has an upstream gradient u for."""
    u = upstream(problem)

    def loss(output: Any, state: Any, output_dot: Any, state_dot: Any) -> tuple[Any, ...]:
        d = [each(lambda u, y: u * (1 + y + y * y), *pair) for pair in zip(u, (output, state), strict=True)]
        dots = zip(u, (output, state), (output_dot, state_dot), strict=True)
        return *d, *(each(lambda u, y, y_dot: u * (1 + 2 * y) * y_dot, *three) for three in dots)

    return loss


def random_direction(problem: Problem, seed: int = 0) -> Problem:
    """A change of each number of the problem; its upstream gradients are not used."""
    rng = np.random.default_rng([problem.configuration.seed, seed])
    return problem.map(lambda value: rng.standard_normal(value.shape).astype(value.dtype))


def arguments(problem: Problem, dot: Problem, masks: list[Array]) -> tuple[Any, ...]:
    c = problem.configuration
    given = [(pack(one.input, c), initial_state(one)) for one in (problem, dot)]
    return *given[0], *given[1], dot.parameters, [pack(mask, c) for mask in masks]


def second_order(problem: Problem, dot: Problem, masks: list[Array], module: Any = None) -> Run:
    """Everything that jvp and hvp compute, by name; the changes end in _dot."""
    c = problem.configuration
    module = module or make_scratch(problem)
    given = arguments(problem, dot, masks)
    _, _, output_dot, state_dot = jvp(module, *given)
    gradients, *rest = hvp(module, bent(problem), *given)
    changes = by_name(c, output_dot, state_dot, *rest)
    return by_name(c, *gradients) | {f"{name}_dot": value for name, value in changes.items()}


def complex_step(problem: Problem, dot: Problem, masks: list[Array]) -> Run:
    """The same by the module's forward and backward of p + i ε v: Re is what they compute, Im / ε how it changes."""
    c, plain = problem.configuration, problem.astype(np.result_type(problem.input.dtype, np.complex64))
    moved = replace(
        plain,
        input=plain.input + 1j * STEP * dot.input,
        initial={name: value + 1j * STEP * dot.initial[name] for name, value in plain.initial.items()},
        parameters={name: value + 1j * STEP * dot.parameters[name] for name, value in plain.parameters.items()},
    )
    module = make_scratch(moved, masks)
    output, state = module(pack(moved.input, c), initial_state(moved))
    d_output, d_state, *_ = bent(plain)(output, state, output, state)
    d_input, d_initial = module.backward(d_output, d_state)
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    run = by_name(c, output, state, d_input, d_initial, gradients)
    values = {name: value.real for name, value in run.items()}
    return values | {f"{name}_dot": value.imag / STEP for name, value in run.items()}


def torch_func(problem: Problem, dot: Problem) -> Run:
    """The same by torch.func: forward over reverse. It cannot pack, so each sequence of a packed batch runs alone."""
    c = problem.configuration
    module = make_torch(c, **c.arguments(), dtype=torch.float64)
    leaves, dots = ({name: torch.from_numpy(v) for name, v in one.leaves.items()} for one in (problem, dot))

    def run(leaves: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        x, parameters = leaves["input"], {name: leaves[name] for name in problem.parameters}
        states = tuple(leaves[f"{part}_0"] for part in c.parts) if c.initial_state else ()

        def one(x: torch.Tensor, states: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
            state = () if not states else (states,) if len(states) > 1 else states
            output, final = torch.func.functional_call(module, parameters, (x, *state))
            return [output, *(final if isinstance(final, tuple) else (final,))]

        if c.layout != "packed":
            return dict(zip(("output", *(f"{part}_n" for part in c.parts)), one(x, states), strict=True))
        runs = [one(x[:T, b], tuple(part[:, b] for part in states)) for b, T in enumerate(c.lengths)]
        outputs, *finals = zip(*runs, strict=True)
        computed = {f"{part}_n": torch.stack(final, 1) for part, final in zip(c.parts, finals, strict=True)}
        return {"output": torch.nn.utils.rnn.pad_sequence(outputs)} | computed

    def loss(leaves: dict[str, torch.Tensor]) -> torch.Tensor:
        y = run(leaves)
        terms = ((u, y[name]) for name, u in ((name, torch.from_numpy(u)) for name, u in problem.upstream.items()))
        return sum(((u * (y + y**2 / 2 + y**3 / 3)).sum() for u, y in terms), 0 * leaves["input"].sum())

    values, changes = torch.func.jvp(run, (leaves,), (dots,))
    gradients, products = torch.func.jvp(torch.func.grad(loss), (leaves,), (dots,))
    named = values | {f"d_{name}": value for name, value in gradients.items()}
    named |= {f"{name}_dot": value for name, value in changes.items()}
    named |= {f"d_{name}_dot": value for name, value in products.items()}
    return {name: value.detach().numpy() for name, value in named.items()}


@given(configurations())
def test_agrees_with_complex_steps_through_the_backward_pass(configuration: Configuration) -> None:
    """In longdouble, where 1e-12 is 2e7 roundings: no cancellation in these small problems comes near that."""
    problem = draw(configuration).astype(np.longdouble)
    dot, (_, masks) = random_direction(problem), run_scratch(problem)
    assert_close(second_order(problem, dot, masks), complex_step(problem, dot, masks))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch.func uses it
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@some_examples
@given(configurations(dropout=False))
def test_agrees_with_torch_func(configuration: Configuration) -> None:
    """It shares no line. In float64, where cancelling sums lose digits, in PyTorch's run as in this one."""
    problem = draw(replace(configuration, weight_scale=1.0, bias_shift=0.0))
    dot = random_direction(problem)
    assert_close(second_order(problem, dot, []), torch_func(problem, dot), 1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("configuration", EVERY_OPTION, ids=str)
def test_agrees_in_every_dtype_and_only_reads(configuration: Configuration, dtype: str, tolerance: float) -> None:
    problem = draw(configuration).astype(dtype)
    dot, (before, masks) = random_direction(problem), run_scratch(problem)
    truth = complex_step(problem.astype(np.longdouble), dot.astype(np.longdouble), masks)
    module = make_scratch(problem, masks)
    module(pack(problem.input, configuration), initial_state(problem))
    for value in (*problem.leaves.values(), *dot.leaves.values()):
        value.flags.writeable = False
    run = second_order(problem, dot, masks, module)
    assert {value.dtype.name for value in run.values()} == {dtype}
    assert_close({name: value.astype(np.longdouble) for name, value in run.items()}, truth, tolerance)
    assert all(parameter.grad is None for parameter in module.parameters())
    module.backward(*upstream(problem))  # the forward pass before can still be undone
    for name, parameter in module.named_parameters():
        assert np.array_equal(parameter.grad, before[f"d_{name}"])


@pytest.mark.parametrize("configuration", EVERY_OPTION[::4], ids=str)
def test_what_is_left_out_does_not_change(configuration: Configuration) -> None:
    """The product with a direction is the sum of those with its parts, each given alone."""
    problem = draw(configuration).astype(np.longdouble)
    dot, (_, masks) = random_direction(problem), run_scratch(problem)
    input, hx, input_dot, hx_dot, parameters_dot, masks = arguments(problem, dot, masks)
    parts = [{"input_dot": input_dot}, {"hx_dot": hx_dot}]
    parts += [{"parameters_dot": {name: value}} for name, value in parameters_dot.items()]
    together: list[Run] = []
    for part in [{"input_dot": input_dot, "hx_dot": hx_dot, "parameters_dot": parameters_dot}, *parts]:
        c, module = configuration, make_scratch(problem)
        _, _, output_dot, state_dot = jvp(module, input, hx, **part, dropout_masks=masks)
        _, *rest = hvp(module, bent(problem), input, hx, **part, dropout_masks=masks)
        together.append(by_name(c, output_dot, state_dot, *rest))
    assert_close({name: sum(run[name] for run in together[1:]) for name in together[0]}, together[0])


def test_the_slope_of_relu_does_not_change() -> None:
    """Nothing reads this zero, so that nothing else would tell."""
    one = np.ones((2, 3))
    relu = SECOND_DERIVATIVES[nn.RECURRENCES["RNN relu"].cell.linearize]
    slopes_dot = relu.linearize_tangent(one[None], one[None], (one,), (one,), (one,), (one,), ())
    assert np.array_equal(slopes_dot, np.zeros((1, 2, 3)))


def test_takes_a_cell_that_is_not_in_the_house(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in which h_prev also acts directly, if its second derivatives are entered."""
    rng = np.random.default_rng(0)
    module, moved = (
        test_new_cell.mgu.MGU(3, 4, 2, bidirectional=True, dtype=dtype, rng=0) for dtype in (np.float64, np.complex128)
    )
    x, v, target = (rng.standard_normal((5, 2, n)) for n in (3, 3, 8))
    d = {name: rng.standard_normal(p.shape) for name, p in module.named_parameters()}
    found = hvp(module, squared_error(target), x, None, v, None, d)
    step = float(STEP)
    moved.load_state_dict({name: p.data + 1j * step * d[name] for name, p in module.named_parameters()})
    output, _ = moved(x + 1j * step * v)
    d_x, d_h_0 = moved.backward(output - target)
    ours = {"input": found.d_input_dot, "initial": found.d_initial_dot} | found.d_parameters_dot
    theirs = {"input": d_x, "initial": d_h_0} | {name: p.grad for name, p in moved.named_parameters()}
    assert_close(ours, {name: value.imag / step for name, value in theirs.items()})

    with no_grad(), pytest.raises(RuntimeError, match=r"expected hvp outside no_grad\(\)"):
        hvp(module, squared_error(target), x)
    monkeypatch.delitem(SECOND_DERIVATIVES, module.cell.linearize)
    with pytest.raises(NotImplementedError, match="expected a cell with second derivatives"):
        hvp(module, squared_error(target), x)


def test_ready_losses_are_differentiated_twice() -> None:
    """Their gradient is that of the library's own losses, and its change that of a complex step."""
    rng, step = np.random.default_rng(0), float(STEP)
    y, y_dot, target = rng.standard_normal((3, 6, 3))
    linear, classes, criterion = nn.Linear(3, 4, dtype=np.float64, rng=0), rng.integers(0, 4, 6), nn.CrossEntropyLoss()
    criterion(linear(y), classes)
    wanted = linear.backward(criterion.backward())
    packed = [pack_sequence([value[:4], value[4:]]) for value in (y, y_dot, target)]
    order = pack_sequence([np.arange(4), np.arange(4, 6)]).data
    for loss, in_rows, gradient in (
        (cross_entropy(linear, classes), cross_entropy(linear, classes[order]), wanted),
        (squared_error(target), squared_error(packed[2]), y - target),
    ):
        d_y, none, d_y_dot, no_dot = loss(y, None, y_dot, None)
        moved, *_ = loss(y + 1j * step * y_dot, None, y_dot, None)
        assert none is None and no_dot is None
        assert_close({"d": d_y, "dot": d_y_dot}, {"d": gradient, "dot": moved.imag / step})
        d_rows, _, d_rows_dot, _ = in_rows(*packed[:1], None, packed[1], None)
        assert_close({"d": d_rows.data, "dot": d_rows_dot.data}, {"d": d_y[order], "dot": d_y_dot[order]})

    linear.weight.data = 1e4 * linear.weight.data  # logits whose exponential overflows
    d_y, _, d_y_dot, _ = cross_entropy(linear, classes)(y, None, y_dot, None)
    assert np.isfinite(d_y).all() and np.isfinite(d_y_dot).all() and np.abs(d_y).max() > 0


def dense(product: Callable[[dict[str, Array]], dict[str, Array]], module: Any) -> Array:
    """The matrix of a product with the parameters, column by column."""
    shapes = {name: p.shape for name, p in module.named_parameters()}
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])

    def by_name(v: Array) -> dict[str, Array]:
        return {n: part.reshape(s) for (n, s), part in zip(shapes.items(), np.split(v, ends[:-1]), strict=True)}

    columns = (product(by_name(v)) for v in np.eye(ends[-1]))
    return np.stack([np.concatenate([value.ravel() for value in column.values()]) for column in columns], axis=1)


def test_the_largest_eigenvalue_and_the_parts_of_the_curvature() -> None:
    """Against the matrices themselves. At a perfect fit the Hessian is the Gauss–Newton matrix."""
    module, rng = nn.LSTM(1, 2, dtype=np.float64, rng=0), np.random.default_rng(1)
    x, target = rng.standard_normal((4, 2, 1)), rng.standard_normal((4, 2, 2))
    fit, loss = squared_error(module(x)[0]), squared_error(target)
    H, perfect = (
        dense(lambda v, s=s: hvp(module, s, x, parameters_dot=v).d_parameters_dot, module) for s in (loss, fit)
    )
    G = dense(lambda v: gauss_newton(module, loss, x, parameters_dot=v).d_parameters, module)
    J = dense(lambda v: {"output": jvp(module, x, parameters_dot=v).output_dot}, module)
    assert_close({"H": H, "G": G, "at a fit": perfect}, {"H": H.T, "G": J.T @ J, "at a fit": G})
    assert np.linalg.norm(H - G) > 1e-3 * np.linalg.norm(G)

    value, vector = study.largest_eigenvalue(module, loss, x, iterations=300, rng=0)
    v = np.concatenate([part.ravel() for part in vector.values()])
    eigenvalues = np.linalg.eigvalsh(H)
    assert abs(value - eigenvalues[np.abs(eigenvalues).argmax()]) <= 1e-10 * abs(value)
    assert np.linalg.norm(H @ v - value * v) <= 1e-6 * abs(value)
    along = study.curvature_along(module, loss, {name: 3 * part for name, part in vector.items()}, x)
    assert_close({"both": np.array(along)}, {"both": np.array([v @ H @ v, v @ G @ v])})
    with pytest.raises(ValueError, match="expected a direction that is not zero"):
        study.curvature_along(module, loss, {}, x)
    flat = linear_in_output(d_output=np.zeros_like(target))
    assert study.largest_eigenvalue(module, flat, x)[0] == 0
    with pytest.raises(ValueError, match="expected iterations of at least 1, got 0"):
        study.largest_eigenvalue(module, flat, x, iterations=0)


x, y, linear = np.ones((5, 2, 3)), np.ones((5, 2, 5)), nn.Linear(4, 3, dtype=np.float64)
packed, repacked = (
    pack_sequence([np.ones((T, 3)) for T in lengths], enforce_sorted=False) for lengths in ((2, 3), (3, 2))
)
BAD: list[tuple[type[Exception], dict[str, Any]]] = [
    (TypeError, {"input": x.tolist()}),
    (ValueError, {"input": x.astype(np.float32)}),
    (RuntimeError, {"hx": (np.ones((2, 2, 4)), np.ones((2, 1, 4)))}),
    (RuntimeError, {"input_dot": x[:, :, :2]}),
    (RuntimeError, {"input_dot": x.astype(np.float32)}),
    (TypeError, {"hx_dot": np.ones((2, 2, 4))}),
    (RuntimeError, {"hx_dot": (np.ones((2, 2, 4)), np.ones((2, 1, 4)))}),
    (RuntimeError, {"parameters_dot": {"weight_ih_l2": np.ones((16, 4))}}),
    (RuntimeError, {"parameters_dot": {"weight_ih_l1": np.ones((16, 3))}}),
    (RuntimeError, {"parameters_dot": {"bias_ih_l1": np.ones(16, np.float32)}}),
    (RuntimeError, {"dropout_masks": [np.ones((5, 2, 4))] * 2}),
    (RuntimeError, {"loss": linear_in_output(y)}),
    (RuntimeError, {"loss": linear_in_output(None, (np.ones((2, 4)), None))}),
    (RuntimeError, {"loss": lambda *_: (None, None, y, None)}),
    (RuntimeError, {"loss": lambda *_: (None, None, None, (None, np.ones((2, 2, 5))))}),
    (RuntimeError, {"loss": squared_error(np.ones((5, 1, 4)))}),
    (TypeError, {"loss": squared_error(1.0)}),
    (TypeError, {"loss": squared_error(packed)}),
    (TypeError, {"input": packed, "loss": squared_error(x)}),
    (RuntimeError, {"input": packed, "loss": squared_error(packed._replace(data=np.ones((5, 1))))}),
    (RuntimeError, {"input": packed, "loss": squared_error(repacked._replace(data=np.ones((5, 4))))}),
    (RuntimeError, {"loss": cross_entropy(linear, np.ones((5, 3), int))}),
    (IndexError, {"loss": cross_entropy(linear, np.full((5, 2), 3))}),
]


@pytest.mark.parametrize(("error", "wrong"), BAD)
def test_bad_input_is_refused(error: type[Exception], wrong: dict[str, Any]) -> None:
    lstm = nn.LSTM(3, 4, num_layers=2, dtype=np.float64)
    with pytest.raises(error, match="expected"):
        hvp(lstm, **{"loss": linear_in_output(), "input": x} | wrong)
    if "loss" not in wrong:
        with pytest.raises(error, match="expected"):
            jvp(lstm, **{"input": x} | wrong)


@pytest.mark.parametrize("name", ["rtrl.md", "second_order.md"])
def test_quoted_code_is_the_code(name: str) -> None:
    folder = Path(study.__file__).parent
    quoted = re.findall(r"```python\n(.*?)```", (folder / name).read_text(), flags=re.DOTALL)
    assert quoted
    code = set().union(*(lines_of(file.read_text()) for file in folder.glob("*.py")))
    assert set().union(*map(lines_of, quoted)) - code == set()
