"""Features of a text that a cell may keep track of. Each is known from what has been read so far."""

import re

import numpy as np

from ..text.corpus import code_points
from ..types import Array

TAB = 8  # a tab leads to the next multiple of so many columns, as Python reads it

TOKEN = re.compile(
    r"""
    (?i:[rbuf]|[bf]r|r[bf])?                                                    # a prefix, and a quote:
    (?P<marks>(?P<triple>\"{3}|'{3})|["'])                                      # its first mark, or three,
    (?:\\.?|(?!(?P=marks))(?(triple)[^\\]|[^\\\n]))*                            # what stands inside
    (?P<closed>(?P=marks))?                                                     # and the same once more
    |(?P<comment>\#[^\n]*)
    |\w+'?                                                                      # a word with an apostrophe
    """,
    re.VERBOSE | re.DOTALL,
)
"""A quote, a comment or a word of Python; of a quote that is not closed, what is there."""

MEANINGS = {
    "line position": "characters since the last line end",
    "indentation": "columns of blanks at the beginning of the line",
    "quotes": "1 inside quotes, else 0",
    "comments": "1 from # to the end of the line, else 0",
    "brackets": "how many ( [ { are open",
}
"""The features, each in a few words."""


def features(text: str) -> Array:
    """The features in the order of `MEANINGS`, after each character: (T, F) float64.

    The line end itself has position and indentation 0. The indentation grows with each blank at the beginning of a
    line, and stays to its end.
    """
    position: list[int] = []
    indentation: list[int] = []
    for line in text.split("\n"):
        blanks = len(line) - len(line.lstrip(" \t"))
        grown = [len(line[: n + 1].expandtabs(TAB)) for n in range(blanks)]
        position += [*range(1, len(line) + 1), 0]
        indentation += [*grown, *[grown[-1] if grown else 0] * (len(line) - blanks), 0]
    T = len(text)
    return np.stack([position[:T], indentation[:T], *syntax(text)], axis=1).astype(np.float64)


def syntax(text: str) -> tuple[Array, Array, Array]:
    """Whether a quote is open (0 or 1), whether a comment is, and how many brackets are: three of (T,) float64.

    The rules are those of Python's sources, as far as prose can live with them. A quote is open from its first mark on,
    which is " or ', or either three times, until its last has been read. A backslash takes the meaning from the
    character after it. A line end closes a quote of single marks, so that a lone mark does no harm beyond its line.
    ' after a letter or digit is an apostrophe, except after prefixes as in r'…'. A comment goes from # to the end of
    the line. Brackets are ( [ {, whichever closes them; they and # do not count inside quotes, and none of these counts
    inside a comment. The third of three marks is known only when it comes: after two, the quote is empty and closed.
    """
    quotes, comments = np.zeros((2, len(text)))
    for token in TOKEN.finditer(text):
        if token["marks"]:
            first = token.start("marks")
            quotes[first : token.end() - bool(token["closed"])] = 1
            if token["triple"]:
                quotes[first + 1] = 0  # an empty quote, so far
        elif token["comment"]:
            comments[token.start() : token.end()] = 1
    opening, closing = (np.isin(code_points(text), code_points(brackets)) for brackets in ("([{", ")]}"))
    depth = np.cumsum(np.where(quotes + comments, 0, opening * 1.0 - closing))
    return quotes, comments, depth - np.minimum.accumulate(np.minimum(depth, 0))
