"""What single cells of a character model keep track of: their activations over a text, beside features of the text.

Karpathy, Johnson and Fei-Fei (2015, section 4.1) coloured a text by tanh(c) of single cells of an LSTM, and found some
that count along the line and some that are on inside quotes. Here every cell is compared with features that are
computed from the text by rule (cells_features.py), and the cells are ranked by Pearson's correlation

(1)  r = Σ_t (x_t − x̄) (y_t − ȳ) / √(Σ_t (x_t − x̄)² · Σ_t (y_t − ȳ)²)

of the activation x_t after the character t and the feature y_t after the same character. A cell that shows a feature in
another form, as by a step at column 60, has a smaller r, and what several cells know together is not seen at all.

Among hundreds of cells the best one correlates with anything, so three things stand beside its r:

(2)  the cells are ranked on the first half of the text; the r that is reported is of the second half
(3)  the chance level: the 95 % quantile of max |r| over all cells, when the feature of the second half is shifted
     against the text, around a circle, and so has nothing to do with it
(4)  the r that a model reaches with weights as they were drawn: any recurrence remembers a little
"""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import numpy as np

from ..nn.pile import no_grad
from ..text import CharacterModel
from ..types import Array, Seed
from .cells_features import features

SHORTEST = 200  # the fewest characters of a text: half of fewer says nothing

SHIFTS = 99
"""How often a feature is shifted for the chance level. Together with the unshifted one that makes a hundred."""

LEVEL = 0.95  # the quantile that is the chance level
NEAREST = 0.1  # a feature is shifted by at least this part of the text: nearby, it still fits
EVERY = 100  # progress is told after so many characters


def activations(
    model: CharacterModel, indices: Array, progress: Callable[[int], object] = lambda characters: None
) -> Array:
    """What each cell of each layer holds after each character: (T, L, H), in the dtype of the model.

    That is h, or if the state has more parts, tanh of the last of them, the one that the cell keeps to itself: an
    LSTM's tanh(c).

    indices: (T,) characters as integers, T ≥ 1. The state begins with zeros and goes through them one by one. No tape
    is kept, nothing is dropped out, and the model stays as it is. progress: is told every hundred characters how many
    more have been read.

    Raises ValueError for a recurrence of two directions, and what the embedding raises for wrong indices.
    """
    if model.rnn.bidirectional:
        raise ValueError(f"expected a recurrence in one direction, got {model.rnn!r}")
    rnn, found, state = deepcopy(model.rnn).eval(), [], None
    with no_grad():
        for t in range(len(indices)):
            if t % EVERY == 0:
                progress(min(EVERY, len(indices) - t))
            _, state = rnn(model.embed(indices[None, t : t + 1]), state)
            part = state[-1] if isinstance(state, tuple) else state  # L, 1, H
            found.append(part[:, 0])
    held = np.stack(found)
    result: Array = held if rnn.cell.state[-1] == "h" else np.tanh(held)
    return result


def standard(x: Array) -> Array:
    """Columns with mean 0 and length 1, NaN for a column that does not change. x: (T, K). Returns float64."""
    x = x.astype(np.float64)
    still = np.ptp(x, axis=0) == 0  # their mean is rounded
    centred = x - x.mean(axis=0)
    centred /= np.where(still, np.nan, np.abs(centred).max(axis=0))  # small numbers have no squares
    result: Array = centred / np.linalg.norm(centred, axis=0)
    return result


def correlations(y: Array, x: Array) -> Array:
    """(1) for each feature and each cell: (F, C), NaN where one of them does not change. y: (T, F), x: (T, C)."""
    r: Array = standard(y).T @ standard(x)
    return r.clip(-1, 1)  # but for rounding it is


def chance_levels(y: Array, x: Array, rng: Seed = None) -> Array:
    """(3) for each feature: (F,), NaN for one that does not change. y: (T, F), x: (T, C). rng draws the shifts."""
    nearest = max(1, int(NEAREST * len(y)))
    shifts = np.random.default_rng(rng).integers(nearest, len(y) - nearest + 1, SHIFTS)
    y, x = standard(y), standard(x)
    shifted = (np.stack([np.roll(feature, shift) for shift in shifts]) for feature in y.T)  # SHIFTS, T each
    best = np.array([np.fmax.reduce(np.abs(each @ x), axis=1) for each in shifted])  # of the cells that are numbers
    return np.asarray(np.quantile(best, LEVEL, axis=1, method="higher"))


class Ranking(NamedTuple):
    """The C cells beside each of F features. A cell is the number layer · H + unit."""

    order: Array  # F, C     the cells, by |r| on the first half of the text; last, those that do not change
    chosen: Array  # F, C    the r of each cell on the first half; NaN if the cell or the feature does not change there
    reported: Array  # F, C  and on the second
    level: Array  # F        the chance level on the second half; NaN if the feature does not change there

    def of_best(self, r: Array) -> Array:
        """What `chosen` or `reported` says of the first cell of each feature: (F,)."""
        return np.take_along_axis(r, self.order[:, :1], axis=1)[:, 0]

    @property
    def absent(self) -> Array:
        """Whether there is nothing to track: in a half of the text the feature, or every cell, stays the same. (F,)"""
        return np.asarray(np.isnan(self.chosen).all(axis=1) | np.isnan(self.reported).all(axis=1))

    @property
    def tracked(self) -> Array:
        """Whether the best cell is above chance: (F,)."""
        return np.asarray(np.abs(self.of_best(self.reported)) > self.level)


def rankings(y: Array, x: Array, rng: Seed = None) -> Ranking:
    """(2) and (3). y: (T, F) as `features` gives them, x: (T, C) cells. rng draws the shifts.

    Raises ValueError for fewer than 200 characters, or another number of them in x than in y.
    """
    if len(y) < SHORTEST or len(x) != len(y):
        raise ValueError(f"expected at least {SHORTEST} characters, as many of each, got {len(y)} and {len(x)}")
    half = len(y) // 2
    chosen, reported = correlations(y[:half], x[:half]), correlations(y[half:], x[half:])
    order = np.argsort(-np.nan_to_num(np.abs(chosen), nan=-1), axis=1, kind="stable")
    return Ranking(order, chosen, reported, chance_levels(y[half:], x[half:], rng))


class Findings(NamedTuple):
    """A model and a text of T characters, beside each other."""

    text: str
    features: Array  # (T, F)
    activations: Array  # (T, L, H)
    held: str  # the activations, as a formula
    ranking: Ranking
    as_drawn: Array  # F   (4): the r on the second half of the best cell of a model that has learned nothing
    origin: str  # where the model comes from, in a few words
    source: str  # where the text comes from

    @property
    def cells(self) -> Array:
        """The activations of all cells side by side: (T, C)."""
        return self.activations.reshape(len(self.activations), -1)

    def place(self, cell: int) -> tuple[int, int]:
        """The layer and the unit of a cell."""
        layer, unit = divmod(cell, self.activations.shape[2])
        return layer, unit


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
    """Compare the cells of a model, and of the same with weights as they were drawn, with the features of a text.

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
    last = model.rnn.cell.state[-1]
    formula = last if last == "h" else f"tanh({last})"
    return Findings(text, y, held, formula, ranked, before.of_best(before.reported), origin, source)
