"""The picture of truncated backpropagation through time."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ..text.settings import CELLS
from ..types import Array
from .truncation import METHODS, Findings

COLOURS = dict(zip(CELLS, ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"), strict=False))
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

LINES = {"segments": ("-", "o", "cut every k steps"), "windows": ((0, (4, 1.5)), "s", "each loss looks back k steps")}

LEAST = 1e-7
"""Smaller errors are not drawn: they are those of rounding, and of no interest to anyone who trains."""


def picture(found: Findings) -> Figure:
    """The relative error above and the cosine below, of the weights as drawn on the left and trained on the right."""
    figure = Figure(figsize=(10, 7.4))
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    for trained, name in enumerate(("weights as drawn", f"after {found.updates:,} updates")):
        errors, cosines = panels[:, trained]
        for c, cell in enumerate(found.cells):
            for m, method in enumerate(METHODS):
                draw(errors, found.lengths[:-1], found.error[c, trained, m, :, :-1], cell, method)
                draw(cosines, found.lengths, found.cosine[c, trained, m], cell, method)
            noise = found.noise[c, trained].mean()
            label = f"{cell}: chance of the {found.batch_size} sequences"
            errors.axhline(noise, color=COLOURS[cell], linewidth=1.1, linestyle=(0, (1, 1.5)), label=label)
        loss = ", ".join(f"{cell} {found.loss[c, trained].mean():.2f}" for c, cell in enumerate(found.cells))
        errors.set_title(f"{name}\nloss: {loss} nats per character", loc="left", fontsize=10)
        errors.set(yscale="log", ylim=(LEAST, 3))
        where = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "va": "bottom", "rotation": 90}
        errors.annotate("the whole gradient: no error", (found.steps, LEAST), fontsize=8, **where)
        cosines.set_xlabel(f"truncation length k, steps (of T = {found.steps})")
    panels[0, 0].set_ylabel("relative error ‖$g_k$ − g‖ / ‖g‖")
    panels[1, 0].set_ylabel("cosine of $g_k$ and g")
    for panel in panels.flat:
        panel.set_xscale("log", base=2)
        panel.set_xticks(found.lengths, [f"{k}" for k in found.lengths])
        panel.minorticks_off()
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25, linewidth=0.6)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(found.cells), frameon=False
    )
    runs = found.loss.shape[2]
    spread = f"mean and range of {runs} runs" if runs > 1 else "one run"
    figure.suptitle(
        f"Truncated backpropagation: the gradient g_k beside the whole one, g ({spread})".replace("g_k", "$g_k$"),
        x=0.01,
        ha="left",
        fontweight="bold",
    )
    return figure


def draw(panel: Any, lengths: Array, values: Array, cell: str, method: str) -> None:
    """The mean of some runs, and their range. values: (N, K)."""
    (style, marker, name), colour = LINES[method], COLOURS[cell]
    panel.fill_between(lengths, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    panel.plot(
        lengths,
        values.mean(axis=0),
        color=colour,
        linestyle=style,
        marker=marker,
        markersize=4,
        linewidth=1.5,
        label=f"{cell}: {name}",
    )
