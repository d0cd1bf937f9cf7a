"""The picture of vanishing and exploding gradients."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..types import Array
from .gradients import Findings, Training

FLOOR, CEILING = 1e-60, 1e60
"""What is below, zeros included, is drawn at the first, what is above at the second."""

BLUE, ORANGE, GREY, BLACK = "#0072B2", "#D55E00", "#777777", "#000000"
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""


def picture(found: Findings, trainings: tuple[Training, ...] = ()) -> Figure:
    """Four rows: gradients over the distance, singular values over the radius, the forget bias, and clipping.

    The first two rows show the models of `found` whose forget bias is as drawn, the third those in which it is set.
    """
    plain = [m for m, model in enumerate(found.models) if model.forget_bias is None]
    biased = [m for m, model in enumerate(found.models) if model.forget_bias is not None]
    figure = Figure(figsize=(12, 4 + 3.4 * (2 + bool(biased) + bool(trainings)) - 2.4))
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
    rows: Any = figure.subfigures(2 + bool(biased) + bool(trainings), 1)
    show_distances(rows[0], found, plain)
    show_radii(rows[1], found, plain)
    if biased:
        show_forget_biases(rows[2], found, biased)
    if trainings:
        show_clipping(rows[-1], trainings)
    return figure


def geometric_mean(values: Array, axis: int) -> Array:
    """Of values within FLOOR and CEILING, and those beyond as if they were there."""
    return np.asarray(np.exp(np.log(np.clip(values, FLOOR, CEILING)).mean(axis=axis)))


def shades(count: int) -> list[Any]:
    """So many colours from dark to light, told apart by their lightness."""
    return [matplotlib.colormaps["viridis"](place) for place in np.linspace(0, 0.92, count)]


def finish(panel: Any, title: str, x: str, y: str) -> None:
    """Names and a quiet frame."""
    panel.set_title(title, loc="left", fontsize=10)
    panel.set(xlabel=x, ylabel=y)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25, linewidth=0.6)


def decades(panel: Any, low: float, high: float) -> None:
    """A logarithmic axis, with names at every so many powers of ten."""
    panel.set(yscale="log", ylim=(low, high))
    span = np.log10(high / low)
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100) if span / n <= 8)
    first = int(np.ceil(np.log10(low) / every)) * every
    panel.set_yticks([10.0**power for power in range(first, int(np.log10(high)) + 1, every)])
    panel.minorticks_off()


def over_distance(panel: Any, values: Array, colour: Any, label: str) -> None:
    """The geometric mean of some draws, and their range. values: (N, T + 1)."""
    k = np.arange(values.shape[-1])
    drawn = np.clip(values, FLOOR, CEILING)
    panel.fill_between(k, drawn.min(axis=0), drawn.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    panel.plot(k, geometric_mean(values, 0), color=colour, linewidth=1.5, label=label)


def at_radius(found: Findings, wanted: float = 1.0) -> int:
    """The number of the radius that is nearest to the wanted one."""
    return int(np.abs(found.radii - wanted).argmin())


def show_distances(row: Any, found: Findings, models: list[int]) -> None:
    """The norm of the gradient over the distance in time, for each radius, with the bound."""
    panels = row.subplots(1, len(models), sharey=True, squeeze=False)[0]
    lowest = max(1e-50, geometric_mean(found.gradient[models], 2).min())
    highest = max(1e3, np.clip(found.gradient[models], FLOOR, CEILING).max())
    for panel, m in zip(panels, models, strict=True):
        for r, colour in enumerate(shades(len(found.radii))):
            over_distance(panel, found.gradient[m, r], colour, f"{found.radii[r]:g}")
            if found.models[m].is_bounded:
                limit = geometric_mean(found.bound[m, r], 0)
                panel.plot(np.arange(1, len(limit) + 1), limit, color=colour, linewidth=1.2, linestyle=(0, (1, 1.5)))
        panel.axhline(1, color=BLACK, linewidth=0.7)
        parts = found.models[m].state
        state = f"({', '.join(parts)})" if len(parts) > 1 else parts[0]
        finish(panel, found.models[m].name, "distance k, steps back", f"‖∂L/∂{state}‖ at the distance k")
        decades(panel, lowest / 1e2, highest * 1e4)
    if any(found.models[m].is_bounded for m in models):
        panels[-1].plot([], [], color=BLACK, linewidth=1.2, linestyle=(0, (1, 1.5)), label="bound $σ_{max}(W_{hh})^k$")
    handles, labels = panels[-1].get_legend_handles_labels()
    row.legend(
        handles, labels, loc="outside right center", frameon=False, fontsize=9, title="spectral\nradius ρ of $W_{hh}$"
    )
    row.suptitle(f"Gradients against the distance in time ({draws(found)})", x=0.01, ha="left", fontweight="bold")


def draws(found: Findings) -> str:
    """How many, in words."""
    N = found.gradient.shape[2]
    return "one draw" if N == 1 else f"geometric mean and range of {N} draws"


def show_radii(row: Any, found: Findings, models: list[int]) -> None:
    """The singular values of single steps, and the growth of the product for each step, over the radius."""
    panels = row.subplots(1, len(models), sharey=True, squeeze=False)[0]
    radii, T = found.radii, found.step.shape[3]
    for panel, m in zip(panels, models, strict=True):
        step = found.step[m].reshape(len(radii), -1, 3)  # R, N·T, 3
        for band, colour, name in ((0, BLUE, "largest"), (1, ORANGE, "median")):
            values = np.nan_to_num(step[..., band])
            low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=1)
            panel.fill_between(radii, low, high, color=colour, alpha=0.2, linewidth=0)
            panel.plot(radii, middle, color=colour, marker="o", markersize=3.5, label=f"one step: {name} σ of $J_t$")
        rate = geometric_mean(found.rate()[m], 1)
        label = f"{T} steps: $(σ_{{max}}$ of their product$)^{{1/{T}}}$"
        panel.plot(radii, rate, color=BLACK, marker="s", markersize=3.5, linewidth=1.8, label=label)
        if found.models[m].is_bounded:
            stretch = found.stretch[m].mean(axis=-1)
            panel.plot(radii, stretch, color=GREY, linestyle=(0, (1, 1.5)), label="bound: $σ_{max}(W_{hh})$")
        panel.plot(radii, radii, color=GREY, linewidth=0.9, linestyle="--", label="ρ itself")
        panel.axhline(1, color=BLACK, linewidth=0.7)
        finish(panel, found.models[m].name, "spectral radius ρ of $W_{hh}$", "factor per step")
        panel.set_ylim(bottom=0)
    row.legend(
        *panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9, labelspacing=0.9
    )
    row.suptitle("Singular values (median over steps and draws, 10 % to 90 %)", x=0.01, ha="left", fontweight="bold")


def show_forget_biases(row: Any, found: Findings, models: list[int]) -> None:
    """For each forget bias: the gradient over the distance, the product's singular values, and the rate."""
    left, middle, right = row.subplots(1, 3)
    r = at_radius(found)
    k = np.arange(1, found.product.shape[3] + 1)
    for m, colour in zip(models, shades(len(models)), strict=True):
        bias = found.models[m].forget_bias
        over_distance(left, found.gradient[m, r], colour, f"{bias:g}".replace("-", "−"))
        path = geometric_mean(found.forget[m, r], 0)
        left.plot(k, path, color=colour, linewidth=1.2, linestyle=(0, (1, 1.5)))
        for band, style in ((0, "-"), (1, (0, (4, 1.5)))):
            middle.plot(k, geometric_mean(found.product[m, r, :, :, band], 0), color=colour, linestyle=style)
    left.plot([], [], color=BLACK, linewidth=1.2, linestyle=(0, (1, 1.5)), label="path through\n$c$ alone")
    for m in (m for m, model in enumerate(found.models) if model.cell == "RNN tanh"):
        for band, style in ((0, "-"), (1, (0, (4, 1.5)))):
            values = geometric_mean(found.product[m, r, :, :, band], 0)
            middle.plot(k, values, color=ORANGE, linestyle=style, linewidth=2)
        middle.plot([], [], color=ORANGE, linewidth=2, label="RNN tanh, to compare")
    low = max(1e-40, geometric_mean(found.gradient[models, r], 1).min())
    for panel in (left, middle):
        panel.axhline(1, color=BLACK, linewidth=0.7)
        decades(panel, low / 1e2, 1e4)
    finish(left, f"ρ = {found.radii[r]:g}", "distance k, steps back from the end", "‖∂L/∂(h, c)‖ at the distance k")
    middle.plot([], [], color=BLACK, label="largest")
    middle.plot([], [], color=BLACK, linestyle=(0, (4, 1.5)), label="median, until lost in rounding")
    middle.legend(fontsize=8, loc="lower left", framealpha=0.9, edgecolor="none")
    finish(middle, f"product of k Jacobians, ρ = {found.radii[r]:g}", "distance k, steps", "singular value")

    rate = np.maximum(geometric_mean(found.rate()[models], 2), 1e-3)  # biases, R
    reach = max(0.01, np.abs(np.log10(rate)).max())
    right.imshow(np.log10(rate), cmap="RdBu_r", vmin=-reach, vmax=reach, origin="lower", aspect="auto")
    for (y, x), value in np.ndenumerate(rate):
        dark = abs(np.log10(value)) > 0.6 * reach
        right.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    biases = [f"{found.models[m].forget_bias:g}".replace("-", "−") for m in models]
    right.set_xticks(range(len(found.radii)), [f"{radius:g}" for radius in found.radii])
    right.set_yticks(range(len(models)), biases)
    right.set(xlabel="spectral radius ρ of the blocks of $W_{hh}$", ylabel="forget bias")
    right.set_title(f"factor per step, over {len(k)} steps", loc="left", fontsize=10)
    handles, labels = left.get_legend_handles_labels()
    row.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9, title="forget bias")
    row.suptitle("An LSTM's forget bias", x=0.01, ha="left", fontweight="bold")


def show_clipping(row: Any, trainings: tuple[Training, ...]) -> None:
    """The norm of the gradients before clipping and what is left of it, in the first training; the loss, in all."""
    panels = row.subplots(1, 3)
    parts = ("before clipping, first training", "after clipping, first training", "loss, mean of 20 updates")
    panels[1].sharey(panels[0])
    for training, colour in zip(trainings, (ORANGE, BLUE, BLACK, GREY), strict=False):
        name = "not clipped" if np.isinf(training.max_norm) else f"clipped to {training.max_norm:g}"
        for panel, values in zip(panels, (training.norm, training.length(), training.loss), strict=True):
            for n, run in enumerate(values):
                if panel is not panels[2] and n > 0:
                    continue
                if panel is panels[2]:
                    run = np.convolve(run, np.full(20, 1 / 20), "valid")
                before = len(training.loss[n]) - len(run)
                x = np.arange(before + 1, before + len(run) + 1)
                panel.plot(x, run, color=colour, linewidth=1, alpha=0.8, label=name if n == 0 else None)
    for panel, what in zip(panels, parts, strict=True):
        panel.set_yscale("log")
        finish(panel, what, "update", "‖gradient‖ of all parameters" if panel is not panels[2] else "loss, nats")
    legend = panels[2].legend(frameon=False, fontsize=9, loc="lower left")
    for line in legend.get_lines():
        line.set(linewidth=2, alpha=1)
    count = len(trainings[0].loss)
    row.suptitle(
        f"Clipping: a tanh RNN learns to keep a sign over 50 steps, by SGD ({count} trainings each)",
        x=0.01,
        ha="left",
        fontweight="bold",
    )
