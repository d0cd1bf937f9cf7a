"""The nonlinearities at their edges, in every dtype."""

from decimal import Decimal

import numpy as np
import pytest

from scratch.nn.activations import relu, sigmoid


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_sigmoid_keeps_its_digits_where_it_is_tiny(dtype: type) -> None:
    a = np.array([-80, -30, -20, -17, -5, -1, -1e-3, 0, 1, 5, 30, 80], dtype)
    exact = np.array([float(1 / (1 + Decimal(-float(value)).exp())) for value in a])
    result = a.copy()
    sigmoid(result)
    # Four roundings: of the exponential (which takes half of it from a), the sum and the reciprocal.
    assert np.abs(result / exact - 1).max() < 4 * max(np.finfo(dtype).eps, np.finfo(float).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128])
def test_sigmoid_has_its_limits(dtype: type) -> None:
    a = np.array([-1e30, 1e30], dtype)
    with np.errstate(over="ignore"):
        sigmoid(a)
    assert np.array_equal(a, [0, 1])


@pytest.mark.parametrize("value", [-np.inf, -1.0, -0.0, 0.0, 2.0, np.inf, np.nan])
def test_relu_is_the_maximum(value: float) -> None:
    for a in (np.array([value]), np.array([value + 0j])):
        out = np.empty_like(a)
        relu(a, out=out)
        assert np.array_equal(out, np.maximum([value], 0), equal_nan=True)


def test_relu_has_no_slope_where_it_is_not_active() -> None:
    a = np.array([-1 + 1e-100j, 0 + 1e-100j, 1 + 1e-100j])
    out = np.empty_like(a)
    relu(a, out=out)
    assert np.array_equal(out.imag, [0, 0, 1e-100])


def test_sigmoid_has_its_complex_step_derivative_also_where_it_saturates() -> None:
    values = np.array([-800.0, -30.0, -1.0, 0.0, 1.0, 30.0, 800.0])
    a, s = values + 1e-100j, values.copy()
    sigmoid(a)
    with np.errstate(over="ignore"):
        sigmoid(s)
    assert np.allclose(a.imag / 1e-100, s * (1 - s), rtol=0, atol=1e-16)
