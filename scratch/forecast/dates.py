"""Dates as people write them."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..types import Array
from .cells import SHAPE, Table
from .times import Times, grid

CLOCK = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d(?:[.,]\d+)?))? *(?:(?P<half>[ap])\.?m\.?)?"
    r" *(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.IGNORECASE,
)
CELL = re.compile(
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +)?(?P<day>.+?)(?:(?:T|,? +)(?P<clock>{CLOCK.pattern}))?",
    re.IGNORECASE,
)
FORMS = (
    *("%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d", "%d-%b-%Y", "%b-%d-%Y", "%Y-%b-%d"),
    *("%d-%b-%y", "%Y-%m", "%m-%Y", "%b-%Y", "%Y-%b", "%b-%y", "%GW%V-%u", "%Y%m%d", "%Y%m"),
)
"""What a date may look like once its separators are dashes: no cell without a year."""

PARTS = {"%Y": r"\d{4}", "%G": r"\d{4}", "%y": r"\d\d", "%b": "[A-Za-z]{3}"}
SHAPES = {form: re.compile(re.sub("%.", lambda part: PARTS.get(part[0], r"\d\d?"), form)) for form in FORMS}
SHAPES |= {"%Y%m%d": re.compile(r"\d{8}"), "%Y%m": re.compile(r"\d{6}")}

MONTHLY = [form for form in FORMS if not re.search("%[du]", form)]

PLAIN = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?", re.IGNORECASE)
"""What may be a number rather than a date."""


def _text(cell: str) -> tuple[str, str, int, float]:
    """The date in a cell with dashes, the month in digits or three letters, empty if there is none; what stood between
    its parts; the microseconds since midnight; the seconds that its zone is ahead of UTC, NaN without one.
    """
    day, clock = _spans(cell.translate(SHAPE))
    return *_day(cell[slice(*day)]), *_clock(cell[slice(*clock)])


@lru_cache
def _spans(shape: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the date is in cells of a shape, and where the time of day."""
    found = CELL.fullmatch(shape)
    return (found.span("day"), found.span("clock")) if found else ((0, 0), (0, 0))


@lru_cache(maxsize=10000)  # the hours of a day say the same day
def _day(day: str) -> tuple[str, str]:
    day = " ".join(day.split())
    if re.search("[A-Za-z]", day):
        day = re.sub(r"([a-z]{3})[a-z]*\.?", r"\1", day, flags=re.IGNORECASE)
        if quarter := re.fullmatch(r"(\d{4})[- ]?Q([1-4])", re.sub(r"^(Q\d)[-/ ](\d{4})$", r"\2\1", day.upper())):
            day = f"{quarter[1]}-{3 * int(quarter[2]) - 2:02}"
        day = re.sub(r"^(\d{4})-?W(\d\d)$", r"\1W\2-1", re.sub(r"^(\d{4})M(\d\d)$", r"\1-\2", day))
    return re.sub(r"[-./, ]+", "-", day), re.sub(r"\w+", "x", day)


@lru_cache(maxsize=10000)
def _clock(clock: str) -> tuple[int, float]:
    if not (found := CLOCK.fullmatch(" ".join(clock.split()))):
        return 0, np.nan
    hour = int(found["hour"]) % 12 + 12 * (found["half"] in "pP") if found["half"] else int(found["hour"])
    seconds = 3600 * hour + 60 * int(found["minute"]) + float((found["second"] or "0").replace(",", "."))
    digits = re.sub("[A-Za-z:]", "", found["zone"] or "") + "0000"  # ±hhmm; Z and UTC are 0
    ahead = 3600 * int(digits[:3]) + 60 * int(digits[0] + digits[3:5])
    return round(seconds * 1e6), ahead if found["zone"] else np.nan


def forms(cells: Sequence[str]) -> list[str]:
    """The forms that at least half of some cells have, by their digits and letters."""
    days = [_text(cell)[0] for cell in cells]
    return [form for form in FORMS if 2 * sum(map(bool, map(SHAPES[form].fullmatch, days))) >= len(days)]


def read_dates(
    table: Table, place: int, dayfirst: bool | None, date_format: str | None
) -> tuple[Times, list[str]] | None:
    """A column of dates in one form, and how they were read; None if its cells are numbers rather than dates.

    Of several forms it is the one in which all cells are dates; if there are several of these, the one that is evenly
    spaced. Raises ValueError for a cell that is no date, and where two forms remain.
    """
    import pandas as pd

    cells = table.columns[place]
    days, marks, clocks, ahead = zip(*map(_text, cells), strict=True)
    if date_format is not None:
        found = {date_format: pd.to_datetime(cells, format=date_format, errors="coerce")}
    else:
        mixed = len(set(marks)) > 1  # d.m.y and m/d/y may stand together
        wanted = {None: () if mixed else ("%d-%m", "%m-%d"), True: ("%d-%m",), False: ("%m-%d",)}[dayfirst]
        possible = [form for form in forms(cells[:1000]) if form[:5] in wanted or form[:5] not in ("%d-%m", "%m-%d")]
        since = pd.to_timedelta(clocks, unit="us")
        found = {form: pd.to_datetime(list(days), format=form, errors="coerce") + since for form in possible}
        if not _plausible(found, cells) and all(map(PLAIN.fullmatch, cells)):
            return None
    form, local = _one_form(table, place, found)
    if local.tz is not None:  # from a format of one's own
        ahead = tuple(moment.utcoffset().total_seconds() for moment in local)
        local = local.tz_localize(None)
    index, notes = _on_one_clock(table, place, local, np.array(ahead))
    quarters = form == "%Y-%m" and all("q" in cell.lower() for cell in cells)
    shown = form if date_format else "QUARTER" if quarters else form.replace("%b", "MON").replace("%", "").upper()
    return Times(index, "quarter" if quarters else _label(form, index)), [f"dates {shown}", *notes]


def _one_form(table: Table, place: int, found: dict[str, Any]) -> tuple[str, Any]:
    """The one form under which all cells are dates, and these. Raises ValueError if there is none, or another."""
    name = table.names[place]
    whole = {form: local for form, local in found.items() if local.notna().all()}
    if not whole:
        known = max(found.values(), key=lambda local: local.notna().sum()).notna() if found else [False]
        row = list(known).index(False)
        raise ValueError(
            f"expected a date in column {name!r}, got {table.cell(row, place)}: say how dates are written, such as "
            "--date-format %d.%m.%Y, leave lines out with --lines, or take the rows in their order with --dates row"
        )
    if len(whole) > 1:
        even = {form: local for form, local in whole.items() if _gapless(local.unique().sort_values())}
        whole = even if len(even) == 1 else whole
    (form, local), *others = whole.items()
    for _, moments in others:
        if not (moments == local).all():
            row = int(np.flatnonzero(moments != local)[0])
            raise ValueError(
                f"expected dates that can be read in one way, got {table.cell(row, place)}, column {name!r}, which is "
                f"{local[row]:%d %b %Y} or {moments[row]:%d %b %Y}: say --dayfirst, --monthfirst or --date-format"
            )
    return form, local


def _on_one_clock(table: Table, place: int, local: Any, ahead: Array) -> tuple[Any, list[str]]:
    """The times on the wall, or in UTC where the zone changes and the wall does not show an even step.

    ahead: (N,) seconds that the wall is ahead of UTC, NaN without a zone. Raises ValueError if only some have a zone.
    """
    import pandas as pd

    zoned = ~np.isnan(ahead)
    if zoned.any() and not zoned.all():
        row = int(np.flatnonzero(zoned != zoned[0])[0])
        raise ValueError(
            f"expected all dates of column {table.names[place]!r} in a time zone, or none, got {table.cell(0, place)} "
            f"and {table.cell(row, place)}: choose rows with --where or --lines, or say --dates row"
        )
    if len(np.unique(ahead[zoned])) < 2:
        return local, []
    utc = local - pd.to_timedelta(ahead, unit="s")
    even = [axis for axis in (utc, local) if axis.is_unique and grid(axis.sort_values())]
    ordered = (np.argsort(utc, kind="stable") == np.argsort(local, kind="stable")).all()
    return (local, ["local time"]) if even and even[0] is local and ordered else (utc, ["in UTC"])


def _label(form: str, index: Any) -> str:
    """The form in which dates are printed."""
    if form in MONTHLY:
        return "%Y-%m"
    if (index == index.normalize()).all():
        return "%Y-%m-%d"
    return "%Y-%m-%d %H:%M" + (":%S" if index.second.any() else "")


def _plausible(found: dict[str, Any], cells: Sequence[str]) -> bool:
    """Whether digits alone are dates rather than numbers: all of them, and of our centuries."""
    if not found or not all(cell.isdecimal() for cell in cells):
        return bool(found)
    local = next(iter(found.values()))
    if not (local.notna().all() and ((local.year >= 1800) & (local.year <= 2200)).all()):
        return False
    return _gapless(local.unique().sort_values()) or not _gapless(np.unique([float(cell) for cell in cells]))


def _gapless(index: Any) -> bool:
    """Whether sorted times follow each other by one step."""
    found = grid(index)
    return found is not None and bool((np.diff(found.places) == 1).all())
