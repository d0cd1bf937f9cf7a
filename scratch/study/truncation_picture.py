"""The picture of truncated backpropagation through time."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ..text.settings import CELLS
from ..types import Array
from .pictures import COLOURS, DASHED, DOTTED, finish, heading, new_figure, over_runs, powers_of_two
from .truncation import METHODS, Findings

COLOUR = dict(zip(CELLS, COLOURS, strict=False))

LINES = {"segments": ("-", "o", "cut every k steps"), "windows": (DASHED, "s", "each loss looks back k steps")}

LEAST = 1e-7
"""Smaller errors are not drawn: they are rounding, and of no interest to anyone who trains."""


def picture(found: Findings) -> Figure:
    """The relative error above and the cosine below, of the weights as drawn on the left and trained on the right."""
    figure = new_figure(10, 7.4)
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    for trained, name in enumerate(("weights as drawn", f"after {found.updates:,} updates")):
        errors, cosines = panels[:, trained]
        for c, cell in enumerate(found.cells):
            for m, method in enumerate(METHODS):
                draw(errors, found.lengths[:-1], found.error[c, trained, m, :, :-1], cell, method)
                draw(cosines, found.lengths, found.cosine[c, trained, m], cell, method)
            noise = found.noise[c, trained].mean()
            label = f"{cell}: chance of the {found.batch_size} sequences"
            errors.axhline(noise, color=COLOUR[cell], linewidth=1.1, linestyle=DOTTED, label=label)
        loss = ", ".join(f"{cell} {found.loss[c, trained].mean():.2f}" for c, cell in enumerate(found.cells))
        left = trained == 0
        finish(
            errors, f"{name}\nloss: {loss} nats per character", "", "relative error ‖$g_k$ − g‖ / ‖g‖" if left else ""
        )
        finish(
            cosines, "", f"truncation length k, steps (of T = {found.steps})", "cosine of $g_k$ and g" if left else ""
        )
        errors.set(yscale="log", ylim=(LEAST, 3))
        where = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "va": "bottom", "rotation": 90}
        errors.annotate("the whole gradient: no error", (found.steps, LEAST), fontsize=8, **where)
        powers_of_two(errors, found.lengths)
        powers_of_two(cosines, found.lengths)
    lines = panels[0, 0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=len(found.cells), frameon=False)
    runs = found.loss.shape[2]
    spread = f"mean and range of {runs} runs" if runs > 1 else "one run"
    heading(figure, f"Truncated backpropagation: the gradient $g_k$ beside the whole one, g ({spread})")
    return figure


def draw(panel: Any, lengths: Array, values: Array, cell: str, method: str) -> None:
    """The mean of some runs, and their range. values: (N, K)."""
    style, marker, name = LINES[method]
    line = {"color": COLOUR[cell], "linestyle": style, "marker": marker, "markersize": 4, "label": f"{cell}: {name}"}
    over_runs(panel, lengths, values, values.mean(axis=0), **line)
