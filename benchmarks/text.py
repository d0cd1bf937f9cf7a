"""Training on text: characters a second of the whole training step, as `python -m scratch train` makes it.

Both libraries go on from the same checkpoint: read a segment, forward, loss, backward, clip, update. What they compute
is the same, which their losses show. Everything of a step counts, also that for which the recurrence only waits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratch import text
from scratch.text import Settings

from .contestants import Contestant, on_cpu
from .process import Workers
from .statistics import Spread, across, quartiles, ratios

MODELS = {
    "LSTM 1 × 128, B32 T64": Settings(hidden_size=128),
    "LSTM 2 × 256, B32 T64": Settings(hidden_size=256, num_layers=2),
    "RNN 1 × 256, B32 T64": Settings(cell="RNN", hidden_size=256),
}
"""The models by name: a small one, that of char-rnn's larger examples, and one without gates."""

CHECKED = 10
"""Steps whose losses are compared."""

TOLERANCE = 1e-3
"""How far they may be apart, relative to their size: rounding in float32, magnified by ten steps of training."""


class Pace(NamedTuple):
    """How long to measure a model."""

    passes: int = 5
    """With new processes each."""
    turns: int = 4
    """Of each library in a pass."""
    seconds: float = 1.0
    """Of a turn, about."""


QUICK = Pace(passes=2, turns=3, seconds=0.3)


class Measured:
    """What was measured of one model."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self.seconds: dict[str, list[list[float]]] = {}
        """For each library, by pass: the seconds of a step in each turn."""
        self.reading: dict[str, list[float]] = {}
        """For each library: the seconds of a step that go into reading its segment."""
        self.losses: dict[str, list[float]] = {}

    @property
    def difference(self) -> float:
        """How far the losses of the libraries lie apart, relative to their size."""
        ours, theirs = (np.array(self.losses[name]) for name in ("scratch", "PyTorch"))
        return float((np.abs(ours - theirs) / theirs).max())

    def step(self, library: str) -> Spread:
        """The seconds of a step."""
        return quartiles([seconds for one in self.seconds[library] for seconds in one])

    def characters_a_second(self, library: str) -> float:
        """Of training."""
        return self.settings.batch_size * self.settings.length / self.step(library).median

    def share_of_reading(self, library: str) -> float:
        """The part of a step that goes into reading."""
        return float(np.median(self.reading[library])) / self.step(library).median

    @property
    def speed(self) -> Spread:
        """PyTorch's time by `scratch`'s."""
        ours, theirs = self.seconds["scratch"], self.seconds["PyTorch"]
        if len(ours) == 1:
            return ratios(theirs[0], ours[0])
        return across([[b / a for a, b in zip(*both, strict=True)] for both in zip(ours, theirs, strict=True)])


def measure(
    models: dict[str, Settings],
    content: str,
    folder: Path,
    threads: int,
    pace: Pace,
    advance: Callable[[str], object] = lambda name: None,
) -> list[Measured]:
    """Train each model on a text in both libraries, in turns. folder: for the checkpoints. `advance` after each turn.

    Raises Failed if a process cannot.
    """
    contestants = on_cpu()
    rows = [Measured(name, settings) for name, settings in models.items()]
    (folder / "text").write_text(content, newline="")
    for number, row in enumerate(rows):
        text.write(
            folder / f"{number}.safetensors", text.Training(row.settings, content, [folder / "text"]).checkpoint()
        )
    for _ in range(pace.passes):
        with Workers(threads) as workers:
            for number, row in enumerate(rows):
                for contestant in contestants:
                    begin(row, contestant, workers, folder / f"{number}.safetensors", pace)
                for _ in range(pace.turns):
                    for contestant in contestants:
                        turn(row, contestant, workers)
                        advance(row.name)
    return rows


def begin(row: Measured, contestant: Contestant, workers: Workers, checkpoint: Path, pace: Pace) -> None:
    """Make a model ready, and compare its first losses."""
    worker, library = workers.of(contestant), contestant.library
    found: dict[str, Any] = worker.ask("learn", path=str(checkpoint), steps=CHECKED, seconds=pace.seconds)
    row.losses[library] = found["losses"]
    row.reading.setdefault(library, []).append(found["reading"])
    row.seconds.setdefault(library, []).append([])


def turn(row: Measured, contestant: Contestant, workers: Workers) -> None:
    """A turn of one library."""
    row.seconds[contestant.library][-1].append(workers.of(contestant).ask("train"))
