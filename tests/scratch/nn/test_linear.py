"""Linear against PyTorch: outputs, gradients and the start. (What is refused: reference/bad_calls.md)"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scratch import nn
from scratch.nn.linear import sum_of_rows

# A product of rows of k numbers errs by at most k·ε of the product of their absolute values (Higham 2002, section 3.1),
# in either library. k is at most 65 here, and ε is 1.1e-16 or 6.0e-8.
BOUNDS = pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 1e-5)])


def by_pytorch(x, weight, bias, d_y):
    """y and the gradients with respect to x, weight and bias."""
    leaves = [torch.tensor(array, requires_grad=True) for array in (x, weight, bias) if array is not None]
    y = torch.nn.functional.linear(*leaves)
    y.backward(torch.tensor(d_y))
    return [y.detach().numpy(), *[leaf.grad.numpy() for leaf in leaves]]


def run(linear, x, d_y, retain_graph=False):
    """The same by our module, from no gradients."""
    linear.zero_grad()
    y, d_x = linear(x), linear.backward(d_y, retain_graph=retain_graph)
    return [y, d_x, *[parameter.grad for parameter in linear.parameters()]]


def laid_out(array, layout):
    """The same values, elsewhere in memory."""
    if layout == "Fortran":
        return np.asfortranarray(array)
    if layout == "strided":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    array.flags.writeable = layout != "read-only"
    return array


layouts = st.sampled_from(["plain", "Fortran", "strided", "read-only"])


@BOUNDS
@given(
    leading=st.lists(st.integers(0, 4), max_size=3),
    in_features=st.integers(0, 5),
    out_features=st.integers(0, 5),
    bias=st.booleans(),
    layout=layouts,
    seed=st.integers(0, 2**32 - 1),
)
def test_outputs_and_gradients_match_pytorch(dtype, bound, leading, in_features, out_features, bias, layout, seed):
    rng = np.random.default_rng(seed)
    linear = nn.Linear(in_features, out_features, bias, dtype, rng)
    x = rng.normal(size=(*leading, in_features)).astype(dtype)
    d_y = rng.normal(size=(*leading, out_features)).astype(dtype)
    parameters = [linear.weight.data, linear.bias.data if bias else None]
    wanted = by_pytorch(x, *parameters, d_y)
    scales = by_pytorch(*[None if array is None else np.abs(array) for array in (x, *parameters, d_y)])
    got = run(linear, laid_out(x, layout), laid_out(d_y, layout))
    for ours, theirs, scale in zip(got, wanted, scales, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert np.linalg.norm(ours - theirs) <= bound * np.linalg.norm(scale)


@pytest.fixture
def linear():
    return nn.Linear(3, 2, dtype=np.float64, rng=0)


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(4, 5, 3))


@pytest.fixture
def d_y():
    return np.random.default_rng(2).normal(size=(4, 5, 2))


def test_long_sums_stay_accurate_in_float32():
    # Added one after another, 30,000 numbers around 1 lose more than 1e-6; in parts of sixteen, some 1e-7.
    rows = np.random.default_rng(0).normal(1, 1, (30_000, 3)).astype(np.float32)
    exact = rows.astype(np.longdouble).sum(axis=0)
    np.testing.assert_allclose(sum_of_rows(rows), exact, rtol=4e-7)


@pytest.mark.parametrize("dtype", [np.longdouble, np.complex128])
def test_other_dtypes_compute_the_same(dtype, linear, x, d_y):
    other = nn.Linear(3, 2, dtype=dtype)
    other.load_state_dict(linear.state_dict())
    for ours, wanted in zip(run(other, x.astype(dtype), d_y.astype(dtype)), run(linear, x, d_y), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("bias", [True, False])
def test_starts_like_pytorch(bias):
    ours, theirs = nn.Linear(100, 300, bias, rng=0), torch.nn.Linear(100, 300, bias)
    assert {name: array.shape for name, array in ours.state_dict().items()} == {
        name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()
    }
    assert repr(ours) == repr(theirs)
    for array in ours.state_dict().values():  # uniform in ±0.1: its bounds are nearly reached, on both sides
        assert array.dtype == np.float32
        assert -0.1 <= array.min() < -0.099
        assert 0.099 < array.max() <= 0.1
    np.testing.assert_array_equal(nn.Linear(100, 300, rng=0).weight.data, ours.weight.data)


def test_one_input_starts_within_one_and_no_input_starts_at_zero():
    one, none = nn.Linear(1, 300, rng=0), nn.Linear(0, 300, rng=0)
    assert 0.98 < np.abs(one.weight.data).max() <= 1
    assert 0.98 < np.abs(one.bias.data).max() <= 1
    assert none.weight.shape == (300, 0)
    assert not none.bias.data.any()
