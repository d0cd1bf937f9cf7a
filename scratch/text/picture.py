"""The picture of a training: its losses over its steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from math import log

import numpy as np

TRAINING, VALIDATION = "#0072B2", "#D55E00"  # told apart by colour-blind eyes, too

MOST = 1e6
"""Where a loss is drawn that is larger, as before a training diverges: axes of any length are beyond Matplotlib."""


def loss_curve(
    path: str | os.PathLike[str], losses: Sequence[float], validations: Sequence[tuple[int, float]], title: str
) -> None:
    """Write the picture; the suffix of its name says in which format.

    losses: of every step, in nats per character. validations: after how many steps, and the loss then. Raises OSError,
    and ValueError for a suffix that is no format.
    """
    from matplotlib.figure import Figure  # takes a while to load

    figure = Figure(figsize=(8, 4.8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    losses = np.minimum(losses, MOST).tolist()
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color=TRAINING, alpha=0.25, linewidth=0.8)
    window = max(1, len(losses) // 100)
    if losses:
        sums = np.cumsum(np.concatenate([[0.0], losses]))
        means = (sums[window:] - sums[:-window]) / window
        label = f"training, mean of {window} steps" if window > 1 else "training"
        axes.plot(steps[window - 1 :], means, color=TRAINING, linewidth=1.6, label=label)
    if validations:
        when, loss = zip(*((step, min(loss, MOST)) for step, loss in validations), strict=True)
        label = f"validation, {loss[-1]:.3f} at last, {min(loss):.3f} at best"
        axes.plot(when, loss, color=VALIDATION, marker="o", markersize=3.5, linewidth=1.6, label=label)
    axes.set(title=title, xlabel="step", ylabel="loss (nats per character)")
    axes.grid(alpha=0.3)
    axes.margins(x=0.01)
    if losses or validations:
        axes.legend(frameon=False)
    bits = axes.secondary_yaxis("right", functions=(partial(np.multiply, 1 / log(2)), partial(np.multiply, log(2))))
    bits.set_ylabel("bits per character")
    figure.savefig(path)
