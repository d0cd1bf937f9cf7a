"""The comparison must be able to fail, and must say what failed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import TOLERANCE, assert_close, compare, relative_error


@given(st.integers(0, 2**32 - 1), st.floats(-100, 100), st.floats(1e-14, 1e-1))
def test_error_is_relative_and_normwise(seed: int, exponent: float, size: float) -> None:
    rng = np.random.default_rng(seed)
    exact, change = rng.standard_normal((2, 3, 4))
    change *= size * np.linalg.norm(exact) / np.linalg.norm(change)
    scale = 10.0**exponent
    # Rounding of the sum, 1e-16, is all that separates the error from the size.
    assert relative_error(scale * (exact + change), scale * exact) == pytest.approx(size, abs=1e-15, rel=1e-6)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_extreme_scales_neither_overflow_nor_vanish(size: float) -> None:
    exact = np.array([3.0, 4.0]) * size
    assert relative_error(exact * [1.0, 2.0], exact) == pytest.approx(0.8)


def test_special_values() -> None:
    zero, one, nan = np.zeros(2), np.ones(2), np.array([np.nan, 1.0])
    assert relative_error(zero, zero) == 0
    assert relative_error(np.empty(0), np.empty(0)) == 0
    assert relative_error(np.array([1 + 5j]), np.array([1 + 0j])) == 5
    for ours, theirs in [(one, zero), (nan, one), (one, nan), (nan, nan), (one * np.inf, one * np.inf)]:
        assert relative_error(ours, theirs) == np.inf


def test_shape_and_dtype_come_before_values() -> None:
    theirs = {name: np.ones((2, 3)) for name in ("same", "shape", "dtype", "missing")}
    ours = {"same": np.ones((2, 3)), "shape": np.ones((3, 2)), "dtype": np.ones((2, 3), np.float32), "more": np.ones(1)}
    found = {name: what for name, error, what, _ in compare(ours, theirs) if error}
    assert found.keys() == {"shape", "dtype", "missing", "more"}
    assert "(3, 2)" in found["shape"]
    assert "float32" in found["dtype"]
    assert "theirs" in found["missing"]
    assert "ours" in found["more"]


def test_failure_names_the_tensor_and_shows_both_values() -> None:
    theirs = {"good": np.ones(3), "d_weight_hh_l1": np.arange(6.0).reshape(2, 3)}
    ours = {"good": np.ones(3), "d_weight_hh_l1": theirs["d_weight_hh_l1"] + [[0, 0, 0], [0, 0.5, 0]]}
    with pytest.raises(AssertionError, match=r"d_weight_hh_l1.*\(1, 1\): 4.5, expected 4.0") as failure:
        assert_close(ours, theirs)
    assert "good" not in str(failure.value)
    assert_close(ours, theirs, {"d_weight_hh_l1": 0.1})
    with pytest.raises(AssertionError):
        assert_close(ours, theirs, {"other": 0.1})
    assert TOLERANCE == 1e-12, "the promise"
    assert_close({"x": np.full(100, 1 + 0.9e-12)}, {"x": np.ones(100)})
    with pytest.raises(AssertionError):
        assert_close({"x": np.full(100, 1 + 1.1e-12)}, {"x": np.ones(100)})
