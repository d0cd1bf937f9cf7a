"""A time series: one column of numbers in the order of time, out of a CSV file or from pandas.

What a file leaves open is asked for, never guessed without a word: `tables` finds the cells, `cells` reads numbers
and dates; here the rows are put in order, and what is doubled or missing is refused unless one says what it
stands for.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..types import Array
from .cells import got, missing, numbers, read_dates, texts
from .tables import kind, plain, table
from .times import Times

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

    name: str  # of the column, which stands for the unit
    values: Array  # (N,) float64, all finite
    time: str  # the name of the column of the times, or 'row'
    times: tuple[str, ...]  # the N times, as they are printed
    axis: Times | None = None  # the N times themselves; None: the rows count from 1
    understood: tuple[str, ...] = ()  # what was read, and how, in one line each

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
    na_values: str | Sequence[str | float] = (),
    duplicates: str | None = None,
    fill: str | None = None,
) -> Series:
    """Read one column of a CSV file, or of a pandas Series or DataFrame, in the order of its dates.

    source: a path, or what pandas holds. column: the values', by name or number from 1; may be left out if only one
    has numbers. dates: the column of the times, dates or numbers; if left out the first that has several dates, or else
    the first column whose numbers only rise or only fall (after the first in even steps); 'row' takes the rows in their
    order. The options are those of the command: `where` holds texts such as 'country=A', `lines` is such as '4-100',
    `dayfirst` is False for the month first, `date_format` as in strftime; decimal, thousands, separator and encoding
    say what else would be inferred; `na_values` are further spellings of a missing value, such as '-999'; `duplicates`
    is first, last, mean or sum; `fill` forward, linear, or none to take the rows as neighbours.

    Raises OSError if the file cannot be read, and ValueError for everything in it that could be meant in two ways or
    none, with the cell, where it is, and the option that helps.
    """
    _one_of("duplicates", duplicates, "first", "last", "mean", "sum")
    _one_of("fill", fill, "forward", "linear", "none")
    na_values = [na_values] if isinstance(na_values, str) else na_values
    frame, notes = table(source, separator, encoding, lines)
    frame = _chosen(frame, where)
    place, time = _columns(frame, column, dates, date_format)
    name, time_name = frame.columns[place], ROWS if time is None else frame.columns[time]
    cells = _without(frame.iloc[:, place], na_values)
    values, read = numbers(cells, decimal, thousands)
    if "none" not in na_values:
        read = read + _far(cells, values.dropna())
    notes, axis = notes + read, Times(np.arange(1.0, len(values) + 1))
    if time is not None:
        with_date = ~(missing(frame.iloc[:, time]) & values.isna())
        frame, values = frame[with_date], values[with_date]
        axis, read = _times(frame.iloc[:, time], dayfirst, date_format, decimal, thousands)
        values, axis, order = _in_order(frame, place, time, values, axis, duplicates)
        notes += read + order
    values = values.to_numpy()
    keep = np.flatnonzero(~np.isnan(values))
    if not len(keep):
        raise ValueError(f"expected numbers in column {name!r}, got {len(values)} cells without a value")
    trimmed = len(values) - (keep[-1] + 1 - keep[0])
    values, axis, gaps = _whole(values[keep], axis[keep], fill, len(values) - trimmed - len(keep))
    times = tuple(axis.written())
    gaps += f", {trimmed} without a value at the ends left out" if trimmed else ""
    words = f"step {axis.grid.words}" if axis.grid else "no even step"
    said = f"{name}: {len(values):,} values by {time_name}, {times[0]} to {times[-1]}, {words}, {gaps}"
    understood = (said, f"read as: {', '.join(notes)}") if notes else (said,)
    return Series(name, values, time_name, times, axis, understood)


def _one_of(option: str, value: str | None, *known: str) -> None:
    """Raise ValueError for an option that is given and is none of these."""
    if value not in (None, *known):
        raise ValueError(f"expected as --{option} one of {', '.join(known)}, got {value!r}")


def _place(frame: Any, name: str | int, option: str) -> int:
    """The column of a name or a number from 1. Raises ValueError, with `option`, if there is no such one."""
    names, name = list(frame.columns), str(name)
    name = name if name in names else plain(name)
    if names.count(name) == 1:
        return names.index(name)
    if name not in names and name.isdecimal() and 1 <= int(name) <= len(names):
        return int(name) - 1
    times = f" {names.count(name)} times: name it by its number" if name in names else ""
    raise ValueError(f"expected as {option} one of {_listed(names)} or its number, got {name!r}{times}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _chosen(frame: Any, where: Sequence[str]) -> Any:
    """The rows that have the values asked for."""
    for text in where:
        name, equals, wanted = text.partition("=")
        if not equals:
            raise ValueError(f"expected as --where a column and its value, such as country=A, got {text!r}")
        cells = frame.iloc[:, _place(frame, name.strip(), "--where")]
        cells = texts(cells)
        if not (cells == plain(wanted)).any():
            some = _listed(sorted(set(cells))[:8])
            raise ValueError(f"expected as --where a value of column {name!r}, such as {some}, got {wanted!r}")
        frame = frame[cells == plain(wanted)]
    return frame


def _without(cells: Any, spellings: Sequence[str | float]) -> Any:
    """The cells, empty where one of these stands."""
    written = [*(f"{one:.15g}" for one in spellings if not isinstance(one, str)), *map(plain, spellings)]
    others = ~texts(cells).isin(written)
    return cells.where(others, "") if cells.dtype == object else cells.where(others)


def _far(cells: Any, values: Any) -> list[str]:
    """Notes on the values that are far from all others. Raises ValueError for one such as -999, which may stand for
    what was not measured.
    """
    notes = []
    for label in (values.idxmin(), values.idxmax()) if values.nunique() > 2 else ():
        others, text = values[values != values[label]], texts(cells)[label]
        if abs(others - values[label]).min() > others.max() - others.min():
            if re.fullmatch(r"-?9{3,5}([.,][09]+)?|-?99[.,]9+|-99([.,]0+)?", text):
                raise ValueError(
                    f"expected values {got(cells, label)}, {len(values) - len(others)} such: say --na-values {text} if "
                    "it stands for none, --na-values none if it is one"
                )
            notes.append(f"{text} at {cells.index.name} {label:,} is far from all others")
    return notes


def _columns(
    frame: Any, column: str | int | None, dates: str | int | None, date_format: str | None
) -> tuple[int, int | None]:
    """The column of the values, and that of the times; None if the rows are the times."""
    value, time = None if column is None else _place(frame, column, "--column"), None
    kinds = {place: kind(cells, date_format) for place, (_, cells) in enumerate(frame.items()) if place != value}
    if dates is None:
        counting = [place for place, found in kinds.items() if found == "number"]
        counting = [] if value is None and len(counting) == 1 else counting  # it is the values
        rising = (place for place in counting if _rises(frame.iloc[:, place], place == 0))
        dated = [place for place in kinds if kinds[place] == "date"]
        changing = (place for place in dated if frame.iloc[:, place].nunique() > 1)
        time = next(chain(changing, rising, dated), None)
        if time is None and (len(kinds) > 1 or (kinds and value is not None)):
            names = f"{_listed(frame.columns)}, the first with {str(frame.iloc[0, next(iter(kinds))])!r}"
            raise ValueError(
                f"expected a column with dates, got {names}: name it with --dates, its form with --date-format, or "
                "take the rows in their order with --dates row"
            )
    elif dates != ROWS or ROWS in frame.columns:
        time = _place(frame, dates, "--dates")
    if value is None:
        values = [place for place in kinds if place != time and kind(frame.iloc[:, place]) == "number"]
        if len(values) != 1:
            named = f"{_listed(frame.columns)}: name the --separator of the cells, or the --column"
            several = f"a --column, as {_listed(frame.columns[values])} have numbers"
            raise ValueError(f"expected {several if values else f'a column with numbers, got {named}'}")
        return values[0], time
    if value == time:
        raise ValueError(f"expected two columns, got {frame.columns[value]!r} as --column and as --dates")
    return value, time


def _rises(cells: Any, first: bool) -> bool:
    """Whether the numbers of a column only rise or only fall, and, unless it is the first, in even steps."""
    with suppress(ValueError):
        times = numbers(cells, None, None)[0]
        rises = times.is_unique and (times.is_monotonic_increasing or times.is_monotonic_decreasing)
        return bool(rises and (first or Times(np.sort(times.to_numpy())).grid is not None))
    return False


def _times(
    cells: Any, dayfirst: bool | None, date_format: str | None, decimal: str | None, thousands: str | None
) -> tuple[Times, list[str]]:
    """The times of the rows, and how they were read."""
    if (gone := missing(cells)).any():
        raise ValueError(f"expected a date {got(cells, gone.idxmax())}: leave lines out with --lines")
    written, read = texts(cells), None
    if cells.dtype == object or date_format or written.str.isdecimal().all():
        read = read_dates(written.astype(object), dayfirst, date_format)
    return read or (Times(numbers(cells, decimal, thousands)[0].to_numpy()), [])


def _in_order(
    frame: Any, place: int, time: int, values: Any, axis: Times, duplicates: str | None
) -> tuple[Any, Times, list[str]]:
    """The rows in the order of time, one for each, and what was done; several of one time are as `duplicates` says."""
    order = np.argsort(axis.index, kind="stable")
    back = order[1:] < order[:-1]
    notes = ["newest first"] if len(back) and back.all() else ["sorted"] if back.any() else []
    frame, values, axis = frame.iloc[order], values.iloc[order], axis[order]
    new = np.append(True, np.asarray(axis.index[1:] != axis.index[:-1]))
    if new.all():
        return values, axis, notes
    if duplicates is None:
        later = int(np.flatnonzero(~new)[0])
        one, other = (frame.iloc[row].astype(str).tolist() for row in (later - 1, later))
        differ = [n for n in range(len(one)) if one[n] != other[n] and n not in (place, time)]
        kinds, n = min(((frame.iloc[:, n].nunique(), n) for n in differ), default=(len(values), -1))
        few = f"choose one with --where {frame.columns[n]}={one[n]}, or " * (2 * kinds <= len(values))
        first, second = (f"{frame.index.name} {line:,}" for line in frame.index[later - 1 : later + 1])
        raise ValueError(
            f"expected one row for each time, got {','.join(one)!r} at {first} and {','.join(other)!r} at {second}, "
            f"{(~new).sum():,} such: {few}say --duplicates first, last, mean or sum, or name another column of --dates"
        )
    groups = values.groupby(np.cumsum(new))
    merged = groups.sum(min_count=1) if duplicates == "sum" else getattr(groups, duplicates)()
    return merged, axis[new], [*notes, f"of equal dates the {duplicates}"]


def _whole(values: Array, axis: Times, fill: str | None, empty: int) -> tuple[Array, Times, str]:
    """A series without gaps, its times, and what was done, in words; gaps become what `fill` says."""
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
        return values, axis, f"no gaps, {empty:,} without a value between them" if empty else "no gaps"
    count = f"{len(where):,} gap{'s' * (len(where) > 1)}, {lost:,} missing"
    if fill is None:
        named = [f"{spaces[row]:,} between {' and '.join(axis[row : row + 2].written())}" for row in where[:3].tolist()]
        more = f" and {len(where) - 3:,} more" if len(where) > 3 else ""
        cells = f" ({empty:,} of them cells without a value)" if empty else ""
        numbers = "" if axis.label else "; of dates in digits say the --date-format, such as %y%m%d"
        raise ValueError(
            f"expected a value at every step of {step.words}, got {count}{cells}: {'; '.join(named)}{more}: "
            f"--fill forward repeats the value before, --fill linear draws a line to the next, {hint}{numbers}"
        )
    if fill == "none":
        return values, axis, f"{count}, taken as neighbours"
    if lost > 10 * len(values):
        raise ValueError(f"expected fewer gaps to fill, got {count}, for {len(values):,} values: is a date wrong?")
    whole = pd.Series(values, step.places).reindex(range(step.places[-1] + 1))
    filled = whole.ffill() if fill == "forward" else whole.interpolate()
    return filled.to_numpy(np.float64), axis.onward(len(filled), 0), f"{count}, filled {fill}"
