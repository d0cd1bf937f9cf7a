"""A time series out of a CSV file: one column of numbers, in the order of time."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..types import Array

DELIMITERS = ",;\t"
"""What may stand between two cells."""

ROWS = "row"
"""The name of the time axis where no column is: the rows count from 1."""

SUNSPOTS = Path(__file__).with_name("sunspots.csv")
SUNSPOTS_SOURCE = (
    "yearly mean sunspot numbers, version 1 (SIDC), from NOAA's National Geophysical Data Center, "
    "http://www.ngdc.noaa.gov/stp/solar/solarda3.html, public domain"
)


Space = TypeVar("Space", Decimal, timedelta, int)
"""What lies between two times."""


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
    """The N times, as they are written in the file."""

    def __len__(self) -> int:
        return len(self.values)

    def between(self, part: range) -> str:
        """The first and the last time of a part, in words."""
        return f"{self.times[part[0]]}–{self.times[part[-1]]}"


def sunspots() -> Series:
    """The yearly mean sunspot numbers of 1700 to 2008, version 1 (SIDC), N = 309.

    Source: NOAA's National Geophysical Data Center; more in sunspots.md.
    """
    return read_series(SUNSPOTS, "sunspots")


def read_series(path: str | os.PathLike[str], column: str | None = None, time: str | None = None) -> Series:
    """Read one column of a CSV file. The first row has the names of the columns; blank lines are passed over.

    The text is UTF-8, with or without a byte order mark; cells are separated by commas, semicolons or tabs, whichever
    divides the first row into most columns; numbers are written with a decimal point.

    column: the name of the values' column; may be left out if, beside the times, only one has numbers. time: the name
    of the column of the times; the first column if left out, 'row' for the numbers of the rows. Where all times are
    numbers or ISO dates, they must not decrease: a series that is read backwards would be taught its future.

    Raises OSError if the file cannot be read, and ValueError, with line and column, for everything in it that is not
    as it should be.
    """
    where = os.fspath(path)
    header, rows = _table(_text(where), where)
    if time is None:
        time = header[0] if len(header) > 1 and column != header[0] else ROWS
    if time != ROWS or time in header:
        _place(header, time, "time")
    if column is None:
        column = _only_column(header, rows, time)
    place = _place(header, column, "column")
    values = np.array([_number(cells[place], line, column) for line, cells in rows])
    if time in header:
        times = tuple(cells[header.index(time)] for _, cells in rows)
        _check_order(times, [line for line, _ in rows], time)
    else:
        times = tuple(str(1 + row) for row in range(len(rows)))
    return Series(column, values, time, times)


def axis(times: Sequence[str]) -> list[float] | list[datetime] | None:
    """Times as numbers, or else as dates (ISO 8601), or None if they are neither."""
    numbers = _numbers(times)
    return [float(number) for number in numbers] if numbers else _dates(times)


def times_after(times: Sequence[str], count: int) -> list[str]:
    """The `count` times after the last one, if they are evenly spaced or months, and else '+1', '+2', …"""
    numbers, dates = _numbers(times), _dates(times)
    if numbers and (space := _constant(after - before for before, after in pairwise(numbers))):
        return [f"{numbers[-1] + ahead * space:f}" for ahead in range(1, count + 1)]
    if not numbers and dates and (gap := _constant(after - before for before, after in pairwise(dates))):
        with suppress(OverflowError):  # beyond the year 9999
            beyond = [dates[-1] + ahead * gap for ahead in range(1, count + 1)]
            return [_in_form(date, times[-1]) for date in beyond]
    if not numbers and dates and len({(date.day, date.time()) for date in dates}) == 1 and dates[0].day <= 28:
        months = [12 * date.year + date.month - 1 for date in dates]
        step = _constant(after - before for before, after in pairwise(months))
        if step and (months[-1] + count * step) // 12 <= MAXYEAR:
            beyond_months = [months[-1] + ahead * step for ahead in range(1, count + 1)]
            return [_in_form(dates[-1].replace(year=m // 12, month=m % 12 + 1), times[-1]) for m in beyond_months]
    return [f"+{ahead}" for ahead in range(1, count + 1)]


def _in_form(date: datetime, text: str) -> str:
    """A date as text: with a time of the day, if another text has one."""
    return str(date if "T" in text or " " in text or date.time() != time() else date.date())


def _constant(spaces: Iterable[Space]) -> Space | None:
    """What all of them are, or None."""
    different = set(spaces)
    return different.pop() if len(different) == 1 else None


def _numbers(times: Sequence[str]) -> list[Decimal] | None:
    """Times as numbers, exactly as they are written; None if one is no number."""
    try:
        return [Decimal(text) for text in times] if all(isfinite(float(text)) for text in times) else None
    except (ValueError, ArithmeticError):
        return None


def _dates(times: Sequence[str]) -> list[datetime] | None:
    """Times as dates; None if one is no date, or if only some are in a time zone."""
    try:
        dates = [datetime.fromisoformat(text) for text in times]
    except ValueError:
        return None
    return dates if len({date.tzinfo is None for date in dates}) == 1 else None


def _text(where: str) -> str:
    """A whole UTF-8 file."""
    try:
        return Path(where).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8 text in {where}, got {error.reason} at byte {error.start}") from None


def _table(text: str, where: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the other rows with the line that each ends in; white space around cells is cut."""
    delimiter = max(DELIMITERS, key=lambda delimiter: len(_first_row(text, delimiter)))  # of equal ones the first
    (_, header), *rows = _parsed(text, delimiter, where)
    if not rows:
        raise ValueError(f"expected rows below the names of the columns in {where}, got none")
    for line, cells in rows:
        if len(cells) != len(header):
            raise ValueError(f"expected {len(header)} cells, as the first row has, got {len(cells)} at line {line}")
    return header, rows


def _first_row(text: str, delimiter: str) -> list[str]:
    """The first row that is not blank, read leniently."""
    try:
        return next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)), [])
    except csv.Error:
        return []


def _parsed(text: str, delimiter: str, where: str) -> list[tuple[int, list[str]]]:
    """Every row that is not blank, and the line that it ends in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    try:
        for cells in reader:
            if cells:
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise ValueError(f"expected CSV in {where}, got {error} at line {reader.line_num}") from None
    if not rows:
        raise ValueError(f"expected a first row with the names of the columns in {where}, got nothing")
    return rows


def _place(header: list[str], name: str, kind: str) -> int:
    """Where the column of a name is."""
    if header.count(name) != 1:
        problem = f"{name!r} {header.count(name)} times" if name in header else repr(name)
        raise ValueError(f"expected as {kind} one of {_listed(header)}, got {problem}")
    return header.index(name)


def _only_column(header: list[str], rows: list[tuple[int, list[str]]], time: str) -> str:
    """The one column with numbers beside the times."""
    candidates = [
        name for place, name in enumerate(header) if name != time and any(_is_number(cells[place]) for _, cells in rows)
    ]
    if len(candidates) == 1:
        return candidates[0]
    found = f"are {len(candidates)} columns with numbers" if candidates else "is no column with numbers"
    raise ValueError(f"expected the name of a column, as there {found} beside {time!r}: {_listed(header)}")


def _listed(header: list[str]) -> str:
    return ", ".join(map(repr, header))


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _number(text: str, line: int, column: str) -> float:
    """A cell as a finite number."""
    if not _is_number(text):
        raise ValueError(
            f"expected a finite number at line {line}, column {column!r}, got {repr(text) if text else 'an empty cell'}"
        )
    return float(text)


def _check_order(times: Sequence[str], lines: Sequence[int], name: str) -> None:
    """Refuse times that can be compared and go backwards."""
    places: Sequence[Any] = axis(times) or ()
    for row, (before, after) in enumerate(pairwise(places), start=1):
        if after < before:
            raise ValueError(
                f"expected times that increase in column {name!r}, got {times[row]} after {times[row - 1]} at line "
                f"{lines[row]}: sort the rows, or take another time, such as {ROWS!r} for the order as it is"
            )
