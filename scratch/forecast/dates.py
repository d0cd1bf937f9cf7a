"""Dates as people write them."""

import re
from typing import Any

import numpy as np

from .cells import quoted
from .times import Times, gapless, grid

CELL = (
    r"^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? )?(?P<day>.+?)"
    r"(?:(?:T|,? )(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d(?:[.,]\d+)?))?"
    r" ?(?:(?P<half>[ap])\.?m\.?)? ?(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?$"
)
REWRITTEN = {
    r"([A-Za-z]{3})[A-Za-z]*\.?": r"\1",  # months by three letters
    r"^(\d{4})[- ]?Q([1-4])$|^Q([1-4])[-/ ](\d{4})$": lambda q: f"{q[1] or q[4]}-{3 * int(q[2] or q[3]) - 2:02}",
    r"^(\d{4})M(\d\d)$": r"\1-\2",
    r"^(\d{4})-?W(\d\d)$": r"\1-W\2-1",
    "[-./, ]+": "-",
}
FORMS = (
    *("%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d", "%d-%b-%Y", "%b-%d-%Y", "%Y-%b-%d"),
    *("%d-%b-%y", "%Y-%m", "%m-%Y", "%b-%Y", "%Y-%b", "%b-%y", "%G-W%V-%u", "%Y%m%d", "%Y%m"),
)
"""What a date may look like once its separators are dashes: no cell without a year."""

PARTS = {"%Y": r"\d{4}", "%G": r"\d{4}", "%y": r"\d\d", "%b": "[A-Za-z]{3}"}
SHAPES = {form: re.sub("%.", lambda part: PARTS.get(part[0], r"\d\d?"), form) for form in FORMS}
SHAPES |= {"%Y%m%d": r"\d{8}", "%Y%m": r"\d{6}"}

PLAIN = r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?"
"""What may be a number rather than a date."""


def _days(cells: Any) -> tuple[Any, Any]:
    """The parts of the cells, and their dates with dashes and the month in digits or three letters."""
    parts = cells.str.extract(CELL, flags=re.IGNORECASE)
    days = parts["day"].fillna("")
    for pattern, replacement in REWRITTEN.items():
        days = days.str.replace(pattern, replacement, regex=True, flags=re.IGNORECASE)
    return parts, days


def _read(days: Any, form: str) -> Any:
    """The dates of one form; NaT where a text is none."""
    import pandas as pd

    return pd.to_datetime(days.where(days.str.fullmatch(SHAPES.get(form, ".*"))), format=form, errors="coerce")


def _forms(days: Any) -> list[str]:
    """The forms that at least half of the first dates have, by their digits and letters."""
    first = days.head(1000).tolist()
    return [form for form in FORMS if 2 * sum(bool(re.fullmatch(SHAPES[form], day)) for day in first) >= len(first)]


def dated(cells: Any) -> bool:
    """Whether at least half of some cells are dates of one form."""
    return bool(_forms(_days(cells)[1]))


def read_dates(cells: Any, dayfirst: bool | None, date_format: str | None) -> tuple[Times, list[str]] | None:
    """A column of dates in one form, and how they were read; None if its cells are numbers rather than dates.

    Of several forms it is the one in which all cells are dates; if there are several of these, the one that is evenly
    spaced. Raises ValueError for a cell that is no date, and where two forms remain.
    """
    import pandas as pd

    parts, days = _days(cells)
    if date_format is not None:
        found = {date_format: _read(cells, date_format)}
    else:
        clock = parts[["hour", "minute", "second"]].replace(",", ".", regex=True).astype(np.float64).fillna(0)
        half = parts["half"].str.lower()
        clock["hour"] = clock["hour"].mask(half.notna(), clock["hour"] % 12) + 12 * (half == "p")
        since = pd.to_timedelta((clock * [3600, 60, 1]).sum(axis=1), unit="s").dt.round("us")
        mixed = cells.str.replace(r"\w+", "x", regex=True).nunique() > 1  # d.m.y and m/d/y may stand together
        wrong = {None: ("%d-%m", "%m-%d") if mixed else (), True: "%m-%d", False: "%d-%m"}[dayfirst]
        found = {form: _read(days, form) + since for form in _forms(days) if not form.startswith(wrong)}
        if cells.str.fullmatch(PLAIN).all() and not _plausible(found, cells):
            return None
    form, local = _one_form(cells, found)
    index, notes = _on_one_clock(cells, local, parts["zone"])
    quarters = form == "%Y-%m" and cells.str.contains("q", case=False).all()
    shown = form if date_format else "QUARTER" if quarters else form.replace("%b", "MON").replace("%", "").upper()
    if not re.search("%[du]", form):
        label = "quarter" if quarters else "%Y-%m"
    elif (index == index.normalize()).all():
        label = "%Y-%m-%d"
    else:
        label = "%Y-%m-%d %H:%M" + (":%S" if index.second.any() else "")
    return Times(index, label), [f"dates {shown}", *notes]


def _plausible(found: dict[str, Any], cells: Any) -> bool:
    """Whether cells that may be numbers are dates: digits alone only if they are all of our centuries."""
    if not found or not cells.str.isdecimal().all():
        return bool(found)
    local = next(iter(found.values()))
    return bool(local.dt.year.between(1800, 2200).all()) and (gapless(local) or not gapless(cells.astype(np.float64)))


def _one_form(cells: Any, found: dict[str, Any]) -> tuple[str, Any]:
    """The one form under which all cells are dates, and these. Raises ValueError if there is none, or another."""
    whole = {form: local for form, local in found.items() if local.notna().all()}
    if not whole:
        most = max((local.notna() for local in found.values()), key=sum, default=cells == "")
        raise ValueError(
            f"expected a date in column {cells.name!r}, got {quoted(cells, most.idxmin())}: say how dates are written, "
            "such as --date-format %d.%m.%Y, leave lines out with --lines, or take the rows in their order with "
            "--dates row"
        )
    if len(whole) > 1:
        even = {form: local for form, local in whole.items() if gapless(local)}
        whole = even if len(even) == 1 else whole
    (form, local), *others = whole.items()
    for _, moments in others:
        if (differ := moments != local).any():
            row = differ.idxmax()
            raise ValueError(
                f"expected dates that can be read in one way, got {quoted(cells, row)}, column {cells.name!r}, which "
                f"is {local[row]:%d %b %Y} or {moments[row]:%d %b %Y}: say --dayfirst, --monthfirst or --date-format"
            )
    return form, local


def _on_one_clock(cells: Any, local: Any, zone: Any) -> tuple[Any, list[str]]:
    """The times on the wall, or in UTC where the zone changes and the wall does not show an even step.

    zone: that of each cell, missing without one. Raises ValueError if only some have a zone.
    """
    import pandas as pd

    if local.dt.tz is not None:  # from a format of one's own
        return pd.DatetimeIndex(local.dt.tz_localize(None)), []
    zoned = zone.notna()
    if zoned.nunique() > 1:
        first, other = (quoted(cells, row) for row in (zoned.index[0], (zoned != zoned.iloc[0]).idxmax()))
        raise ValueError(
            f"expected all dates of column {cells.name!r} in a time zone, or none, got {first} and {other}: choose "
            "rows with --where or --lines, or say --dates row"
        )
    if zone.nunique() < 2:
        return pd.DatetimeIndex(local), []
    written = local.map(pd.Timestamp.isoformat) + zone.str.upper().replace({"UTC": "Z", "GMT": "Z"})
    utc = pd.to_datetime(written, utc=True, format="ISO8601").dt.tz_localize(None)
    even = [axis for axis in (utc, local) if axis.is_unique and grid(pd.DatetimeIndex(axis.sort_values()))]
    on_the_wall = even and even[0] is local and (utc.argsort().array == local.argsort().array).all()
    return pd.DatetimeIndex(local if on_the_wall else utc), ["local time" if on_the_wall else "in UTC"]
