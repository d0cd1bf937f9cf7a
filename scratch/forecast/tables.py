"""Tables out of files and from pandas: what separates the cells, which row names the columns, what a column holds."""

import csv
import io
import os
import re
from collections.abc import Sequence
from itertools import repeat, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from .cells import Table, is_number, missing
from .dates import forms

SEPARATORS = {"tab": "\t", "space": " "}
"""What stands between two cells and has a name."""


def kind(cells: Sequence[str]) -> str:
    """'number', 'date' or 'text': what at least half of the first cells are."""
    known = [cell for cell in cells[:1000] if not missing(cell)][:50]
    if known and 2 * sum(map(is_number, known)) >= len(known):
        return "number"
    return "date" if known and forms(known) else "text"


def table(source: Any, separator: str | None, encoding: str, lines: str | None) -> Table:
    """The table in a file, or in a pandas Series or DataFrame, with its index as columns unless it only counts."""
    return _of_pandas(source) if hasattr(source, "reset_index") else _of_file(source, separator, encoding, lines)


def _of_pandas(source: Any) -> Table:
    import pandas as pd

    frame = source.to_frame("value" if source.name is None else source.name) if source.ndim == 1 else source
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    columns: list[list[str]] = []
    numeric = set[int]()
    for place, (_, column) in enumerate(frame.items()):
        if pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
            numeric.add(place)
            columns.append(list(map(_written, column.to_numpy(np.float64, na_value=np.nan).tolist())))
        else:
            columns.append(
                ["" if gone else str(cell).strip() for cell, gone in zip(column, column.isna(), strict=True)]
            )
    names = [str(name) for name in frame.columns]
    return Table(names, columns, list(range(1, len(frame) + 1)), "row", [], frozenset(numeric))


def _written(number: float) -> str:
    """A number as text that is read as the same number, without digits that say nothing."""
    short = f"{number:.15g}"
    return short if float(short) == number else repr(number)


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
        if not (span := re.fullmatch(r"(\d+)-(\d*)", lines)):
            raise ValueError(f"expected as --lines the first and the last, such as 4-100 or 4-, got {lines!r}")
        first, last = int(span[1]), int(span[2] or 0) or float("inf")
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
    columns = [list(column) for column in zip_longest(*rows.values(), fillvalue="")]
    kinds = [kind(column[1:]) for column in columns]
    dated = any(what == "date" and kind(column[:1]) == what for what, column in zip(kinds, columns, strict=True))
    named = set(kinds) == {"text"} or not all(map(_same_kind, columns, kinds, repeat(dated)))
    names = [column[0] if named and column[0] else f"column {n}" for n, column in enumerate(columns, 1)]
    if len(rows) == named:
        raise ValueError(f"expected rows below the names of the columns in {where}, got none")
    called = next((name for name, one in SEPARATORS.items() if one == separator), repr(separator))
    notes = [f"separator {called}"] * (width > 1) + ["no header"] * (not named)
    return Table(names, [column[named:] for column in columns], list(rows)[named:], "line", notes)


def _same_kind(column: list[str], what: str, dated: bool) -> bool:
    """Whether the first cell of a column is data, as the others are. An empty one may be, in a row with a date."""
    blank = what == "number" and missing(column[0]) and (dated or column[0] != "")
    return what == "text" or kind(column[:1]) == what or blank


def _text(where: str, encoding: str) -> str:
    content = Path(where).read_bytes()
    likely, problem = "utf-16" if b"\0" in content[:1000] else "cp1252", "text with zero bytes"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise ValueError(f"expected the name of an --encoding, such as utf-8 or cp1252, got {encoding!r}") from None
    except UnicodeError as error:
        text = "\0"
        problem = f"{error.reason} at byte {error.start:,}" if isinstance(error, UnicodeDecodeError) else str(error)
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
