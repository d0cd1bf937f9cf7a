"""What is to be seen of a training: a live display, a line now and then where there is no terminal, the loss curve."""

from __future__ import annotations

from functools import partial
from math import exp, log
from pathlib import Path
from time import perf_counter

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .training import RECENT, Training

PAUSE, PAUSE_ELSEWHERE = 0.1, 10.0
"""Seconds between two updates of the live display, and between two lines where there is no terminal."""


def duration(seconds: float) -> str:
    """As minutes:seconds, or hours:minutes:seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def measures(loss: float) -> str:
    """A loss in nats, and what else people call it."""
    perplexity = exp(loss) if loss < 100 else float("inf")
    return f"{loss:.3f} nats per character, perplexity {perplexity:.2f}, {loss / log(2):.3f} bits per character"


def rate(training: Training) -> str:
    """Characters in a second."""
    return f"{training.characters / training.seconds:,.0f} characters/s" if training.seconds else ""


def standing(training: Training) -> str:
    """Where a training stands."""
    recent = training.losses[-RECENT:]
    parts = [f"step {training.step:,}", f"epoch {training.epochs:.2f}"]
    parts += [f"loss {sum(recent) / len(recent):.3f}"] if recent else []
    return " · ".join(parts + ([f"validation {training.validations[-1][1]:.3f}"] if training.validations else []))


def pace(training: Training) -> str:
    """How fast it goes, and when it will be done."""
    left = training.seconds * (1 - training.done) / max(training.done, 1e-6)
    parts = [rate(training)] if training.seconds else []
    # of the first steps of a very long way nothing can be told
    return " · ".join(parts + ([f"{duration(left)} left"] if training.done > 1e-6 else []))


class Display:
    """Shows a training on standard error while it is entered."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.panels: list[Panel] = []
        self.shown = perf_counter()

    def __enter__(self) -> Display:
        if self.console.is_interactive:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()
        if self.console.is_interactive:
            self.console.print(*self.panels, end="")  # the last sample stays

    def stepped(self, training: Training) -> None:
        """After each step."""
        if perf_counter() - self.shown > (PAUSE if self.live.is_started else PAUSE_ELSEWHERE):
            self.show(training)

    def validated(self, training: Training, sample: str) -> None:
        """After each validation, with a text that the model has just written."""
        self.panels = [Panel(Text(sample), title="sample", title_align="left")] if sample else []
        if not self.live.is_started:
            self.show(training)

    def show(self, training: Training) -> None:
        """Where the training stands, and how fast it goes."""
        self.shown = perf_counter()
        if not self.live.is_started:
            line = " · ".join(filter(None, (standing(training), pace(training))))
            self.console.print(line, highlight=False, soft_wrap=True)
            return
        below = Table.grid(expand=True, padding=(0, 2, 0, 0))
        below.add_column(ratio=1)
        below.add_row(ProgressBar(total=1, completed=training.done), pace(training))
        stands = Text(standing(training), no_wrap=True, overflow="ellipsis")
        self.live.update(Group(stands, below, *self.panels), refresh=True)


TRAINING, VALIDATION = "#0072B2", "#D55E00"  # told apart by colour-blind eyes, too

MOST = 1e6
"""Where a loss is drawn that is larger, as before a training diverges: axes of any length are beyond Matplotlib."""


def loss_curve(training: Training, path: Path, title: str) -> None:
    """Write the losses over the steps as a picture. Raises OSError."""
    from matplotlib.figure import Figure  # takes a while to load

    figure = Figure(figsize=(8, 4.8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    losses = np.minimum(training.losses, MOST)
    steps, window = np.arange(1, len(losses) + 1), max(1, len(losses) // 100)
    axes.plot(steps, losses, color=TRAINING, alpha=0.25, linewidth=0.8)
    if len(losses):
        means = np.convolve(losses, np.full(window, 1 / window), "valid")
        label = f"training, mean of {window} steps" if window > 1 else "training"
        axes.plot(steps[window - 1 :], means, color=TRAINING, linewidth=1.6, label=label)
    when, loss = np.minimum(training.validations, (np.inf, MOST)).T
    label = f"validation, {loss[-1]:.3f} at last, {loss.min():.3f} at best"
    axes.plot(when, loss, color=VALIDATION, marker="o", markersize=3.5, linewidth=1.6, label=label)
    axes.set(title=title, xlabel="step", ylabel="loss (nats per character)")
    axes.grid(alpha=0.3)
    axes.margins(x=0.01)
    axes.legend(frameon=False)
    bits = axes.secondary_yaxis("right", functions=(partial(np.multiply, 1 / log(2)), partial(np.multiply, log(2))))
    bits.set_ylabel("bits per character")
    figure.savefig(path)
