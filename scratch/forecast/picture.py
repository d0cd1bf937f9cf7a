"""The forecasts as a picture: the series and its parts, and the test part beside the forecasts of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..types import Array
from .comparison import LAST_VALUE, SEASONAL, Comparison

COLOURS = {"LSTM": "#0072B2", LAST_VALUE: "#E69F00", SEASONAL: "#CC79A7"}
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

SHADES = {"training": "#E8F2FA", "validation": "#E3E3E3", "test": "#FFF6D6"}

STYLES = {LAST_VALUE: (0, (1, 1.2)), SEASONAL: (0, (4, 1.5))}


def picture(found: Comparison) -> Figure:
    """The whole series with its parts above; below the test part, forecast one step ahead; with a horizon of several
    steps, forecast from every K-th origin, and the last step ahead from every origin.
    """
    K = found.horizon
    figure = Figure(figsize=(10, 7.2 if K == 1 else 10))
    figure.set_layout_engine("constrained")
    whole, *rest = figure.subplots(2 if K == 1 else 3, height_ratios=[0.62] + [1] * (1 if K == 1 else 2))
    _, places = found.series.after(K)
    show_whole(whole, found, places)
    if K > 1:
        show_fans(rest[0], found, places)
    show_step(rest[-1], found, places)
    for panel in (whole, *rest):
        panel.set_ylabel(plain(found.series.name))
        panel.spines[["top", "right"]].set_visible(False)
        if found.series.axis and found.series.axis.label:
            panel.xaxis_date()
    figure.legend(*rest[0].get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9, frameon=False)
    rest[-1].set_xlabel(plain(found.series.time))
    return figure


def plain(text: str) -> str:
    """Text from a file: no formulas, no control characters."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return shown.replace("$", r"\$")


def shade(panel: Any, found: Comparison, places: Array, named: bool) -> None:
    """The parts as backgrounds, with their names above if `named`."""
    last = len(found.series) - 1
    for name, part in found.parts._asdict().items():
        left, right = places[part.start], places[min(part.stop, last)]
        panel.axvspan(left, right, color=SHADES[name], linewidth=0, zorder=0)
        if named:
            where = panel.get_xaxis_transform()
            panel.text((left + right) / 2, 1.01, name, transform=where, ha="center", va="bottom", fontsize=9)


def show_whole(panel: Any, found: Comparison, places: Array) -> None:
    """The series, its parts, and what follows after its end."""
    N = len(found.series)
    shade(panel, found, places, named=True)
    panel.plot(places[:N], found.series.values, color="black", linewidth=0.9)
    panel.margins(x=0.01)


def show_fans(panel: Any, found: Comparison, places: Array) -> None:
    """The forecasts from every K-th origin, each beginning at the last value that was known."""
    K, values = found.horizon, found.series.values
    truth(panel, found, places)
    for first in range(0, len(found.origins), K):
        origin = found.origins[first]
        rows = np.arange(origin - 1, origin + K)
        label = first == 0
        for name, predicted in found.baselines.items():
            path = np.concatenate([values[origin - 1 : origin], predicted[first]])
            draw(panel, places[rows], path, name, label)
        lstm(panel, places[rows], values[origin - 1], found.lstm[:, first], label)
        panel.plot(places[origin - 1], values[origin - 1], "o", color="black", markersize=3.5, zorder=4)
    beyond(panel, found, places)
    panel.set_title(
        f"test: {K} values forecast at once, from every {ordinal(K)} origin (dots: the last value known)",
        loc="left",
        fontsize=10,
    )


def show_step(panel: Any, found: Comparison, places: Array) -> None:
    """The forecast of each value K steps ahead."""
    K = found.horizon
    rows = found.origins + K - 1
    truth(panel, found, places)
    for name, predicted in found.baselines.items():
        draw(panel, places[rows], predicted[:, -1], name, True)
    lstm(panel, places[rows], None, found.lstm[:, :, -1], True)
    if K == 1:
        beyond(panel, found, places)
    panel.set_title(f"test: each value forecast {K} step{'' if K == 1 else 's'} ahead", loc="left", fontsize=10)


def truth(panel: Any, found: Comparison, places: Array) -> None:
    """The test part, and a little of what came before."""
    N, start = len(found.series), found.parts.test.start
    before = max(0, start - max(2, len(found.parts.test) // 8))
    shade(panel, found, places, named=False)
    panel.plot(places[before:N], found.series.values[before:], color="black", linewidth=1.4, label="truth", zorder=3)
    panel.set_xlim(places[before], places[-1] + 0.01 * (places[-1] - places[before]))


def draw(panel: Any, x: Array, y: Array, name: str, label: bool) -> None:
    """A baseline, lightly."""
    style = {"color": COLOURS[name], "linestyle": STYLES[name], "linewidth": 1.2, "alpha": 0.9}
    panel.plot(x, y, label=name if label else None, zorder=1, **style)


def lstm(panel: Any, x: Array, start: float | None, runs: Array, label: bool) -> None:
    """The runs, averaged, within their range. runs: (R, steps)."""
    if start is not None:
        runs = np.concatenate([np.full((len(runs), 1), start), runs], axis=1)
    name = "LSTM" if len(runs) == 1 else f"LSTM, {len(runs)} runs averaged, and their range"
    colour = COLOURS["LSTM"]
    panel.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.22, linewidth=0, zorder=2)
    panel.plot(x, runs.mean(axis=0), color=colour, linewidth=1.6, label=name if label else None, zorder=4)


def beyond(panel: Any, found: Comparison, places: Array) -> None:
    """The forecast of the values after the end."""
    N = len(found.series)
    lstm(panel, places[N - 1 :], found.series.values[-1], found.future, False)
    panel.plot(places[N:], found.future.mean(axis=0), ".", color=COLOURS["LSTM"], zorder=4)
    panel.axvline(places[N - 1], color="black", linewidth=0.8, linestyle=":")
    panel.set_title("after the end", loc="right", fontsize=9)


def ordinal(number: int) -> str:
    """2nd, 3rd, 4th, …"""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
