"""The cells of a table as text, where they stand, and the numbers in them as people write them."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..types import Array

MISSING = frozenset(("", "-", "--", "–", "—", ".", "..", "?", "na", "n/a", "#n/a", "nan", "nat", "null", "none"))

MONEY = "[A-Z]{0,2}[$€£¥₹₽₩₺₴₫₪฿]"
NUMBER = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+−]?)(?P<before>{MONEY}|[A-Z]{{3}}(?= ))? ?(?P<sign2>[-+−]?)"
    r"(?P<number>(?P<digits>[\d.,' ]*\d[.,]?)(?:[eE][-+]?\d+)?)"
    rf" ?(?P<after>%|‰|°[CF]?|{MONEY}|[A-Z]{{3}})?(?P<close>\))?"
)
SPACES = dict.fromkeys(filter(str.isspace, map(chr, range(0x3001))), " ")
SAME = str.maketrans({**SPACES, "’": "'"})
SHAPE = str.maketrans({**SPACES, "’": "'", **dict.fromkeys("123456789", "9")})
"""Makes a cell's shape. A long column has few: what is found out about one holds for all cells that have it."""

DECIMALS, THOUSANDS = ".,", ",.' "


class Table(NamedTuple):
    """Columns of cells, white space around them cut."""

    names: list[str]
    columns: list[list[str]]
    lines: list[int]
    """Where each row ends in the file; of a frame its rows from 1."""
    where: str
    """'line' or 'row': what `lines` counts."""
    notes: list[str]
    """How the file was read."""
    numeric: frozenset[int] = frozenset()
    """The columns that were numbers before they became text: with a point, and nothing between the thousands."""

    def place(self, name: str | int, kind: str) -> int:
        """The column of a name or a number from 1. Raises ValueError, with `kind`, if there is no such one."""
        if self.names.count(str(name)) == 1:
            return self.names.index(str(name))
        if str(name) not in self.names and str(name).isdecimal() and 1 <= int(name) <= len(self.names):
            return int(name) - 1
        times = f" {self.names.count(str(name))} times: name it by its number" if str(name) in self.names else ""
        raise ValueError(f"expected as {kind} one of {listed(self.names)} or its number, got {str(name)!r}{times}")

    def at(self, row: int) -> str:
        """Where a row is, in words."""
        return f"{self.where} {self.lines[row]:,}"

    def cell(self, row: int, place: int) -> str:
        """What a cell says, and where it is."""
        return f"{self.columns[place][row]!r} at {self.at(row)}"

    def only(self, rows: Sequence[int]) -> "Table":
        """Some of the rows."""
        columns = [[column[row] for row in rows] for column in self.columns]
        return self._replace(columns=columns, lines=[self.lines[row] for row in rows])


def listed(names: Sequence[str]) -> str:
    """Names, quoted."""
    return ", ".join(map(repr, names))


def missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.lower() in MISSING


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """The digits of a number, by what may stand before its decimals and between its thousands."""
    fraction = rf"(?:{re.escape(decimal)}\d*)?"
    grouped = rf"|[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{2,3}})*{re.escape(thousands)}\d{{3}}{fraction}"
    return re.compile(rf"\d+{fraction}|{re.escape(decimal)}\d+{grouped if thousands else ''}")


PATTERNS = {(d, t): _pattern(d, t) for d in DECIMALS for t in (*THOUSANDS, "") if d != t}


class Number(NamedTuple):
    """What a shape says of its cells' numbers; no digits if they have none."""

    digits: str = ""
    """With the marks between them."""
    negative: bool = False
    unit: str = ""
    start: int = 0
    stop: int = 0
    """Where the digits begin, and where they or their power of ten end."""

    def value(self, cell: str, decimal: str, thousands: str) -> float:
        """A cell's number, with these marks before its decimals and between its thousands."""
        digits = cell[self.start : self.stop]
        if thousands:
            digits = digits.translate(SAME).replace(thousands, "")
        value = float(digits.replace(decimal, "."))
        return -value if self.negative else value


@lru_cache(maxsize=10000)
def number(shape: str) -> Number:
    """What a shape says."""
    found = NUMBER.fullmatch(shape)
    if not found:
        return Number()
    negative = bool(found["open"] or {found["sign"], found["sign2"]} & {"-", "−"})
    unit = (found["before"] or "") + (found["after"] or "")
    return Number(found["digits"].strip(), negative, unit, *found.span("number"))


def is_number(cell: str) -> bool:
    """Whether a cell is a number, whatever its marks mean."""
    digits = number(cell.translate(SHAPE)).digits
    return any(pattern.fullmatch(digits) for pattern in PATTERNS.values())


def numbers(table: Table, place: int, decimal: str | None, thousands: str | None) -> tuple[Array, list[str]]:
    """A column as float64, NaN where a value is missing, and how it was read.

    The marks before the decimals and between the thousands are those under which every cell of the column is a number.
    Raises ValueError for a cell that is none, and if two ways of reading give different numbers.
    """
    cells, result = table.columns[place], np.full(len(table.lines), np.nan)
    rows = [row for row, cell in enumerate(cells) if not missing(cell)]
    if place in table.numeric:
        values, notes = [float(cells[row]) for row in rows], list[str]()
    else:
        values, notes = _read(table, place, rows, decimal, thousands)
    result[rows] = values
    if infinite := np.flatnonzero(np.isinf(result)).tolist():
        row, name = infinite[0], table.names[place]
        raise ValueError(f"expected a finite number at {table.at(row)}, column {name!r}, got {cells[row]!r}")
    return result, notes


def _read(
    table: Table, place: int, rows: list[int], decimal: str | None, thousands: str | None
) -> tuple[list[float], list[str]]:
    """The numbers in some rows of a column, and how they were read."""
    name, cells = table.names[place], [table.columns[place][row] for row in rows]
    found = [number(cell.translate(SHAPE)) for cell in cells]
    different = set(found)
    marks = set("".join(each.digits for each in different))
    group = {"none": "", "space": " "}.get(thousands or "", thousands)
    wrong = {
        pair: {each for each in different if not pattern.fullmatch(each.digits)}
        for pair, pattern in PATTERNS.items()
        if decimal in (None, pair[0]) and (pair[1] == group if thousands else pair[1] in ("", *marks))
    }
    if not wrong:
        raise ValueError(
            "expected as --decimal '.' or ',', and as --thousands another one of '.', ',', \"'\", 'space', 'none', "
            f"got {decimal!r} and {thousands!r}"
        )
    fitting = [pair for pair in wrong if not wrong[pair]]
    if not fitting:
        bad = ([row for row, each in zip(rows, found, strict=True) if each in parts] for parts in wrong.values())
        row = min(bad, key=len)[0]
        raise ValueError(
            f"expected a number at {table.at(row)}, column {name!r}, got {table.columns[place][row]!r}: leave lines "
            "out with --lines, name another --column, or say with --decimal and --thousands how numbers are written"
        )
    readings = [[each.value(cell, *pair) for each, cell in zip(found, cells, strict=True)] for pair in fitting]
    for row, *values in zip(rows, *readings, strict=True):
        if len(set(values)) > 1:
            raise ValueError(
                f"expected numbers that can be read in one way, got {table.cell(row, place)}, column {name!r}: say "
                f"--decimal . for {values[0]:.15g}, or --decimal , for {values[-1]:.15g}"
            )
    units = {each.unit: row for row, each in zip(reversed(rows), reversed(found), strict=True)}  # the first of each
    if len(units) > 1:
        first, second = (table.cell(row, place) for row in sorted(units.values())[:2])
        raise ValueError(
            f"expected one unit in column {name!r}, got {first} and {second}: choose rows with --where or --lines"
        )
    used = zip(("decimal", "thousands"), fitting[0], strict=True)
    notes = [f"{what} {mark!r}" for what, mark in used if mark in marks]
    return readings[0], notes + [f"in {unit}" for unit in units if unit]
