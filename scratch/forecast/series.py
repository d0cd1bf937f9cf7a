"""A time series: one column of numbers in the order of time, out of a CSV file or from pandas.

What a file leaves open is asked for, never guessed without a word: `tables` finds the cells, `cells` reads numbers,
`dates` the calendar; here the rows are put in order, and what is doubled or missing is refused unless one says what it
stands for.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..types import Array
from .cells import Table, listed, missing, numbers
from .dates import read_dates
from .tables import kind, table
from .times import Times, grid

ROWS = "row"
"""The name of the time axis where no column is: the rows count from 1."""

SUNSPOTS = Path(__file__).with_name("sunspots.csv")
SUNSPOTS_SOURCE = (
    "yearly mean sunspot numbers, version 1 (SIDC), from NOAA's National Geophysical Data Center, "
    "http://www.ngdc.noaa.gov/stp/solar/solarda3.html, public domain"
)


@dataclass(frozen=True, eq=False)
class Series:
    """N values and their times, from the first to the last."""

    name: str
    """The name of the column, which stands for the unit."""
    values: Array
    """(N,) float64, all finite."""
    time: str
    """The name of the column of the times, or 'row'."""
    times: tuple[str, ...]
    """The N times, as they are printed."""
    axis: Times | None = None
    """The N times themselves; None: the rows count from 1."""
    understood: tuple[str, ...] = ()
    """What was read, and how, in one line each."""

    def __len__(self) -> int:
        return len(self.values)

    def between(self, part: range) -> str:
        """The first and the last time of a part, in words."""
        return f"{self.times[part[0]]}–{self.times[part[-1]]}"

    def after(self, count: int) -> tuple[list[str], Array]:
        """The `count` times after the last one as text, '+1', '+2', … if no step leads there; and where all N + count
        times are: dates in days since 1970.
        """
        axis = self.axis or Times(np.arange(1.0, len(self) + 1))
        here = axis.numbers()
        if axis.grid:
            with suppress(ValueError, OverflowError):  # beyond the end of the calendar
                beyond = axis.onward(count + 1)[1:]
                return beyond.written(), np.concatenate([here, beyond.numbers()])
        space = here[-1] - here[-2] if len(here) > 1 else 1.0
        labels = [f"+{ahead}" for ahead in range(1, count + 1)]
        return labels, np.concatenate([here, here[-1] + space * np.arange(1, count + 1)])


def sunspots() -> Series:
    """The yearly mean sunspot numbers of 1700 to 2008, version 1 (SIDC), N = 309.

    Source: NOAA's National Geophysical Data Center; more in sunspots.md.
    """
    return read_series(SUNSPOTS, "sunspots")


def read_series(
    source: Any,
    column: str | int | None = None,
    dates: str | int | None = None,
    *,
    where: Sequence[str] = (),
    lines: str | None = None,
    dayfirst: bool | None = None,
    date_format: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    duplicates: str | None = None,
    fill: str | None = None,
) -> Series:
    """Read one column of a CSV file, or of a pandas Series or DataFrame, in the order of its dates.

    source: a path, or what pandas holds. column: the values', by name or number from 1; may be left out if only one
    has numbers. dates: the column of the times, dates or numbers; if left out the first that has dates, or else the
    first column if its numbers only rise or only fall; 'row' takes the rows in their order. The options are those of
    the command: `where` holds texts such as 'country=A', `lines` is such as '4-100', `dayfirst` is False for the month
    first, `date_format` as in strftime; decimal, thousands, separator and encoding say what else would be inferred;
    `duplicates` is first, last, mean or sum; `fill` forward, linear, or none to take the rows as neighbours.

    Raises OSError if the file cannot be read, and ValueError for everything in it that could be meant in two ways or
    none, with the cell, where it is, and the option that helps.
    """
    for option, value, known in (
        ("duplicates", duplicates, "first last mean sum"),
        ("fill", fill, "forward linear none"),
    ):
        if value is not None and value not in known.split():
            raise ValueError(f"expected as --{option} one of {', '.join(known.split())}, got {value!r}")
    found = _chosen(table(source, separator, encoding, lines), where)
    time = _time_column(found, dates, column, date_format)
    place = _value_column(found, column, time)
    if place == time:
        raise ValueError(f"expected two columns, got {found.names[place]!r} as --column and as --dates")
    values, notes = numbers(found, place, decimal, thousands)
    notes = found.notes + notes
    name, axis = found.names[place], Times(np.arange(1.0, len(values) + 1))
    if time is not None:
        dated = [row for row, cell in enumerate(found.columns[time]) if not (missing(cell) and np.isnan(values[row]))]
        found, values = found.only(dated), values[dated]
        axis, read = _times(found, time, dayfirst, date_format, decimal, thousands)
        values, axis, order = _in_order(found, place, time, values, axis, duplicates)
        notes += read + order
    keep = np.flatnonzero(~np.isnan(values))
    if not len(keep):
        raise ValueError(f"expected numbers in column {name!r}, got {len(values)} cells without a value")
    inner = keep[-1] + 1 - keep[0]
    trimmed = len(values) - inner
    values, axis, gaps = _whole(values[keep], axis[keep], fill, inner - len(keep))
    times, time_name = tuple(axis.written()), ROWS if time is None else found.names[time]
    gaps += f", {trimmed} without a value at the ends left out" if trimmed else ""
    words = f"step {axis.grid.words}" if axis.grid else "no even step"
    said = [f"{name}: {len(values):,} values by {time_name}, {times[0]} to {times[-1]}, {words}, {gaps}"]
    said += [f"read as: {', '.join(notes)}"] if notes else []
    return Series(name, values, time_name, times, None if time is None else axis, tuple(said))


def _chosen(found: Table, where: Sequence[str]) -> Table:
    """The rows that have the values asked for."""
    for text in where:
        name, equals, wanted = text.partition("=")
        if not equals:
            raise ValueError(f"expected as --where a column and its value, such as country=A, got {text!r}")
        cells = found.columns[found.place(name.strip(), "--where")]
        rows = [row for row, cell in enumerate(cells) if cell == wanted.strip()]
        if not rows:
            some = listed(sorted(set(cells))[:8])
            raise ValueError(f"expected as --where a value of column {name!r}, such as {some}, got {wanted!r}")
        found = found.only(rows)
    return found


def _time_column(
    found: Table, dates: str | int | None, column: str | int | None, date_format: str | None
) -> int | None:
    """The column of the times; None if the rows are the times."""
    if dates is not None:
        return None if dates == ROWS and ROWS not in found.names else found.place(dates, "--dates")
    value = None if column is None else found.place(column, "--column")
    others = [place for place in range(len(found.names)) if place != value]
    kinds = {place: kind(found.columns[place]) for place in others}
    for place in others:
        if kinds[place] == "date" or (date_format and kinds[place] == "text"):
            return place
    counting = [place for place in others if kinds[place] == "number"]
    if value is None and len(counting) == 1:
        counting = []  # it is the values
    for place in counting:
        if _counts(found, place, place == 0):
            return place
    if len(others) > 1 or (others and value is not None):
        first = found.columns[others[0]][0]
        raise ValueError(
            f"expected a column with dates, got {listed(found.names)}, the first with {first!r}: name it with --dates, "
            "its form with --date-format, or take the rows in their order with --dates row"
        )
    return None


def _counts(found: Table, place: int, first: bool) -> bool:
    """Whether the numbers of a column only rise or only fall, and, unless it is the first, in even steps."""
    try:
        times = numbers(found, place, None, None)[0]
    except ValueError:
        return False
    times = times[::-1] if times[-1] < times[0] else times
    return bool((np.diff(times) > 0).all()) and (first or grid(times) is not None)


def _value_column(found: Table, column: str | int | None, time: int | None) -> int:
    """The column named, or else the only one with numbers beside the times."""
    if column is not None:
        return found.place(column, "--column")
    places = [place for place in range(len(found.names)) if place != time and kind(found.columns[place]) == "number"]
    if len(places) == 1:
        return places[0]
    if places:
        raise ValueError(f"expected a --column, as {listed([found.names[place] for place in places])} have numbers")
    raise ValueError(
        f"expected a column with numbers, got {listed(found.names)}: name the --separator of the cells, or the --column"
    )


def _times(
    found: Table, place: int, dayfirst: bool | None, date_format: str | None, decimal: str | None, thousands: str | None
) -> tuple[Times, list[str]]:
    """The times of the rows, and how they were read."""
    cells, name = found.columns[place], found.names[place]
    if empty := [row for row, cell in enumerate(cells) if missing(cell)]:
        raise ValueError(
            f"expected a date in column {name!r}, got {found.cell(empty[0], place)}: leave lines out with --lines"
        )
    read = None
    if place not in found.numeric or date_format or all(map(str.isdecimal, cells)):
        read = read_dates(found, place, dayfirst, date_format)
    return read or (Times(numbers(found, place, decimal, thousands)[0]), [])


def _in_order(
    found: Table, place: int, time: int, values: Array, axis: Times, duplicates: str | None
) -> tuple[Array, Times, list[str]]:
    """The rows in the order of time, one for each, and what was done. Raises ValueError if several have one time,
    unless `duplicates` says what to make of them.
    """
    import pandas as pd

    order = np.argsort(axis.index, kind="stable")
    back = order[1:] < order[:-1]
    notes = ["newest first"] if len(back) and back.all() else ["sorted"] if back.any() else []
    values, axis = values[order], axis[order]
    new = np.append(True, np.asarray(axis.index[1:] != axis.index[:-1]))
    if new.all():
        return values, axis, notes
    if duplicates is None:
        later = int(np.flatnonzero(~new)[0])
        one, other = ([column[row] for column in found.columns] for row in order[later - 1 : later + 1])
        differ = [n for n in range(len(one)) if one[n] != other[n] and n not in (place, time)]
        kinds = min(((len(set(found.columns[n])), n) for n in differ), default=(len(values), -1))
        few = f"choose one with --where {found.names[kinds[1]]}={one[kinds[1]]}, or " * (2 * kinds[0] <= len(values))
        raise ValueError(
            f"expected one row for each time, got {','.join(one)!r} at {found.at(order[later - 1])} and "
            f"{','.join(other)!r} at {found.at(order[later])}, {(~new).sum():,} such: {few}say --duplicates first, "
            "last, mean or sum, or name another column of --dates"
        )
    groups = pd.Series(values).groupby(np.cumsum(new))
    merged = groups.sum(min_count=1) if duplicates == "sum" else getattr(groups, duplicates)()
    return merged.to_numpy(np.float64), axis[new], [*notes, f"of equal dates the {duplicates}"]


def _whole(values: Array, axis: Times, fill: str | None, empty: int) -> tuple[Array, Times, str]:
    """A series without gaps, its times, and what was done, in words. Raises ValueError for gaps, unless `fill` says
    what is to become of them.
    """
    import pandas as pd

    step, hint = axis.grid, "--fill none takes the rows as neighbours"
    if step is None:
        if len(values) > 1 and fill != "none":
            raise ValueError(
                f"expected times with an even step, got {', '.join(axis[:4].written())}, …: {hint}, if that is meant; "
                "--dates and --date-format say what the times are"
            )
        return values, axis, "rows taken as neighbours"
    spaces = np.diff(step.places) - 1
    where, lost = np.flatnonzero(spaces), int(spaces.sum())
    if not lost:
        return values, axis, "no gaps"
    count = f"{len(where):,} gap{'s' * (len(where) > 1)}, {lost:,} missing"
    if fill is None:
        named = [f"{spaces[row]:,} between {' and '.join(axis[row : row + 2].written())}" for row in where[:3].tolist()]
        more = f" and {len(where) - 3:,} more" if len(where) > 3 else ""
        cells = f" ({empty:,} of them cells without a value)" if empty else ""
        raise ValueError(
            f"expected a value at every step of {step.words}, got {count}{cells}: {'; '.join(named)}{more}: "
            f"--fill forward repeats the value before, --fill linear draws a line, {hint}"
        )
    if fill == "none":
        return values, axis, f"{count}, taken as neighbours"
    if lost > 10 * len(values):
        raise ValueError(f"expected fewer gaps to fill, got {count}, for {len(values):,} values: is a date wrong?")
    whole = pd.Series(values, step.places).reindex(range(step.places[-1] + 1))
    filled = whole.ffill() if fill == "forward" else whole.interpolate()
    return filled.to_numpy(np.float64), axis.onward(len(filled), 0), f"{count}, filled {fill}"
