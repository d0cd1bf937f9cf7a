"""Products in blocks are the products, whatever the sizes and the memory order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratch.nn import products
from scratch.nn.products import TransposedProduct, multiply, rows_of_a_block

sizes = st.sampled_from([1, 2, 7, 8, 24, 64, 96, 130])


@given(sizes, sizes, sizes, st.sampled_from([1, 3, 4]), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_products_are_right(rows: int, terms: int, columns: int, parts: int, narrower: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "SMALL", 20_000)  # so that these sizes are cut
        rows_of_a_block.cache_clear()
        matrix = rng.standard_normal((parts * rows, terms))
        right = rng.standard_normal((terms, columns + 3))[:, 1 : columns + 1]  # columns of a wider matrix
        out = np.empty((parts * rows, columns))
        multiply(matrix, right, out=out)
        assert np.allclose(out, matrix @ right, rtol=0, atol=1e-12)

        width = max(1, columns - narrower)  # a packed batch grows narrower
        right = rng.standard_normal((parts * rows, width))
        out = np.empty((terms, width))
        assert TransposedProduct(matrix, parts, columns).multiply(right, out=out) is out
        assert np.allclose(out, matrix.T @ right, rtol=0, atol=1e-12)
    rows_of_a_block.cache_clear()


@pytest.mark.parametrize(("rows", "terms", "columns"), [(1024, 256, 16), (4096, 1024, 32), (1760, 1760, 16)])
def test_blocks_are_small_and_fill_the_matrix(rows: int, terms: int, columns: int) -> None:
    m = rows_of_a_block(rows, terms, columns)
    assert rows % m == 0 and 8 <= m < rows and m * terms * columns <= products.SMALL


def test_a_matrix_that_blocks_do_not_fit_stays_whole() -> None:
    assert rows_of_a_block(1009, 1000, 16) == 1009  # a prime
    assert rows_of_a_block(4096, 1024, 1) == 4096  # one column
    assert rows_of_a_block(4096, 4096, 128) == 4096  # too few rows in a block
