"""The picture of how far back recurrences learn to remember."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ..types import Array
from .memory import SOLVED, Findings
from .pictures import COLOURS, DASHED, GREY, finish, heading, new_figure, over_runs, powers_of_two

MARKERS = "osD^vP"
"""One for each model, for readers without colours."""

APART = 0.14
"""By how many powers of two in T the models stand beside each other, so that none hides another."""


def picture(found: Findings) -> Figure:
    """A column for each task: the loss at the end above, the updates that it took below, both over T."""
    A, M, _, N = found.loss.shape
    figure = new_figure(5.4 * A, 8.2)
    panels = figure.subplots(2, A, sharex="col", squeeze=False)
    for a, task in enumerate(found.tasks):
        losses, updates = panels[:, a]
        for m, (model, colour, marker) in enumerate(zip(found.models, cycle(COLOURS), cycle(MARKERS), strict=False)):
            where = found.lengths * 2 ** (APART * (m - (M - 1) / 2))
            style = {"color": colour, "marker": marker, "label": model.name}
            draw(losses, where, np.minimum(found.loss[a, m], 3 * task.baseline), found.solved[a, m], **style)
            draw(updates, where, found.updates[a, m], found.solved[a, m], **style)
        mark(losses, task.baseline, f"guessing:\n{task.baseline:.3g}")
        mark(losses, SOLVED * task.baseline, f"solved\nbelow\n{SOLVED * task.baseline:.2g}")
        mark(updates, found.most, f"given up\nafter\n{found.most:,}")
        finish(losses, task.name, "", f"loss on fresh sequences\n{task.measure}")
        finish(updates, "", "length T, steps", "updates until the end of a run")
        losses.set(yscale="log")
        losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        losses.yaxis.set_major_formatter("{x:g}")
        updates.set(ylim=(0, 1.08 * found.most))
        for panel in (losses, updates):
            powers_of_two(panel, found.lengths)
    lines = panels[0, 0].get_legend_handles_labels()
    legend = figure.legend(*lines, loc="outside lower center", ncols=min(M, 5), frameon=False)
    for line in legend.get_lines():
        line.set_markersize(5)
    spread = f"median, range and all of {N} runs" if N > 1 else "one run each"
    heading(figure, f"How far back they learn to remember ({spread}; filled: solved, ×: not solved)")
    return figure


def draw(panel: Any, where: Array, values: Array, solved: Array, color: str, marker: str, label: str) -> None:
    """The median of some runs, their range, and every run. where: (K,), values and solved: (K, N)."""
    # the line has its marker in the legend alone
    line = {"color": color, "marker": marker, "label": label, "linewidth": 1.6, "markersize": 0}
    over_runs(panel, where, values.T, np.median(values, axis=1), **line)
    places = np.broadcast_to(where[:, None], values.shape)
    panel.scatter(places[solved], values[solved], s=22, color=color, marker=marker, linewidth=0, alpha=0.85, zorder=3)
    panel.scatter(places[~solved], values[~solved], s=26, color=color, marker="x", linewidth=1.2, zorder=3)


def mark(panel: Any, value: float, name: str) -> None:
    """A level line with its name beside the panel, where no run is drawn."""
    panel.axhline(value, color=GREY, linewidth=1, linestyle=DASHED)
    beside = {"xycoords": ("axes fraction", "data"), "xytext": (5, 0), "textcoords": "offset points"}
    panel.annotate(name, (1, value), va="center", fontsize=8, color=GREY, **beside)
