"""What single cells of a character model keep track of: their activations over a text, beside features of the text.

Karpathy, Johnson and Fei-Fei (2015, "Visualizing and Understanding Recurrent Networks", section 4.1) coloured a text by
tanh(c) of single cells of an LSTM, and found some that count along the line, some that are on inside quotes, and many
that nobody can read. They looked at all of them. Here every cell is compared with features that are computed from the
text by rule, and the cells are ranked by

(1)  r = Σ_t (x_t − x̄) (y_t − ȳ) / √(Σ_t (x_t − x̄)² · Σ_t (y_t − ȳ)²)          Pearson's correlation

of the activation x_t after the character t has been read and the feature y_t after the same character. Neither looks
ahead. r says how much of a straight line there is between the two: r² is the part of the feature's variance that a
linear function of this one cell explains. A cell that knows the feature but shows it in another form, as by a step at
column 60, has a smaller r, and what several cells know together is not seen at all.

Among hundreds of cells the best one correlates with anything, so three things stand beside its r:

(2)  the cells are ranked on the first half of the text; the r that is reported is of the second half
(3)  the chance level: the 95 % quantile of max |r| over all cells, when the feature of the second half is shifted
     against the text, around a circle. What the feature looks like is kept, what it has to do with the text is not.
(4)  the r that a model reaches with weights as they were drawn. Any recurrence remembers a little of what it has read,
     and a feature that can be told from the last few characters is found in that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..nn.pile import no_grad
from ..text import CharacterModel
from ..text.corpus import code_points
from ..types import Array, Seed
from .explore import rounded
from .pages import filled

SHORTEST = 200
"""So many characters a text has to have: of fewer, half of them say nothing."""

SHIFTS = 99
"""How often a feature is shifted for the chance level. With the one that is not, they make a hundred."""

LEVEL = 0.95
"""The quantile that is the chance level."""

NEAREST = 0.1
"""A feature is shifted by at least this part of the text: nearby, it still fits."""

TAB = 8
"""A tab leads to the next multiple of so many columns, as Python reads it."""

PREFIXES = {"r", "b", "u", "f", "br", "rb", "fr", "rf"}
"""What may stand before an opening quote in Python."""

SHOWN_CELLS = 8
"""So many cells for each feature are on the page, the best first."""

EVERY = 100
"""After so many characters progress is told."""


# Features of a text. Each is known from what has been read so far: that of a prefix is a prefix of it.


def line_position(text: str) -> Array:
    """How many characters have been read since the last line end, which itself has 0: (T,) float64."""
    t = np.arange(len(text))
    ends = np.maximum.accumulate(np.where(code_points(text) == ord("\n"), t, -1))  # where the last one was
    return (t - ends).astype(np.float64)


def indentation(text: str) -> Array:
    """By how many columns the line begins with blanks, as far as it has been read: (T,) float64.

    It grows with each blank at the beginning of a line, stays to the end of the line, and is 0 at its end.
    """
    found, depth, beginning = np.empty(len(text)), 0, True
    for t, character in enumerate(text):
        if character == "\n":
            depth, beginning = 0, True
        elif beginning and character == " ":
            depth += 1
        elif beginning and character == "\t":
            depth += TAB - depth % TAB
        else:
            beginning = False
        found[t] = depth
    return found


def syntax(text: str) -> tuple[Array, Array, Array]:
    """Whether a quote is open (0 or 1), whether a comment is, and how many brackets are: three of (T,) float64.

    By the rules of Python's sources, as far as prose can live with them. A quote is open from its first mark on, which
    is " or ', or either three times, until its last has been read. A backslash takes the meaning from the character
    after it. A line end closes a quote of single marks, so that a mark alone does no harm beyond its line. ' after a
    letter or digit is an apostrophe, but for prefixes as in r'…'. A comment goes from # to the end of the line.
    Brackets are ( [ {, whichever closes them; neither they nor # count inside quotes, nor any of them inside a
    comment. The third of three marks is known only when it comes: after two, the quote is empty and closed.
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


# Activations, and how they go with features


def activations(
    model: CharacterModel, indices: Array, progress: Callable[[int], object] = lambda characters: None
) -> Array:
    """What each cell of each layer holds after each character: (T, L, H), in the dtype of the model.

    Of a state that has more parts than h it is the last of them, the one that the cell keeps to itself, as tanh: an
    LSTM's tanh(c). Where h is all of the state, it is h.

    indices: (T,) characters as integers, T ≥ 1; the state goes from zeros through all of them, one by one, and no tape
    is kept. Nothing is dropped out. The parameters are only read, and the tapes that the model has stay. progress: is
    told every hundred characters how many more have been read.

    Raises ValueError for a recurrence of two directions, and what the embedding raises for indices that are none.
    """
    rnn, training = model.rnn, model.rnn.training
    if rnn.bidirectional:
        raise ValueError(f"expected a recurrence in one direction, got {rnn!r}")
    found, state = [], None
    rnn.eval()
    try:
        with no_grad():
            for t in range(len(indices)):
                _, state = rnn(model.embed(indices[None, t : t + 1]), state)
                part = state[-1] if isinstance(state, tuple) else state  # L, 1, H
                found.append(part[:, 0])
                if len(found) % EVERY == 0 or len(found) == len(indices):
                    progress((len(found) - 1) % EVERY + 1)
    finally:
        rnn.train(training)
    held = np.stack(found)
    result: Array = held if rnn.cell.state[-1] == "h" else np.tanh(held)
    return result


def held_as(model: CharacterModel) -> str:
    """What `activations` gives, as a formula."""
    part = model.rnn.cell.state[-1]
    return part if part == "h" else f"tanh({part})"


def standard(x: Array) -> Array:
    """Columns with mean 0 and length 1, NaN for a column that does not change. x: (T, K). Returns float64."""
    x = x.astype(np.float64)
    still = x.min(axis=0) == x.max(axis=0)  # their mean is rounded
    centred = x - x.mean(axis=0)
    centred /= np.where(still, np.nan, np.abs(centred).max(axis=0))  # small numbers have no squares
    result: Array = centred / np.sqrt((centred**2).sum(axis=0))
    return result


def correlations(y: Array, x: Array) -> Array:
    """(1) for each feature and each cell: (F, C), NaN where one of them does not change. y: (T, F), x: (T, C)."""
    r: Array = standard(y).T @ standard(x)
    return r.clip(-1, 1)  # but for rounding it is


def chance_levels(y: Array, x: Array, rng: Seed = None) -> Array:
    """(3) for each feature: (F,), NaN for one that does not change. y: (T, F), x: (T, C). rng draws the shifts."""
    rng = np.random.default_rng(rng)
    nearest = max(1, int(NEAREST * len(y)))
    shifts = rng.integers(nearest, len(y) - nearest + 1, SHIFTS)
    y, x = standard(y), standard(x)
    levels = []
    for feature in y.T:
        shifted = np.stack([np.roll(feature, shift) for shift in shifts])
        best = np.fmax.reduce(np.abs(shifted @ x), axis=1)  # of the cells that are numbers
        levels.append(np.quantile(best, LEVEL, method="higher"))
    return np.array(levels)


class Ranking(NamedTuple):
    """The C cells beside one feature. A cell is the number layer · H + unit."""

    name: str
    order: Array
    """The cells, by |r| on the first half of the text: (C,). Those that do not change are last."""
    chosen: Array
    """The r of each cell on the first half: (C,). NaN if the cell or the feature does not change there."""
    reported: Array
    """And on the second: (C,)."""
    level: float
    """The chance level on the second half. NaN if the feature does not change there."""

    @property
    def best(self) -> int:
        """The first of the cells."""
        return int(self.order[0])

    @property
    def absent(self) -> bool:
        """Whether there is nothing to track: in one half of the text the feature, or every cell, does not change."""
        return bool(np.isnan(self.chosen).all() or np.isnan(self.reported).all())

    @property
    def tracked(self) -> bool:
        """Whether the best cell is above chance."""
        return bool(abs(self.reported[self.best]) > self.level)


def rankings(y: Array, x: Array, rng: Seed = None) -> list[Ranking]:
    """(2) and (3) for each feature. y: (T, F) as `features` gives them, x: (T, C) cells. rng draws the shifts.

    Raises ValueError for fewer than 200 characters, or another number of them in x than in y.
    """
    if len(y) < SHORTEST or len(x) != len(y):
        raise ValueError(f"expected at least {SHORTEST} characters, as many of each, got {len(y)} and {len(x)}")
    half = len(y) // 2
    chosen, reported = correlations(y[:half], x[:half]), correlations(y[half:], x[half:])
    levels = chance_levels(y[half:], x[half:], rng)
    orders = np.argsort(-np.nan_to_num(np.abs(chosen), nan=-1), axis=1, kind="stable")
    return [Ranking(*each) for each in zip(MEANINGS, orders, chosen, reported, levels.tolist(), strict=True)]


# What is shown of it


class Findings(NamedTuple):
    """A model and a text of T characters, beside each other."""

    text: str
    features: Array
    """(T, F)."""
    activations: Array
    """(T, L, H)."""
    held: str
    """What they are, as a formula."""
    rankings: list[Ranking]
    as_drawn: list[float]
    """(4) for each feature: the r that is reported of the best cell of a model that has learned nothing."""
    origin: str
    """Where the model comes from, in a few words."""
    source: str
    """And the text."""

    @property
    def cells(self) -> Array:
        """The activations of all cells side by side: (T, C)."""
        return self.activations.reshape(len(self.activations), -1)

    def place(self, cell: int) -> tuple[int, int]:
        """The layer and the unit of a cell."""
        layer, unit = divmod(cell, self.activations.shape[2])
        return layer, unit


def stretch(text: str, y: Array, end: Callable[[int], int]) -> slice:
    """A stretch of the second half of a text, from the beginning of a line, that is like the half in its features.

    Of all stretches it is the one with the smallest Σ ((m − M)² + (s − S)²) / S² over the features, m and s being their
    means and standard deviations in the stretch, M and S those in the half; the first, if there are several. No cell
    has a say in it. y: (T, F). end: tells where a stretch ends that begins at a character; one that ends with the text
    is taken only if there is no other.
    """
    half = len(text) // 2
    rest = y[half:] - y[half:].mean(axis=0)  # so that M is 0
    starts = half + np.flatnonzero(code_points(text)[half - 1 : -1] == ord("\n"))
    starts = starts if len(starts) else np.array([half])
    ends = np.array([end(start) for start in starts.tolist()])
    if (ends < len(text)).any():
        starts, ends = starts[ends < len(text)], ends[ends < len(text)]
    zero = np.zeros((1, y.shape[1]))
    sums, squares = (np.concatenate([zero, part.cumsum(axis=0)]) for part in (rest, rest**2))
    mean, square = ((part[ends - half] - part[starts - half]) / (ends - starts)[:, None] for part in (sums, squares))
    whole = np.sqrt(squares[-1] / len(rest))
    change = np.sqrt(np.maximum(square - mean**2, 0))
    apart = (mean**2 + (change - whole) ** 2) / np.where(whole > 0, whole, np.inf) ** 2
    best = int(np.argmin(apart.sum(axis=1)))
    return slice(int(starts[best]), int(ends[best]))


def page(found: Findings, length: int = 2000) -> str:
    """The page: an HTML file that needs nothing but a browser, with a stretch of the text in the colours of cells.

    length: of the stretch, in characters. What is to be seen is told on the page itself.
    """
    T = len(found.text)
    where = stretch(found.text, found.features, lambda start: min(T, start + length))
    data = {
        "text": found.text[where],
        "start": where.start,
        "characters": T,
        "origin": found.origin,
        "source": found.source,
        "held": found.held,
        "layers": found.activations.shape[1],
        "units": found.activations.shape[2],
        "shifts": SHIFTS,
        "features": [
            described(found, number, where, ranking, drawn)
            for number, (ranking, drawn) in enumerate(zip(found.rankings, found.as_drawn, strict=True))
        ],
    }
    return filled(Path(__file__).with_suffix(".html"), data)


def described(found: Findings, number: int, where: slice, ranking: Ranking, drawn: float) -> dict[str, Any]:
    """What the page has to know of a feature and of its best cells, for JSON, with None for NaN."""
    half = len(found.text) // 2
    cells = []
    for cell in ranking.order[:SHOWN_CELLS].tolist():
        layer, unit = found.place(cell)
        over = found.cells[half:, cell].astype(np.float64)
        cells.append(
            {
                "layer": layer,
                "unit": unit,
                "chosen": number_or_none(ranking.chosen[cell]),
                "reported": number_or_none(ranking.reported[cell]),
                "mean": rounded(over.mean()),
                "deviation": rounded(over.std()),
                "values": np.round(found.cells[where, cell].astype(np.float64), 3).tolist(),
            }
        )
    values = found.features[:, number]
    return {
        "name": ranking.name,
        "meaning": MEANINGS[ranking.name],
        "level": number_or_none(ranking.level),
        "drawn": number_or_none(drawn),
        "most": max(1, int(values[where].max())),
        "values": values[where].astype(int).tolist(),
        "cells": cells,
    }


def number_or_none(x: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if np.isnan(x) else float(rounded(np.float64(x)))


def study(
    model: CharacterModel,
    drawn: CharacterModel,
    indices: Array,
    text: str,
    origin: str,
    source: str,
    seed: int = 0,
    progress: Callable[[int], object] = lambda characters: None,
) -> Findings:
    """Beside each other: a model, the same with weights as they were drawn, and a text.

    indices: the text in the vocabulary of the models, (T,). seed: draws the shifts. progress: as for `activations`; it
    is told of 2·T characters in all.

    Raises ValueError for fewer than 200 characters, and for activations that are not finite.
    """
    if len(text) < SHORTEST:
        raise ValueError(f"expected a text of at least {SHORTEST} characters, got {len(text)}")
    y = features(text)
    held, held_as_drawn = (activations(each, indices, progress) for each in (model, drawn))
    if not np.isfinite(held).all():
        raise ValueError("expected a model that computes finite numbers from this text, got one that does not")
    ranked, before = (rankings(y, part.reshape(len(text), -1), seed) for part in (held, held_as_drawn))
    reached = [float(each.reported[each.best]) for each in before]
    return Findings(text, y, held, held_as(model), ranked, reached, origin, source)
