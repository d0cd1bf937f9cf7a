"""The command `python -m scratch study gradients`: how gradients vanish and explode, in figures and a picture."""

from math import isfinite
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from ..processes import one_blas_thread
from ..terminal import count, drawable, save, say, table
from .commands import Plot, Seed, quiet_progress, refusals
from .gradients import MODELS, RADII, Findings, Training, clipping, geometric_mean, study

LEARNED = 0.07
"""The loss below which a training has learned: a tenth of the ln 2 of guessing."""


def gradients(
    radius: Annotated[
        list[float] | None,
        typer.Option(help=f"A spectral radius of W_hh; can be repeated [default: {', '.join(map(str, RADII))}]."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Over how many steps.")] = 100,
    hidden_size: Annotated[int, typer.Option(min=2, max=256, help="H.")] = 32,
    draws: Annotated[int, typer.Option(min=1, max=100, help="How often weights and input are drawn.")] = 3,
    orthogonal: Annotated[
        bool, typer.Option("--orthogonal", help="W_hh as a multiple of an orthogonal matrix, not Gaussian.")
    ] = False,
    trainings: Annotated[int, typer.Option(min=0, max=100, help="How often to train with clipping and without.")] = 4,
    seed: Seed = 0,
    plot: Plot = Path("gradients.png"),
) -> None:
    """Measure how gradients vanish and explode over time, and what clipping does about it.

    For recurrences whose W_hh has a given spectral radius: the norm of the gradient at every step, the singular
    values of the Jacobians of one step and of many, and the bound of Pascanu, Mikolov and Bengio (2013).
    """
    radii = sorted(set(radius or RADII))
    for value in radii:
        if not (isfinite(value) and 0 < value <= 100):
            raise typer.BadParameter(f"expected a --radius above 0 and at most 100, got {value}")
    drawable("--plot", plot)
    with quiet_progress() as bar, one_blas_thread(), refusals():
        measuring = bar.add_task("measuring gradients", total=len(MODELS) * len(radii) * draws)
        found = study(
            radii=radii,
            hidden_size=hidden_size,
            steps=steps,
            draws=draws,
            matrix="orthogonal" if orthogonal else "gaussian",
            seed=seed,
            progress=lambda: bar.advance(measuring),
        )
        limits: tuple[Training, ...] = ()
        if trainings:
            training = bar.add_task("training with and without clipping", total=2 * trainings)
            limits = clipping(trainings=trainings, seed=seed, progress=lambda: bar.advance(training))

    from .gradients_picture import picture  # late: it takes half a second, and bad input should not wait for it

    out = Console()
    show_gradients(out, found)
    show_bound(out, found)
    if limits:
        show_clipping(out, limits)
    save(out, picture(found, limits), plot)


def show_gradients(out: Console, found: Findings) -> None:
    """What is left of a gradient after all steps."""
    N, T = found.forget.shape[2:]
    say(out, f"what {count(T, 'step')} back leave of a gradient of norm 1, geometric mean of {N}", "bold")
    left = table("spectral radius", *(f"{radius:g}" for radius in found.radii))
    for model, gradient in zip(found.models, found.gradient[..., T], strict=True):
        left.add_row(model.name, *(f"{geometric_mean(values):.0e}" for values in gradient))
    out.print(left)
    say(
        out,
        "The gradients are those of the backward pass. From products of Jacobians, made without it, they differ by at "
        f"most {found.difference.max():.1e} of their norm.",
    )


def show_bound(out: Console, found: Findings) -> None:
    """How far the bound is from what was measured."""
    T = found.bound.shape[-1]
    what = f"the growth of ‖∂h_T/∂h_t‖ per step, over {count(T, 'step')}, and the most that the bound allows"
    say(out, f"\n{what}", "bold")
    rates = table("spectral radius", *(f"{radius:g}" for radius in found.radii))
    bounded = [m for m, model in enumerate(found.models) if model.is_bounded]
    rows = [(found.models[m].name, found.rate()[m]) for m in bounded]
    for name, rate in (*rows, ("bound: σ_max(W_hh)", found.stretch[bounded[0]])):
        rates.add_row(name, *(f"{geometric_mean(values):.2f}" for values in rate))
    out.print(rates)
    with np.errstate(divide="ignore"):  # a product may be 0, and the bound beyond the range of float64
        largest = np.log10(found.stretch)[..., None] * np.arange(1, T + 1)
        loose = largest - np.log10(found.product[..., 0])  # M, R, N, T
    widest = np.max(loose[..., -1], where=np.isfinite(loose[..., -1]), initial=0)
    say(
        out,
        "The bound ‖∂h_T/∂h_t‖ ≤ σ_max(W_hh)^(T−t) (Pascanu, Mikolov and Bengio 2013) was exceeded in "
        f"{(loose < -1e-9).sum()} of {(~np.isnan(loose)).sum():,} products. It is loose: by a factor of "
        f"{10 ** np.nanmin(loose):.2f} where it is closest, over {count(T, 'step')} by one of up to 10^{widest:.0f}. "
        "It assumes that no unit saturates or is off, and that every step stretches the very direction that the steps "
        "before have stretched.",
    )


def show_clipping(out: Console, trainings: tuple[Training, ...]) -> None:
    """What clipping changed."""
    n = trainings[0].loss.shape[1]
    say(out, f"\nclipping: a tanh RNN of spectral radius 1.5 learns to keep a sign over 50 steps, {n} updates", "bold")
    rows = table("gradients", "largest norm", "longest step", "updates clipped", "learned")
    for training in trainings:
        last = np.median(np.nan_to_num(training.loss[:, -50:], nan=np.inf), axis=1)
        rows.add_row(
            training.name,
            f"{np.nanmax(training.norm):.3g}",
            f"{np.nanmax(training.length()):.3g}",
            f"{np.mean(training.norm > training.max_norm):.0%}",
            f"{np.sum(last < LEARNED)} of {len(last)}",
        )
    out.print(rows)
    say(
        out,
        "Clipping does not keep the gradients from exploding, only what a step makes of it. A step's length is in "
        f"units of the learning rate; learned means a loss below {LEARNED:g} nats, where guessing has 0.69.",
    )
