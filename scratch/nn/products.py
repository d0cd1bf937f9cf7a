"""The products with W_hh, of which a recurrence makes one in every step, one after the other.

A product of a matrix with few columns is mostly spent on copying the matrix: OpenBLAS lays its factors out anew for the
sake of large products. Up to a million multiplications it has kernels that take the factors as they lie, for processors
with AVX-512. They run on one core; so, where a core has the product to itself, it is made in blocks of that size.
"""

from collections.abc import Callable

import numpy as np

from ..types import Array
from . import team

BLOCK = 1_000_000
"""Multiplications up to which OpenBLAS takes the factors as they lie."""
FEWEST_ROWS = 4
"""In blocks of fewer rows it is slower than by copying."""
WORTH_TRANSPOSING = 8
"""Products after which a transposed copy of the matrix has paid."""


def rows_of_a_block(rows: int, inner: int, columns: int) -> int:
    """Into blocks of how many rows a (rows, inner) matrix is best cut for so many columns: a divisor of rows."""
    if columns < 2 or not team.has_small_products():
        return rows
    most = min(rows, BLOCK // (inner * columns))
    best = next((size for size in range(most, FEWEST_ROWS - 1, -1) if rows % size == 0), rows)
    return best


Multiply = Callable[[Array, Array], Array]
"""(v, out): fills out with the product of a matrix and v, and returns it."""


class Product:
    """W v, for one W and many v. W: (…, R, K), v: (K, B) or (…, K, B), out: (…, R, B)."""

    def __init__(self, W: Array) -> None:
        self.W = W

    def for_columns(self, B: int) -> Multiply:
        """The way that is best for so many columns."""
        W = self.W
        *of, rows, inner = W.shape
        size = rows_of_a_block(rows, inner, B)
        if size == rows:
            return lambda v, out: np.matmul(W, v, out=out)
        blocks = W.reshape(*of, rows // size, size, inner)
        shape = (*of, rows // size, size, B)

        def multiply(v: Array, out: Array) -> Array:
            np.matmul(blocks, v[..., None, :, :], out=out.reshape(shape))
            return out

        return multiply


class TransposedProduct:
    """Rows of W_hhᵀ d_a, for one W_hh and many d_a. W_hh: (G·H, P), d_a: (G, H, B), out: (rows, B)."""

    def __init__(self, W_hh: Array, gates: int, rows: slice, times: int) -> None:
        self.W = W_hh[:, rows].T  # rows, G·H
        self.of_gates: Product | None = None
        if times >= WORTH_TRANSPOSING and team.has_small_products():
            # Gate by gate, because a block of shorter rows has more of them.
            of_gates = W_hh.reshape(gates, len(W_hh) // gates, -1)[:, :, rows]
            self.of_gates = Product(np.ascontiguousarray(of_gates.transpose(0, 2, 1)))  # G, rows, H

    def for_columns(self, B: int) -> Multiply:
        """The way that is best for so many columns."""
        if self.of_gates is None:
            W, shape = self.W, (self.W.shape[1], B)
            return lambda d_a, out: np.matmul(W, d_a.reshape(shape), out=out)
        gates, rows, _ = self.of_gates.W.shape
        multiply, terms = self.of_gates.for_columns(B), np.empty((gates, rows, B), self.W.dtype)

        def multiply_and_add(d_a: Array, out: Array) -> Array:
            multiply(d_a, terms)
            return np.add.reduce(terms, axis=0, out=out)

        return multiply_and_add
