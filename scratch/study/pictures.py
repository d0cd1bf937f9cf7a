"""What the pictures of the studies share: colours, lines and quiet panels.

Matplotlib is imported when a figure is made: it takes half a second.
"""

from typing import Any

import numpy as np

from ..types import Array

COLOURS = ORANGE, BLUE, *_ = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

GREY, BLACK = "#666666", "#000000"

DOTTED, DASHED = (0, (1, 1.5)), (0, (4, 1.5))


def new_figure(width: float, height: float) -> Any:
    """An empty figure whose parts make room for each other. Sizes are in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
    return figure


def heading(figure: Any, text: str, **options: Any) -> None:
    """The title of a figure or of a part of it, on the left."""
    figure.suptitle(text, x=0.01, ha="left", **{"fontweight": "bold"} | options)


def finish(panel: Any, title: str = "", x: str = "", y: str = "") -> None:
    """The names of a panel, and a quiet frame."""
    panel.set_title(title, loc="left", fontsize=10)
    panel.set(xlabel=x, ylabel=y)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25, linewidth=0.6)


def powers_of_two(panel: Any, values: Array) -> None:
    """A logarithmic x axis with a tick at each of the values."""
    panel.set_xscale("log", base=2)
    panel.set_xticks(values, [f"{value}" for value in values])
    panel.minorticks_off()


def over_runs(panel: Any, x: Array, values: Array, middle: Array, **line: Any) -> None:
    """A line through the middle of some runs, and their range. values: (runs, points)."""
    low, high = values.min(axis=0), values.max(axis=0)
    panel.fill_between(x, low, high, color=line["color"], alpha=0.18, linewidth=0)
    panel.plot(x, middle, **{"linewidth": 1.5} | line)


def shades(count: int) -> list[Any]:
    """So many colours from dark to light, which differ in lightness."""
    import matplotlib

    return [matplotlib.colormaps["viridis"](place) for place in np.linspace(0, 0.92, count)]
