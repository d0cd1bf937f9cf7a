"""What a forecast is measured against and by: forecasts that need no model, and two errors.

What cannot beat these forecasts has learned nothing worth having.

The value x[t + j], j = 0, …, K − 1, is forecast at the origin t, that is from values before t alone, as

(1)  last value:      x[t − 1]
(2)  seasonal naive:  x[t + j − s m]      one season s before, or as many, m = ⌊j / s⌋ + 1, as lead before t

The season may be known (12 for months, 7 for days), or it is looked for: after a straight line has been taken off, it
is the lag s of the highest peak of the autocorrelation

(3)  r_s = Σ_t x[t] x[t + s] / Σ_t x[t]²

where a peak is higher than both its neighbours and than 2 / √N, which chance alone seldom exceeds. The errors, in the
unit of the series, are

(4)  RMSE = √(mean of (x̂ − x)²)      counts large errors for more than small ones
(5)  MAE  = mean of |x̂ − x|

Sources: Hyndman and Athanasopoulos, Forecasting: Principles and Practice, sections 2.8, 5.2 and 5.8.
"""

from math import sqrt

import numpy as np

from ..types import Array


def last_value(values: Array, origins: Array, horizon: int) -> Array:
    """Equation (1). values: (N,), origins: (B,), each at least 1. Returns (B, K)."""
    return np.repeat(values[origins - 1][:, np.newaxis], horizon, axis=1)  # (1)


def seasonal_naive(values: Array, origins: Array, horizon: int, season: int) -> Array:
    """Equation (2). values: (N,), origins: (B,). Returns (B, K).

    Raises ValueError for a season that is not from 1 to the first origin: there would be no value to repeat.
    """
    if not 1 <= season <= origins.min():
        raise ValueError(
            f"expected a season from 1 to {origins.min()}, the values before the first origin, got {season}"
        )
    ahead = np.arange(horizon)  # j
    forecast: Array = values[origins[:, np.newaxis] + ahead - season * (ahead // season + 1)]  # (2)
    return forecast


def autocorrelation(values: Array) -> Array:
    """Equation (3) for the lags 0, …, N // 2, of what is left of the values without their straight line.

    values: (N,), at least 2. Zeros, if nothing is left.
    """
    places = np.arange(len(values)) - (len(values) - 1) / 2
    level = values - values.mean()
    rest = level - places * (places @ level / (places @ places))
    total = rest @ rest
    if total <= len(values) * np.square(np.abs(values).max() * 1e-12):  # a straight line, but for rounding
        return np.zeros(len(values) // 2 + 1)
    spectrum = np.fft.rfft(rest, 2 * len(rest))  # N zeros behind, so that the end does not meet the beginning
    products = np.fft.irfft(np.square(np.abs(spectrum)))[: len(rest) // 2 + 1]  # Σ_t x[t] x[t + s]: Wiener–Khinchin
    return np.asarray(products / total)  # (3)


def find_season(values: Array) -> int | None:
    """The season of `values`: (N,), at least 2; None if there is none. Less than N // 2."""
    r = autocorrelation(values)
    inner = r[1:-1]
    peaks = np.flatnonzero((inner > r[:-2]) & (inner >= r[2:]) & (inner > 2 / sqrt(len(values)))) + 1
    return int(peaks[r[peaks].argmax()]) if len(peaks) else None


def rmse(forecast: Array, truth: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Equation (4), over all elements or over `axis`. forecast: truth's shape, or one that broadcasts with it."""
    error = np.abs(forecast - truth)
    largest = error.max() or 1.0  # the squares of what is divided by it neither over- nor underflow
    return np.asarray(largest * np.sqrt(np.square(error / largest).mean(axis)))  # (4)


def mae(forecast: Array, truth: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Equation (5), as `rmse`."""
    return np.asarray(np.abs(forecast - truth).mean(axis))  # (5)
