"""Long sums, for the gradients of biases: Σ over all rows of a matrix, accurate also in float32.

Added up one after the other, N numbers lose up to log₂ N bits. PyTorch adds in parts, and so does NumPy along an axis
whose numbers lie next to each other in memory, but not along any other.
"""

import numpy as np

from ..types import Array


def sum_of_rows(rows: Array) -> Array:
    """Σ_n rows_n: (N, F) to (F,), with a rounding error that grows with log N."""
    while len(rows) > 16 and not rows.flags.f_contiguous:
        n = len(rows) // 16
        partial = rows[: 16 * n].reshape(16, n, rows.shape[1]).sum(axis=0)
        rows = np.concatenate([partial, rows[16 * n :]])
    total: Array = rows.sum(axis=0)
    return total
