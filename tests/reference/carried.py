"""Small trainings for the tests of what is carried between the libraries."""

from collections.abc import Callable

import numpy as np

from scratch.text import Checkpoint, Settings, Training
from scratch.text.checkpoint import arrays_of, checksum, header
from scratch.text.settings import OPTIMIZERS
from tests.strategies import MODULES, THOROUGH

TEXT = "".join(np.random.default_rng(1).choice(list("abc de,\nü🙂"), 300))
"""In streams of 67 characters, read in 10 segments of which the last is shorter."""

SETTINGS = Settings(hidden_size=6, batch_size=4, length=7, validate_every=8, dtype="float64", clip=0.5)

CASES = [
    {"cell": cell, "optimizer": optimizer, **more}
    for cell, more in [
        ("RNN", {}),
        ("RNN", {"num_layers": 2, "embedding_size": 3}),
        ("LSTM", {"num_layers": 2}),
        ("LSTM", {"embedding_size": 3, "weight_decay": 0.01, "learning_rate_decay": 0.9}),
        *((module, {}) for module in MODULES if module not in ("RNN", "LSTM")),
    ]
    for optimizer in OPTIMIZERS
] + [
    {"optimizer": optimizer, "momentum": 0.9, "embedding_size": 5, "learning_rate": OPTIMIZERS[optimizer] / 50}
    for optimizer in ("SGD", "RMSprop")
]


def trained(steps: int, **options: object) -> Training:
    """A training in scratch, so slow that 500 steps do not magnify rounding, as they can on a text so short."""
    options = {"learning_rate": OPTIMIZERS[str(options.get("optimizer", "Adam"))] / 10, **options}
    training = Training(Settings(**{**vars(SETTINGS), **options}), TEXT)
    for _ in range(steps):
        training.advance()
    return training


def many() -> int:
    """How many steps show that losses stay together."""
    return 500 if THOROUGH else 20


def identical(first: Checkpoint, second: Checkpoint) -> bool:
    """Whether two checkpoints are the same, bit by bit."""
    return checksum(header(first), arrays_of(first)) == checksum(header(second), arrays_of(second))


Command = Callable[..., tuple[int, str, str]]
"""Runs `python -m reference` with these arguments. Returns exit status, standard output and standard error."""
