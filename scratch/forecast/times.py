"""Times, numbers or dates: the even step that they have, and how they go on. pandas knows the calendar."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..types import Array

CYCLES = {"month": 12, "week": 52, "day": 7, "hour": 24, "minute": 1440}
"""How many of a unit make the next larger round."""

MONTHS = {"year": 12, "month": 1}
SECONDS = {"week": 604800, "day": 86400, "hour": 3600, "minute": 60, "second": 1}


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
    """The form in which dates are printed, 'quarter' or as in strftime; empty for numbers."""

    def __getitem__(self, rows: Any) -> "Times":
        return Times(self.index[rows], self.label)

    def written(self) -> list[str]:
        """As they are printed."""
        if not self.label:
            return [f"{number:.15g}" for number in self.index]
        if self.label == "quarter":
            return [f"{date.year}Q{date.quarter}" for date in self.index]
        return list(self.index.strftime(self.label).to_numpy(object))

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


def grid(index: Any) -> Grid | None:
    """The even steps in sorted, different times: numbers (N,) or pandas timestamps. None if there is no such step.

    At least half of all times follow the one before by one step; where more steps lie between, values are missing.
    Days of the week that never occur belong to no step.
    """
    if len(index) < 2:
        return None
    if isinstance(index, np.ndarray):
        found = _steps(index)
        return found and Grid(found[1], found[0], f"{found[0]:.10g}")
    import pandas as pd

    day, late = index.day, index.day - index.days_in_month
    ends = bool((late >= -3).all())  # also the last working day
    if (ends or (day <= 4).all() or len(set(day)) == 1) and len(set(index - index.normalize())) == 1:
        found = _steps(np.asarray(12 * index.year + index.month, np.float64))
        if found:
            n = round(found[0])
            words, season = _told(n, MONTHS)
            offset = pd.offsets.MonthEnd(n) if ends else pd.DateOffset(months=n)
            return Grid(found[1], offset, "1 quarter" if n == 3 else words, season)
    seconds = np.asarray((index - index[0]) / pd.Timedelta(seconds=1), np.float64)
    weekdays, shown = sorted(set(index.day_of_week)), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    days = seconds / 86400
    if len(weekdays) < 7 and (days == np.rint(days)).all() and np.diff(days).min() == 1:
        mask = [number in weekdays for number in range(7)]
        dates = index.normalize().to_numpy().astype("datetime64[D]")
        found = _steps(np.busday_count(dates[0], dates, weekmask=mask).astype(np.float64))
        if found and found[0] == 1 and _passed_over(days, found[1], 7 - len(weekdays)):
            names = [shown[number] for number in weekdays]
            words = "1 weekday" if weekdays == [0, 1, 2, 3, 4] else f"1 day of {', '.join(names)}"
            return Grid(found[1], pd.offsets.CustomBusinessDay(1, weekmask=" ".join(names)), words, len(names))
    found = _steps(seconds)
    return found and Grid(found[1], pd.Timedelta(seconds=found[0]), *_told(found[0], SECONDS))


def _passed_over(days: Array, places: Array, free: int) -> bool:
    """Whether the `free` days of the week that never occur are passed over as if there were none: twice or more, or
    once of two times. A single gap may look the same.
    """
    times = ((np.diff(days) > 1) & (np.diff(places) == 1)).sum()
    return bool(times > 1 or (times == 1 and days[-1] - places[-1] == 2 * free))


def _steps(ordinals: Array) -> tuple[float, Array] | None:
    """The step between increasing numbers that is in the middle by size, and how many of them each is from the first;
    None if it is not a whole number everywhere.
    """
    spaces = np.sort(np.diff(ordinals))
    step = spaces[(len(spaces) - 1) // 2]
    if not (step > 0 and spaces[0] > 0 and np.isfinite(ordinals).all()):
        return None
    places = np.rint((ordinals - ordinals[0]) / step)
    step = float(f"{(ordinals[-1] - ordinals[0]) / places[-1]:.12g}")  # free of the rounding of a single one
    even = np.abs((ordinals - ordinals[0]) / step - places).max() < 1e-3 and places[-1] < 2**53
    return (step, places.astype(np.int64)) if even and (np.diff(places) > 0).all() else None


def _told(size: float, units: dict[str, int]) -> tuple[str, int | None]:
    """A step in the largest unit that it is whole numbers of, and how many steps make the unit's cycle."""
    unit, one = next((each for each in units.items() if size % each[1] == 0), ("second", 1))
    n, cycle = size / one, CYCLES.get(unit, 0)
    return f"{n:.10g} {unit}{'' if n == 1 else 's'}", int(cycle // n) if cycle > n and cycle % n == 0 else None
