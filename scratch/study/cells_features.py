"""Features of a text that a cell may keep track of. Each is known from what has been read so far."""

from __future__ import annotations

import numpy as np

from ..text.corpus import code_points
from ..types import Array

TAB = 8
"""A tab leads to the next multiple of so many columns, as Python reads it."""

PREFIXES = {"r", "b", "u", "f", "br", "rb", "fr", "rf"}
"""What may stand before an opening quote in Python."""

MEANINGS = {
    "line position": "characters since the last line end",
    "indentation": "columns of blanks at the beginning of the line",
    "quotes": "1 inside quotes, else 0",
    "comments": "1 from # to the end of the line, else 0",
    "brackets": "how many ( [ { are open",
}
"""The features, each in a few words."""


def features(text: str) -> Array:
    """The features in the order of `MEANINGS`, after each character: (T, F) float64."""
    quotes, comments, brackets = syntax(text)
    return np.stack([line_position(text), indentation(text), quotes, comments, brackets], axis=1)


def line_position(text: str) -> Array:
    """The number of characters since the last line end, which itself has 0: (T,) float64."""
    t = np.arange(len(text))
    ends = np.maximum.accumulate(np.where(code_points(text) == ord("\n"), t, -1))  # where the last one was
    return (t - ends).astype(np.float64)


def indentation(text: str) -> Array:
    """The columns of blanks at the beginning of the line, as far as it has been read: (T,) float64.

    It grows with each blank at the beginning of a line, stays to the end of the line, and is 0 at its end.
    """
    found: list[int] = []
    for line in text.split("\n"):
        blanks = len(line) - len(line.lstrip(" \t"))
        grown = [len(line[: n + 1].expandtabs(TAB)) for n in range(blanks)]
        found += [*grown, *[grown[-1] if grown else 0] * (len(line) - blanks), 0]
    return np.array(found[: len(text)], np.float64)


def syntax(text: str) -> tuple[Array, Array, Array]:
    """Whether a quote is open (0 or 1), whether a comment is, and how many brackets are: three of (T,) float64.

    The rules are those of Python's sources, as far as prose can live with them. A quote is open from its first mark on,
    which is " or ', or either three times, until its last has been read. A backslash takes the meaning from the
    character after it. A line end closes a quote of single marks, so that a lone mark does no harm beyond its line.
    ' after a letter or digit is an apostrophe, except after prefixes as in r'…'. A comment goes from # to the end of
    the line. Brackets are ( [ {, whichever closes them; they and # do not count inside quotes, and none of these counts
    inside a comment. The third of three marks is known only when it comes: after two, the quote is empty and closed.
    """
    quotes, comments, brackets = np.empty((3, len(text)))
    quote, comment, depth = "", False, 0  # quote: the marks that will close it
    escaped = False
    opened = emptied = -2  # where a quote was opened; where one was closed that is empty
    closing = 0  # how many of the marks that close it have come
    word = ""  # the letters and digits just before, at most three
    for t, character in enumerate(text):
        if quote:
            if escaped:
                escaped = False
            elif character == "\n" and len(quote) == 1:
                quote = ""
            else:
                escaped = character == "\\"
                closing = closing + 1 if character == quote[0] else 0
                if closing == len(quote):
                    emptied = t if (len(quote), opened) == (1, t - 1) else -2
                    quote = ""
            word = ""
        elif comment:
            comment = character != "\n"
        elif character in "\"'" and not (character == "'" and word and word.lower() not in PREFIXES):
            triple = emptied == t - 1 and text[emptied] == character
            quote, opened, closing = character * (3 if triple else 1), t, 0
        else:
            comment = character == "#"
            depth = max(0, depth + (character in "([{") - (character in ")]}"))
            word = (word + character)[-3:] if character.isalnum() or character == "_" else ""
        quotes[t], comments[t], brackets[t] = bool(quote), comment, depth
    return quotes, comments, brackets
