"""The forecasts as a picture: the series and its parts, and the test part beside the forecasts of it."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..terminal import count
from ..types import Array
from .comparison import LAST_VALUE, SEASONAL, Comparison

COLOURS = {"LSTM": "#0072B2", LAST_VALUE: "#E69F00", SEASONAL: "#CC79A7"}
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

SHADES = {"training": "#E8F2FA", "validation": "#E3E3E3", "test": "#FFF6D6"}

STYLES = {LAST_VALUE: (0, (1, 1.2)), SEASONAL: (0, (4, 1.5))}


def picture(found: Comparison) -> Figure:
    """The series and its parts; below the test part, forecast from every K-th origin if K > 1, and K steps ahead."""
    K, N, values = found.horizon, len(found.series), found.series.values
    figure = Figure(figsize=(10, 7.2 if K == 1 else 10), layout="constrained")
    whole, *rest = figure.subplots(2 if K == 1 else 3, height_ratios=[0.62] + [1] * (1 if K == 1 else 2))
    _, places = found.series.after(K)
    whole.plot(places[:N], values, color="black", linewidth=0.9)
    whole.margins(x=0.01)
    test = found.parts.test
    before = max(0, test.start - max(2, len(test) // 8))
    for panel in rest:
        panel.plot(places[before:N], values[before:], color="black", linewidth=1.4, label="truth", zorder=3)
        panel.set_xlim(places[before], places[-1] + 0.01 * (places[-1] - places[before]))
    if K > 1:
        for first in range(0, len(found.origins), K):
            origin = found.origins[first]
            x, known = places[origin - 1 : origin + K], values[origin - 1 : origin]
            draw(rest[0], x, known, found.lstm[:, first], {n: y[first] for n, y in found.baselines.items()}, first == 0)
            rest[0].plot(x[0], known, "o", color="black", markersize=3.5, zorder=4)
        ending = "th" if K % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(K % 10, "th")
        title = f"test: {K} values forecast at once, from every {K}{ending} origin (dots: the last value known)"
        rest[0].set_title(title, loc="left", fontsize=10)
    last = {name: predicted[:, -1] for name, predicted in found.baselines.items()}
    draw(rest[-1], places[found.origins + K - 1], np.empty(0), found.lstm[:, :, -1], last, True)
    rest[-1].set_title(f"test: each value forecast {count(K, 'step')} ahead", loc="left", fontsize=10)
    draw(rest[0], places[N - 1 :], values[-1:], found.future, {}, False)
    rest[0].plot(places[N:], found.future.mean(axis=0), ".", color=COLOURS["LSTM"], zorder=4)
    rest[0].axvline(places[N - 1], color="black", linewidth=0.8, linestyle=":")
    rest[0].set_title("after the end", loc="right", fontsize=9)
    for panel in (whole, *rest):
        for name, part in found.parts._asdict().items():
            left, right = places[part.start], places[min(part.stop, N - 1)]
            panel.axvspan(left, right, color=SHADES[name], linewidth=0, zorder=0)
            if panel is whole:
                above = {"transform": panel.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 9}
                panel.text((left + right) / 2, 1.01, name, **above)
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


def draw(panel: Any, x: Array, known: Array, runs: Array, baselines: dict[str, Array], label: bool) -> None:
    """The runs (R, steps), averaged, within their range, and the baselines; they begin at the values `known` before."""
    for name, predicted in baselines.items():
        style = {"color": COLOURS[name], "linestyle": STYLES[name], "linewidth": 1.2, "alpha": 0.9}
        panel.plot(x, np.append(known, predicted), label=name if label else None, zorder=1, **style)
    name = "LSTM" if len(runs) == 1 else f"LSTM, {len(runs)} runs averaged, and their range"
    least, mean, largest = (np.append(known, each(axis=0)) for each in (runs.min, runs.mean, runs.max))
    panel.fill_between(x, least, largest, color=COLOURS["LSTM"], alpha=0.22, linewidth=0, zorder=2)
    panel.plot(x, mean, color=COLOURS["LSTM"], linewidth=1.6, label=name if label else None, zorder=4)
