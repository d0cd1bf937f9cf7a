"""A training run to its end: steps, validations, checkpoints, and what happens when it is interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import FrameType

from .training import RECENT, Training

AGAIN = 1.0
"""Seconds after which a signal counts as a second one: launchers pass on what the terminal has sent to all."""


@contextmanager
def interrupts_noted() -> Iterator[list[signal.Signals]]:
    """While this is entered, Ctrl-C and SIGTERM are listed, so that a step can be finished; a second one interrupts."""
    came, when = list[signal.Signals](), 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal when
        if not came:
            came.append(signal.Signals(number))
            when = perf_counter()
        elif perf_counter() - when > AGAIN:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    training: Training,
    path: str | os.PathLike[str],
    save_every: float = 10.0,
    stepped: Callable[[Training], object] = lambda training: None,
    validated: Callable[[Training], object] = lambda training: None,
) -> signal.Signals | None:
    """Train until the limits are reached, with a checkpoint at `path` at the start, now and then, and at the end.

    save_every: seconds from one checkpoint to the next; 0 writes one after every step. `stepped` and `validated` are
    called after each step and each validation. Returns the signal that interrupted it, if one did; then the checkpoint
    is of the last whole step.

    Raises OSError if a checkpoint cannot be written, Diverged if the training does; the last good checkpoint stays.
    """
    with interrupts_noted() as came:
        training.save(path)
        saved = perf_counter()
        while training.done < 1 and not came:
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
                training.save(path)
                saved = perf_counter()
        if training.astray():
            raise training.diverged(f"loss is {training.losses[-1]:.3g} at step {training.step}, far above a guess's")
        if not came and not (training.validations and training.validations[-1][0] == training.step):
            training.validate()
            validated(training)
        training.save(path)
        return came[0] if came else None
