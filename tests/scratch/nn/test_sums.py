"""Long sums keep their digits in float32, in every memory order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratch.nn.sums import sum_of_outer_products, sum_of_rows


@given(st.integers(0, 5000), st.integers(1, 9), st.integers(1, 9), st.sampled_from("CF"), st.integers(0, 2**32 - 1))
def test_sums_are_right(n: int, r: int, f: int, order: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns, rows = np.asarray(rng.standard_normal((r, n)), order=order), rng.standard_normal((n, f))
    # One rounding for each of up to log N + 17 additions in a row, times the size of what is added.
    assert np.allclose(sum_of_rows(np.asarray(rows, order=order)), rows.sum(axis=0), rtol=0, atol=1e-14 * (n + 1))
    product = sum_of_outer_products(columns, rows)
    assert np.allclose(product, np.einsum("rn,nf->rf", columns, rows), rtol=0, atol=1e-14 * (n + 1))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n", [2_000, 100_000])
def test_sums_keep_their_digits(n: int, order: str) -> None:
    """Numbers of one sign, all added: in turn they would lose 1e-6 and more."""
    rng = np.random.default_rng(0)
    rows = np.asarray(rng.random((n, 16), np.float32), order=order)
    columns = np.asarray(rng.random((16, n), np.float32), order=order)
    exact = rows.sum(axis=0, dtype=np.float64)
    assert np.abs(sum_of_rows(rows) / exact - 1).max() < 5e-7
    exact = columns.astype(np.float64) @ rows.astype(np.float64)
    product = sum_of_outer_products(columns, rows)
    assert product.dtype == np.float32
    assert np.abs(product / exact - 1).max() < (1e-6 if n == 2_000 else 2e-6)
