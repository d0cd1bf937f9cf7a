"""The cells of a table: rows and columns with the lines they stand in, and numbers as people write them."""

import csv
import io
import os
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..types import Array
from .dates import forms

Cell = str | float
"""From a file always text; from pandas numbers are numbers already."""

SEPARATORS = {"tab": "\t", "space": " "}
"""What stands between two cells and has a name."""

MISSING = frozenset(("", "-", "--", "–", "—", ".", "..", "?", "na", "n/a", "#n/a", "nan", "nat", "null", "none"))

MONEY = "[A-Z]{0,2}[$€£¥₹₽₩₺₴₫₪฿]"
NUMBER = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+−]?)(?P<before>{MONEY}|[A-Z]{{3}}(?= ))? ?(?P<sign2>[-+−]?)"
    r"(?P<body>[\d.,' ]*\d[.,]?)(?P<power>[eE][-+]?\d+)?"
    rf" ?(?P<after>%|‰|°[CF]?|{MONEY}|[A-Z]{{3}})?(?P<close>\))?"
)


class Table(NamedTuple):
    """Columns of cells, white space around them cut."""

    names: list[str]
    columns: list[list[Cell]]
    lines: list[int]
    """Where each row ends in the file; of a frame its rows from 1."""
    where: str
    """'line' or 'row': what `lines` counts."""
    notes: list[str]
    """How the file was read."""

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

    def only(self, rows: Sequence[int]) -> "Table":
        """Some of the rows."""
        columns = [[column[row] for row in rows] for column in self.columns]
        return self._replace(columns=columns, lines=[self.lines[row] for row in rows])


def missing(cell: Cell) -> bool:
    """Whether a cell says that there is no value."""
    return cell.lower() in MISSING if isinstance(cell, str) else cell != cell


def shown(cell: Cell) -> str:
    """A cell as text, as in a file."""
    return cell if isinstance(cell, str) else f"{cell:.15g}"


def kind(cells: Sequence[Cell]) -> str:
    """'number', 'date' or 'text': what at least half of the first cells are."""
    known = [cell for cell in cells[:1000] if not missing(cell)][:50]
    numbers = [isinstance(cell, float) or any(PAIRS[pair].fullmatch(_body(cell)) for pair in PAIRS) for cell in known]
    if known and 2 * sum(numbers) >= len(known):
        return "number"
    return "date" if known and forms(list(map(shown, known))) else "text"


def table(source: Any, separator: str | None, encoding: str, lines: str | None) -> Table:
    """The table in a file, or in a pandas Series or DataFrame, with its index as columns unless it only counts."""
    return _of_pandas(source) if hasattr(source, "reset_index") else _of_file(source, separator, encoding, lines)


def _of_pandas(source: Any) -> Table:
    import pandas as pd

    frame = source.to_frame("value" if source.name is None else source.name) if source.ndim == 1 else source
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    columns: list[list[Cell]] = []
    for _, column in frame.items():
        if pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
            columns.append(column.to_numpy(np.float64, na_value=np.nan).tolist())
        else:
            cells = ("" if gone else cell for cell, gone in zip(column, column.isna(), strict=True))
            columns.append([cell if isinstance(cell, float) else str(cell).strip() for cell in cells])
    return Table([str(name) for name in frame.columns], columns, list(range(1, len(frame) + 1)), "row", [])


def _of_file(path: Any, separator: str | None, encoding: str, lines: str | None) -> Table:
    where, text = os.fspath(path), _text(os.fspath(path), encoding)
    if told := re.match(r"sep=(.)(?=\r?\n)", text, re.IGNORECASE):  # the first line by which Excel is told
        text, separator = text[told.end() :], separator or told[1]
    if separator is None:
        start = "".join(text.splitlines(keepends=True)[:200])
        separator = max(",;|\t", key=lambda one: _score(list(_rows(start, one, where, False).values())))
    separator = SEPARATORS.get(separator, separator)
    if len(separator) != 1:
        raise ValueError(f"expected as --separator one character, 'tab' or 'space', got {separator!r}")
    rows = _rows(text, separator, where, True)
    if lines is not None:
        first, last = _limits(lines)
        rows = {line: cells for line, cells in rows.items() if first <= line <= last}
    if not rows:
        raise ValueError(f"expected rows in {where}, got nothing")
    width = len(next(iter(rows.values())))
    for line, cells in rows.items():
        if len(cells) > width:
            raise ValueError(
                f"expected {width} cells, as the first row has, got {len(cells)} at line {line}: choose the lines of "
                "the table with --lines FIRST-LAST, or name what separates its cells with --separator"
            )
    columns: list[list[Cell]] = [list(column) for column in zip_longest(*rows.values(), fillvalue="")]
    kinds = [kind(column[1:]) for column in columns]
    named = set(kinds) == {"text"} or not all(map(_same_kind, columns, kinds))
    names = [str(column[0]) if named and column[0] else f"column {n}" for n, column in enumerate(columns, 1)]
    if len(rows) == named:
        raise ValueError(f"expected rows below the names of the columns in {where}, got none")
    called = next((name for name, one in SEPARATORS.items() if one == separator), repr(separator))
    notes = [f"separator {called}"] * (width > 1) + ["no header"] * (not named)
    return Table(names, [column[named:] for column in columns], list(rows)[named:], "line", notes)


def _same_kind(column: list[Cell], what: str) -> bool:
    """Whether the first cell of a column is data, as the others are."""
    return what == "text" or kind(column[:1]) == what or (what == "number" and column[0] != "" and missing(column[0]))


def _text(where: str, encoding: str) -> str:
    content = Path(where).read_bytes()
    likely = "utf-16" if b"\0" in content[:1000] else "cp1252"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise ValueError(f"expected the name of an --encoding, such as utf-8 or cp1252, got {encoding!r}") from None
    except UnicodeError as error:
        text = "\0"
        problem = f"{error.reason} at byte {error.start:,}" if isinstance(error, UnicodeDecodeError) else str(error)
    else:
        problem = "text with zero bytes"
    if "\0" in text:
        raise ValueError(f"expected {encoding} text in {where}, got {problem}: try --encoding {likely}")
    return text


def _rows(text: str, separator: str, where: str, strict: bool) -> dict[int, list[str]]:
    """Every row that is not blank, by the line that it ends in. The csv module reads them, as it counts the lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict, skipinitialspace=True)
    rows: dict[int, list[str]] = {}
    try:
        for cells in reader:
            cells = " ".join(cells).split() if separator == " " else [cell.strip() for cell in cells]
            while cells and not cells[-1] and rows and len(cells) > len(next(iter(rows.values()))):
                cells.pop()  # a separator that ends each row
            if any(cells):
                rows[reader.line_num] = cells
    except csv.Error as error:
        if strict:
            raise ValueError(f"expected CSV in {where}, got {error} at line {reader.line_num}") from None
    return rows


def _score(rows: list[list[str]]) -> float:
    """How much like a table a file is under a separator: columns of one kind, and rows of one length."""
    kinds = [kind(column) for column in zip_longest(*rows[1:], fillvalue="")]
    ragged = sum(len(cells) != len(rows[0]) for cells in rows) / max(len(rows), 1)
    return len(kinds) - 2 * kinds.count("text") - 2 * ragged


def _limits(lines: str) -> tuple[int, float]:
    if not (found := re.fullmatch(r"(\d+)-(\d*)", lines)):
        raise ValueError(f"expected as --lines the first and the last, such as 4-100 or 4-, got {lines!r}")
    return int(found[1]), int(found[2] or 0) or float("inf")


def listed(names: Sequence[str]) -> str:
    """Names, quoted."""
    return ", ".join(map(repr, names))


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    fraction = rf"(?:{re.escape(decimal)}\d*)?"
    grouped = rf"|[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{2,3}})*{re.escape(thousands)}\d{{3}}{fraction}"
    return re.compile(rf"\d+{fraction}|{re.escape(decimal)}\d+{grouped if thousands else ''}")


PAIRS = {(d, t): _pattern(d, t) for d in ".," for t in (",", ".", "'", " ", "") if d != t}
"""The digits of a number, by what may stand before its decimals and between its thousands."""


def _match(cell: str) -> re.Match[str] | None:
    return NUMBER.fullmatch(re.sub(r"\s", " ", cell).replace("’", "'"))


def _body(cell: str) -> str:
    found = _match(cell)
    return found["body"].strip() if found else ""


def numbers(table: Table, place: int, decimal: str | None, thousands: str | None) -> tuple[Array, list[str]]:
    """A column as float64, NaN where a value is missing, and how it was read.

    The marks before the decimals and between the thousands are those under which every cell of the column is a number.
    Raises ValueError for a cell that is none, and if two ways of reading give different numbers.
    """
    name, cells = table.names[place], table.columns[place]
    result = np.array([cell if isinstance(cell, float) else np.nan for cell in cells])
    rows = [row for row, cell in enumerate(cells) if isinstance(cell, str) and not missing(cell)]
    texts = {row: _match(str(cells[row])) for row in rows}
    bodies = {row: found["body"].strip() if found else "" for row, found in texts.items()}
    choice = {"none": "", "space": " "}.get(thousands or "", thousands)
    pairs = [pair for pair in PAIRS if decimal in (None, pair[0]) and choice in (None, pair[1])]
    if not pairs:
        raise ValueError(
            "expected as --decimal '.' or ',', and as --thousands another one of '.', ',', \"'\", 'space', 'none', "
            f"got {decimal!r} and {thousands!r}"
        )
    wrong = {pair: [row for row in rows if not PAIRS[pair].fullmatch(bodies[row])] for pair in pairs}
    fitting = [pair for pair in pairs if not wrong[pair]]
    if not fitting:
        row = min(wrong.values(), key=len)[0]
        raise ValueError(
            f"expected a number at {table.at(row)}, column {name!r}, got {cells[row]!r}: leave lines out with --lines, "
            "name another --column, or say with --decimal and --thousands how numbers are written"
        )
    readings = {pair: [_value(texts[row], bodies[row], pair) for row in rows] for pair in fitting}
    for values in readings.values():
        for row, one, other in zip(rows, values, readings[fitting[0]], strict=True):
            if one != other:
                raise ValueError(
                    f"expected numbers that can be read in one way, got {cells[row]!r} at {table.at(row)}, column "
                    f"{name!r}: say --decimal . for {other:.15g}, or --decimal , for {one:.15g}"
                )
    result[rows] = readings[fitting[0]]
    if infinite := np.flatnonzero(np.isinf(result)).tolist():
        at = table.at(infinite[0])
        raise ValueError(f"expected a finite number at {at}, column {name!r}, got {cells[infinite[0]]!r}")
    units = _units(table, place, texts)
    decimals, groups = fitting[0]
    written = [("decimal", decimals, any(decimals in body for body in bodies.values()))]
    written += [("thousands", groups, any(groups in body for body in bodies.values()) and groups != "")]
    return result, [f"{what} {mark!r}" for what, mark, used in written if used] + [f"in {unit}" for unit in units]


def _value(found: re.Match[str] | None, body: str, pair: tuple[str, str]) -> float:
    assert found is not None  # it has a body
    decimal, thousands = pair
    negative = bool(found["open"]) or {found["sign"], found["sign2"]} & {"-", "−"}
    digits = body.replace(thousands, "") if thousands else body
    return float(f"{'-' if negative else ''}{digits.replace(decimal, '.')}{found['power'] or ''}")


def _units(table: Table, place: int, texts: dict[int, re.Match[str] | None]) -> list[str]:
    """The one unit that all numbers have, if they have one. Raises ValueError if they differ."""
    found: dict[str, int] = {}
    for row, match in texts.items():
        found.setdefault(((match["before"] or "") + (match["after"] or "")).strip() if match else "", row)
    if len(found) > 1:
        (_, one), (_, other) = list(found.items())[:2]
        cells = table.columns[place]
        raise ValueError(
            f"expected one unit in column {table.names[place]!r}, got {cells[one]!r} at {table.at(one)} and "
            f"{cells[other]!r} at {table.at(other)}: choose rows with --where or --lines"
        )
    return [unit for unit in found if unit]
