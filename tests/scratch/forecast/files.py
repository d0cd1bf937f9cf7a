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


@st.composite
def brought(draw: st.DrawFn) -> Brought:
    """Any of these files."""

    def one_of(*choices: Any) -> Any:
        return draw(st.sampled_from(choices))

    frequency = one_of(*FREQUENCIES)
    form = one_of(*FREQUENCIES[frequency])
    form = one_of(*DAYS) + form if frequency == "h" else form
    length = draw(st.integers(14, 40))
    start = draw(st.dates(pd.Timestamp(1970, 1, 1).date(), pd.Timestamp(2040, 1, 1).date()))
    times = list(pd.date_range(start, periods=length, freq=frequency))
    (decimal, thousands), (before, after) = one_of(*MARKS), one_of(("", ""), ("$", ""), ("", " €"), ("", "%"))
    digits, strip, size = draw(st.integers(0, 3)), draw(st.booleans()), one_of(10**3, 10**5, 10**8)
    values = np.array(draw(st.lists(st.integers(-size, size), min_size=length, max_size=length))) / 10**digits
    lost = draw(st.integers(4, length - 8)) + np.arange(draw(st.integers(0, 3)))
    blank, other, header = one_of(None, "", "NA", "-"), draw(st.booleans()), draw(st.booleans())

    def written(value: float) -> str:
        """A number as people write it."""
        text = f"{value:,.{digits}f}"
        text = text.rstrip("0").rstrip(".") if strip and digits else text
        return before + text.translate({ord(","): thousands, ord("."): decimal}) + after

    rows = []
    for row, time in enumerate(times):
        date = f"{time.year}Q{time.quarter}" if form == "quarter" else time.strftime(form)
        cell = blank if row in lost else written(values[row])
        if cell is not None:
            rows += [[date, cell, "A"], [date, written(values[-1 - row]), "B"]] if other else [[date, cell]]
    rows = one_of(rows, rows[::-1], draw(st.permutations(rows)))
    names = ["Größe der Zeit", "Wert", "Land"][: 2 + other]
    separator, encoding = one_of(",", ";", "\t", "|"), one_of("utf-8", "utf-8-sig", "utf-16", "cp1252")
    text = io.StringIO()
    text.write(one_of("", f"sep={separator}\n"))
    csv.writer(text, delimiter=separator, lineterminator=one_of("\n", "\r\n", "\n\n")).writerows(
        [names] * header + rows
    )
    values[lost] = np.nan
    answers = {
        "decimal": decimal,
        "thousands": {"\xa0": " ", "": None}.get(thousands, thousands),
        "dayfirst": form.find("%d") < form.find("%m") if form[:2] in ("%d", "%m") else None,
        "date_format": None if form == "quarter" else form.replace("%SZ", "%S%z").replace("+02:00", "%z"),
        "where": [f"{names[2] if header else 'column 3'}=A"] if other else None,
        "fill": "forward",
        "na_values": ["none"],
        "encoding": encoding,
        "separator": separator,
        "dates": 1,
        "column": 2,
    }
    known = {name: answer for name, answer in answers.items() if answer is not None}
    return Brought(text.getvalue().encode(encoding), pd.Series(values).ffill().tolist(), times, known)


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
