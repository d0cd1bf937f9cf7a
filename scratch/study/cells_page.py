"""The page of `study cells`: a stretch of a text in the colours of cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..text.corpus import code_points
from ..types import Array
from .cells import SHIFTS, Findings, Ranking
from .cells_features import MEANINGS
from .pages import filled, rounded

SHOWN_CELLS = 8
"""The number of cells that are on the page for each feature, the best first."""


def stretch(text: str, y: Array, end: Callable[[int], int]) -> slice:
    """A stretch of the second half of a text, from the beginning of a line, that is like the half in its features.

    It is the one with the smallest Σ ((m − M)² + (s − S)²) / S² over the features, the first if there are several. m
    and s are the feature's mean and standard deviation in the stretch, M and S those in the half. The cells have no say
    in it. y: (T, F). end: says where a stretch ends that begins at a character. A stretch that ends with the text is
    taken only if there is no other.
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

    length: of the stretch, in characters. The page itself explains what it shows.
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
    return filled(Path(__file__).with_name("cells.html"), data)


def described(found: Findings, number: int, where: slice, ranking: Ranking, drawn: float) -> dict[str, Any]:
    """A feature and its best cells for the page, as JSON has them, with None for NaN."""
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
