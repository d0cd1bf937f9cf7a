"""Times, numbers or dates: the even step that they have, and how they go on. pandas knows the calendar."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..types import Array

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
UNITS = {"week": (604800, 52), "day": (86400, 7), "hour": (3600, 24), "minute": (60, 1440), "second": (1, 0)}
"""In seconds, and how many of them make the next larger round."""


class Grid(NamedTuple):
    """Times at whole numbers of one step."""

    places: Array
    """(N,) int64: how many steps each is after the first."""
    offset: Any
    """The step: a number, or what pandas adds to a date."""
    words: str
    season: int | None = None
    """How many steps make the next larger round of the calendar: 12 for months."""


@dataclass(frozen=True, eq=False)
class Times:
    """N times, from the first to the last unless somebody still has to sort them."""

    index: Any
    """(N,) numbers, or pandas timestamps without a zone."""
    label: str = ""
    """The form in which dates are printed, as in strftime, with %q for the quarter; empty for numbers."""

    def __getitem__(self, rows: Any) -> "Times":
        return Times(self.index[rows], self.label)

    def written(self) -> list[str]:
        """As they are printed."""
        if not self.label:
            return [f"{number:.15g}" for number in self.index]
        index = self.index.to_period("Q") if "%q" in self.label else self.index
        return list(index.strftime(self.label))

    def numbers(self) -> Array:
        """Where they are on an axis: (N,), dates in days since 1970."""
        import pandas as pd

        days = (self.index - pd.Timestamp(1970, 1, 1)) / pd.Timedelta(days=1) if self.label else self.index
        return np.asarray(days, np.float64)

    @cached_property
    def grid(self) -> Grid | None:
        """The step from one to the next; None if there is no even one."""
        return grid(self.index)

    def onward(self, count: int, first: int = -1) -> "Times":
        """As many times at the step of these, from one of them on. Raises what pandas raises for years it has not."""
        import pandas as pd

        assert self.grid is not None
        if not self.label:
            return Times(self.index[first] + self.grid.offset * np.arange(count))
        return Times(pd.date_range(self.index[first], periods=count, freq=self.grid.offset), self.label)


def gapless(times: Any) -> bool:
    """Whether times, a pandas Series in any order, follow each other by one step."""
    import pandas as pd

    found = grid(pd.Index(times.unique()).sort_values())
    return found is not None and bool((np.diff(found.places) == 1).all())


def grid(index: Any) -> Grid | None:
    """The even steps in sorted, different times, as `Times` holds them. None if there is no such step.

    At least half of all times follow the one before by one step; where more steps lie between, values are missing.
    Days of the week that never occur belong to no step.
    """
    import pandas as pd

    if len(index) < 2:
        return None
    if index.dtype.kind != "M":
        found = _steps(np.asarray(index, np.float64))
        return found and Grid(found[1], found[0], f"{found[0]:.10g}")
    days, seconds = index.normalize(), np.asarray((index - index[0]) / pd.Timedelta(seconds=1))
    same = index.day.nunique() == 1  # the 28th of every month is no end
    ends = not same and bool((index.days_in_month - index.day <= 3).all())  # also the last working day
    monthly = (same or ends or (index.day <= 4).all()) and (index - days).nunique() == 1
    if monthly and (found := _steps(np.asarray(12 * index.year + index.month, np.float64))):
        months = round(found[0])
        offset = pd.offsets.MonthEnd(months) if ends else pd.DateOffset(months=months)
        words = _words(months, "month") if months % 12 else _words(months // 12, "year")
        season = 12 // months if months < 12 and 12 % months == 0 else None
        return Grid(found[1], offset, "1 quarter" if months == 3 else words, season)
    week = index.day_of_week.unique().sort_values()
    if len(week) < 7 and (seconds % 86400 == 0).all() and np.diff(seconds).min() == 86400:
        dates, names = days.to_numpy().astype("datetime64[D]"), [WEEKDAYS[day] for day in week]
        found = _steps(np.busday_count(dates[0], dates, weekmask=np.isin(range(7), week)).astype(np.float64))
        # The days that never occur are passed over at least twice: a single time may be a gap.
        if found and found[0] == 1 and seconds[-1] / 86400 - found[1][-1] >= 2 * (7 - len(week)):
            words = "1 weekday" if names == [*WEEKDAYS[:5]] else f"1 day of {', '.join(names)}"
            return Grid(found[1], pd.offsets.CustomBusinessDay(1, weekmask=" ".join(names)), words, len(names))
    if not (found := _steps(seconds)):
        return None
    unit = next((unit for unit, (size, _) in UNITS.items() if found[0] % size == 0), "second")
    size, cycle = UNITS[unit]
    n = found[0] / size
    season = int(cycle // n) if cycle > n and cycle % n == 0 else None
    return Grid(found[1], pd.Timedelta(seconds=found[0]), _words(n, unit), season)


def _words(n: float, unit: str) -> str:
    return f"{n:.10g} {unit}{'' if n == 1 else 's'}"


def _steps(ordinals: Array) -> tuple[float, Array] | None:
    """The median step between increasing numbers, and how many each is from the first; None if that is not whole."""
    spaces = np.sort(np.diff(ordinals))
    step = spaces[(len(spaces) - 1) // 2]
    if not (step > 0 and spaces[0] > 0 and np.isfinite(ordinals).all()):
        return None
    places = np.rint((ordinals - ordinals[0]) / step)
    step = float(f"{(ordinals[-1] - ordinals[0]) / places[-1]:.12g}")  # free of the rounding of a single one
    even = np.abs((ordinals - ordinals[0]) / step - places).max() < 1e-3 and places[-1] < 2**53
    return (step, places.astype(np.int64)) if even and (np.diff(places) > 0).all() else None
