"""How far forecasts are from the truth, in the unit of the series.

(1)  RMSE = √(mean of (x̂ − x)²)      counts large errors for more than small ones
(2)  MAE  = mean of |x̂ − x|
"""

from math import floor, isfinite, log10

import numpy as np

from ..types import Array


def rmse(forecast: Array, truth: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Equation (1), over all elements or over `axis`. forecast: truth's shape, or one that broadcasts with it."""
    error = np.abs(forecast - truth)
    largest = error.max() or 1.0  # the squares of what is divided by it neither over- nor underflow
    return np.asarray(largest * np.sqrt(np.square(error / largest).mean(axis)))  # (1)


def mae(forecast: Array, truth: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Equation (2), as `rmse`."""
    return np.asarray(np.abs(forecast - truth).mean(axis))  # (2)


def written(value: float, scale: float) -> str:
    """A value as text, to three digits of a scale above 0, such as the standard deviation of the series."""
    decimals = 2 - floor(log10(scale)) if isfinite(scale) else -99
    return f"{value:,.{max(decimals, 0)}f}" if -10 < decimals < 10 else f"{value:.4g}"
