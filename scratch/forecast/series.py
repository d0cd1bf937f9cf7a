"""A time series: one column of numbers in the order of time, out of a CSV file or from pandas.

What a file leaves open is asked for, never guessed without a word: `cells` reads the table and its numbers, `dates` the
calendar; here the rows are put in order, and what is doubled or missing is refused unless one says what it stands for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..types import Array
from .cells import Table, kind, listed, missing, numbers, shown, table
from .dates import Grid, grid, read_dates

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
    index: Any = None
    """(N,) numbers or pandas timestamps; None: the rows count from 1."""
    grid: Grid | None = None
    """The step from one time to the next; None if there is no even one."""
    label: str = ""
    """The form of the times that are dates."""
    understood: tuple[str, ...] = ()
    """What was read, and how, in one line each."""

    def __len__(self) -> int:
        return len(self.values)

    def between(self, part: range) -> str:
        """The first and the last time of a part, in words."""
        return f"{self.times[part[0]]}–{self.times[part[-1]]}"

    @property
    def dated(self) -> bool:
        """Whether the times are dates."""
        return self.index is not None and not isinstance(self.index, np.ndarray)

    def after(self, count: int) -> tuple[list[str], Array]:
        """The `count` times after the last one as text, '+1', '+2', … if no step leads there; and where all N + count
        times are: dates in days since 1970.
        """
        here = np.arange(1.0, len(self) + 1) if self.index is None else _days(self.index)
        beyond = _onward(self.index, self.grid, count)
        if beyond is not None:
            return written(beyond, self.label), np.concatenate([here, _days(beyond)])
        space = here[-1] - here[-2] if len(here) > 1 else 1.0
        labels = [str(len(self) + 1 + ahead) if self.index is None else f"+{ahead + 1}" for ahead in range(count)]
        return labels, np.concatenate([here, here[-1] + space * np.arange(1, count + 1)])


def _days(index: Any) -> Array:
    if isinstance(index, np.ndarray):
        return index
    import pandas as pd

    return np.asarray((index - pd.Timestamp(1970, 1, 1)) / pd.Timedelta(days=1), np.float64)


def _onward(index: Any, step: Grid | None, count: int) -> Any:
    """The next times; None without a step, and beyond the end of the calendar."""
    if step is None:
        return None
    if isinstance(index, np.ndarray):
        return index[-1] + step.offset * np.arange(1, count + 1)
    import pandas as pd

    try:
        return pd.date_range(index[-1], periods=count + 1, freq=step.offset)[1:]
    except (ValueError, OverflowError):
        return None


def written(index: Any, label: str) -> list[str]:
    """Times as text: numbers, or dates in the form `label`."""
    if isinstance(index, np.ndarray):
        return [f"{number:.15g}" for number in index]
    if label == "quarter":
        return [f"{date.year}Q{date.quarter}" for date in index]
    return [str(text) for text in index.strftime(label)]


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
    name, time_name = found.names[place], ROWS if time is None else found.names[time]
    index, label = np.arange(1.0, len(values) + 1), ""
    if time is not None:
        dated = [row for row, cell in enumerate(found.columns[time]) if not (missing(cell) and np.isnan(values[row]))]
        found, values = found.only(dated), values[dated]
        index, label, read = _times(found, time, dayfirst, date_format, decimal, thousands)
        values, index, order = _in_order(found, place, time, values, index, duplicates)
        notes += read + order
    keep = np.flatnonzero(~np.isnan(values))
    if not len(keep):
        raise ValueError(f"expected numbers in column {name!r}, got {len(values)} cells without a value")
    inner = keep[-1] + 1 - keep[0]
    trimmed = len(values) - inner
    values, index, step, gaps = _whole(values[keep], index[keep], label, fill, inner - len(keep))
    times = tuple(written(index, label))
    gaps += f", {trimmed} without a value at the ends left out" if trimmed else ""
    words = f"step {step.words}" if step else "no even step"
    said = [f"{name}: {len(values):,} values by {time_name}, {times[0]} to {times[-1]}, {words}, {gaps}"]
    said += [f"read as: {', '.join(notes)}"] if notes else []
    axis, step = (None, None) if time is None else (index, step)
    return Series(name, values, time_name, times, axis, step, label, tuple(said))


def _chosen(found: Table, where: Sequence[str]) -> Table:
    """The rows that have the values asked for."""
    for text in where:
        name, equals, wanted = text.partition("=")
        if not equals:
            raise ValueError(f"expected as --where a column and its value, such as country=A, got {text!r}")
        cells = list(map(shown, found.columns[found.place(name.strip(), "--where")]))
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
        first = str(found.columns[others[0]][0])
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
) -> tuple[Any, str, list[str]]:
    """The times of the rows as numbers or pandas timestamps, the form to print them in, and how they were read."""
    cells, name = found.columns[place], found.names[place]
    if empty := [row for row, cell in enumerate(cells) if missing(cell)]:
        cell, at = str(cells[empty[0]]), found.at(empty[0])
        raise ValueError(f"expected a date in column {name!r}, got {cell!r} at {at}: leave lines out with --lines")
    text, rows = list(map(shown, cells)), [found.at(row) for row in range(len(cells))]
    dates = all(isinstance(cell, str) or one.isdecimal() for cell, one in zip(cells, text, strict=True))
    read = read_dates(text, rows, name, dayfirst, date_format) if dates or date_format else None
    if read is None:
        return numbers(found, place, decimal, thousands)[0], "", []
    import pandas as pd

    form = read.form if date_format else read.form.replace("%b", "MON").replace("%", "").upper()
    notes = [f"dates {form}"]
    if len(set(read.offsets)) == 1:
        return read.local, read.label, notes
    utc = read.local - pd.to_timedelta(read.offsets, unit="s")
    even = [axis for axis in (utc, read.local) if axis.is_unique and grid(axis.sort_values())]
    ordered = (np.argsort(utc, kind="stable") == np.argsort(read.local, kind="stable")).all()
    local = bool(even) and even[0] is read.local and ordered
    axis = read.local if local else utc
    return axis, read._replace(local=axis).label, [*notes, "local time" if local else "in UTC"]


def _in_order(
    found: Table, place: int, time: int, values: Array, index: Any, duplicates: str | None
) -> tuple[Array, Any, list[str]]:
    """The rows in the order of time, one for each, and what was done. Raises ValueError if several have one time,
    unless `duplicates` says what to make of them.
    """
    order = np.argsort(index, kind="stable")
    back = order[1:] < order[:-1]
    notes = ["newest first"] if len(back) and back.all() else ["sorted"] if back.any() else []
    found, values, index = found.only(order.tolist()), values[order], index[order]
    same = np.asarray(index[1:] == index[:-1])
    if not same.any():
        return values, index, notes
    if duplicates is None:
        row = int(np.flatnonzero(same)[0])
        pair = [[shown(column[one]) for column in found.columns] for one in (row, row + 1)]
        differ = [
            n for n, (one, other) in enumerate(zip(*pair, strict=True)) if one != other and n not in (place, time)
        ]
        kinds = sorted((len(set(found.columns[n])), n) for n in differ)
        few = kinds[:1] if kinds and 2 * kinds[0][0] <= len(values) else []
        choose = "".join(f"choose one with --where {found.names[n]}={pair[0][n]}, or " for _, n in few)
        raise ValueError(
            f"expected one row for each time, got {','.join(pair[0])!r} at {found.at(row)} and {','.join(pair[1])!r} "
            f"at {found.at(row + 1)}, {same.sum():,} such: {choose}say --duplicates first, last, mean or sum, or "
            "name another column of --dates"
        )
    import pandas as pd

    groups = pd.Series(values).groupby(np.concatenate([[0], np.cumsum(~same)]))
    merged = groups.sum(min_count=1) if duplicates == "sum" else getattr(groups, duplicates)()
    first = np.concatenate([[True], ~same])
    return merged.to_numpy(np.float64), index[first], [*notes, f"of equal dates the {duplicates}"]


def _whole(values: Array, index: Any, label: str, fill: str | None, empty: int) -> tuple[Array, Any, Grid | None, str]:
    """A series without gaps, its times, their step, and what was done, in words. Raises ValueError for gaps, unless
    `fill` says what is to become of them.
    """
    step = grid(index)
    hint = "--fill none takes the rows as neighbours"
    if step is None:
        if len(index) > 1 and fill != "none":
            raise ValueError(
                f"expected times with an even step, got {', '.join(written(index[:4], label))}, …: {hint}, if that is "
                "meant; --dates and --date-format say what the times are"
            )
        return values, index, None, "rows taken as neighbours"
    spaces = np.diff(step.places) - 1
    lost = int(spaces.sum())
    if not lost:
        return values, index, step, "no gaps"
    where = np.flatnonzero(spaces)
    count = f"{len(where):,} gap{'s' * (len(where) > 1)}, {lost:,} missing"
    if fill is None:
        named = [
            f"{spaces[row]:,} between {' and '.join(written(index[row : row + 2], label))}"
            for row in where[:3].tolist()
        ]
        more = f" and {len(where) - 3:,} more" if len(where) > 3 else ""
        cells = f" ({empty:,} of them cells without a value)" if empty else ""
        raise ValueError(
            f"expected a value at every step of {step.words}, got {count}{cells}: {'; '.join(named)}{more}: "
            f"--fill forward repeats the value before, --fill linear draws a line, {hint}"
        )
    if fill == "none":
        return values, index, step, f"{count}, taken as neighbours"
    if lost > 10 * len(values):
        raise ValueError(f"expected fewer gaps to fill, got {count}, for {len(values):,} values: is a date wrong?")
    import pandas as pd

    whole = np.full(step.places[-1] + 1, np.nan)
    whole[step.places] = values
    filled = pd.Series(whole).ffill() if fill == "forward" else pd.Series(whole).interpolate()
    if isinstance(index, np.ndarray):
        index = index[0] + step.offset * np.arange(len(whole))
    else:
        index = pd.date_range(index[0], periods=len(whole), freq=step.offset)
    done = step._replace(places=np.arange(len(whole)))
    return filled.to_numpy(np.float64), index, done, f"{count}, filled {fill}"
