"""A training run to its end: steps, validations, checkpoints, and what happens when it is interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import perf_counter
from types import FrameType, TracebackType
from typing import Any

from .checkpoint import Checkpoint, write
from .training import RECENT, Training

AGAIN = 1.0
"""Seconds after which a signal counts as a second one: launchers pass on what the terminal has sent to all."""


class Interrupts:
    """While this is entered, Ctrl-C and SIGTERM are noted, so that a step can be finished; a second Ctrl-C is not."""

    def __init__(self) -> None:
        self.came: signal.Signals | None = None
        self.when = 0.0
        self.before: dict[signal.Signals, Any] = {}

    def note(self, number: int, frame: FrameType | None) -> None:
        """What the system calls."""
        if self.came is None:
            self.came, self.when = signal.Signals(number), perf_counter()
        elif perf_counter() - self.when > AGAIN:
            raise KeyboardInterrupt

    def __enter__(self) -> Interrupts:
        self.before = {number: signal.signal(number, self.note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def run(
    training: Training,
    path: str | os.PathLike[str],
    save_every: float = 10.0,
    stepped: Callable[[Training], object] = lambda training: None,
    validated: Callable[[Training], object] = lambda training: None,
    write: Callable[[str | os.PathLike[str], Checkpoint], object] = write,
) -> signal.Signals | None:
    """Train until the limits are reached, with a checkpoint at `path` at the start, now and then, and at the end.

    save_every: seconds from one checkpoint to the next; 0 writes one after every step. `stepped` and `validated` are
    called after each step and each validation, `write` for each checkpoint. Returns the signal that interrupted it, if
    one did; then the checkpoint is of the last whole step.

    Raises OSError if a checkpoint cannot be written, Diverged if the training does; the last good checkpoint stays.
    """
    with Interrupts() as interrupts:
        write(path, training.checkpoint())
        saved = perf_counter()
        while training.done < 1 and not interrupts.came:
            start = perf_counter()
            training.advance()
            validates = training.step % training.settings.validate_every == 0
            if validates:
                training.validate()
            training.seconds += perf_counter() - start
            if validates:
                validated(training)
            stepped(training)
            if training.astray() and training.step >= RECENT:
                break
            if perf_counter() - saved >= save_every and not training.astray(1):
                write(path, training.checkpoint())
                saved = perf_counter()
        if training.astray():
            raise training.diverged(f"loss is {training.losses[-1]:.3g} at step {training.step}, far above a guess's")
        if not interrupts.came and not (training.validations and training.validations[-1][0] == training.step):
            training.validate()
            validated(training)
        write(path, training.checkpoint())
        return interrupts.came
