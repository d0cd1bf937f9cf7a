"""Tables out of files and from pandas, as a DataFrame: its cells, its names, and the line or row where each cell is."""

import csv
import io
import re
import sys
from itertools import pairwise, zip_longest
from typing import Any

from ..text import read_text
from .cells import dated, missing, numeric, texts

SEPARATORS = {"tab": "\t", "space": " "}
"""What stands between two cells and has a name."""


def kind(cells: Any, date_format: str | None = None) -> str:
    """'number', 'date' or 'text': what at least half of the first cells are; dates of that format, if it is given."""
    cells = cells.head(1000)
    known = cells[~missing(cells)].head(50)
    if not len(known):
        return "text"
    number = 2 * numeric(known).sum() >= len(known)
    date = (date_format is not None or not number) and dated(texts(known).astype(object), date_format)
    return "date" if date else "number" if number else "text"


def table(source: Any, separator: str | None, encoding: str, lines: str | None) -> tuple[Any, list[str]]:
    """The table in a file, or in a pandas Series or DataFrame, and how it was read.

    Of pandas, the index is a column, too, unless it only counts: from 0, or beside several columns. Raises OSError and
    ValueError as `read_series` does.
    """
    import pandas as pd

    if not hasattr(source, "reset_index"):
        return _of_file(source, separator, encoding, lines)
    if separator or lines or encoding != "utf-8":
        raise ValueError(f"expected separator, encoding and lines with a file alone, got a {type(source).__name__}")
    frame = source.to_frame("value" if source.name is None else source.name) if source.ndim == 1 else source
    if not len(frame):
        raise ValueError(f"expected rows, got a {type(source).__name__} without any")
    index, several = frame.index, frame.shape[1] > 1
    if not (isinstance(index, pd.RangeIndex) and (0 in index or (several and index.step == 1))):
        frame = frame.reset_index(allow_duplicates=True)
    columns = {
        place: column if column.dtype.kind in "iuf" else _texts(column)
        for place, (_, column) in enumerate(frame.items())
    }
    found = pd.DataFrame(columns).set_axis([str(name) for name in frame.columns], axis=1)
    return found.set_axis(pd.RangeIndex(1, len(frame) + 1, name="row")), []


def plain(cell: Any) -> str:
    """A cell as text, with one space for any white space, and one sign for both apostrophes."""
    return " ".join(str(cell).replace("’", "'").split())


def _texts(cells: Any) -> Any:
    """Cells as texts, empty for what pandas has not."""
    return cells.map(plain, "ignore").astype(object).fillna("")


def _of_file(path: Any, separator: str | None, encoding: str, lines: str | None) -> tuple[Any, list[str]]:
    import pandas as pd

    try:
        text = read_text(path, encoding)
    except UnicodeError as error:
        raise ValueError(f"{error} (see --encoding)") from None
    if told := re.match(r"sep=(.)(?=\n)", text, re.IGNORECASE):  # the first line by which Excel is told
        text, separator = text[told.end() :], separator or told[1]
    if not (span := re.fullmatch(r"(\d+)-(\d*)", lines or "1-")):
        raise ValueError(f"expected as --lines the first and the last, such as 4-100 or 4-, got {lines!r}")
    wanted = range(int(span[1]), int(span[2] or sys.maxsize - 1) + 1)
    if separator is None:
        separator = max(",;|\t", key=lambda one: _likeness(text, one, wanted))
    separator = SEPARATORS.get(separator, separator)
    if len(separator) != 1:
        raise ValueError(f"expected as --separator one character, 'tab' or 'space', got {separator!r}")
    rows = _rows(text, separator, path)
    rows = {line: cells for line, cells in rows.items() if line in wanted}
    if not rows:
        raise ValueError(f"expected rows in {path}, got none")
    width = len(next(iter(rows.values())))
    for line, cells in rows.items():
        if len(cells) > width or (len(cells) < width and separator == " "):  # which cell is missing?
            raise ValueError(
                f"expected {width} cells, as the first row has, got {len(cells)} at line {line}: choose the lines of "
                "the table with --lines FIRST-LAST, or name what separates its cells with --separator"
            )
    padded = [cells + [""] * (width - len(cells)) for cells in rows.values()]
    frame = pd.DataFrame(padded, pd.Index(rows, name="line"), dtype=object)
    named = int(_has_names(frame))
    if len(rows) <= named:
        raise ValueError(f"expected rows below the names of the columns in {path}, got none")
    names = [name if named and name else f"column {n}" for n, name in enumerate(frame.iloc[0], 1)]
    called = next((name for name, one in SEPARATORS.items() if one == separator), repr(separator))
    notes = [f"separator {called}"] * (width > 1) + ["no header"] * (not named)
    return frame.set_axis(names, axis=1).iloc[named:], notes


def _has_names(frame: Any) -> bool:
    """Whether the first row cannot be data, as the others are, or is years one after the other behind a text. An empty
    cell may be data, in a row with a date, and another that says that there is no value in any row.
    """
    years = re.fullmatch(r"[^,\d]+(,(1[89]|20)\d\d)+", ",".join(frame.iloc[0]))
    if years and {int(one) - int(other) for one, other in pairwise(frame.iloc[0, 1:])} in ({1}, {-1}):
        return True
    first, below = ([kind(cells) for _, cells in part.items()] for part in (frame.iloc[:1], frame.iloc[1:]))
    blank = missing(frame.iloc[0]) & (("date" in first) | (frame.iloc[0] != ""))
    like = [
        one in (other, "text") or (one == "number" and gone)
        for one, other, gone in zip(below, first, blank, strict=True)
    ]
    return set(below) <= {"text"} or not all(like)


def _likeness(text: str, separator: str, wanted: range) -> float:
    """How much like a table the first lines are under a separator: columns of numbers or dates, rows of one length, and
    few columns of text.
    """
    import pandas as pd

    start = "".join(text.splitlines(keepends=True)[: wanted.start + 200])
    if separator != "\t":  # a tab between two things parts them: 2000 and 1 are no date
        start = re.sub(r"(?<=[^\s,;|])\t(?=[^\s,;|])", "¦", start)
    rows = [cells for line, cells in _rows(start, separator).items() if line in wanted]
    kinds = [kind(pd.Series(column, dtype=object)) for column in zip_longest(*rows[1:], fillvalue="")]
    ragged = sum(len(cells) != len(rows[0]) for cells in rows) / max(len(rows), 1)
    return len(kinds) - 1.01 * kinds.count("text") - 2 * ragged


def _rows(text: str, separator: str, path: Any = None) -> dict[int, list[str]]:
    """Every row that is not blank, by the line that it ends in. The csv module reads them, as it counts the lines. In a
    single column a blank line is a row, too: one without a value.

    path: that of the file, where it is to be refused if it is no CSV.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=path is not None, skipinitialspace=True
    )
    rows: dict[int, list[str]] = {}
    try:
        for cells in reader:
            cells = plain(" ".join(cells)).split(" ") if separator == " " else [*map(plain, cells)]
            while cells and not cells[-1] and rows and len(cells) > len(next(iter(rows.values()))):
                cells.pop()  # a separator that ends each row
            if any(cells) or (rows and len(next(iter(rows.values()))) == 1):
                rows[reader.line_num] = cells or [""]
    except csv.Error as error:
        if path is None:
            return rows
        raise ValueError(f"expected CSV in {path}, got {error} at line {reader.line_num}") from None
    return rows
