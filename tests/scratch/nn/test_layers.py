"""Layers, losses, nonlinearities and single steps: everything they compute is what PyTorch's compute.

(What is refused: reference/bad_calls.md)
"""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.space import SIZES
from scratch import nn
from scratch.nn.activations import relu, sigmoid
from scratch.types import Array

from .modules import CASES, EACH_CASE, Case, chain, normal, single
from .passes import assert_same, by_pytorch, floats, gradients, mapped, off_complex_steps, twin, undone, upstream

REDUCTIONS = ("mean", "sum", "none")
NONLINEARITIES = ("Tanh", "Sigmoid", "ReLU")
INTEGERS = "bBhHiIqQ"
IN_PYTORCH = {name: kind for name, kind in nn.RECURRENCES.items() if hasattr(torch.nn, kind.single.__name__)}
HUGE = 3e38

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
few, booleans = st.integers(0, 5), st.booleans()


@st.composite
def linears(draw: st.DrawFn) -> Case:
    shape, arguments = draw(shapes), (draw(few), draw(few), draw(booleans))
    return Case("Linear", arguments, normal((*shape, arguments[0])))


@st.composite
def embeddings(draw: st.DrawFn) -> Case:
    V, shape, integer = draw(st.integers(1, 6)), draw(shapes), draw(st.sampled_from(INTEGERS))
    arguments = V, draw(few), draw(st.none() | st.integers(-V, V - 1))
    return Case("Embedding", arguments, lambda rng: (np.asarray(rng.integers(V, size=shape)).astype(integer),))


@st.composite
def cross_entropies(draw: st.DrawFn) -> Case:
    C, shape = draw(st.integers(1, 6)), draw(shapes)
    ignored = draw(st.sampled_from((-100, 255, 0) if C > 1 else (-100, 255)))
    share, scale = draw(st.sampled_from((0.0, 0.5, 1.0))), draw(st.sampled_from((0.1, 1.0, 10.0, 100.0)))
    options = {
        "weight": draw(st.none() | st.just(np.linspace(0.2, 3, C))),
        "ignore_index": ignored,
        "reduction": draw(st.sampled_from(REDUCTIONS)),
        "label_smoothing": draw(st.sampled_from((0.0, 0.1, 0.7, 1.0))),
    }

    def arguments(rng: np.random.Generator) -> tuple[Array, Array]:
        target = np.where(rng.random(shape) < share, ignored, rng.integers(1 if ignored == 0 else 0, C, shape))
        return rng.normal(0, scale, (*shape[:1], C, *shape[1:])), target

    return Case("CrossEntropyLoss", (), arguments, options, {})


DRAWN: dict[str, st.SearchStrategy[Case]] = {
    "Linear": linears(),
    "Embedding": embeddings(),
    "CrossEntropyLoss": cross_entropies(),
    "MSELoss": st.builds(lambda shape, how: Case("MSELoss", (), normal(shape, shape), {"reduction": how}, {}),
                         shapes, st.sampled_from(REDUCTIONS)),
    "chain": st.lists(st.sampled_from(NONLINEARITIES), max_size=3).map(
        lambda names: chain(*(each for name in names for each in ("Linear", name)))),
    "step": st.builds(lambda kind, I, H, batch, bias: single(kind, I, H, batch, bias=bias),
                      st.sampled_from(list(IN_PYTORCH.values())), st.sampled_from(SIZES), st.sampled_from(SIZES),
                      st.just(()) | st.tuples(st.integers(0, 4)), booleans),
}  # fmt: skip
"""Every option, and every size down to nothing."""

LAYOUTS = {
    "plain": np.array,
    "Fortran": lambda array: np.array(array, order="F"),
    "strided": lambda array: np.repeat(np.atleast_1d(array), 2, axis=-1)[..., ::2].reshape(array.shape),
}
"""The same values, elsewhere in memory."""


def both(case: Case, dtype: Any) -> tuple[Any, Any]:
    """Our module and PyTorch's, with the same weights."""
    ours, theirs = case.make().to(dtype), case.make(torch.nn)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    theirs.load_state_dict({name: torch.tensor(value) for name, value in ours.state_dict().items()}, strict=False)
    return ours, theirs.float() if dtype == np.float32 else theirs


# A sum or product of k numbers errs by at most k·ε of that of their absolute values (Higham 2002, sections 3.1 and
# 4.2), in either library. Logits here are as large as 600, so log p has an error of several hundred roundings.
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("kind", DRAWN)
@given(data=st.data(), layout=st.sampled_from(sorted(LAYOUTS)), seed=st.integers(0, 2**32 - 1))
def test_outputs_and_gradients_are_pytorchs(
    kind: str, dtype: Any, tolerance: float, data: st.DataObject, layout: str, seed: int
) -> None:
    case, rng = data.draw(DRAWN[kind]), np.random.default_rng(seed)
    ours, theirs = both(case, dtype)
    arguments = mapped(lambda value: value.astype(dtype), case.draw(rng))

    def laid_out(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(laid_out, value))
        value = LAYOUTS[layout](value)
        value.flags.writeable = False
        return value

    output = ours(*laid_out(arguments))
    (d_output,) = upstream(ours, output, rng)
    found = undone(ours, (laid_out(d_output) if isinstance(output, np.ndarray | tuple) else d_output,))
    expected = by_pytorch(theirs, arguments, d_output)
    if kind == "MSELoss":
        del expected[2]  # the gradient of the target
    assert_same([output, *found], expected, tolerance * (16 if kind == "CrossEntropyLoss" else 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@EACH_CASE
def test_gradients_are_complex_step_derivatives(case: Case, dtype: Any) -> None:
    """In every dtype, without PyTorch: the derivative along a random direction of every array, by the forward pass."""
    module, rng = case.make().to(dtype), np.random.default_rng(0)
    first, complex_dtype = twin(case, module), np.result_type(dtype, np.complex128)
    arguments, values = mapped(lambda value: value.astype(dtype), case.draw(rng)), module.state_dict()
    output = module(*arguments)
    d_output = upstream(module, output, rng)
    d_arguments = floats(module.backward(*d_output))

    def loss(shifted: Any) -> Any:
        moved = twin(case, first).to(complex_dtype)
        moved.load_state_dict({name: shifted(value) for name, value in values.items()})
        outputs = floats(moved(*mapped(shifted, arguments)))
        return sum((d * value).sum() for d, value in zip(floats(d_output), outputs, strict=True))

    found = [*d_arguments[: len(floats(arguments))], *gradients(module)]
    leaves = [*floats(arguments)[: len(d_arguments)], *values.values()]
    errors = off_complex_steps(dict(enumerate(leaves)), dict(enumerate(found)), loss, complex_dtype)
    assert max(errors.values()) <= 4000 * max(np.finfo(dtype).eps, 2e-16), errors
    assert {each.dtype for each in [*floats(output), *found]} == {np.dtype(dtype)}


def test_extremes_are_pytorchs_without_a_warning() -> None:
    """Saturation, the kink, infinity and NaN; logits beyond all bounds."""
    line = np.array([-np.inf, -1000, -90, -1e-30, -0.0, 0, 1e-30, 90, 1000, np.inf, np.nan])
    rows = [[1e30, -1e30, 0], [-1e30, 1e30, 1e30], [HUGE, -HUGE, 0], [1, -np.inf, 2], [-np.inf, -np.inf, 5]]
    calls = [(Case(name, (), lambda rng: (line,), own={})) for name in NONLINEARITIES]
    for how in REDUCTIONS:
        logits = np.array(rows), np.array([0, 1, 0, 2, 2])
        calls.append(Case("CrossEntropyLoss", (), lambda rng, logits=logits: logits, {"reduction": how}, {}))
    for case in calls:
        for dtype in (np.float32, np.float64):
            ours, theirs = both(case, dtype)
            arguments = mapped(lambda value, dtype=dtype: value.astype(dtype), case.draw(np.random.default_rng(0)))
            output = ours(*arguments)
            d_output = np.linspace(1, 2, np.size(output)).astype(dtype).reshape(np.shape(output))
            tiny = 2 * np.finfo(dtype).tiny  # PyTorch rounds some numbers below the normal ones to 0
            pairs = zip([output, ours.backward(d_output)], by_pytorch(theirs, arguments, d_output), strict=True)
            for one, other in pairs:
                np.testing.assert_allclose(one, other, rtol=8 * np.finfo(dtype).eps, atol=tiny)


@EACH_CASE
def test_no_module_warns_of_numbers_beyond_the_dtype(case: Case) -> None:
    """Also where the caller has NumPy raise for them."""
    module, rng = case.make().float(), np.random.default_rng(0)
    for parameter in module.parameters():
        parameter.data = np.full_like(parameter.data, HUGE)

    def huge(value: Any) -> Any:
        found = np.copysign(np.float32(HUGE), value).astype(np.float32)
        return found if isinstance(value, np.ndarray) else found[()]

    arguments = mapped(huge, case.draw(rng))
    with np.errstate(all="raise"):
        output = module(*arguments)
        module.backward(*mapped(huge, upstream(module, output, rng)))


def assert_right(values: Array, exact: Array, roundings: int) -> None:
    """Relative to each value by itself."""
    assert np.abs(values / exact - 1).max() < roundings * max(np.finfo(values.dtype).eps, np.finfo(float).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128])
def test_sigmoid_keeps_its_digits_where_it_is_tiny_and_has_its_limits(dtype: type) -> None:
    points = np.array([-80, -30, -20, -17, -5, -1, -1e-3, 0, 1, 5, 30, 80], dtype)
    if dtype != np.complex128:
        exact = np.array([float(1 / (1 + Decimal(-float(value)).exp())) for value in points])
        found = points.copy()
        sigmoid(found)
        assert_right(found, exact, 4)  # the exponential (which takes half of it from a), the sum, the reciprocal
    a = np.array([-1e30, 1e30], dtype)
    with np.errstate(over="ignore"):
        sigmoid(a)
    assert np.array_equal(a, [0, 1])


def test_complex_steps_give_the_slopes_also_where_a_nonlinearity_saturates() -> None:
    values = np.array([-800.0, -30.0, -1.0, 0.0, 1.0, 30.0, 800.0])
    a, s, out = values + 1e-100j, values.copy(), values.astype(complex)
    sigmoid(a)
    with np.errstate(over="ignore"):
        sigmoid(s)
    assert np.allclose(a.imag / 1e-100, s * (1 - s), rtol=0, atol=1e-16)
    relu(values + 1e-100j, out=out)
    assert np.array_equal(out.imag / 1e-100, values > 0)
    for value in (-np.inf, -1.0, -0.0, 2.0, np.inf, np.nan):
        for a in (np.array([value]), np.array([value + 0j])):
            relu(a, out=(found := np.empty_like(a)))
            assert np.array_equal(found, np.maximum([value], 0), equal_nan=True)


def test_the_gradient_of_a_small_head_stays_accurate_in_float32() -> None:
    x, d_y = np.random.default_rng(0).normal(1, 1, size=(2, 10_000, 4)).astype(np.float32)
    linear = nn.Linear(4, 4)
    linear(x)
    linear.backward(d_y)
    exact = d_y.T.astype(np.longdouble) @ x
    assert np.linalg.norm(linear.weight.grad - exact) <= 3e-7 * np.linalg.norm(exact)  # PyTorch's 1e-7


# Embeddings.


def test_what_stands_between_does_not_change_how_the_gradients_of_a_row_are_added() -> None:
    rng = np.random.default_rng(0)
    k, d_y = rng.integers(0, 3, 1000), rng.normal(size=(1000, 2)).astype(np.float32)
    by_row, embedding, found = np.argsort(k, kind="stable"), nn.Embedding(3, 2), []
    for order in (slice(None), by_row):
        embedding(k[order])
        found += undone(embedding, (d_y[order],))
    np.testing.assert_array_equal(*found)  # to the last bit: another order would round otherwise


def test_the_padding_row_gets_no_gradient_even_from_nan_and_one_index_may_be_a_numpy_integer() -> None:
    embedding = nn.Embedding(5, 3, padding_idx=-1, dtype=np.float64, rng=0)
    embedding(np.array([4, 1]))
    (d_weight,) = undone(embedding, (np.array([[np.nan] * 3, [1.0, 2.0, 3.0]]),))
    assert not d_weight[4].any() and np.array_equal(d_weight[1], [1, 2, 3])
    assert np.array_equal(embedding(np.int64(3)), embedding.weight.data[3])
    (again,) = undone(embedding, (np.array([1.0, 2.0, 3.0]),))
    assert np.array_equal(again[3], [1, 2, 3])


# Dropout.


@given(shapes, st.sampled_from((0.0, 0.3, 0.5, 0.9, 1.0)), st.sampled_from("efdgD"), booleans, booleans, st.integers(0))
def test_dropout_drops_or_scales_and_backward_does_the_same(
    shape: tuple[int, ...], p: float, dtype: str, training: bool, fortran: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dropout = nn.Dropout(p, rng=rng).train(training)
    x, d_y = (rng.normal(size=shape).astype(dtype, order="F" if fortran else "C") for _ in range(2))
    x.flags.writeable = d_y.flags.writeable = False
    y, d_x = dropout(x), dropout.backward(d_y)
    assert (y.shape, y.dtype) == (d_x.shape, d_x.dtype) == (x.shape, x.dtype)
    dropped, acts = np.asarray(y == 0), training and p > 0
    assert (not dropped.any() or acts) and (dropped.all() or not (training and p == 1))
    if acts:
        assert (dropout.mask.shape, dropout.mask.dtype) == (x.shape, x.dtype)
        np.testing.assert_array_equal(dropout.mask == 0, dropped)
    else:
        assert dropout.mask is None
    kept = x.dtype.type(1 - p if training and p < 1 else 1)
    rtol = 4 * np.finfo(dtype).eps  # two roundings: of 1/(1 − p), and of the product
    np.testing.assert_allclose(y, np.where(dropped, 0, x / kept), rtol=rtol)
    np.testing.assert_allclose(d_x, np.where(dropped, 0, d_y / kept), rtol=rtol)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_share_of_dropped_elements_is_p_and_the_mean_stays(p: float) -> None:
    x, dropout = np.full((300, 300), 2.0), nn.Dropout(p, rng=0)
    assert dropout.mask is None
    y = dropout(x)
    deviation = np.sqrt(p * (1 - p) / x.size)  # of the share, over seeds
    assert abs((y == 0).mean() - p) < 4 * deviation
    assert abs(y.mean() - 2) < 4 * deviation * 2 / (1 - p)
    assert set(y.flat) == set(2 * torch.nn.Dropout(p)(torch.ones(1000, dtype=torch.float64)).numpy())
    assert (y != dropout(x)).any(), "each call draws anew"
    for dtype in "efgD":
        assert np.array_equal(nn.Dropout(p, rng=0)(x.astype(dtype)) == 0, y == 0), "the same seed drops the same"
    with pytest.raises(TypeError, match="positional"):
        nn.Dropout(p, True)  # in place, for PyTorch


# Losses.


def test_an_impossible_target_costs_infinity_without_a_warning() -> None:
    criterion, x = nn.CrossEntropyLoss(), np.array([[0.0, -np.inf]])
    assert criterion(x, np.array([1])) == np.inf
    np.testing.assert_array_equal(criterion.backward(), [[1, -1]])
    assert nn.CrossEntropyLoss(label_smoothing=0.1)(x, np.array([0])) == np.inf


def test_the_mean_over_nothing_is_nan_and_its_gradient_zero() -> None:
    for reduction, wanted in (("mean", np.nan), ("sum", 0), ("none", [0, 0, 0])):
        for smoothing in (0.0, 0.1):
            criterion = nn.CrossEntropyLoss(ignore_index=1, reduction=reduction, label_smoothing=smoothing)
            loss = criterion(np.full((3, 2), np.inf), np.array([1, 1, 1]))  # what is ignored may be anything
            np.testing.assert_array_equal(loss, wanted)
            d_x = criterion.backward(np.ones(3) if reduction == "none" else None)
            np.testing.assert_array_equal(d_x, np.zeros((3, 2)))


def test_long_means_stay_accurate_in_float32() -> None:
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(30_000, 4)).astype(np.float32), rng.integers(0, 4, 30_000)
    exact = nn.CrossEntropyLoss()(x.astype(np.longdouble), target)
    assert abs(nn.CrossEntropyLoss()(x, target) - exact) <= 3e-7 * exact  # added one after another: more than 1e-6


def test_targets_are_of_any_integer_dtype_and_weights_are_copied() -> None:
    x, target, weight = np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 2, 1, 2]), np.array([1.0, 2.0, 3.0])
    criterion = nn.CrossEntropyLoss(weight)
    expected = criterion(x, target)
    weight[...] = 0
    for integer in INTEGERS:
        assert criterion(x, target.astype(integer)) == expected
        assert criterion(x[0], target.astype(integer)[1]) == criterion(x[0], np.array(2))


def test_a_numpy_scalar_stands_for_an_array_without_dimensions() -> None:
    assert nn.MSELoss()(np.float32(3), np.float32(1)) == 4 and nn.ReLU()(np.float64(2)).shape == ()


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "MSELoss"])
def test_the_loss_is_a_scalar_and_its_gradient_may_be_any_number(name: str) -> None:
    case = CASES[name]
    criterion, arguments = case.make(), case.draw(np.random.default_rng(0))
    assert type(criterion(*mapped(np.float32, arguments))) is np.float32
    criterion(*arguments)
    d_x = criterion.backward(retain_graph=True)
    for two in (2, 2.0, np.float64(2), np.array(2.0)):
        np.testing.assert_array_equal(criterion.backward(two, retain_graph=True), 2 * d_x)
    criterion = case._replace(options={"reduction": "none"}).make()
    criterion(*(each[0] for each in arguments))
    with pytest.raises(RuntimeError, match=r"^expected d_loss of shape .*, got None$"):
        criterion.backward()
