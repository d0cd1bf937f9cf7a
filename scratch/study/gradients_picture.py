"""The picture of vanishing and exploding gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..types import Array
from .gradients import Findings, Training, geometric_mean
from .pictures import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
    GREY,
    ORANGE,
    finish,
    heading,
    new_figure,
    over_runs,
    shades,
    signed,
)

FLOOR, CEILING = 1e-60, 1e60
"""Smaller values, zeros included, are drawn at the first, larger ones at the second."""

AVERAGED = 20
"""The loss is drawn as a mean of so many updates."""


def picture(found: Findings, trainings: tuple[Training, ...] = ()) -> Figure:
    """Four rows: gradients over the distance, singular values over the radius, the forget bias, and clipping.

    The first two rows show the models of `found` whose forget bias is as drawn, the third those in which it is set.
    """
    plain = [m for m, model in enumerate(found.models) if model.forget_bias is None]
    biased = [m for m, model in enumerate(found.models) if model.forget_bias is not None]
    count = 2 + bool(biased) + bool(trainings)
    figure = new_figure(12, 1.6 + 3.4 * count)
    rows: Any = figure.subfigures(count, 1)
    show_distances(rows[0], found, plain)
    show_radii(rows[1], found, plain)
    if biased:
        show_forget_biases(rows[2], found, biased)
    if trainings:
        show_clipping(rows[-1], trainings)
    return figure


def middle(values: Array, axis: int) -> Array:
    """The geometric mean of what is drawn of the values."""
    return geometric_mean(np.clip(values, FLOOR, CEILING), axis)


def decades(panel: Any, low: float, high: float) -> None:
    """A logarithmic axis with a tick at every so many powers of ten."""
    panel.set(yscale="log", ylim=(low, high))
    span = np.log10(high / low)
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100) if span / n <= 8)
    first = int(np.ceil(np.log10(low) / every)) * every
    panel.set_yticks([10.0**power for power in range(first, int(np.log10(high)) + 1, every)])
    panel.minorticks_off()


def over_distance(panel: Any, values: Array, colour: Any, label: str) -> None:
    """The geometric mean of some draws, and their range. values: (N, T + 1)."""
    drawn = np.clip(values, FLOOR, CEILING)
    over_runs(panel, np.arange(values.shape[-1]), drawn, middle(drawn, 0), color=colour, label=label)


def legend(row: Any, panel: Any, title: str = "", **options: Any) -> None:
    """What a panel says of its lines, on the right of its row."""
    lines = panel.get_legend_handles_labels()
    row.legend(*lines, loc="outside right center", frameon=False, fontsize=9, title=title, **options)


def show_distances(row: Any, found: Findings, models: list[int]) -> None:
    """The norm of the gradient over the distance in time, for each radius, with the bound."""
    panels = row.subplots(1, len(models), sharey=True, squeeze=False)[0]
    lowest = max(1e-50, middle(found.gradient[models], 2).min())
    highest = max(1e3, np.clip(found.gradient[models], FLOOR, CEILING).max())
    bounded = False
    for panel, m in zip(panels, models, strict=True):
        model = found.models[m]
        bounded = bounded or model.is_bounded
        for r, colour in enumerate(shades(len(found.radii))):
            over_distance(panel, found.gradient[m, r], colour, f"{found.radii[r]:g}")
            if model.is_bounded:
                limit = middle(found.bound[m, r], 0)
                panel.plot(np.arange(1, len(limit) + 1), limit, color=colour, linewidth=1.2, linestyle=DOTTED)
        panel.axhline(1, color=BLACK, linewidth=0.7)
        state = f"({', '.join(model.state)})" if len(model.state) > 1 else model.state[0]
        finish(panel, model.name, "distance k, steps back", f"‖∂L/∂{state}‖ at the distance k")
        decades(panel, lowest / 1e2, highest * 1e4)
    if bounded:
        panels[-1].plot([], [], color=BLACK, linewidth=1.2, linestyle=DOTTED, label="bound $σ_{max}(W_{hh})^k$")
    legend(row, panels[-1], "spectral\nradius ρ of $W_{hh}$")
    N = found.gradient.shape[2]
    draws = "one draw" if N == 1 else f"geometric mean and range of {N} draws"
    heading(row, f"Gradients against the distance in time ({draws})")


def show_radii(row: Any, found: Findings, models: list[int]) -> None:
    """The singular values of single steps, and the growth of the product for each step, over the radius."""
    panels = row.subplots(1, len(models), sharey=True, squeeze=False)[0]
    radii, T = found.radii, found.step.shape[3]
    for panel, m in zip(panels, models, strict=True):
        step = found.step[m].reshape(len(radii), -1, 3)  # R, N·T, 3
        for band, colour, name in ((0, BLUE, "largest"), (1, ORANGE, "median")):
            quantiles = np.quantile(np.nan_to_num(step[..., band]), [0.1, 0.5, 0.9], axis=1)
            line = {"color": colour, "marker": "o", "markersize": 3.5, "label": f"one step: {name} σ of $J_t$"}
            over_runs(panel, radii, quantiles, quantiles[1], **line)
        rate = middle(found.rate()[m], 1)
        label = f"{T} steps: $(σ_{{max}}$ of their product$)^{{1/{T}}}$"
        panel.plot(radii, rate, color=BLACK, marker="s", markersize=3.5, linewidth=1.8, label=label)
        if found.models[m].is_bounded:
            stretch = found.stretch[m].mean(axis=-1)
            panel.plot(radii, stretch, color=GREY, linestyle=DOTTED, label="bound: $σ_{max}(W_{hh})$")
        panel.plot(radii, radii, color=GREY, linewidth=0.9, linestyle="--", label="ρ itself")
        panel.axhline(1, color=BLACK, linewidth=0.7)
        finish(panel, found.models[m].name, "spectral radius ρ of $W_{hh}$", "factor per step")
        panel.set_ylim(bottom=0)
    legend(row, panels[0], labelspacing=0.9)
    heading(row, "Singular values (median over steps and draws, 10 % to 90 %)")


def show_forget_biases(row: Any, found: Findings, models: list[int]) -> None:
    """For each forget bias: the gradient over the distance, the product's singular values, and the rate."""
    left, center, right = row.subplots(1, 3)
    r = int(np.abs(found.radii - 1).argmin())
    k = np.arange(1, found.product.shape[3] + 1)

    def show_product(m: int, **line: Any) -> None:
        for band, style in ((0, "-"), (1, DASHED)):
            center.plot(k, middle(found.product[m, r, :, :, band], 0), linestyle=style, **line)

    for m, colour in zip(models, shades(len(models)), strict=True):
        over_distance(left, found.gradient[m, r], colour, signed(found.models[m].forget_bias or 0))
        left.plot(k, middle(found.forget[m, r], 0), color=colour, linewidth=1.2, linestyle=DOTTED)
        show_product(m, color=colour)
    left.plot([], [], color=BLACK, linewidth=1.2, linestyle=DOTTED, label="path through\n$c$ alone")
    for m in (m for m, model in enumerate(found.models) if model.cell == "RNN tanh"):
        show_product(m, color=ORANGE, linewidth=2)
        center.plot([], [], color=ORANGE, linewidth=2, label="RNN tanh, to compare")
    low = max(1e-40, middle(found.gradient[models, r], 1).min())
    for panel in (left, center):
        panel.axhline(1, color=BLACK, linewidth=0.7)
        decades(panel, low / 1e2, 1e4)
    finish(left, f"ρ = {found.radii[r]:g}", "distance k, steps back from the end", "‖∂L/∂(h, c)‖ at the distance k")
    center.plot([], [], color=BLACK, label="largest")
    center.plot([], [], color=BLACK, linestyle=DASHED, label="median, until lost in rounding")
    center.legend(fontsize=8, loc="lower left", framealpha=0.9, edgecolor="none")
    finish(center, f"product of k Jacobians, ρ = {found.radii[r]:g}", "distance k, steps", "singular value")
    show_rates(right, found, models)
    legend(row, left, "forget bias")
    heading(row, "An LSTM's forget bias")


def show_rates(panel: Any, found: Findings, models: list[int]) -> None:
    """The factor of a step, for each forget bias and radius."""
    rate = np.maximum(middle(found.rate()[models], 2), 1e-3)  # biases, R
    reach = max(0.01, np.abs(np.log10(rate)).max())
    panel.imshow(np.log10(rate), cmap="RdBu_r", vmin=-reach, vmax=reach, origin="lower", aspect="auto")
    for (y, x), value in np.ndenumerate(rate):
        dark = abs(np.log10(value)) > 0.6 * reach
        panel.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    panel.set_xticks(range(len(found.radii)), [f"{radius:g}" for radius in found.radii])
    panel.set_yticks(range(len(models)), [signed(found.models[m].forget_bias or 0) for m in models])
    panel.set(xlabel="spectral radius ρ of the blocks of $W_{hh}$", ylabel="forget bias")
    panel.set_title(f"factor per step, over {found.product.shape[3]} steps", loc="left", fontsize=10)


def show_clipping(row: Any, trainings: tuple[Training, ...]) -> None:
    """The norm of the gradients before clipping and what is left of it, in the first training; the loss, in all."""
    before, after, losses = row.subplots(1, 3)
    after.sharey(before)
    for training, colour in zip(trainings, (ORANGE, BLUE, BLACK, GREY), strict=False):
        line = {"color": colour, "linewidth": 1, "alpha": 0.8}
        updates = np.arange(1, training.loss.shape[1] + 1)
        before.plot(updates, training.norm[0], **line)
        after.plot(updates, training.length()[0], **line)
        for n, loss in enumerate(training.loss):
            averaged = np.convolve(loss, np.full(AVERAGED, 1 / AVERAGED), "valid")
            losses.plot(updates[AVERAGED - 1 :], averaged, **line, label=training.name if n == 0 else None)
    for panel, title, y in (
        (before, "before clipping, first training", "‖gradient‖ of all parameters"),
        (after, "after clipping, first training", "‖gradient‖ of all parameters"),
        (losses, f"loss, mean of {AVERAGED} updates", "loss, nats"),
    ):
        panel.set_yscale("log")
        finish(panel, title, "update", y)
    for line in losses.legend(frameon=False, fontsize=9, loc="lower left").get_lines():
        line.set(linewidth=2, alpha=1)
    count = len(trainings[0].loss)
    trained = "one training each" if count == 1 else f"{count} trainings each"
    heading(row, f"Clipping: a tanh RNN learns to keep a sign over 50 steps, by SGD ({trained})")
