"""Products of one matrix with a few columns, as they are made in the loop over time.

OpenBLAS, which makes NumPy's products, first copies both matrices into the order in which its inner loop reads them.
For a product with many columns that costs next to nothing. With the 16 or 64 columns of a batch, a large matrix is
copied for little work, and in every step again. But a product of at most a million multiplications is made without
any copy (on processors for which OpenBLAS has such kernels; on others cutting costs little). So the matrix is cut into
blocks of rows, each small enough, and NumPy multiplies one block after the other. Every number comes out as the same
sum of the same terms; in which order they are added was never promised.
"""

from functools import lru_cache

import numpy as np

from ..types import Array

SMALL = 1_000_000
"""The most multiplications of a product that is made without copying."""


@lru_cache
def rows_of_a_block(rows: int, terms: int, columns: int) -> int:
    """Into how many rows a (rows, terms) matrix is cut for a product with (terms, columns); all if it is not cut.

    A block of under 8 rows would be slower than the copy. A single column needs no copy in the first place.
    """
    if columns <= 1 or rows * terms * columns <= SMALL:
        return rows
    most = min(128, SMALL // (terms * columns))
    return next((m for m in range(most, 7, -1) if rows % m == 0), rows)


def multiply(matrix: Array, columns: Array, out: Array) -> None:
    """Fill `out` with `matrix @ columns`: (R, K) and (…, K, B) to (…, R, B)."""
    R, K = matrix.shape
    m = rows_of_a_block(R, K, columns.shape[-1])
    if m == R:
        np.matmul(matrix, columns, out=out)
    else:
        blocks_of_out = out.reshape(*out.shape[:-2], R // m, m, out.shape[-1])  # views: one axis is split
        np.matmul(matrix.reshape(R // m, m, K), columns[..., None, :, :], out=blocks_of_out)


class TransposedProduct:
    """Products with the transpose of one matrix, which is laid out for them once.

    matrix: (parts·R, K). The parts·R terms of each sum are added up in `parts` sums of R, so that a block of a million
    multiplications has more rows.
    """

    def __init__(self, matrix: Array, parts: int, columns: int) -> None:
        self.matrix = matrix
        R, K = len(matrix) // parts, matrix.shape[1]
        m = rows_of_a_block(K, R, columns)
        self.is_cut = columns > 1 and len(matrix) * K * columns > SMALL and R * m * columns <= SMALL
        if self.is_cut and m >= 32:
            self.blocks = matrix.reshape(parts, R, K // m, m).transpose(0, 2, 3, 1)  # parts, K/m, m, R
        elif self.is_cut:  # short rows: quick only if they lie in one piece
            self.blocks = transposed(matrix).reshape(K // m, m, parts, R).transpose(2, 0, 1, 3)

    def multiply(self, columns: Array, out: Array) -> Array:
        """Fill `out` with `matrix.T @ columns`, (parts·R, B) to (K, B), and return it."""
        B = columns.shape[1]
        if not self.is_cut or B < 2:
            return np.matmul(self.matrix.T, columns, out=out)
        parts, n, m, R = self.blocks.shape
        products = np.matmul(self.blocks, columns.reshape(parts, 1, R, B))
        products.sum(axis=0, out=out.reshape(n, m, B))
        return out


def transposed(matrix: Array) -> Array:
    """The transpose, in C order. Copied in strips: column by column every number would lie on a page of its own."""
    result = np.empty(matrix.shape[::-1], matrix.dtype)
    for start in range(0, len(matrix), 64):
        result[:, start : start + 64] = matrix[start : start + 64].T
    return result
