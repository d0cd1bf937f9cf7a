"""The losses against PyTorch and against complex steps. (What is refused: reference/bad_calls.md)"""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from scratch import nn

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
REDUCTIONS = ["mean", "sum", "none"]


def by_pytorch(function, prediction, target, d_loss, **options):
    """The loss and the gradient with respect to the prediction."""
    prediction = torch.tensor(prediction, requires_grad=True)
    loss = function(prediction, torch.tensor(target), **options)
    loss.backward(torch.tensor(d_loss))
    return loss.detach().numpy(), prediction.grad.numpy()


def assert_close(got, wanted, scale):
    """Same shape and dtype, NaN at the same places, and a difference of small norm, relative to that of `scale`.

    The bound is that of 4000 roundings, 4.4e-13 in float64: logits here are as large as 600, so log p, a difference of
    such numbers, has an error of several hundred roundings, and so has p = exp(log p), relatively.
    """
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    assert np.linalg.norm(np.nan_to_num(got - wanted)) <= 2000 * np.finfo(got.dtype).eps * np.linalg.norm(scale)


@st.composite
def cross_entropies(draw, dtype):
    """The options of a CrossEntropyLoss, a prediction, a target and d_loss."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    C = draw(st.integers(1, 6))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    ignore_index = draw(st.sampled_from([-100, 255, 0] if C > 1 else [-100, 255]))
    target = rng.integers(1 if ignore_index == 0 else 0, C, shape)
    target = np.where(rng.random(shape) < draw(st.sampled_from([0.0, 0.5])), ignore_index, target)
    reduction = draw(st.sampled_from(REDUCTIONS))
    options = {
        "weight": rng.uniform(0.2, 3, C).astype(dtype) if draw(st.booleans()) else None,
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 0.7, 1.0])),
    }
    x = rng.normal(size=(*shape[:1], C, *shape[1:])) * draw(st.sampled_from([0.1, 1.0, 10.0, 100.0]))
    d_loss = rng.normal(size=shape if reduction == "none" else ())
    return options, x.astype(dtype), target, np.asarray(d_loss).astype(dtype)


def shares(options, x, target):
    """How much each target counts: its weight, or the largest with smoothing, and with 'mean' as a part of the total.

    A loss near 0 and a gradient near 0 are differences of numbers of this size, and their errors are relative to it.
    """
    weight = np.ones(x.shape[min(1, x.ndim - 1)]) if options["weight"] is None else options["weight"]
    counts = target != options["ignore_index"]
    total = weight[target[counts]].sum() if options["reduction"] == "mean" and counts.any() else 1
    return counts * weight.max() / total


@DTYPES
@given(data=st.data(), layout=st.sampled_from(["C", "F", "read-only"]))
def test_cross_entropy_matches_pytorch(dtype, data, layout):
    options, x, target, d_loss = data.draw(cross_entropies(dtype))
    weight = options["weight"]
    wanted_loss, wanted_d_x = by_pytorch(
        torch.nn.functional.cross_entropy,
        x,
        target,
        d_loss,
        **{**options, "weight": None if weight is None else torch.tensor(weight)},
    )
    criterion = nn.CrossEntropyLoss(**options)
    x, target = (array.copy("F" if layout == "F" else "C") for array in (x, target))
    x.flags.writeable = target.flags.writeable = layout != "read-only"
    loss, d_x = criterion(x, target), criterion.backward(d_loss, retain_graph=True)
    share = shares(options, x, target)
    assert_close(loss, wanted_loss, share if options["reduction"] == "none" else share.sum())
    assert_close(d_x, wanted_d_x, share * d_loss)
    np.testing.assert_array_equal(criterion.backward(d_loss), d_x)


@DTYPES
@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    reduction=st.sampled_from(REDUCTIONS),
    layout=st.sampled_from(["C", "F", "read-only"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_mean_squared_error_matches_pytorch(dtype, shape, reduction, layout, seed):
    rng = np.random.default_rng(seed)
    x, t = (rng.normal(size=shape, scale=3).astype(dtype, order="F" if layout == "F" else "C") for _ in range(2))
    x.flags.writeable = t.flags.writeable = layout != "read-only"
    d_loss = np.asarray(rng.normal(size=shape if reduction == "none" else ())).astype(dtype)
    wanted_loss, wanted_d_x = by_pytorch(torch.nn.functional.mse_loss, x, t, d_loss, reduction=reduction)
    criterion = nn.MSELoss(reduction)
    loss, d_x = criterion(x, t), criterion.backward(d_loss, retain_graph=True)
    assert_close(loss, wanted_loss, np.nan_to_num(wanted_loss))  # a sum of squares: nothing cancels
    assert_close(d_x, wanted_d_x, wanted_d_x)
    np.testing.assert_array_equal(criterion.backward(d_loss), d_x)


def slope(criterion, x, target, d_loss, direction):
    """The derivative of Σ d_loss · loss along a direction, by a complex step, which has no error of its own."""
    step = 1e-200
    return np.sum(d_loss * criterion(x + 1j * step * direction, target)).imag / step


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_gradient_of_cross_entropy_is_the_complex_step_derivative(dtype, data, seed):
    options, x, target, d_loss = data.draw(cross_entropies(dtype))
    assume((target != options["ignore_index"]).any())
    criterion = nn.CrossEntropyLoss(**options)
    direction = np.random.default_rng(seed).normal(size=x.shape).astype(dtype)
    assert criterion(x, target).dtype == dtype
    got = np.sum(criterion.backward(d_loss) * direction)
    scale = np.linalg.norm(shares(options, x, target) * d_loss) * np.linalg.norm(direction)
    assert_close(got, slope(criterion, x, target, d_loss, direction), scale)


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
@given(seed=st.integers(0, 2**32 - 1), reduction=st.sampled_from(REDUCTIONS))
def test_gradient_of_mean_squared_error_is_the_complex_step_derivative(dtype, seed, reduction):
    x, t, direction, d_loss = np.random.default_rng(seed).normal(size=(4, 3, 5)).astype(dtype)
    d_loss = d_loss if reduction == "none" else d_loss[0, 0]
    criterion = nn.MSELoss(reduction)
    assert criterion(x, t).dtype == dtype
    d_x = criterion.backward(d_loss)
    scale = np.linalg.norm(d_x) * np.linalg.norm(direction)
    assert_close(np.sum(d_x * direction), slope(criterion, x, t, d_loss, direction), scale)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@DTYPES
def test_huge_and_infinite_logits_give_pytorchs_answers_without_warnings(dtype, reduction):
    rows = [[1e30, -1e30, 0], [-1e30, 1e30, 1e30], [3e38, -3e38, 0], [1, -np.inf, 2], [-np.inf, -np.inf, 5]]
    x, target = np.array(rows, dtype), np.array([0, 1, 0, 2, 2])
    d_loss = np.asarray(np.arange(1.0, 6) if reduction == "none" else 2.0).astype(dtype)
    wanted_loss, wanted_d_x = by_pytorch(torch.nn.functional.cross_entropy, x, target, d_loss, reduction=reduction)
    assert np.isfinite(wanted_loss).all()
    criterion = nn.CrossEntropyLoss(reduction=reduction)
    assert_close(criterion(x, target), wanted_loss, wanted_loss)
    assert_close(criterion.backward(d_loss), wanted_d_x, wanted_d_x)


def test_an_impossible_target_costs_infinity_without_a_warning():
    criterion = nn.CrossEntropyLoss()
    assert criterion(np.array([[0.0, -np.inf]]), np.array([1])) == np.inf
    np.testing.assert_array_equal(criterion.backward(), [[1, -1]])
    assert nn.CrossEntropyLoss(label_smoothing=0.1)(np.array([[0.0, -np.inf]]), np.array([0])) == np.inf


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("reduction", "wanted"), [("mean", np.nan), ("sum", 0), ("none", [0, 0, 0])])
def test_the_mean_over_nothing_is_nan_and_its_gradient_zero(label_smoothing, reduction, wanted):
    criterion = nn.CrossEntropyLoss(ignore_index=1, reduction=reduction, label_smoothing=label_smoothing)
    loss = criterion(np.full((3, 2), np.inf), np.array([1, 1, 1]))  # what is ignored may be anything
    np.testing.assert_array_equal(loss, wanted)
    np.testing.assert_array_equal(criterion.backward(np.ones(3) if reduction == "none" else None), np.zeros((3, 2)))


def test_long_means_stay_accurate_in_float32():
    x, target = np.random.default_rng(0).normal(size=(30_000, 4)), np.random.default_rng(1).integers(0, 4, 30_000)
    x = x.astype(np.float32)
    exact = nn.CrossEntropyLoss()(x.astype(np.longdouble), target)
    assert abs(nn.CrossEntropyLoss()(x, target) - exact) <= 3e-7 * exact  # added one after another: more than 1e-6


@pytest.mark.parametrize("integer", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64])
def test_targets_of_every_integer_dtype(integer):
    x = np.random.default_rng(0).normal(size=(4, 3))
    target = np.array([0, 2, 1, 2])
    assert nn.CrossEntropyLoss()(x, target.astype(integer)) == nn.CrossEntropyLoss()(x, target)
    assert nn.CrossEntropyLoss()(x[0], integer(2)) == nn.CrossEntropyLoss()(x[0], np.array(2))


X = np.random.default_rng(0).normal(size=(4, 3))
CASES = {
    "cross-entropy": (nn.CrossEntropyLoss, np.array([0, 2, -100, 1]), (4,)),
    "mean squared error": (nn.MSELoss, np.random.default_rng(1).normal(size=(4, 3)), (4, 3)),
}
EACH_LOSS = pytest.mark.parametrize(("loss_class", "target", "shape"), CASES.values(), ids=CASES)


@EACH_LOSS
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_callers_arrays_are_copied_and_what_was_handed_out_never_changes(loss_class, target, shape, reduction):
    d_loss = np.random.default_rng(2).normal(size=shape if reduction == "none" else ())
    weight = {"weight": np.array([1.0, 2.0, 3.0])} if loss_class is nn.CrossEntropyLoss else {}
    wanted_criterion = loss_class(reduction=reduction, **{name: array.copy() for name, array in weight.items()})
    wanted = [wanted_criterion(X, target), wanted_criterion.backward(d_loss)]
    criterion = loss_class(reduction=reduction, **weight)
    x, target = X.copy(), target.copy()
    for array in weight.values():
        array[...] = 0
    loss = criterion(x, target)
    x[...] = target[...] = 1
    handed_out = [loss, criterion.backward(d_loss)]
    criterion(x, target)
    criterion.backward(2 * d_loss)
    for ours, theirs in zip(handed_out, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@EACH_LOSS
def test_the_loss_is_a_scalar_and_its_gradient_may_be_any_number(loss_class, target, shape):
    criterion = loss_class()
    assert (
        type(criterion(X.astype(np.float32), target if target.dtype == int else target.astype(np.float32)))
        is np.float32
    )
    criterion(X, target)
    d_x = criterion.backward(retain_graph=True)
    for two in (2, 2.0, np.float64(2), np.array(2.0)):
        np.testing.assert_array_equal(criterion.backward(two, retain_graph=True), 2 * d_x)


@pytest.mark.parametrize(
    ("loss_class", "prediction", "target"),
    [
        (nn.CrossEntropyLoss, X[0], np.array(1)),
        (nn.MSELoss, np.array(1.0), np.array(2.0)),
    ],
)
def test_without_a_reduction_the_gradient_may_not_be_left_out(loss_class, prediction, target):
    criterion = loss_class(reduction="none")
    criterion(prediction, target)
    with pytest.raises(RuntimeError, match=r"^expected d_loss of shape .*, got None$"):
        criterion.backward()


def test_show_no_arguments_as_pytorch():
    assert repr(nn.CrossEntropyLoss(ignore_index=3)) == repr(torch.nn.CrossEntropyLoss(ignore_index=3))
    assert repr(nn.MSELoss("sum")) == repr(torch.nn.MSELoss(reduction="sum"))
