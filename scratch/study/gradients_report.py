"""Vanishing and exploding gradients, in figures and a picture."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console

from ..terminal import count, say, table
from ..types import Array
from .gradients import Findings, Training, bound, geometric_mean
from .pictures import BLACK, BLUE, DASHED, DOTTED, GREY, ORANGE, finish, heading, new_figure, over_runs, shades

LEARNED = 0.07  # the loss below which a training has learned: a tenth of the ln 2 of guessing

FLOOR, CEILING = 1e-60, 1e60  # smaller values, zeros included, are drawn at the first, larger ones at the second
AVERAGED = 20  # the loss is drawn as a mean of so many updates


def show(out: Console, found: Findings, trainings: tuple[Training, ...]) -> None:
    """What is left of a gradient after all steps, how far the bound is from that, and what clipping changes."""
    N, T = found.forget.shape[2:]
    radii = ("spectral radius", *(f"{radius:g}" for radius in found.radii))
    say(
        out,
        f"what is left of a gradient of norm 1, {count(T, 'step')} back: geometric mean of {count(N, 'draw')}",
        "bold",
    )
    left = table(*radii)
    for model, gradient in zip(found.models, found.gradient[..., T], strict=True):
        left.add_row(model.name, *(f"{geometric_mean(values):.0e}" for values in gradient))
    out.print(left)
    say(
        out,
        "The gradients are those of the backward pass. From products of Jacobians, made without it, they differ by at "
        f"most {found.difference.max():.1e} of their norm.",
    )

    say(out, f"\nthe growth of ‖∂h_T/∂h_t‖ per step, over {count(T, 'step')}, and the most the bound allows", "bold")
    rates = table(*radii)
    bounded = [m for m, model in enumerate(found.models) if model.is_bounded]
    rows = [(found.models[m].name, found.rate[m]) for m in bounded]
    for name, rate in (*rows, ("bound: σ_max(W_hh)", found.stretch[bounded[0]])):
        rates.add_row(name, *(f"{geometric_mean(values):.2f}" for values in rate))
    out.print(rates)
    with np.errstate(divide="ignore"):  # a product may be 0, and the bound beyond the range of float64
        loose = np.log10(found.stretch)[..., None] * np.arange(1, T + 1) - np.log10(found.product[..., 0])
    widest = np.max(loose[..., -1], where=np.isfinite(loose[..., -1]), initial=0)
    say(
        out,
        "The bound ‖∂h_T/∂h_t‖ ≤ σ_max(W_hh)^(T−t) (Pascanu, Mikolov and Bengio 2013) was exceeded in "
        f"{(loose < -1e-9).sum()} of {(~np.isnan(loose)).sum():,} products. It is {10 ** np.nanmin(loose):.2f} times "
        f"the norm where it is closest, and up to 10^{widest:.0f} times over {count(T, 'step')}: it assumes that no "
        "unit saturates or is off, and that every step stretches the very direction that those before have stretched.",
    )
    if trainings:
        show_clipping(out, trainings)


def show_clipping(out: Console, trainings: tuple[Training, ...]) -> None:
    """What clipping changed."""
    n = trainings[0].loss.shape[1]
    say(out, f"\nclipping: a tanh RNN of spectral radius 1.5 learns to keep a sign over 50 steps, {n} updates", "bold")
    rows = table("gradients", "largest norm", "longest step", "updates clipped", "learned")
    for training in trainings:
        last = np.median(np.nan_to_num(training.loss[:, -50:], nan=np.inf), axis=1)
        sizes = (f"{np.nanmax(values):.3g}" for values in (training.norm, training.length))
        clipped = f"{np.mean(training.norm > training.max_norm):.0%}"
        rows.add_row(training.name, *sizes, clipped, f"{np.sum(last < LEARNED)} of {len(last)}")
    out.print(rows)
    say(
        out,
        "Gradients explode with clipping, too, but the steps that follow stay short. A step's length is in units of "
        f"the learning rate; learned means a loss below {LEARNED:g} nats, where guessing has 0.69.",
    )


def picture(found: Findings, trainings: tuple[Training, ...]) -> Any:
    """Four rows: gradients over the distance, singular values over the radius, the forget bias, and clipping.

    The first two rows show the models of `found` whose forget bias is as drawn, the third the LSTMs in which it is set;
    there must be some of each kind, and the tanh RNN. A new cell with a gate f has rows in the table alone.
    """
    plain = [m for m, model in enumerate(found.models) if model.forget_bias is None]
    biased = [m for m, model in enumerate(found.models) if model.forget_bias is not None and "c" in model.state]
    rows: list[Callable[[Any], None]] = [
        lambda row: draw_distances(row, found, plain),
        lambda row: draw_radii(row, found, plain),
        lambda row: draw_forget_biases(row, found, biased),
        *([lambda row: draw_clipping(row, trainings)] if trainings else []),
    ]
    figure = new_figure(12, 1.6 + 3.4 * len(rows))
    for draw, row in zip(rows, figure.subfigures(len(rows), 1), strict=True):
        draw(row)
    return figure


def middle(values: Array, axis: int) -> Array:
    """The geometric mean of the values as they are drawn."""
    return geometric_mean(np.clip(values, FLOOR, CEILING), axis)


def over_distance(panel: Any, values: Array, colour: Any, label: str) -> None:
    """The geometric mean of some draws, and their range. values: (N, T + 1)."""
    drawn = np.clip(values, FLOOR, CEILING)
    over_runs(panel, np.arange(values.shape[-1]), drawn, middle(drawn, 0), color=colour, label=label)


def decades(panel: Any, low: float, high: float) -> None:
    """A logarithmic axis with a tick at every so many powers of ten, and a line at 1."""
    panel.set(yscale="log", ylim=(low, high))
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100) if np.log10(high / low) / n <= 8)
    first = int(np.ceil(np.log10(low) / every)) * every
    panel.set_yticks([10.0**power for power in range(first, int(np.log10(high)) + 1, every)])
    panel.minorticks_off()
    panel.axhline(1, color=BLACK, linewidth=0.7)


def legend(row: Any, panel: Any, title: str = "", **options: Any) -> None:
    """The legend of a panel, on the right of its row."""
    lines = panel.get_legend_handles_labels()
    row.legend(*lines, loc="outside right center", frameon=False, fontsize=9, title=title, **options)


def draw_distances(row: Any, found: Findings, models: list[int]) -> None:
    """The norm of the gradient over the distance in time, for each radius, with the bound."""
    panels = row.subplots(1, len(models), sharey=True, squeeze=False)[0]
    k, N = np.arange(1, found.forget.shape[3] + 1), found.gradient.shape[2]
    lowest = max(1e-50, middle(found.gradient[models], 2).min())
    highest = max(1e3, np.clip(found.gradient[models], FLOOR, CEILING).max())
    for panel, m in zip(panels, models, strict=True):
        model = found.models[m]
        for r, colour in enumerate(shades(len(found.radii))):
            over_distance(panel, found.gradient[m, r], colour, f"{found.radii[r]:g}")
            if model.is_bounded:
                limit = middle(bound(found.stretch[m, r, :, None], k), 0)
                panel.plot(k, limit, color=colour, linewidth=1.2, linestyle=DOTTED)
        state = f"({', '.join(model.state)})" if len(model.state) > 1 else model.state[0]
        finish(panel, model.name, "distance k, steps back", f"‖∂L/∂{state}‖ at the distance k")
        decades(panel, lowest / 1e2, highest * 1e4)
    panels[-1].plot([], [], color=BLACK, linewidth=1.2, linestyle=DOTTED, label="bound $σ_{max}(W_{hh})^k$")
    legend(row, panels[-1], "spectral\nradius ρ of $W_{hh}$")
    heading(row, f"Gradients against the distance in time (geometric mean and range of {count(N, 'draw')})")


def draw_radii(row: Any, found: Findings, models: list[int]) -> None:
    """The singular values of single steps, and the growth of the product for each step, over the radius."""
    panels = row.subplots(1, len(models), sharey=True, squeeze=False)[0]
    radii, T = found.radii, found.step.shape[3]
    for panel, m in zip(panels, models, strict=True):
        step = found.step[m].reshape(len(radii), -1, 3)  # R, N·T, 3
        for band, colour, name in ((0, BLUE, "largest"), (1, ORANGE, "median")):
            quantiles = np.quantile(np.nan_to_num(step[..., band]), [0.1, 0.5, 0.9], axis=1)
            line = {"color": colour, "marker": "o", "markersize": 3.5, "label": f"one step: {name} σ of $J_t$"}
            over_runs(panel, radii, quantiles, quantiles[1], **line)
        label = f"{count(T, 'step')}: $(σ_{{max}}$ of their product$)^{{1/{T}}}$"
        panel.plot(radii, middle(found.rate[m], 1), color=BLACK, marker="s", markersize=3.5, linewidth=1.8, label=label)
        if found.models[m].is_bounded:
            stretch = found.stretch[m].mean(axis=-1)
            panel.plot(radii, stretch, color=GREY, linestyle=DOTTED, label="bound: $σ_{max}(W_{hh})$")
        panel.plot(radii, radii, color=GREY, linewidth=0.9, linestyle="--", label="ρ itself")
        panel.axhline(1, color=BLACK, linewidth=0.7)
        finish(panel, found.models[m].name, "spectral radius ρ of $W_{hh}$", "factor per step")
        panel.set_ylim(bottom=0)
    legend(row, panels[0], labelspacing=0.9)
    heading(row, "Singular values (median over steps and draws, 10 % to 90 %)")


def draw_forget_biases(row: Any, found: Findings, models: list[int]) -> None:
    """For each forget bias: the gradient over the distance, the product's singular values, and the rate."""
    left, center, right = row.subplots(1, 3)
    r, k = int(np.abs(found.radii - 1).argmin()), np.arange(1, found.forget.shape[3] + 1)
    names = [f"{found.models[m].forget_bias:g}".replace("-", "−") for m in models]
    tanh = next(m for m, model in enumerate(found.models) if model.cell == "RNN tanh")
    for m, colour, name in zip([*models, tanh], [*shades(len(models)), ORANGE], [*names, ""], strict=True):
        for band, style in ((0, "-"), (1, DASHED)):
            width = 1.5 if name else 2
            center.plot(k, middle(found.product[m, r, :, :, band], 0), linestyle=style, color=colour, linewidth=width)
        if name:
            over_distance(left, found.gradient[m, r], colour, name)
            left.plot(k, middle(found.forget[m, r], 0), color=colour, linewidth=1.2, linestyle=DOTTED)
    left.plot([], [], color=BLACK, linewidth=1.2, linestyle=DOTTED, label="path through\n$c$ alone")
    for label, line in (
        ("RNN tanh, to compare", {"color": ORANGE, "linewidth": 2}),
        ("largest", {"color": BLACK}),
        ("median, until lost in rounding", {"color": BLACK, "linestyle": DASHED}),
    ):
        center.plot([], [], label=label, **line)
    for panel in (left, center):
        decades(panel, max(1e-40, middle(found.gradient[models, r], 1).min()) / 1e2, 1e4)
    finish(left, f"ρ = {found.radii[r]:g}", "distance k, steps back from the end", "‖∂L/∂(h, c)‖ at the distance k")
    center.legend(fontsize=8, loc="lower left", framealpha=0.9, edgecolor="none")
    finish(center, f"product of k Jacobians, ρ = {found.radii[r]:g}", "distance k, steps", "singular value")

    rate = np.log10(np.maximum(middle(found.rate[models], 2), 1e-3))  # biases, R
    reach = max(0.01, np.abs(rate).max())
    right.imshow(rate, cmap="RdBu_r", vmin=-reach, vmax=reach, origin="lower", aspect="auto")
    for (y, x), value in np.ndenumerate(rate):
        colour = "white" if abs(value) > 0.6 * reach else "black"
        right.text(x, y, f"{10**value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    right.set_xticks(range(len(found.radii)), [f"{radius:g}" for radius in found.radii])
    right.set_yticks(range(len(models)), names)
    right.set(xlabel="spectral radius ρ of the blocks of $W_{hh}$", ylabel="forget bias")
    right.set_title(f"factor per step, over {count(len(k), 'step')}", loc="left", fontsize=10)
    legend(row, left, "forget bias")
    heading(row, "An LSTM's forget bias")


def draw_clipping(row: Any, trainings: tuple[Training, ...]) -> None:
    """The norm of the gradients before clipping and what is left of it, in the first training; the loss, in all."""
    before, after, losses = row.subplots(1, 3)
    after.sharey(before)
    for training, colour in zip(trainings, (ORANGE, BLUE), strict=True):
        line = {"color": colour, "linewidth": 1, "alpha": 0.8}
        updates = np.arange(1, training.loss.shape[1] + 1)
        before.plot(updates, training.norm[0], **line)
        after.plot(updates, training.length[0], **line)
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
    trained = count(len(trainings[0].loss), "training")
    heading(row, f"Clipping: a tanh RNN learns to keep a sign over 50 steps, by SGD ({trained} each)")
