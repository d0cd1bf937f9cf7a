"""Dates as people write them, the even step that they have, and how they go on. pandas knows the calendar."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..types import Array

CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d(?:[.,]\d+)?))? ?(?:(?P<half>[ap])\.?m\.?)?"
ZONE = r"(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)"
CELL = re.compile(
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? )?(?P<day>.+?)(?:(?:T|,? ){CLOCK} ?{ZONE}?)?", re.IGNORECASE
)
FORMS = (
    *("%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d", "%d-%b-%Y", "%b-%d-%Y", "%Y-%b-%d"),
    *("%d-%b-%y", "%Y-%m", "%m-%Y", "%b-%Y", "%Y-%b", "%b-%y", "%GW%V-%u", "%Y%m%d", "%Y%m"),
)
"""What a date may look like once its separators are dashes: no cell without a year."""

PARTS = {"%Y": r"\d{4}", "%G": r"\d{4}", "%y": r"\d\d", "%b": "[A-Za-z]{3}"}
SHAPES = {form: re.compile(re.sub("%.", lambda part: PARTS.get(part[0], r"\d\d?"), form)) for form in FORMS}
SHAPES |= {"%Y%m%d": re.compile(r"\d{8}"), "%Y%m": re.compile(r"\d{6}")}

CYCLES = {"month": 12, "week": 52, "day": 7, "hour": 24, "minute": 1440}
"""How many of a unit make the next larger round."""

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


class Dates(NamedTuple):
    """A column of dates: (N,) pandas timestamps without a zone, as a clock on the wall shows them."""

    local: Any
    offsets: Array
    """(N,) seconds that the wall is ahead of UTC; zeros without a zone."""
    form: str
    """As which they were read."""

    @property
    def label(self) -> str:
        """The form in which they are printed."""
        if self.form in ("%Y-%m", "%m-%Y", "%b-%Y", "%Y-%b", "%b-%y", "%Y%m", "quarter"):
            return "quarter" if self.form == "quarter" else "%Y-%m"
        if (self.local == self.local.normalize()).all():
            return "%Y-%m-%d"
        return "%Y-%m-%d %H:%M" + (":%S" if self.local.second.any() else "")


class Text(NamedTuple):
    """What a cell says."""

    day: str = ""
    """The date with dashes, the month in digits or three letters; empty if there is none."""
    marks: str = ""
    """What stands between the parts of the date."""
    clock: int = 0
    """Microseconds since midnight."""
    ahead: float = np.nan
    """How many seconds the zone is ahead of UTC; NaN without one."""


def _text(cell: str) -> Text:
    if not (found := CELL.fullmatch(" ".join(cell.split()))):
        return Text()
    day = found["day"]
    if re.search("[A-Za-z]", day):
        day = re.sub(r"([a-z]{3})[a-z]*\.?", r"\1", day, flags=re.IGNORECASE)
        if quarter := re.fullmatch(r"(\d{4})[- ]?Q([1-4])", re.sub(r"^(Q\d)[-/ ](\d{4})$", r"\2\1", day.upper())):
            day = f"{quarter[1]}-{3 * int(quarter[2]) - 2:02}"
        day = re.sub(r"^(\d{4})-?W(\d\d)$", r"\1W\2-1", re.sub(r"^(\d{4})M(\d\d)$", r"\1-\2", day))
    marks = re.sub(r"\w+", "x", day)
    day = re.sub(r"[-./, ]+", "-", day)
    if not found["hour"]:
        return Text(day, marks)
    hour = int(found["hour"]) % 12 + 12 * (found["half"] in "pP") if found["half"] else int(found["hour"])
    seconds = 3600 * hour + 60 * int(found["minute"]) + float((found["second"] or "0").replace(",", "."))
    digits = re.sub("[A-Za-z:]", "", found["zone"] or "") + "0000"  # ±hhmm; Z and UTC are 0
    ahead = 3600 * int(digits[:3]) + 60 * int(digits[0] + digits[3:5])
    return Text(day, marks, round(seconds * 1e6), ahead if found["zone"] else np.nan)


def forms(cells: Sequence[str]) -> list[str]:
    """The forms that at least half of some cells have, by their digits and letters."""
    days = [_text(cell).day for cell in cells]
    return [form for form in FORMS if 2 * sum(map(bool, map(SHAPES[form].fullmatch, days))) >= len(days)]


def read_dates(
    cells: Sequence[str], at: Sequence[str], name: str, dayfirst: bool | None, date_format: str | None
) -> Dates | None:
    """A column of dates in one form; None if its cells are numbers rather than dates.

    at: where each cell is, in words. Of several forms it is the one in which all cells are dates; if there are several
    of these, the one that is evenly spaced. Raises ValueError for a cell that is no date, and where two forms remain.
    """
    import pandas as pd

    texts = [_text(cell) for cell in cells]
    if date_format is not None:
        found = {date_format: pd.to_datetime(list(cells), format=date_format, errors="coerce")}
    else:
        mixed = len({text.marks for text in texts}) > 1  # d.m.y and m/d/y may stand together
        wanted = {None: () if mixed else ("%d-%m", "%m-%d"), True: ("%d-%m",), False: ("%m-%d",)}[dayfirst]
        possible = [form for form in forms(cells[:1000]) if form[:5] in wanted or form[:5] not in ("%d-%m", "%m-%d")]
        days, clocks = [text.day for text in texts], pd.to_timedelta([text.clock for text in texts], unit="us")
        found = {form: pd.to_datetime(days, format=form, errors="coerce") + clocks for form in possible}
        if all(re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?", cell, re.IGNORECASE) for cell in cells) and not _plausible(
            found, cells
        ):
            return None
    whole = {form: local for form, local in found.items() if local.notna().all()}
    if not whole:
        known = max(found.values(), key=lambda local: local.notna().sum()).notna() if found else [False] * len(cells)
        row = list(known).index(False)
        raise ValueError(
            f"expected a date in column {name!r}, got {cells[row]!r} at {at[row]}: say how dates are written, such as "
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
                f"expected dates that can be read in one way, got {cells[row]!r} at {at[row]}, column {name!r}, which "
                f"is {local[row]:%d %b %Y} or {moments[row]:%d %b %Y}: say --dayfirst, --monthfirst or --date-format"
            )
    ahead = np.array([text.ahead for text in texts], np.float64)
    if local.tz is not None:  # from a format of one's own
        ahead = np.array([moment.utcoffset().total_seconds() for moment in local])
        local = local.tz_localize(None)
    zoned = ~np.isnan(ahead)
    if zoned.any() and not zoned.all():
        row = int(np.flatnonzero(zoned != zoned[0])[0])
        raise ValueError(
            f"expected all dates of column {name!r} in a time zone, or none, got {cells[0]!r} at {at[0]} and "
            f"{cells[row]!r} at {at[row]}: choose rows with --where or --lines, or say --dates row"
        )
    quarters = form == "%Y-%m" and all("q" in cell.lower() for cell in cells)
    return Dates(local, np.where(zoned, ahead, 0), "quarter" if quarters else form)


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
            offset = pd.offsets.MonthEnd(n) if ends else pd.DateOffset(months=n)
            quarters = n == 3
            words = _words(n // 12, "year") if n % 12 == 0 else "1 quarter" if quarters else _words(n, "month")
            return Grid(found[1], offset, words, _season("month", n))
    seconds = np.asarray((index - index[0]) / pd.Timedelta(seconds=1), np.float64)
    weekdays, shown = sorted(set(index.day_of_week)), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    days = seconds / 86400
    if len(weekdays) < 7 and (days == np.rint(days)).all() and np.diff(days).min() == 1:
        mask = [number in weekdays for number in range(7)]
        dates = index.normalize().to_numpy().astype("datetime64[D]")
        found = _steps(np.busday_count(dates[0], dates, weekmask=mask).astype(np.float64))
        if found and found[0] == 1 and ((np.diff(days) > 1) & (np.diff(found[1]) == 1)).sum() > 1:  # twice or more
            names = [shown[number] for number in weekdays]
            words = "1 weekday" if weekdays == [0, 1, 2, 3, 4] else f"1 day of {', '.join(names)}"
            return Grid(found[1], pd.offsets.CustomBusinessDay(1, weekmask=" ".join(names)), words, len(names))
    found = _steps(seconds)
    if not found:
        return None
    unit = next((unit for unit, size in SECONDS.items() if found[0] % size == 0), None)
    size = found[0] / SECONDS[unit or "second"]
    season = _season(unit, int(size)) if unit else None
    return Grid(found[1], pd.Timedelta(seconds=found[0]), _words(size, unit or "second"), season)


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


def _words(n: float, unit: str) -> str:
    return f"{n:.10g} {unit}{'' if n == 1 else 's'}"


def _season(unit: str | None, n: int) -> int | None:
    cycle = CYCLES.get(unit or "", 0) if n else 0
    return cycle // n if n and cycle % n == 0 and cycle > n else None
