"""Files that people bring, made at random, each with the series that is meant and what its writer would answer."""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from scratch.forecast import Series, read_series

DAYS = ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%Y/%m/%d", "%d.%m.%y", "%m/%d/%y"]
DAYS += ["%y-%m-%d", "%Y%m%d", "%d %b %Y", "%B %d, %Y", "%d-%b-%y", "%a, %d %b %Y"]
MONTHS = ["%Y-%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%y"]
TIMES = [" %H:%M", "T%H:%M:%S", " %I:%M %p", " %H:%M:%SZ", " %H:%M+02:00"]
FREQUENCIES = {"D": DAYS, "B": DAYS, "W-WED": DAYS, "MS": DAYS + MONTHS, "ME": DAYS, "QS": [*DAYS, "quarter"]}
FREQUENCIES["h"] = TIMES
MARKS = [(".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", "\xa0"), (".", "'")]


@dataclass
class Brought:
    """A file, what it means, and what its writer would say when asked."""

    content: bytes
    values: list[float] = field(repr=False)
    times: list[pd.Timestamp] = field(repr=False)
    answers: dict[str, Any] = field(default_factory=dict)


def number(value: int, digits: int, decimal: str, thousands: str, strip: bool) -> str:
    """value / 10 ** digits as people write it."""
    text = f"{value / 10**digits:,.{digits}f}"
    if strip and digits:
        text = text.rstrip("0").rstrip(".")
    return text.translate({ord(","): thousands, ord("."): decimal})


def date(moment: pd.Timestamp, form: str) -> str:
    """A date as people write it."""
    return f"{moment.year}Q{moment.quarter}" if form == "quarter" else moment.strftime(form)


@st.composite
def brought(draw: st.DrawFn) -> Brought:
    """Any of these files."""
    frequency = draw(st.sampled_from(list(FREQUENCIES)))
    form = draw(st.sampled_from(FREQUENCIES[frequency]))
    form = draw(st.sampled_from(DAYS)) + form if frequency == "h" else form
    start = pd.Timestamp(draw(st.dates(pd.Timestamp(1970, 1, 1).date(), pd.Timestamp(2040, 1, 1).date())))
    length = draw(st.integers(14, 40))
    times = list(pd.date_range(start, periods=length, freq=frequency))
    decimal, thousands = draw(st.sampled_from(MARKS))
    digits, strip = draw(st.integers(0, 3)), draw(st.booleans())
    size = draw(st.sampled_from([10**3, 10**5, 10**8]))
    raw = draw(st.lists(st.integers(-size, size), min_size=length, max_size=length))
    kept = list(range(length))
    if draw(st.booleans()):
        first = draw(st.integers(4, length - 5))
        last = draw(st.integers(first, min(first + 2, length - 5)))
        kept = [row for row in kept if not first <= row <= last]
    before, after = draw(st.sampled_from([("", ""), ("$", ""), ("", " €"), ("", "%")]))
    blank = draw(st.sampled_from([None, "", "NA", "-"]))
    rows, other = [], draw(st.booleans())
    for row in range(length):
        cell = before + number(raw[row], digits, decimal, thousands, strip) + after
        if row not in kept:
            if blank is None:
                continue
            cell = blank
        rows.append([date(times[row], form), cell])
        if other:
            rows[-1].append("A")
            rows.append([rows[-1][0], before + number(raw[-1 - row], digits, decimal, thousands, strip) + after, "B"])
    order = draw(st.sampled_from(["as it is", "newest first", "any"]))
    rows = {"as it is": rows, "newest first": rows[::-1], "any": draw(st.permutations(rows))}[order]
    names = ["Größe der Zeit", "Wert", "Land"][: 2 + other]
    header = draw(st.booleans())
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    text = io.StringIO()
    text.write(draw(st.sampled_from(["", f"sep={separator}\n"])))
    csv.writer(text, delimiter=separator, lineterminator=draw(st.sampled_from(["\n", "\r\n", "\n\n"]))).writerows(
        [names] * header + rows
    )
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    values = pd.Series([value / 10**digits if row in kept else np.nan for row, value in enumerate(raw)])
    own = form.replace("%SZ", "%S%z").replace("+02:00", "%z")
    answers = {
        "decimal": decimal,
        "thousands": {"\xa0": " ", "": None}.get(thousands, thousands),
        "dayfirst": form.find("%d") < form.find("%m") if form[:2] in ("%d", "%m") else None,
        "date_format": None if form == "quarter" else own,
        "where": [f"{names[2] if header else 'column 3'}=A"] if other else None,
        "fill": "forward",
        "encoding": encoding,
        "separator": separator,
        "dates": 1,
        "column": 2,
    }
    known = {name: answer for name, answer in answers.items() if answer is not None}
    return Brought(text.getvalue().encode(encoding), values.ffill().tolist(), times, known)


def read_as_meant(file: Brought, path: Path) -> tuple[Series, dict[str, Any]]:
    """Read a file; where that is refused, again with what the message names, answered as its writer would."""
    path.write_bytes(file.content)
    given: dict[str, Any] = {}
    while True:
        try:
            return read_series(path, **given), given
        except ValueError as error:
            refusal = str(error)
        named = {
            name.replace("-", "_").replace("monthfirst", "dayfirst") for name in re.findall("--([a-z-]+)", refusal)
        }
        new = {name: file.answers[name] for name in named & set(file.answers) - set(given)}
        assert new, f"{refusal}\nnames no option that helps; given: {given}\n{file.content[:400]!r}"
        given |= new
