"""Numbers out of turns: medians, their spread, ratios pair by pair, and the exponent of a power law.

Where a run has several passes, its intervals are those over the passes: `across`. Else they tell the spread within one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, exp, sqrt
from typing import NamedTuple

import numpy as np

from reference.equivalence import relative_error


class Spread(NamedTuple):
    """A median, and the two values between which it or its numbers lie."""

    median: float
    low: float
    high: float

    def overlaps(self, other: Spread) -> bool:
        """Whether some value lies in both."""
        return self.low <= other.high and other.low <= self.high


STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5 % quantile of Student's t distribution with 1, 2, … degrees of freedom."""


def quartiles(values: Sequence[float]) -> Spread:
    """The median, and the quartiles, between which half of the numbers lie."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The median of the ratios, pair by pair, and an interval that holds the true median with 95 % confidence.

    The two ends are themselves ratios that were seen, the k-th smallest and the k-th largest: the true median is above
    or below all but k − 1 of n pairs with a chance that the binomial distribution tells, whatever theirs is. Fewer than
    6 pairs cannot give 95 %, and all that can be said is from the smallest to the largest.
    """
    seen = sorted(a / b for a, b in zip(numerators, denominators, strict=True))
    k = rank(len(seen))
    return Spread(float(np.median(seen)), seen[k - 1], seen[-k])


def across(passes: Sequence[Sequence[float]]) -> Spread:
    """The geometric mean of the passes' medians, and its 95 % interval by Student's t, in logarithms.

    A pass has processes of its own, and minutes lie between one and the next. So the interval also holds what differs
    from process to process, and how the machine changes meanwhile, which the turns of one pass cannot tell. For 2 to 10
    passes.
    """
    medians = np.log([np.median(one) for one in passes])
    middle = float(medians.mean())
    half = STUDENT[len(medians) - 2] * float(medians.std(ddof=1)) / sqrt(len(medians))
    return Spread(exp(middle), exp(middle - half), exp(middle + half))


def rank(count: int, confidence: float = 0.95) -> int:
    """The largest k for which the true median lies between the k-th smallest and largest with this confidence."""
    k, outside = 1, 2 / 2**count  # below all, or above all
    while k < count // 2:
        outside += 2 * comb(count, k) / 2**count
        if outside > 1 - confidence:
            break
        k += 1
    return k


def power_law(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Exponent and factor of y = factor · x^exponent: the line of least squares through the upper part of the points,
    in logarithms of both.

    The upper part is the larger half of the x, but three points at least: below it fixed costs hide the law.
    """
    order = np.argsort(x)[-max(3, (len(x) + 1) // 2) :]
    exponent, intercept = np.polyfit(np.log(np.asarray(x, float)[order]), np.log(np.asarray(y, float)[order]), deg=1)
    return float(exponent), float(np.exp(intercept))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """By how much y grows for each x: the line of least squares."""
    return float(np.polyfit(np.asarray(x, float), np.asarray(y, float), deg=1)[0])


def difference(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> tuple[float, str]:
    """The largest relative error of two runs' tensors, and its name; infinite where anything is not a number."""
    errors = ((relative_error(np.array(ours[name]), np.array(value)), name) for name, value in theirs.items())
    return max(errors, default=(0.0, ""))


def in_unit(number: float, units: dict[str, float]) -> str:
    """A number in the first unit that it reaches, once it is rounded, or the last."""
    unit = next((unit for unit, size in units.items() if number >= 0.9995 * size), list(units)[-1])
    return f"{digits(number / units[unit])} {unit}"


def in_seconds(number: float) -> str:
    """A time in the unit that suits it."""
    return in_unit(number, {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9})


def in_bytes(number: float) -> str:
    """An amount of memory in the unit that suits it."""
    return in_unit(number, {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10})


def digits(number: float) -> str:
    """Three digits; two of what is below 0.1, however small it is."""
    if 0 < abs(number) < 0.0995:
        return np.format_float_positional(number, precision=2, fractional=False, min_digits=2)
    return f"{number:.0f}" if number >= 99.95 else f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"


def times(values: Spread | None) -> str:
    """A ratio with its interval."""
    return f"{digits(values.median)}× ({digits(values.low)}–{digits(values.high)})" if values else ""


def percent(share: float) -> str:
    """A share."""
    if share < 0.001:
        return f"{digits(100 * share)} %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"
