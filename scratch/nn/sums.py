"""Long sums, for the gradients of biases and weights: over all steps and sequences, accurate also in float32.

Added up one after the other, N numbers lose up to log₂ N bits; added up in parts, few. NumPy adds in parts along an
axis whose numbers lie next to each other in memory, but not along any other; and its matrix product does so for large
matrices, but not for small ones.
"""

from math import isqrt

import numpy as np

from ..types import Array


def sum_of_rows(rows: Array) -> Array:
    """Σ_n rows_n: (N, F) to (F,), with a rounding error that grows with log N."""
    while len(rows) > 8 and not rows.flags.f_contiguous:
        n = len(rows) // 8
        partial = rows[: 8 * n].reshape(8, n, rows.shape[1]).sum(axis=0)
        rows = np.concatenate([partial, rows[8 * n :]])
    total: Array = rows.sum(axis=0)
    return total


def sum_of_outer_products(columns: Array, rows: Array) -> Array:
    """Σ_n columns_n rows_nᵀ: (R, N) and (N, F) to (R, F). Small products are made and added up in parts of about √N."""
    is_small = columns.shape[0] * rows.shape[1] <= 4096
    part = max(256, isqrt(len(rows))) if is_small else len(rows)
    total: Array = columns[:, :part] @ rows[:part]
    for start in range(part, len(rows), part):
        total += columns[:, start : start + part] @ rows[start : start + part]
    return total
