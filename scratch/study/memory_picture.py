"""The picture of how far back recurrences learn to remember."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ..types import Array
from .memory import SOLVED, Findings

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""One for each model: colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

MARKERS = "osD^vP"
"""One for each model, for readers without colours."""

GREY = "#555555"

APART = 0.14
"""By how many powers of two in T the models are drawn beside each other, so that none hides another."""


def picture(found: Findings) -> Figure:
    """A column for each task: the loss at the end above, the updates that it took below, both over T."""
    A, M = len(found.tasks), len(found.models)
    figure = Figure(figsize=(5.4 * A, 8.2))
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
    panels = figure.subplots(2, A, sharex="col", squeeze=False)
    N = found.loss.shape[3]
    for a, task in enumerate(found.tasks):
        losses, updates = panels[:, a]
        for m, model in enumerate(found.models):
            where = found.lengths * 2 ** (APART * (m - (M - 1) / 2))
            solved, style = found.solved[a, m], (COLOURS[m % len(COLOURS)], MARKERS[m % len(MARKERS)])
            ceiling = 3 * task.baseline
            draw(losses, where, np.minimum(found.loss[a, m], ceiling), solved, *style, model.name)
            draw(updates, where, found.updates[a, m], solved, *style, model.name)
        mark(losses, task.baseline, f"guessing:\n{task.baseline:.3g}")
        mark(losses, SOLVED * task.baseline, f"solved\nbelow\n{SOLVED * task.baseline:.2g}")
        mark(updates, found.most, f"given up\nafter\n{found.most:,}")
        losses.set(yscale="log", ylabel=f"loss on fresh sequences\n{task.measure}")
        losses.set_title(task.name, loc="left", fontsize=11)
        updates.set(ylim=(0, 1.08 * found.most), ylabel="updates until the end of a run", xlabel="length T, steps")
        losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        losses.yaxis.set_major_formatter("{x:g}")
        for panel in (losses, updates):
            panel.set_xscale("log", base=2)
            panel.set_xticks(found.lengths, [f"{T}" for T in found.lengths])
            panel.minorticks_off()
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(alpha=0.25, linewidth=0.6)
    legend = figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=min(M, 5), frameon=False
    )
    for line in legend.get_lines():
        line.set_markersize(5)
    spread = f"median, range and all of {N} runs" if N > 1 else "one run each"
    figure.suptitle(
        f"How far back they learn to remember ({spread}; filled: solved, ×: not solved)",
        x=0.01,
        ha="left",
        fontweight="bold",
    )
    return figure


def draw(panel: Any, where: Array, values: Array, solved: Array, colour: str, marker: str, label: str) -> None:
    """The median of some runs, their range, and every run. where: (K,), values and solved: (K, N)."""
    # the line has its marker in the legend alone
    panel.fill_between(where, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.13, linewidth=0)
    panel.plot(where, np.median(values, axis=1), color=colour, linewidth=1.6, label=label, marker=marker, markersize=0)
    places = np.broadcast_to(where[:, None], values.shape)
    panel.scatter(places[solved], values[solved], s=22, color=colour, marker=marker, linewidth=0, alpha=0.85, zorder=3)
    panel.scatter(places[~solved], values[~solved], s=26, color=colour, marker="x", linewidth=1.2, zorder=3)


def mark(panel: Any, value: float, name: str) -> None:
    """A level line with its name beside the panel, where no run is drawn."""
    panel.axhline(value, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
    panel.annotate(
        name,
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=GREY,
    )
