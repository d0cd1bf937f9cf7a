"""The command `python -m benchmarks text`: characters a second of the whole training step of `python -m scratch train`.

Both libraries go on from the same checkpoint: read a segment, forward, loss, backward, clip, update. What they compute
is the same, which their losses show. Everything of a step counts, also that for which the recurrence only waits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from scratch import text as scratch_text
from scratch.terminal import progress
from scratch.text import Settings
from scratch.text.corpus import read_text, standard_library

from .contestants import Contestant, on_cpu
from .options import Options, taking
from .pipeline import begin, finish
from .process import Failed, Workers
from .report import console, show_environment
from .results import Figures, environment, rounded, spread
from .statistics import Spread, across, quartiles, ratios
from .timing import Effort

CHARACTERS = 1_000_000
"""How much of the standard library is read."""

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


EFFORT = Effort(passes=5, fewest=4, least=1.0)
QUICK = Effort(passes=2, fewest=3, least=0.3)


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

    @property
    def speed(self) -> Spread:
        """PyTorch's time by `scratch`'s."""
        ours, theirs = self.seconds["scratch"], self.seconds["PyTorch"]
        if len(ours) == 1:
            return ratios(theirs[0], ours[0])
        return across([[b / a for a, b in zip(*both, strict=True)] for both in zip(ours, theirs, strict=True)])

    def as_json(self) -> Figures:
        """In JSON's terms."""
        found: Figures = {
            "model": self.name,
            "settings": self.settings.as_dict(),
            "speed of scratch (95 %)": spread(self.speed),
            "difference of losses": rounded(self.difference),
        }
        for library, passes in self.seconds.items():
            step = self.step(library)
            found[library] = {
                "characters a second": rounded(self.settings.batch_size * self.settings.length / step.median),
                "seconds of a step (quartile, median, quartile)": spread(step),
                "share of reading": rounded(float(np.median(self.reading[library])) / step.median),
                "turns": [[rounded(seconds) for seconds in one] for one in passes],
            }
        return found


def measure(
    models: dict[str, Settings],
    content: str,
    folder: Path,
    threads: int,
    effort: Effort,
    advance: Callable[[str], object] = lambda name: None,
) -> list[Measured]:
    """Train each model on a text in both libraries, in turns. folder: for the checkpoints. `advance` after each turn.

    Raises Failed if a process cannot.
    """
    contestants = on_cpu()
    rows = [Measured(name, settings) for name, settings in models.items()]
    (folder / "text").write_text(content, newline="")
    for number, row in enumerate(rows):
        training = scratch_text.Training(row.settings, content, [folder / "text"])
        scratch_text.write(folder / f"{number}.safetensors", training.checkpoint())
    for _ in range(effort.passes):
        with Workers(threads) as workers:
            for number, row in enumerate(rows):
                for contestant in contestants:
                    learn(row, contestant, workers, folder / f"{number}.safetensors", effort)
                for _ in range(effort.fewest):
                    for contestant in contestants:
                        row.seconds[contestant.library][-1].append(workers.of(contestant).ask("train"))
                        advance(row.name)
    return rows


def learn(row: Measured, contestant: Contestant, workers: Workers, checkpoint: Path, effort: Effort) -> None:
    """Make a model ready, and compare its first losses."""
    worker, library = workers.of(contestant), contestant.library
    found: dict[str, Any] = worker.ask("learn", path=str(checkpoint), steps=CHECKED, seconds=effort.least)
    row.losses[library] = found["losses"]
    row.reading.setdefault(library, []).append(found["reading"])
    row.seconds.setdefault(library, []).append([])


@taking("quick", "threads", "json")
def text(
    options: Options,
    file: Annotated[
        Path | None, typer.Argument(help="A UTF-8 text [default: the beginning of Python's standard library].")
    ] = None,
) -> int:
    """Measure how fast character models are trained on a text, in scratch (NumPy) beside PyTorch on the CPU.

    Both train the same models from the same weights, each library in a process of its own, in turns; what is measured
    is the whole step: reading a segment, forward, loss, backward, clipping, Adam. Speed is PyTorch's time by scratch's,
    pair by pair, with a 95 % interval over passes with new processes. The losses of the first steps are compared.

    Exit status: 0, 1 if the libraries computed different losses or something failed, 2 if the command is wrong.
    """
    try:
        content = read_text(file) if file is not None else standard_library()[:CHARACTERS]
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if len(content) < 100_000:
        raise typer.BadParameter(f"expected a text of at least 100,000 characters, got {len(content):,}")
    effort = QUICK if options.quick else EFFORT
    with Workers(options.threads) as workers:
        record = begin("text", options, workers, options.whole and file is None)
        record.about["environment"] = environment(workers, on_cpu(), 0) | {"passes": effort.passes}
    show_environment(console(), record.about["environment"])
    try:
        with progress("{task.percentage:.0f} %", idle=True) as bar, tempfile.TemporaryDirectory() as folder:
            task = bar.add_task("training", total=effort.passes * effort.fewest * 2 * len(MODELS))

            def advance(name: str) -> None:
                bar.update(task, description=name, advance=1, refresh=True)

            rows = measure(MODELS, content, Path(folder), options.threads, effort, advance)
    except Failed as error:
        raise typer.BadParameter(str(error)) from None
    record.about["text"] = file.name if file else "the standard library"
    record.add([row.as_json() for row in rows])
    return finish(record, options) or int(any(row.difference > TOLERANCE for row in rows))
