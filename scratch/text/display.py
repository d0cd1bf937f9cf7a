"""What is to be seen while a model is trained: a live display on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from math import exp, log
from time import perf_counter

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .training import Training

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


class Display:
    """Shows a training on standard error while it is entered."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.sample = ""
        self.shown = perf_counter()

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()
        if self.console.is_terminal:
            self.console.print(*self.panels(), end="")

    def stepped(self, training: Training) -> None:
        """After each step."""
        if perf_counter() - self.shown > (PAUSE if self.live.is_started else PAUSE_ELSEWHERE):
            self.show(training)

    def validated(self, training: Training, sample: str) -> None:
        """After each validation, with a text that the model has just written."""
        self.sample = sample
        if not self.live.is_started:
            self.show(training)

    def show(self, training: Training) -> None:
        """Where the training stands."""
        self.shown = perf_counter()
        if not self.live.is_started:
            self.console.print(self.line(training), highlight=False, soft_wrap=True)
            return
        below = Table.grid(expand=True, padding=(0, 2, 0, 0))
        below.add_column(ratio=1)
        below.add_row(ProgressBar(total=1, completed=training.done), " · ".join(pace(training)))
        stands = Text(" · ".join(standing(training)), no_wrap=True, overflow="ellipsis")
        self.live.update(Group(stands, below, *self.panels()), refresh=True)

    def panels(self) -> list[Panel]:
        """The last sample, if there is one."""
        return [Panel(Text(self.sample), title="sample", title_align="left")] if self.sample else []

    def line(self, training: Training) -> str:
        """Where the training stands, and how fast it goes."""
        return " · ".join([*standing(training), *pace(training)])


def standing(training: Training) -> list[str]:
    """Where a training stands."""
    recent = training.losses[-100:]
    parts = [f"step {training.step:,}", f"epoch {training.epochs:.2f}"]
    parts += [f"loss {sum(recent) / len(recent):.3f}"] if recent else []
    return parts + ([f"validation {training.validations[-1][1]:.3f}"] if training.validations else [])


def pace(training: Training) -> list[str]:
    """How fast it goes, and when it will be done."""
    parts = [rate(training)] if training.seconds else []
    if training.done > 1e-6:  # of the first steps of a very long way nothing can be told
        parts.append(f"{duration(training.seconds * (1 - training.done) / training.done)} left")
    return parts
