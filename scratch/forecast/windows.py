"""A series as examples: its parts in time, standardised values, and windows that never look ahead.

The N values are divided in time: training, then validation, then test. A window has an origin t; it reads the W values
before t and is to forecast the K values from t on:

(1)  input = x[t − W], …, x[t − 1],   target = x[t], …, x[t + K − 1]

A window belongs to a part if its whole target lies in that part. Its input may reach back into the parts before, which
are past by then, but never beyond t. So no target of one part is among the targets of another, and nothing that is
learned from the training windows has seen a value of a later part.

Standardised values have mean 0 and standard deviation 1 over the training part; the later values are measured with the
same mean and deviation, as they would be by somebody who does not know them yet:

(2)  z = (x − μ) / σ,    μ, σ over the training part

Where a series rises or has a season, the differences over a lag s may be what is learned. From their forecasts d̂ those
of the values are summed, at the first s steps on values that are known at t, and then on forecasts:

(3)  d[t] = x[t] − x[t − s]
(4)  x̂[t + j] = d̂[t + j] + x[t + j − s],    x̂ in place of x from j = s on
"""

from itertools import count
from math import ceil
from typing import NamedTuple, Self

import numpy as np

from ..types import Array

LEAST_SHARE = 0.001
"""Of each part."""


class Parts(NamedTuple):
    """The rows of each part of a series; together they are all rows."""

    training: range
    validation: range
    test: range


def split(length: int, window: int, horizon: int, validation: float = 0.15, test: float = 0.15) -> Parts:
    """Divide `length` values in time.

    validation, test: the shares of these parts, rounded to whole values; training has the rest. Each part has room for
    at least one window of W = `window` values read and K = `horizon` forecast.

    Raises ValueError for shares below 0.1 % or that leave less to train on, for a window or a horizon below 1,
    and if there are too few values, with the number that would do.
    """
    training = 1 - validation - test
    if not min(training, validation, test) >= LEAST_SHARE:
        raise ValueError(
            f"expected shares of at least {LEAST_SHARE:.1%} for validation and test, that leave as much to train on, "
            f"got {validation:.4g} and {test:.4g}"
        )
    if window < 1 or horizon < 1:
        raise ValueError(f"expected a window and a horizon of at least 1, got {window} and {horizon}")

    def divided(n: int) -> Parts | None:
        """The parts of n values; None if one of them has no room for a window."""
        end = n - round(n * test)
        start = end - round(n * validation)
        room = start >= window + horizon and min(end - start, n - end) >= horizon
        return Parts(range(start), range(start, end), range(end, n)) if room else None

    parts = divided(length)
    if parts is None:
        start = max(length + 1, ceil((horizon - 1) / min(validation, test)), ceil((window + horizon - 1) / training))
        enough = next(filter(divided, count(start)))
        raise ValueError(
            f"expected at least {enough:,} values, for windows of {window:,} and {horizon:,} ahead, with shares of "
            f"{validation:.4g} for validation and {test:.4g} for test, got {length:,}"
        )
    return parts


class Standard(NamedTuple):
    """Equation (2): the mean μ and the standard deviation σ of some values, to measure others with."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Array) -> Self:
        """μ and σ of `values`. Raises ValueError if they are all the same, or too large or small to square."""
        if values.max() == values.min():
            raise ValueError(f"expected a training part that varies, got {values[0]:g} throughout")
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            mean, deviation = float(values.mean()), float(values.std())
        if not (np.isfinite(deviation) and deviation >= np.finfo(np.float64).tiny):
            raise ValueError(f"expected values that can be squared, got some from {values.min():g} to {values.max():g}")
        return cls(mean, deviation)

    def apply(self, values: Array) -> Array:
        """x → z."""
        with np.errstate(over="ignore"):
            return (values - self.mean) / self.deviation  # (2)

    def undo(self, values: Array) -> Array:
        """z → x, in float64."""
        with np.errstate(over="ignore"):
            return values.astype(np.float64) * self.deviation + self.mean  # (2)


class Windows(NamedTuple):
    """B windows."""

    origins: Array
    """(B,) int64: the row t of the first target of each."""
    inputs: Array
    """(B, W, 1)"""
    targets: Array
    """(B, K)"""


def windows_of(values: Array, part: range, window: int, horizon: int) -> Windows:
    """The windows of a part, equation (1), one for each origin that it has room for. values: (N,), all of them."""
    origins = np.arange(max(part.start, window), part.stop - horizon + 1)
    inputs = values[origins[:, np.newaxis] + np.arange(-window, 0)]  # (1)  B, W
    targets = values[origins[:, np.newaxis] + np.arange(horizon)]  # (1)  B, K
    return Windows(origins, inputs[..., np.newaxis], targets)


def differences(values: Array, lag: int) -> Array:
    """Equation (3): (N,) → (N − lag,), or the values themselves for a lag of 0."""
    return values[lag:] - values[:-lag] if lag else values  # (3)


def summed(forecast: Array, values: Array, origins: Array, lag: int) -> Array:
    """Equation (4): forecasts of differences (B, K) from the origins (B,) as forecasts of the values (N,): (B, K)."""
    if not lag:
        return forecast
    result = forecast.copy()
    for ahead in range(forecast.shape[1]):
        result[:, ahead] += values[origins + ahead - lag] if ahead < lag else result[:, ahead - lag]  # (4)
    return result
