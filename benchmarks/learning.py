"""Character models in training: the whole step of `python -m scratch train`, in either library.

A step reads a segment, goes forward and backward, clips and updates. Both libraries go on from the same weights, which
are drawn from a seed, and compute the same losses but for rounding. Everything of a step counts, also that for which
the recurrence only waits.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from scratch.text import Settings, Training, Vocabulary, read_text
from scratch.text.corpus import standard_library
from scratch.types import Array

from .clock import Clock
from .problems import Problem

CHARACTERS = 1_000_000
"""How much of the standard library is read."""
CHECKED = 10
"""Steps whose losses are compared."""
STANDARD = "the standard library"


def models(text: str, content: str) -> list[Problem]:
    """A small model, one of the size of char-rnn's larger examples, and one without gates; on a text or its path."""
    I = len(Vocabulary.of(content))
    group = Path(text).name
    return [
        Problem(group, module, 64, 32, I, H, L, text=text)
        for module, H, L in (("LSTM", 128, 1), ("LSTM", 256, 2), ("RNN", 256, 1))
    ]


def content_of(text: str) -> str:
    """What a model learns. Raises OSError or ValueError for a file that is no text."""
    return standard_library()[:CHARACTERS] if text == STANDARD else read_text(text)


class Learner:
    """A model on its way through a text. kind: the library's `Training`."""

    clock = Clock()
    turn = nullcontext

    def __init__(self, kind: Any, problem: Problem, seed: int) -> None:
        p, content = problem, content_of(problem.text)
        settings = Settings(p.module, p.H, p.L, batch_size=p.B, length=p.T, seed=seed)
        begun = Training(settings, content, [p.text])
        self.training = kind.resumed(begun.checkpoint(), content)
        self.losses: list[float] = []

    @property
    def parts(self) -> dict[str, Callable[[], object]]:
        """What a training step calls."""
        return {"step": self.step}

    def step(self) -> None:
        """A step of training."""
        self.losses.append(self.training.advance())

    def results(self) -> dict[str, Array]:
        """The first losses."""
        while len(self.losses) < CHECKED:
            self.step()
        return {"losses": np.array(self.losses[:CHECKED])}

    def floor(self) -> None:
        """Nobody has counted the products of all of a training."""
