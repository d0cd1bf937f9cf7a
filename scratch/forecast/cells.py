"""The cells of a column as people write them: which of them are missing, and the numbers in the others.

A column is a pandas Series: of texts, with one space for any white space, or of the numbers that pandas held. Its name
is the column's, and its index says where each cell is: the line of a file, or the row of a frame.
"""

import re
from itertools import product
from typing import Any

import numpy as np

MISSING = ("", "-", "--", "–", "—", ".", "..", "?", "na", "n/a", "#n/a", "nan", "nat", "null", "none")

MONEY = "[A-Z]{0,2}[$€£¥₹₽₩₺₴₫₪฿]"
NUMBER = (
    rf"^(?P<open>\()?(?P<sign>[-+−]?)(?P<before>{MONEY}|[A-Z]{{3}}(?= ))? ?(?P<sign2>[-+−]?)"
    r"(?P<digits>[\d.,' ]*\d[.,]?)(?P<power>[eE][-+]?\d+)?"
    rf" ?(?P<after>%|‰|°[CF]?|{MONEY}|[A-Z]{{3}})?(?(open)\))$"
)
DECIMALS, THOUSANDS = ".,", ["", *",.' "]


def _pattern(decimal: str, thousands: str) -> str:
    """The digits of a number, by what may stand before its decimals and between its thousands."""
    point, mark = re.escape(decimal), re.escape(thousands)
    grouped = rf"|[1-9]\d{{0,2}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}(?:{point}\d*)?"
    return rf"(?:\d+(?:{point}\d*)?|{point}\d+{grouped if thousands else ''})"


PATTERNS = {pair: _pattern(*pair) for pair in product(DECIMALS, THOUSANDS) if pair[0] != pair[1]}


def quoted(cells: Any, label: int) -> str:
    """What a cell says, and where it is."""
    return f"{str(cells[label])!r} at {cells.index.name} {label:,}"


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

    The marks before the decimals and between the thousands are those under which every cell of the column is a number.
    Raises ValueError for a cell that is none, and if two ways of reading give different numbers.
    """
    known, notes = cells[~missing(cells)], list[str]()
    if known.dtype == object and len(known):
        values, notes = _read(known, decimal, thousands)
    else:
        values = known.astype(np.float64)
    if (infinite := np.isinf(values)).any():
        raise ValueError(f"expected a finite number in column {cells.name!r}, got {quoted(cells, infinite.idxmax())}")
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
    fits = {pair: digits.str.fullmatch(PATTERNS[pair]) for pair in ways}
    fitting = [pair for pair in ways if fits[pair].all()]
    if not fitting:
        bad = min((cells[~fit] for fit in fits.values()), key=len)
        raise ValueError(
            f"expected a number in column {cells.name!r}, got {quoted(cells, bad.index[0])}: leave lines out with "
            "--lines, name another --column, or say with --decimal and --thousands how numbers are written"
        )
    signs = np.where((parts["open"] != "") | parts["sign"].isin(["-", "−"]) | parts["sign2"].isin(["-", "−"]), -1, 1)
    readings = [
        signs * (digits.str.replace(group, "").str.replace(point, ".") + parts["power"]).astype(np.float64)
        for point, group in fitting
    ]
    for other in readings[1:]:
        if (differ := other != readings[0]).any():
            point, comma = (readings[[pair[0] for pair in fitting].index(mark)] for mark in DECIMALS)
            row = differ.idxmax()
            raise ValueError(
                f"expected numbers that can be read in one way, got {quoted(cells, row)}, column {cells.name!r}: say "
                f"--decimal . for {point[row]:.15g}, or --decimal , for {comma[row]:.15g}"
            )
    units = (parts["before"] + parts["after"]).drop_duplicates()
    if len(units) > 1:
        first, second = (quoted(cells, row) for row in units.index[:2])
        raise ValueError(
            f"expected one unit in column {cells.name!r}, got {first} and {second}: choose rows with --where or --lines"
        )
    used = zip(("decimal", "thousands"), fitting[0], strict=True)
    notes = [f"{what} {mark!r}" for what, mark in used if mark and mark in marks]
    return readings[0], notes + [f"in {unit}" for unit in units if unit]
