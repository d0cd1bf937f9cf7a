"""Numbers as a person reads them: three digits, in the unit that suits them."""

from __future__ import annotations

import numpy as np

from .statistics import Spread


def in_unit(number: float, units: dict[str, float]) -> str:
    """A number in the first unit that it reaches, or the last."""
    unit = next((unit for unit, size in units.items() if number >= size), list(units)[-1])
    return f"{digits(number / units[unit])} {unit}"


def in_seconds(number: float) -> str:
    """A time in the unit that suits it."""
    return in_unit(number, {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9})


def in_bytes(number: float) -> str:
    """An amount of memory in the unit that suits it."""
    return in_unit(number, {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10})


def digits(number: float) -> str:
    """Three digits; two of what is below 0.1, however small it is."""
    if 0 < abs(number) < 0.1:
        return np.format_float_positional(number, precision=2, fractional=False, min_digits=2)
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def times(values: Spread | None) -> str:
    """A ratio with its interval."""
    return f"{digits(values.median)}× ({digits(values.low)}–{digits(values.high)})" if values else ""


def percent(share: float) -> str:
    """A share."""
    if share < 0.001:
        return f"{digits(100 * share)} %"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
