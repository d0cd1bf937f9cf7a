"""Small trainings for the tests of what is carried between the libraries."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratch.text import Checkpoint, Settings, Training
from scratch.text.checkpoint import arrays_of, checksum, header
from scratch.text.settings import OPTIMIZERS

TEXT = "".join(np.random.default_rng(1).choice(list("abc de,\nü🙂"), 300))
"""In streams of 67 characters, read in 10 segments of which the last is shorter."""

SETTINGS = Settings(hidden_size=6, batch_size=4, length=7, validate_every=8, dtype="float64", clip=0.5)


def trained(steps: int, **options: Any) -> Training:
    """A training in scratch, so slow that 500 steps do not magnify rounding, as they can on a text so short."""
    options = {"learning_rate": OPTIMIZERS[options.get("optimizer", "Adam")] / 10, **options}
    return advanced(Training(Settings(**{**vars(SETTINGS), **options}), TEXT), steps)


def advanced(training: Any, steps: int) -> Any:
    """A training of either library, so many steps further on."""
    for _ in range(steps):
        training.advance()
    return training


def identical(first: Checkpoint, second: Checkpoint) -> bool:
    """Whether two checkpoints are the same, bit by bit."""
    return checksum(header(first), arrays_of(first)) == checksum(header(second), arrays_of(second))


Command = Callable[..., tuple[int, str, str]]
"""Runs `python -m reference` with these arguments. Returns exit status, standard output and standard error."""
