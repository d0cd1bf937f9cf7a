"""The cells of a column as people write them: which of them are missing, and the numbers or dates in the others.

A column is a pandas Series: of texts, with one space for any white space, or of the numbers that pandas held. Its name
is the column's, and its index says where each cell is: the line of a file, or the row of a frame.
"""

import re
from itertools import product
from typing import Any

import numpy as np

from .times import Times, gapless, grid

MISSING = (
    *("", "-", "--", "–", "—", ".", "..", "...", ":", "?", "*", "na", "n/a", "n.a.", "nd", "n.d.", "nan", "nat"),
    *("null", "none", "(null)", "<na>", r"\n", "#n/a", "#n/a n/a", "#div/0!", "#num!", "#value!", "#ref!"),
)

MONEY = "[A-Z]{0,2}[$€£¥₹₽₩₺₴₫₪฿]"
CODE = "(?!JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)[A-Z]{3}"  # 2020 MAY is a date
NUMBER = (
    rf"^(?=[^()]*(?:\([^()]*\))?$)(?P<sign>[-+−(]?)(?P<before>{MONEY}|{CODE}(?= ))? ?(?P<sign2>[-+−(]?)"
    r"(?P<digits>[\d.,' ]*\d[.,]?(?:[eE][-+]?\d+)?)"
    rf" ?(?P<after>%|‰|°[CF]?|{MONEY}|{CODE})?\)?$"
)
DECIMALS, THOUSANDS = ".,", ["", *",.' "]


def _pattern(decimal: str, thousands: str) -> str:
    """The digits of a number, by what may stand before its decimals and between its thousands; these have no power."""
    point, mark = re.escape(decimal), re.escape(thousands)
    grouped = rf"|[1-9]\d{{0,2}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}(?:{point}\d*)?"
    return rf"(?:(?:\d+(?:{point}\d*)?|{point}\d+)(?:[eE][-+]?\d+)?{grouped if thousands else ''})"


PATTERNS = {pair: _pattern(*pair) for pair in product(DECIMALS, THOUSANDS) if pair[0] != pair[1]}


def got(cells: Any, *labels: int) -> str:
    """What some cells of a column say instead of what is expected, and where."""
    said = " and ".join(f"{str(cells[label])!r} at {cells.index.name} {label:,}" for label in labels)
    return f"in column {cells.name!r}, got {said}"


def texts(cells: Any) -> Any:
    """The cells as they are written, or as numbers would be."""
    return cells if cells.dtype == object else cells.map("{:.15g}".format)


def missing(cells: Any) -> Any:
    """Which cells say that there is no value."""
    return cells.str.lower().isin(MISSING) if cells.dtype == object else cells.isna()


def numeric(cells: Any) -> Any:
    """Which cells are numbers, whatever their marks mean."""
    if cells.dtype != object:
        return cells.notna()
    return cells.str.extract(NUMBER)["digits"].fillna("").str.fullmatch("|".join(PATTERNS.values()))


def numbers(cells: Any, decimal: str | None, thousands: str | None) -> tuple[Any, list[str]]:
    """A column as float64, NaN where a value is missing, and how it was read.

    Raises ValueError if under no marks all cells are numbers, and if two ways of reading give different ones.
    """
    known, notes = cells[~missing(cells)], list[str]()
    if known.dtype == object and len(known):
        values, notes = _read(known, decimal, thousands)
    else:
        values = known.astype(np.float64)
    if (infinite := np.isinf(values)).any():
        raise ValueError(f"expected a finite number {got(cells, infinite.idxmax())}")
    return values.reindex(cells.index), notes


def _read(cells: Any, decimal: str | None, thousands: str | None) -> tuple[Any, list[str]]:
    """The numbers in the cells, and how they were read."""
    parts = cells.str.extract(NUMBER).fillna("")
    digits, marks = parts["digits"].str.strip(), {"", *"".join(parts["digits"].unique())}
    allowed = marks if thousands is None else {{"none": "", "space": " "}.get(thousands, thousands)}
    ways = [(point, group) for point, group in PATTERNS if decimal in (None, point) and group in allowed]
    if not ways:
        raise ValueError(
            "expected as --decimal '.' or ',', and as --thousands another one of '.', ',', \"'\", 'space', 'none', "
            f"got {decimal!r} and {thousands!r}"
        )
    fits = {way: digits.str.fullmatch(PATTERNS[way]) for way in ways}
    fitting = [way for way in ways if fits[way].all()]
    if not fitting:
        bad = max(fits.values(), key=sum).idxmin()
        raise ValueError(
            f"expected a number {got(cells, bad)}: say with --na-values that it stands for none, with --decimal and "
            "--thousands how numbers are written, leave lines out with --lines, or name another --column"
        )
    minus = parts[["sign", "sign2"]].isin(["-", "−", "("]).any(axis=1)
    readings = {}
    for point, group in fitting:
        plain = digits.str.replace(group, "").str.replace(point, ".")
        readings[point] = np.where(minus, -1, 1) * plain.astype(np.float64)
    if len(readings) == 2 and (differ := readings["."] != readings[","]).any():
        row = differ.idxmax()
        raise ValueError(
            f"expected numbers that can be read in one way {got(cells, row)}: say "
            f"--decimal . for {readings['.'][row]:.15g}, or --decimal , for {readings[','][row]:.15g}"
        )
    units = (parts["before"] + parts["after"]).drop_duplicates()
    if len(units) > 1:
        raise ValueError(f"expected one unit {got(cells, *units.index[:2])}: choose rows with --where or --lines")
    used = zip(("decimal", "thousands"), fitting[0], strict=True)
    notes = [f"{what} {mark!r}" for what, mark in used if mark and mark in marks]
    return readings[fitting[0][0]], notes + [f"in {unit}" for unit in units if unit]


CELL = (
    r"^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? )?(?P<day>.+?)"
    r"(?:(?:T|,? )(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d(?:[.,]\d+)?))?"
    r" ?(?:(?P<half>[ap])\.?m\.?)? ?(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?$"
)
REWRITTEN = {
    r"([A-Za-z]{3})[A-Za-z]*\.?": r"\1",  # months by three letters
    r"^(\d{4})[- ]?Q([1-4])$|^Q([1-4])[-/ ](\d{4})$": lambda q: f"{q[1] or q[4]}-{3 * int(q[2] or q[3]) - 2:02}",
    r"^(\d{4})M(\d\d)$": r"\1-\2",
    r"^(\d{4})-?W(\d\d)(?:-(\d))?$": lambda week: f"{week[1]}-W{week[2]}-{week[3] or 1}",
    r"\.$": "",  # 2020. 1. 20. in Korea and Hungary
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


def _days(cells: Any) -> tuple[Any, Any]:
    """The parts of the cells, and their dates with dashes and the month in digits or three letters."""
    parts = cells.str.extract(CELL, flags=re.IGNORECASE)
    days = parts["day"].fillna("")
    for pattern, replacement in REWRITTEN.items():
        days = days.str.replace(pattern, replacement, regex=True, flags=re.IGNORECASE)
    return parts, days


def _dates(days: Any, form: str) -> Any:
    """The dates of one form; NaT where a text is none."""
    import pandas as pd

    fitting = days.where(days.str.fullmatch(SHAPES.get(form, ".*")))
    zones = "%z" in form and days.str[-5:].nunique() > 1
    try:
        return pd.to_datetime(fitting, format=form, errors="coerce", utc=zones)
    except (ValueError, re.error) as error:
        raise ValueError(f"expected as --date-format the parts of a date, such as %d.%m.%Y, got {form!r}") from error


def _forms(days: Any) -> list[str]:
    """The forms that at least half of the first dates have, by their digits and letters."""
    first = days.head(1000).tolist()
    return [form for form in FORMS if 2 * sum(bool(re.fullmatch(SHAPES[form], day)) for day in first) >= len(first)]


def dated(cells: Any, date_format: str | None = None) -> bool:
    """Whether at least half of some cells are dates of one form, or of that one."""
    if date_format is None:
        return bool(_forms(_days(cells)[1]))
    return bool(2 * _dates(cells, date_format).notna().sum() >= len(cells))


def read_dates(cells: Any, dayfirst: bool | None, date_format: str | None) -> tuple[Times, list[str]] | None:
    """A column of dates in one form, and how they were read; None if its cells are numbers rather than dates.

    Raises ValueError for a cell that is no date, and where two forms fit that are both evenly spaced, or both not.
    """
    import pandas as pd

    parts, days = _days(cells)
    if date_format is not None:
        found = {date_format: _dates(cells, date_format)}
    else:
        clock = parts[["hour", "minute", "second"]].replace(",", ".", regex=True).astype(np.float64).fillna(0)
        half = parts["half"].str.lower()
        clock["hour"] = clock["hour"].mask(half.notna(), clock["hour"] % 12) + 12 * (half == "p")
        since = pd.to_timedelta((clock * [3600, 60, 1]).sum(axis=1), unit="s").dt.round("us")
        wrong = {None: (), True: ("%m-%d",), False: ("%d-%m",)}[dayfirst]
        found = {form: _dates(days, form) + since for form in _forms(days) if not form.startswith(wrong)}
        marks = parts["day"].str.replace(r"\w+", "x", regex=True)
        alike = marks.isin(marks.mode()[:1]) | (dayfirst is not None)  # d.m.y and m/d/y may stand together
        found |= {form: found[form].where(alike) for form in found if form.startswith(("%d-%m", "%m-%d"))}
        if numeric(cells).all() and not _plausible(found, cells):
            return None
    form, local = _one_form(cells, found)
    index, notes = _on_one_clock(cells, local, parts["zone"])
    quarters = form == "%Y-%m" and cells.str.contains("q", case=False).all()
    shown = form if date_format else "QUARTER" if quarters else form.replace("%b", "MON").replace("%", "").upper()
    if form in FORMS and not re.search("%[du]", form):
        label = "%YQ%q" if quarters else "%Y-%m"
    elif (index == index.normalize()).all():
        label = "%Y-%m-%d"
    else:
        seconds = ":%S.%f" if index.microsecond.any() else ":%S" if index.second.any() else ""
        label = f"%Y-%m-%d %H:%M{seconds}"
    return Times(index, label), [f"dates {shown}", *notes]


def _plausible(found: dict[str, Any], cells: Any) -> bool:
    """Whether cells that may be numbers are dates: at least half; of digits alone all, and of our centuries."""
    dates = [local for local in found.values() if 2 * local.notna().sum() >= len(local)]
    if not dates or not cells.str.isdecimal().all():
        return bool(dates)
    ours = dates[0].dt.year.between(1800, 2200).all()
    return bool(ours) and (gapless(dates[0]) or not gapless(cells.astype(np.float64)))


def _one_form(cells: Any, found: dict[str, Any]) -> tuple[str, Any]:
    """The one form under which all cells are dates, and these. Raises ValueError if there is none, or another."""
    whole = {form: local for form, local in found.items() if local.notna().all()}
    if not whole:
        most = max((local.notna() for local in found.values()), key=sum, default=numeric(cells))
        raise ValueError(
            f"expected a date {got(cells, most.idxmin())}: say how dates are written, such as --date-format %d.%m.%Y, "
            "leave lines out with --lines, or take the rows in their order with --dates row"
        )
    if len(whole) > 1:
        even = {form: local for form, local in whole.items() if gapless(local)}
        whole = even if len(even) == 1 else whole
    (form, local), *others = whole.items()
    for _, moments in others:
        if (differ := moments != local).any():
            row = differ.idxmax()
            raise ValueError(
                f"expected dates that can be read in one way {got(cells, row)}, which is {local[row]:%d %b %Y} or "
                f"{moments[row]:%d %b %Y}: say --dayfirst, --monthfirst or --date-format"
            )
    return form, local


def _on_one_clock(cells: Any, local: Any, zone: Any) -> tuple[Any, list[str]]:
    """The times on the wall, or in UTC where the zone changes and the wall does not show an even step."""
    import pandas as pd

    if local.dt.tz is not None:  # from a format of one's own; in UTC if the zone changes
        return pd.DatetimeIndex(local.dt.tz_localize(None)), ["in UTC"] * (str(local.dt.tz) == "UTC")
    zoned = zone.notna()
    if zoned.nunique() > 1:
        two = got(cells, zoned.index[0], (zoned != zoned.iloc[0]).idxmax())
        hint = "choose rows with --where or --lines, or say --dates row"
        raise ValueError(f"expected all dates in a time zone, or none, {two}: {hint}")
    if zone.nunique() < 2:
        return pd.DatetimeIndex(local), []
    written = local.map(pd.Timestamp.isoformat) + zone.str.upper().replace({"UTC": "Z", "GMT": "Z"})
    utc = pd.to_datetime(written, utc=True, format="ISO8601").dt.tz_localize(None)
    even = [axis for axis in (utc, local) if axis.is_unique and grid(pd.DatetimeIndex(axis.sort_values()))]
    on_the_wall = even and even[0] is local and (utc.argsort().array == local.argsort().array).all()
    return pd.DatetimeIndex(local if on_the_wall else utc), ["local time" if on_the_wall else "in UTC"]
